"""Text: an event per line, as in the ECD dataset (Mueggler et al. 2017), or a CSV whose columns are named.

A line is an event. Its columns are separated by blanks, tabs, commas or semicolons. Lines that are empty or begin with
`#` or `%` are left out. Before the events there may be

- a line with the sensor's width and height, as the tools around E2VID write it, or `%geometry:width,height`, as
  Metavision's converter writes it;
- a line, or a comment, that names the columns, such as `x,y,polarity,timestamp` or `# t x y p`. Columns of other names
  are not read. Without names the order is t, x, y, p; with `%geometry` it is x, y, p, t.

Timestamps with a decimal point or an exponent are seconds, integers are microseconds. The first events decide for the
whole file: it is in seconds if one of them has a fraction. Numbers such as 1234567.0, of which none has a fraction, are
microseconds if there are many or large ones. A name such as `t_us` or `timestamp(s)` says the unit instead. Timestamps
become whole microseconds by decimal arithmetic, rounded to the nearest. Polarities are 0 and 1, -1 and 1, or false and
true. Lines may end as on Windows, there may be a byte order mark, and the file may be compressed by gzip.
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.events.events import Events
from src.events.formats import text_kernels as kernels
from src.events.formats.columns import EXPONENTS, LOOKED_AT, Unit, check_number, find_columns, is_few
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError, check_outside
from src.events.formats.format import Format
from src.events.formats.windows import joined

GZIP = b"\x1f\x8b\x08"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LARGEST_HEADER = 1 << 16  # bytes
PIECE = 1 << 22  # bytes to decompress at once; a line that is longer is none
SHORTEST_LINE = 8  # bytes, such as `0 0 0 0`
WINDOW_EVENTS = 1 << 18
SHOWN = 60  # characters of a line

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_GEOMETRY = re.compile(r"%\s*geometry:(\d{1,5}),(\d{1,5})")
_ROLES = {"t": kernels.T, "x": kernels.X, "y": kernels.Y, "p": kernels.P}


@dataclass(frozen=True)
class _Header:
    """What a file says before its events.

    Attributes:
        order: the role of each column: "t", "x", "y", "p" or "" for one that is not read.
        is_named: whether the file says the order.
        unit: of timestamps, if the file says it.
        sensor: width and height, if the file says them.
        size: bytes before the first event.
        num_lines: lines before it.
        first: the first event's columns; empty if there is none.
    """

    order: tuple[str, ...]
    is_named: bool
    unit: str | None
    sensor: tuple[int, int] | None
    size: int
    num_lines: int
    first: tuple[str, ...]


def decode(content: bytes) -> Events:
    """Return the events of a text file.

    A last line that was cut short is left out: one without a line end that has fewer columns than the others, or a last
    column t that is before the timestamp of the line before. `num_unread` of the result has its length, or 1 if only
    gzip's checksum is missing.

    Raises:
        CorruptRecordingError: if a line is no event; it has the line's number, which counts from 1.
        ForeignRecordingError: if the columns' names lack one, or more than a few events lie outside of the sensor.
    """
    raw = np.frombuffer(content, np.uint8)
    if content.startswith(GZIP):
        parts = list(windows(raw, WINDOW_EVENTS))
        return joined(iter(parts))
    num_lines = content.count(b"\n") + 1
    parts = list(windows(raw, num_lines))
    return joined(iter(parts))


def windows(content: NDArray[np.uint8], most_events: int) -> Iterator[Events]:
    """Return what `decode` does, in parts; at most `PIECE` bytes of a compressed file are in memory at once."""
    content = np.asarray(content).view()
    content.flags.writeable = False  # as bytes are, so that numba compiles one kernel for both
    reader: _Reader | None = None
    for piece, missing in _pieces(content):
        if reader is None:
            reader = _Reader(piece)
        yield from reader.windows(piece, most_events, missing)
        check_number(reader.num_events, len(content))
    if reader:
        reader.check_outside()


def sensor_size(content: bytes) -> tuple[int, int] | None:
    """Return the sensor's width and height; None if the file does not say them."""
    return _read_header(_beginning(content)).sensor


