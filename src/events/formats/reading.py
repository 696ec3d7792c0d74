"""read_recording: the events of a file of any known format."""

from pathlib import Path

from src.events.events import Events
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError, refuse_pointer
from src.events.formats.nmnist_bin import read_bytes
from src.registry import FILE_FORMATS

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
    for name in FILE_FORMATS:
        file_format = FILE_FORMATS.load(name)
        if file_format.knows(content, suffix):
            events: Events = file_format.decode(content)
            break
    else:
        *names, last = FILE_FORMATS
        raise ForeignRecordingError(
            f"unknown format: it begins with {content[:SHOWN_BYTES]!r}; known are {', '.join(names)} and {last}"
        )
    if len(events) == 0:
        raise CorruptRecordingError("it holds no events")
    return events
