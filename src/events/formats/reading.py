"""Read recordings of any known format: all events of a file, or window by window."""

import contextlib
import mmap
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from src.events.events import Events
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError, refuse_pointer
from src.events.formats.file_bytes import read_or_map
from src.events.formats.format import HEADER_BYTES, Format
from src.events.formats.mapped_file import guarded
from src.events.formats.windows import joined
from src.io_funcs import open_regular
from src.registry import EVT3_CLOCKS, FILE_FORMATS

DEFAULT_CLOCK = next(iter(EVT3_CLOCKS))
MOST_EVENTS_PER_BYTE = 16  # of a file of any format
LEAST_EVENT_BYTES = 2  # nearly no file has more events, so nearly every one is read in one window, without a copy
SHOWN_BYTES = 14  # of a file in an unknown format


def read_recording(path: str | Path, evt3_clock: str = DEFAULT_CLOCK) -> Events:
    """Return the events of a recording in any format of `FILE_FORMATS`.

    How the file begins decides about the format. Its suffix counts only for N-MNIST's, whose files begin with anything.
    A file that was cut short gives its whole events; `num_unread` of the result says how many bytes were left out.

    Args:
        path: of the file.
        evt3_clock: name in `EVT3_CLOCKS`: whose timestamps EVT 3.0 files get.

    Raises:
        CorruptRecordingError: if the file is damaged or holds no events.
        ForeignRecordingError: if it is not in a known format, or of another sensor.
        OSError: if it cannot be read.
    """
    content = read_or_map(path)
    if isinstance(content, bytes):
        return decode_recording(content, Path(path).suffix, evt3_clock)
    return joined(_windows_of_mapped(content, path, len(content) // LEAST_EVENT_BYTES, evt3_clock))


def read_windows(
    path: str | Path, most_events: int, evt3_clock: str = DEFAULT_CLOCK, sensor: tuple[int, int] | None = None
) -> Iterator[Events]:
    """Yield what `read_recording` returns, in parts of at most `most_events`, see `Format.windows`.

    Memory holds two parts at most, however long the file is. Raises the same errors, some of them at the end; and
    ForeignRecordingError if the file's header names another sensor than `sensor`, (width, height).
    """
    content = read_or_map(path)
    if isinstance(content, mmap.mmap):
        yield from _windows_of_mapped(content, path, most_events, evt3_clock, sensor)
    elif len(content) <= most_events // MOST_EVENTS_PER_BYTE:
        file_format = _format_of(content, Path(path).suffix, evt3_clock)
        require_sensor(file_format, content, sensor)
        yield _decoded(file_format, content)
    else:
        yield from _windows_of(content, Path(path).suffix, most_events, evt3_clock, sensor)


def _windows_of_mapped(
    content: mmap.mmap, path: str | Path, most_events: int, evt3_clock: str, sensor: tuple[int, int] | None = None
) -> Iterator[Events]:
    with guarded(content, path) as require_whole:
        for events in _windows_of(content, Path(path).suffix, most_events, evt3_clock, sensor):
            require_whole()
            yield events
            content.madvise(mmap.MADV_DONTNEED)  # pages that are still needed are read again


def _windows_of(
    content: bytes | mmap.mmap, suffix: str, most_events: int, evt3_clock: str, sensor: tuple[int, int] | None
) -> Iterator[Events]:
    num_events = 0
    file_format = _format_of(content[:HEADER_BYTES], suffix, evt3_clock)
    require_sensor(file_format, content, sensor)
    for events in file_format.in_windows(np.frombuffer(content, np.uint8), most_events):
        num_events += len(events)
        yield events
    if num_events == 0:
        raise CorruptRecordingError("it holds no events")


def decode_recording(content: bytes, suffix: str, evt3_clock: str = DEFAULT_CLOCK) -> Events:
    """Return the events of a file's bytes, as `read_recording` does; `suffix` is that of the file's name."""
    return _decoded(_format_of(content, suffix, evt3_clock), content)


def _decoded(file_format: Format, content: bytes) -> Events:
    events = file_format.decode(content)
    if len(events) == 0:
        raise CorruptRecordingError("it holds no events")
    return events


def require_sensor(file_format: Format, content: bytes | mmap.mmap, sensor: tuple[int, int] | None) -> None:
    """Raise ForeignRecordingError if a file's header names another sensor than this (width, height)."""
    if sensor is None or file_format.sensor_size is None:
        return
    size = _size_or_none(file_format, content if file_format.has_scattered_header else content[:HEADER_BYTES])
    if size is not None and size != sensor:
        raise ForeignRecordingError(
            f"it is of a sensor of {size[0]} x {size[1]} pixels; one of {sensor[0]} x {sensor[1]} is needed"
        )


def _format_of(content: bytes, suffix: str, evt3_clock: str) -> Format:
    """Return the format of a file by its beginning."""
    if not content:
        raise CorruptRecordingError("the file is empty")
    refuse_pointer(content)
    name = format_name(content, suffix)
    if name is None:
        *names, last = FILE_FORMATS
        raise ForeignRecordingError(
            f"unknown format: it begins with {content[:SHOWN_BYTES]!r}; known are {', '.join(names)} and {last}"
        )
    file_format: Format = FILE_FORMATS.load(name)
    return file_format.with_clock(evt3_clock)


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
    whole = read_or_map(path) if file_format.has_scattered_header else content
    with guarded(whole, path) if isinstance(whole, mmap.mmap) else contextlib.nullcontext():
        return _size_or_none(file_format, whole)


def _size_or_none(file_format: Format, content: bytes | mmap.mmap) -> tuple[int, int] | None:
    assert file_format.sensor_size is not None
    try:
        return file_format.sensor_size(content)  # type: ignore[arg-type]
    except CorruptRecordingError:  # reported when it is read
        return None