def recognises(content: bytes) -> bool:
    """Return whether a file's first line that is no comment is an event, a sensor's size or names of columns."""
    beginning = _beginning(content)
    if not beginning or b"\0" in beginning:
        return False
    try:
        header = _read_header(beginning)
    except ForeignRecordingError:
        return True
    if header.first:
        return len(header.first) >= 3 and all(map(_is_value, header.first))
    return header.is_named and header.size > 0


def is_plain(beginning: bytes) -> bool:
    """Return whether a text's first lines say nothing but that its columns are t, x, y, p, in microseconds."""
    header = _read_header(beginning[:LARGEST_HEADER])
    return header.order == ("t", "x", "y", "p") and header.unit in (None, "us") and header.sensor is None


def _is_value(word: str) -> bool:
    return bool(_NUMBER.fullmatch(word)) or word.lower() in ("true", "false")


def _beginning(content: bytes) -> bytes:
    """Return the first bytes of the text; empty if they cannot be decompressed."""
    if not content.startswith(GZIP):
        return content[:LARGEST_HEADER]
    try:
        return zlib.decompressobj(wbits=31).decompress(content[:LARGEST_HEADER], LARGEST_HEADER)
    except zlib.error:
        return b""


def _read_header(beginning: bytes) -> _Header:
    """Return what the text's first bytes say.

    Raises:
        ForeignRecordingError: if they name some of the columns, but not all.
    """
    at = len(BYTE_ORDER_MARK) if beginning.startswith(BYTE_ORDER_MARK) else 0
    order: tuple[str, ...] = ()
    unit = sensor = None
    default = ("t", "x", "y", "p")
    comments: list[tuple[str, ...]] = []
    first: tuple[str, ...] = ()
    num_lines = 0
    while at < len(beginning):
        end = beginning.find(b"\n", at) + 1 or len(beginning)
        if beginning[end - 1] != 10 and end >= LARGEST_HEADER:
            break  # within a line
        line = beginning[at:end].decode("latin-1").strip(" \t\r\n")
        if geometry := _GEOMETRY.match(line):
            sensor, default = (int(geometry[1]), int(geometry[2])), ("x", "y", "p", "t")
        elif line.startswith(("#", "%")):
            comments.append(_words(line.lstrip("#% \t")))
        elif line:
            words = _words(line)
            names = find_columns(words).names
            if sensor is None and len(words) == 2 and all(word.isascii() and word.isdecimal() for word in words):
                sensor = (int(words[0][:6]), int(words[1][:6]))
            elif len(names) < 2 or any(map(_NUMBER.fullmatch, words)):
                first = words
                break
            else:
                order, unit = _named(words)
                if not order:
                    missing = find_columns(words).missing
                    raise ForeignRecordingError(
                        f"line {num_lines + 1} names columns, {line[:SHOWN]!r}, but no {missing}"
                    )
        at = end
        num_lines += 1
    for words in comments:  # such as `x y t p` or `columns: x y t p`
        if not order and len(words) >= len(first):
            order, unit = _named(words[len(words) - len(first) :])
    if sensor and not (0 < sensor[0] <= 1 << 16 and 0 < sensor[1] <= 1 << 16):
        raise ForeignRecordingError(f"its sensor of {sensor[0]} x {sensor[1]} pixels is none")
    is_named = bool(order) or default[0] == "x"
    return _Header(order or default, is_named, unit, sensor, at, num_lines, first)


def _words(line: str) -> tuple[str, ...]:
    """Return the columns of a line; a unit in brackets belongs to the name before it."""
    return tuple(re.split(r"[ \t]*[,;][ \t]*|[ \t]+", re.sub(r"[ \t]+(?=[(\[])", "", line)))


def _named(words: tuple[str, ...]) -> tuple[tuple[str, ...], str | None]:
    """Return the roles of columns with these names, and the unit; no roles if x, y, t or p is missing."""
    columns = find_columns(words)
    if columns.missing:
        return (), None
    roles = {name: role for role, name in columns.names.items()}
    return tuple(roles.get(word, "") for word in words), columns.unit


