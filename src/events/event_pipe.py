"""Events of a pipe, a file or a terminal, as soon as they are there: lines of text, or a recording in any format."""

import contextlib
import fcntl
import mmap
import os
import re
import select
import stat
import tempfile
from collections.abc import Callable, Iterator
from itertools import chain

import numpy as np

from src.command_line import RunError
from src.events.event_lines import LONGEST_LINE, EventLines
from src.events.events import Events
from src.events.formats import text
from src.events.formats.errors import ForeignRecordingError, refuse_pointer
from src.events.formats.format import HEADER_BYTES, Format
from src.events.formats.reading import DEFAULT_CLOCK, SHOWN_BYTES, format_name, require_sensor
from src.events.formats.windows import WINDOW_EVENTS
from src.helpers import LOG
from src.registry import FILE_FORMATS

CHUNK_BYTES = 1 << 20
WAIT_SECONDS = 0.2  # between looks at whether to stop
_BEHIND_TEXT = 64  # bytes behind the first that is no text: by then a header is over
_NO_TEXT = re.compile(rb"[^\t\r\n -~]")
_BEGINS_AS_LINES = re.compile(rb"[-+\d#\s]")
_FIRST_LINE = re.compile(rb"\s*(?:#[^\n]*\n\s*)*([^#\s][^\n]*)\n")  # that is no comment
_WHOLE_NUMBERS = re.compile(rb"[-+\d, \t\r]*")


def read_events(
    descriptor: int,
    check: Callable[[], None],
    suffix: str = "",
    evt3_clock: str = DEFAULT_CLOCK,
    sensor: tuple[int, int] | None = None,
) -> Iterator[Events]:
    """Yield the events that a file, a pipe or a terminal gives, as soon as they are there, until it ends.

    They are lines `t x y p`, see `EventLines`, or a recording in any known format. A format without `Format.pieces`
    needs the whole recording: what a pipe gives is kept in a file without a name until it ends. Parts say what was
    left out; a part without events that says nothing is left out itself.

    Args:
        descriptor: of the file or pipe.
        check: called at least every WAIT_SECONDS; may raise to stop.
        suffix: of the recordings that are expected, such as ".bin", if their bytes do not tell the format.
        evt3_clock: as of `read_recording`.
        sensor: as of `read_windows`.

    Raises:
        CorruptRecordingError: for a line that is no event, or a recording that is damaged.
        ForeignRecordingError: for what is neither text nor in a known format, or of another sensor.
        RunError: if a recording cannot be kept until it ends.
        OSError: if it cannot be read.
    """
    pieces = _pieces(descriptor, check)
    content = _beginning(pieces)
    if not content:
        return
    if _is_lines(content):
        parts = _lines(chain([content], pieces))
    else:
        parts = _recording(descriptor, content, pieces, check, _format_of(content, suffix, evt3_clock), sensor)
    for events in parts:
        if len(events) or events.num_unread or events.num_outside:
            yield events


def _pieces(descriptor: int, check: Callable[[], None]) -> Iterator[bytes]:
    """Yield what there is to read, at most CHUNK_BYTES at a time; wait for it if there is nothing, until the end."""
    if resize := getattr(fcntl, "F_SETPIPE_SZ", None):  # Linux; circuits take many frames as fast as a few
        with contextlib.suppress(OSError):  # no pipe, or as much as the user may have
            fcntl.fcntl(descriptor, resize, CHUNK_BYTES)
    while True:
        check()
        if select.select([descriptor], [], [], WAIT_SECONDS)[0]:
            piece = os.read(descriptor, CHUNK_BYTES)
            if not piece:
                return
            yield piece


def _beginning(pieces: Iterator[bytes]) -> bytes:
    """Return the first bytes, as many as tell the format, and a recording's whole header."""
    content = b""
    for piece in pieces:
        content += piece
        if not _needs_more(content):
            break
    return content


def _needs_more(content: bytes) -> bool:
    beginnings = [it.beginning for it in map(FILE_FORMATS.load, FILE_FORMATS) if it.beginning]
    if any(it.startswith(content) and it != content for it in beginnings):
        return True
    if not content.startswith(tuple(beginnings)):
        is_open_line = _begins_as_lines(content) and not _FIRST_LINE.match(content)
        return is_open_line and len(content) <= LONGEST_LINE
    no_text = _NO_TEXT.search(content)
    return len(content) < (no_text.start() + _BEHIND_TEXT if no_text else HEADER_BYTES)


def _begins_as_lines(content: bytes) -> bool:
    """Return whether bytes that begin as no recording does may be those of lines; what a comment holds is free."""
    is_text = content.startswith(b"#") or not _NO_TEXT.search(content[:_BEHIND_TEXT])
    return bool(_BEGINS_AS_LINES.match(content)) and is_text


def _is_lines(content: bytes) -> bool:
    """Return whether these are lines `t x y p`, and no recording as text with names of columns, or seconds."""
    if not _begins_as_lines(content) or any(
        it.beginning and content.startswith(it.beginning) for it in map(FILE_FORMATS.load, FILE_FORMATS)
    ):
        return False
    first = _FIRST_LINE.match(content)
    if first is None or format_name(content, "") is None:
        return True
    return bool(_WHOLE_NUMBERS.fullmatch(first[1])) and text.is_plain(content)


def _lines(pieces: Iterator[bytes]) -> Iterator[Events]:
    lines = EventLines()
    for piece in pieces:
        yield lines.push(piece)
    yield lines.finish()


def _format_of(content: bytes, suffix: str, evt3_clock: str) -> Format:
    """Return the format of a recording that begins so; ForeignRecordingError if it is unknown."""
    refuse_pointer(content)
    name = format_name(content, "") or format_name(content, suffix)
    if name is None:
        raise ForeignRecordingError(
            f"neither lines `t x y p` nor a known format: it begins with {content[:SHOWN_BYTES]!r}; "
            "N-MNIST's .bin has no mark of its own: give predict the file instead, whose name tells its format"
        )
    file_format: Format = FILE_FORMATS.load(name)
    return file_format.with_clock(evt3_clock)


def _recording(
    descriptor: int,
    content: bytes,
    pieces: Iterator[bytes],
    check: Callable[[], None],
    file_format: Format,
    sensor: tuple[int, int] | None,
) -> Iterator[Events]:
    """Yield the events of a recording that begins with `content`; raises what `read_events` does."""
    if file_format.pieces is not None:
        require_sensor(file_format, content, sensor)
        yield from file_format.pieces(chain([content], pieces))
        return
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        descriptor = _keep(chain([content], pieces))
    mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)  # until nothing needs it
    require_sensor(file_format, mapped, sensor)
    for events in file_format.in_windows(np.frombuffer(mapped, np.uint8), WINDOW_EVENTS):
        check()
        yield events


def _keep(pieces: Iterator[bytes]) -> int:
    """Return the descriptor of a file without a name that holds all bytes.

    Raises:
        RunError: if it cannot be written.
    """
    LOG.info("this format needs the whole recording: classes follow when it has ended")
    try:
        with tempfile.TemporaryFile() as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            return os.dup(file.fileno())
    except OSError as error:
        raise RunError(
            f"{tempfile.gettempdir()}: cannot keep the recording there: {error.strerror}; TMPDIR names another folder"
        ) from error
