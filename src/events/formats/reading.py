"""read_recording: the events of a file of any known format."""

from pathlib import Path

from src.events.events import Events
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError, refuse_pointer
from src.events.formats.format import Format
from src.events.formats.nmnist_bin import read_bytes
from src.io_funcs import open_regular
from src.registry import FILE_FORMATS

HEADER_BYTES = 1 << 20  # at the beginning of a file, which hold its header
SHOWN_BYTES = 14  # of a file in an unknown format


def read_recording(path: str | Path) -> Events:
    """Return the events of a recording in any format of `FILE_FORMATS`.

    How the file begins decides about the format. Its suffix counts only for N-MNIST's, whose files begin with anything.
    A file that was cut short gives its whole events; `num_unread` of the result says how many bytes were left out.

    Raises:
        CorruptRecordingError: if the file is damaged or holds no events.
        ForeignRecordingError: if it is not in a known format, or of another sensor.
        OSError: if it cannot be read.
    """
    return decode_recording(read_bytes(path), Path(path).suffix)


def decode_recording(content: bytes, suffix: str) -> Events:
    """Return the events of a file's bytes, as `read_recording` does; `suffix` is that of the file's name."""
    refuse_pointer(content)
    name = format_name(content, suffix)
    if name is None:
        *names, last = FILE_FORMATS
        raise ForeignRecordingError(
            f"unknown format: it begins with {content[:SHOWN_BYTES]!r}; known are {', '.join(names)} and {last}"
        )
    file_format: Format = FILE_FORMATS.load(name)
    events = file_format.decode(content)
    if len(events) == 0:
        raise CorruptRecordingError("it holds no events")
    return events


def format_name(content: bytes, suffix: str) -> str | None:
    """Return the name in `FILE_FORMATS` of the format of a file's bytes; None if it is in none."""
    return next((name for name in FILE_FORMATS if FILE_FORMATS.load(name).knows(content, suffix)), None)


def format_of(path: str | Path) -> str | None:
    """Return the name in `FILE_FORMATS` of a file's format by its beginning; None if it is in none.

    Raises:
        OSError: if the file cannot be read.
    """
    return format_name(_beginning(path), Path(path).suffix)


def _beginning(path: str | Path) -> bytes:
    with open_regular(path) as file:
        return file.read(HEADER_BYTES)


def sensor_size_of(path: str | Path) -> tuple[int, int] | None:
    """Return the sensor's (width, height) in pixels by a recording's header; None if it has no such header.

    Raises:
        OSError: if the file cannot be read.
    """
    content = _beginning(path)
    name = format_name(content, Path(path).suffix)
    file_format = FILE_FORMATS.load(name) if name is not None else None
    if file_format is None or file_format.sensor_size is None:
        return None
    try:
        size: tuple[int, int] | None = file_format.sensor_size(content)
    except CorruptRecordingError:  # reported when it is read
        return None
    return size