def _pieces(content: NDArray[np.uint8]) -> Iterator[tuple[NDArray[np.uint8], int | None]]:
    """Return the text in pieces of whole lines, decompressed if it is compressed.

    With the last piece comes how many bytes are missing or left at least, with the others None.
    """
    if content[: len(GZIP)].tobytes() != GZIP:
        yield content, 0
        return
    packed = memoryview(content)  # type: ignore[arg-type]
    rest = b""
    at = 0
    inflate = zlib.decompressobj(wbits=31)
    pending: Any = b""
    while True:
        if inflate.eof:
            after = inflate.unused_data
            # Zeros may follow, or another compressed file.
            at -= len(after)
            pending = b""
            if bytes(packed[at : at + len(GZIP)]) != GZIP:
                left = 0 if not np.any(content[at:]) else len(content) - at
                yield np.frombuffer(rest, np.uint8), left
                return
            inflate = zlib.decompressobj(wbits=31)
        if not pending:
            pending = packed[at : at + (1 << 16)]
            at += len(pending)
        try:
            text = inflate.decompress(pending, PIECE)
        except zlib.error as error:
            raise CorruptRecordingError(f"its gzip data are damaged: {error}") from error
        if not pending and not text and not inflate.eof:
            yield np.frombuffer(rest, np.uint8), 1
            return
        pending = inflate.unconsumed_tail
        rest += text
        if len(rest) >= PIECE:
            end = rest.rfind(b"\n") + 1
            if end == 0:
                raise CorruptRecordingError(f"a line of it is longer than {PIECE} bytes")
            yield np.frombuffer(rest[:end], np.uint8), None
            rest = rest[end:]


_SHAPES = {
    kernels.FEWER: "it has fewer than {columns} columns",
    kernels.MORE: "it has more than {columns} columns",
    kernels.NO_NUMBER: "a column is no number",
    kernels.NO_SEPARATOR: "something follows a number",
    kernels.NOT_WHOLE: "a coordinate is no whole number",
    kernels.NO_POLARITY: "a polarity is not 0, 1 or -1",
    kernels.MIXED: "polarities are -1, 0 and 1 until here, and two of them may stand for OFF",
    kernels.TOO_LATE: "its timestamp is none in {unit}",
    kernels.FRACTION: "its timestamp has a fraction; those before it are whole, and so were taken for microseconds",
    kernels.TOO_LONG: "timestamps, taken for seconds, are more than a day apart; the name t_us can say otherwise",
}
_HINT = "; without names of columns the order is t x y p, a first line such as `x y p t` can say otherwise"
_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}


def _arrays(n: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return arrays for x, y, t and p of n events."""
    return np.empty(n, np.uint16), np.empty(n, np.uint16), np.empty(n, np.int64), np.empty(n, np.uint8)


class _Reader:
    """The state of reading one file."""

    def __init__(self, beginning: NDArray[np.uint8]) -> None:
        self._header = _read_header(beginning[:LARGEST_HEADER].tobytes())
        self._roles = np.array([_ROLES.get(role, kernels.IGNORED) for role in self._header.order])
        self._width, self._height = self._header.sensor or (1 << 16, 1 << 16)
        self._state = self._new_state()
        self._unit = self._find_unit(beginning)
        self._lines_before = 0

    @property
    def num_events(self) -> int:
        """Events until now."""
        return int(self._state[kernels.NUM_EVENTS])

    def windows(self, piece: NDArray[np.uint8], most_events: int, missing: int | None) -> Iterator[Events]:
        """Return the events of a piece in parts; if it is the last, some bytes are `missing`, at least."""
        at = int(self._state[kernels.AT])
        if at >= len(piece) and missing:
            yield Events(*_arrays(0), missing)
        while at < len(piece):
            before = self._state.copy()
            most = min(most_events, (len(piece) - at) // SHORTEST_LINE + 1)
            x, y, t, p = _arrays(most)
            n = self._parse(piece, len(piece), self._unit, self._state, x, y, t, p)
            num_unread, num_outside, num_back = (
                int(self._state[place] - before[place])
                for place in (kernels.NUM_UNREAD, kernels.NUM_OUTSIDE, kernels.NUM_BACK)
            )
            at = int(self._state[kernels.AT])
            is_over = at >= len(piece) or num_unread > 0
            if is_over and missing:
                num_unread = max(num_unread, missing)
            if n or num_unread or num_outside:
                yield Events(x[:n], y[:n], t[:n], p[:n], num_unread, num_outside, num_back)
            if is_over:
                break
        self._state[kernels.AT] = 0

    def check_outside(self) -> None:
        """Raise ForeignRecordingError if more than a few events were outside of the sensor."""
        num_outside = int(self._state[kernels.NUM_OUTSIDE])
        if num_outside:
            check_outside(num_outside, self.num_events + num_outside, f"{self._width} x {self._height}")

    def _new_state(self) -> NDArray[np.int64]:
        state = np.zeros(kernels.STATE_SIZE, np.int64)
        state[kernels.AT], state[kernels.LINE] = self._header.size, self._header.num_lines
        return state

    def _find_unit(self, beginning: NDArray[np.uint8]) -> Unit:
        """Return the unit of timestamps, from how the first ones look if no name says it."""
        if self._header.unit:
            return Unit(self._header.unit)
        state = self._new_state()
        self._parse(beginning, len(beginning), Unit("us"), state, *_arrays(LOOKED_AT))
        if state[kernels.HAS_FRACTION]:
            return Unit("s", is_guessed=True)
        if state[kernels.HAS_POINT] and is_few(int(state[kernels.NUM_CHANGES]) + 1, float(state[kernels.LARGEST])):
            return Unit("s", is_guessed=True)
        return Unit("us", is_guessed=True)

    def _parse(
        self, piece: NDArray[np.uint8], end: int, unit: Unit, state: NDArray[np.int64], *arrays: NDArray[Any]
    ) -> int:
        """Run the kernel, and make errors of what it finds."""
        n: int = kernels.parse(
            piece,
            end,
            self._roles,
            EXPONENTS[unit.name],
            not unit.is_guessed or unit.name == "s",
            unit.is_guessed and unit.name == "s",
            self._width,
            self._height,
            state,
            *arrays,
        )
        if state[kernels.ERROR]:
            self._raise(piece, state, unit)
        return n

    def _raise(self, piece: NDArray[np.uint8], state: NDArray[np.int64], unit: Unit) -> None:
        begin = int(state[kernels.ERROR_AT])
        line = piece[begin : begin + 4 * SHOWN].tobytes().split(b"\n")[0].decode("utf-8", "replace").strip()
        error = int(state[kernels.ERROR])
        problem = _SHAPES[error].format(columns=len(self._roles), unit=_UNITS[unit.name])
        hint = _HINT if error in (kernels.NO_POLARITY, kernels.NOT_WHOLE) and not self._header.is_named else ""
        raise CorruptRecordingError(f"line {state[kernels.LINE] + 1:,}, {line[:SHOWN]!r}: {problem}{hint}")


def encode(
    events: Events,
    order: str = "txyp",
    separator: str = " ",
    unit: str = "s",
    header: str = "",
    line_end: str = "\n",
) -> bytes:
    """Return the bytes of a text file; `decode` inverts it.

    Args:
        events: the events.
        order: of the columns.
        separator: between columns.
        unit: of timestamps, "s" with six decimals or "us".
        header: what to write before the first line; with the names of columns if `order` is not t, x, y, p.
        line_end: of each line.
    """
    times = events.t.tolist()
    if unit == "s":
        signs = ["-" if t < 0 else "" for t in times]
        times = [f"{sign}{abs(t) // 10**6}.{abs(t) % 10**6:06}" for sign, t in zip(signs, times, strict=True)]
    columns = {"t": times, "x": events.x.tolist(), "y": events.y.tolist(), "p": events.p.tolist()}
    rows = zip(*(columns[role] for role in order), strict=True)
    return (header + "".join(separator.join(map(str, row)) + line_end for row in rows)).encode()


FORMAT = Format(decode, windows, recognises=recognises, sensor_size=sensor_size)
