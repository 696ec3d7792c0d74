"""Columns: what the formats that hold events as a table have in common: names, units, polarities and checks."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.events.events import Events
from src.events.formats.column_kernels import (
    HAS_P_MINUS,
    HAS_P_ZERO,
    LATEST,
    MOST_P,
    MOST_T,
    MOST_X,
    MOST_Y,
    NUM_BACK,
    SHIFT_P,
    SHIFT_T,
    Packed,
    can_copy,
    copy_columns,
    copy_packed,
    packed,
)
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError, check_outside
from src.events.formats.windows import empty_events

BLOCK_EVENTS = 1 << 17  # events to convert at once
LOOKED_AT = 1 << 16  # events at the beginning that decide about the unit of timestamps
LONGEST = 86_400 * 10**6  # microseconds of a recording whose timestamps are taken for seconds
EVENTS_PER_BYTE = 16  # of a compressed file, at most; a camera's events take more than a byte each
SMALL_EVENTS = 1 << 20  # that any file may claim to have

_NAMES = {
    "x": ("x", "xs"),
    "y": ("y", "ys"),
    "t": ("t", "ts", "time", "times", "timestamp", "timestamps"),
    "p": ("p", "ps", "pol", "pols", "polarity", "polarities", "on"),
}
_ROLES = {name: role for role, names in _NAMES.items() for name in names}
_NAME = re.compile(r"([a-z]+)(?:[ _]?[(\[](s|ms|us|µs|ns)[)\]]|_(s|ms|us|ns))?")
EXPONENTS = {"s": 6, "ms": 3, "us": 0, "ns": -3}  # of the power of ten that makes microseconds of a unit


@dataclass(frozen=True)
class Columns:
    """Where a table has its columns.

    Attributes:
        names: "x", "y", "t" and "p" -> the column's name in the file; fewer if some are missing.
        unit: the unit of timestamps, "s", "ms", "us" or "ns", if their column's name says it, as `t_us` does.
    """

    names: dict[str, str]
    unit: str | None

    @property
    def missing(self) -> str:
        """The names of the columns that are missing, such as "t and p"; empty if there are all four."""
        return " and ".join(role for role in "xytp" if role not in self.names)


def find_columns(names: Iterable[str]) -> Columns:
    """Return which names are those of x, y, t and p, or of their usual synonyms such as `timestamp` and `polarity`.

    Case does not matter. Other names are ignored.

    Raises:
        ForeignRecordingError: if all four are there, but two names stand for the same column.
    """
    found: dict[str, str] = {}
    unit = None
    doubled = ""
    for name in names:
        match = _NAME.fullmatch(name.strip().lower())
        role = _ROLES.get(match[1]) if match else None
        if match is None or role is None or (role != "t" and (match[2] or match[3])):
            continue
        if role in found:
            doubled = f"its columns {found[role]!r} and {name!r} are both {role}"
        found[role] = name
        if role == "t":
            unit = (match[2] or match[3] or "").replace("µ", "u") or None
    if doubled and len(found) == len(_NAMES):
        raise ForeignRecordingError(doubled)
    return Columns(found, unit)


def check_number(num_events: int, file_bytes: int) -> None:
    """Raise CorruptRecordingError if a compressed file claims more events than its bytes can hold."""
    if num_events > max(SMALL_EVENTS, EVENTS_PER_BYTE * file_bytes):
        raise CorruptRecordingError(f"it claims {num_events:,} events in {file_bytes:,} bytes")


def check_types(types: dict[str, np.dtype[Any]]) -> None:
    """Raise ForeignRecordingError if a column, role -> type, does not hold numbers."""
    for role, dtype in types.items():
        if dtype.kind not in ("iufb" if role == "p" else "iuf"):
            raise ForeignRecordingError(f"its column {role} is of type {dtype}, not of numbers")


class Block(NamedTuple):
    """Rows of a table: its columns, arrays [n] of numbers of any type; and the rows if they are packed."""

    x: NDArray[Any]
    y: NDArray[Any]
    t: NDArray[Any]
    p: NDArray[Any]
    packed: Packed | None = None

    def part(self, begin: int, end: int) -> "Block":
        """Return some of the rows."""
        x, y, t, p = (column[begin:end] for column in self[:4])
        return Block(x, y, t, p, self.packed and self.packed._replace(words=self.packed.words[begin:end]))


def block_of(x: NDArray[Any], y: NDArray[Any], t: NDArray[Any], p: NDArray[Any]) -> Block:
    """Return columns at addresses that kernels take; those at others, as a file's bytes may be, are copied."""
    x, y, t, p = (column if column.flags.aligned else column.copy() for column in (x, y, t, p))
    return Block(x, y, t, p)


def block_of_rows(rows: NDArray[Any], columns: Columns) -> Block:
    """Return rows of a structured type, see `block_of`."""
    names = tuple(columns.names[role] for role in "xytp")
    return block_of(*(rows[name] for name in names))._replace(packed=packed(rows, names))


def windows_of(
    blocks: Iterator[Block],
    num_events: int,
    most_events: int,
    unit: "Unit",
    sensor: tuple[int, int] | None = None,
    num_unread: int = 0,
    t_offset: int = 0,
) -> Iterator[Events]:
    """Return the events of a table in parts of at most `most_events`.

    Args:
        blocks: the table in pieces.
        num_events: rows of the table.
        most_events: events per part.
        unit: the unit of timestamps.
        sensor: width and height, outside of which there are no events; None for 65536 x 65536.
        num_unread: bytes that the last part is to give as not read.
        t_offset: microseconds to add to each timestamp.

    Raises:
        CorruptRecordingError: if a coordinate is no whole number, a timestamp is none, or a polarity is not 0, 1 or -1.
        ForeignRecordingError: if more than a few events lie outside the sensor.
    """
    state = _State(num_events, unit, sensor, t_offset)
    window = None
    for block in blocks:
        begin = 0
        while begin < len(block.t):
            window = window or _Window(min(most_events, num_events - state.row))
            end = begin + window.room
            state.add(block.part(begin, end), window)
            begin = end
            if window.room == 0:
                yield window.events(num_unread if state.row == num_events else 0)
                window = None
    if window or (num_events == 0 and num_unread):
        yield (window or _Window(0)).events(num_unread)


class _Window:
    """Room for the events of one part, and how many of it are there."""

    def __init__(self, size: int) -> None:
        self._room = Events(*empty_events(size))
        self._num_events = 0
        self.num_outside = 0
        self.num_back = 0

    @property
    def room(self) -> int:
        """How many events are still to come."""
        return len(self._room) - self._num_events

    def next(self, n: int) -> Events:
        """Return the room for the next n events, which `take` then counts."""
        return self._room.chosen(slice(self._num_events, self._num_events + n))

    def take(self, n: int) -> None:
        """Count n events that were written."""
        self._num_events += n

    def events(self, num_unread: int) -> Events:
        """Return the events that are there."""
        there = self._room.chosen(slice(self._num_events))
        return replace(there, num_unread=num_unread, num_outside=self.num_outside, num_back=self.num_back)


@dataclass(frozen=True)
class Unit:
    """The unit of timestamps: its name, and whether it is a conclusion from how the first timestamps look."""

    name: str
    is_guessed: bool = False


def unit_of(sample: NDArray[Any], named: str | None) -> Unit:
    """Return the unit of timestamps, of which `sample` are the first, at most `LOOKED_AT`.

    If a name gives the unit, it is that. Integers are microseconds, as DSEC, M3ED, v2e, Metavision and tonic write
    them. Floating-point numbers are seconds if one has a fraction, as MVSEC and ESIM write them. If all are whole, they
    are microseconds that went through a table of floating-point numbers: no camera's events happen at whole seconds
    only.

    Raises:
        ForeignRecordingError: if a few small whole floating-point numbers, not all 0, may be either.
    """
    if named:
        return Unit(named)
    if sample.dtype.kind != "f":
        return Unit("us")
    sample = sample[np.isfinite(sample)].astype(np.float64)
    if np.any(sample != np.rint(sample)):
        return Unit("s", is_guessed=True)
    if np.any(sample) and is_few(len(np.unique(sample)), np.abs(sample).max()):
        raise ForeignRecordingError(
            f"its timestamps, such as {sample.max():g}, may be seconds or microseconds: name their column t_s or t_us"
        )
    return Unit("us", is_guessed=True)


def is_few(num_timestamps: int, largest: float) -> bool:
    """Return whether this number of different whole timestamps, up to `largest`, may be seconds or microseconds."""
    return num_timestamps < 16 and largest < 1e6


class _State:
    """What the check of a table must know of the rows before."""

    def __init__(self, num_events: int, unit: Unit, sensor: tuple[int, int] | None, t_offset: int) -> None:
        self._num_events = num_events
        self._unit = unit
        self._width, self._height = sensor or (1 << 16, 1 << 16)
        self._t_offset = t_offset
        self.row = 0
        self._num_outside = 0
        self._polarities: set[int] = set()
        self._first_t: int | None = None
        self._last_t = 0

    def add(self, block: Block, window: _Window) -> None:
        """Write the events of the next rows, for which there is room, to a window."""
        is_plain = self._unit.name == "us" and can_copy(block[:4])
        if not is_plain or not self._copied(block, window):
            self._converted(block, window)

    def _converted(self, block: Block, window: _Window) -> None:
        """Add the next rows, whatever their types and units."""
        x, y, t, p = block[:4]
        t, p = self._microseconds(t), self._polarity(p)
        x, y = self._whole("x", x), self._whole("y", y)
        self.row += len(t)
        if _leaves(x, self._width) or _leaves(y, self._height):
            inside = (x >= 0) & (x < self._width) & (y >= 0) & (y < self._height)
            num_outside = len(x) - int(inside.sum())
            window.num_outside += num_outside
            self._num_outside += num_outside
            check_outside(self._num_outside, self._num_events, f"{self._width} x {self._height}")
            x, y, t, p = x[inside], y[inside], t[inside], p[inside]
        if len(t):
            if self._first_t is None:
                self._first_t = self._last_t = int(t[0])
            window.num_back += int(np.count_nonzero(t[1:] < t[:-1])) + int(t[0] < self._last_t)
            self._last_t = int(t[-1])
            self._check_length(t)
        new = window.next(len(t))
        new.x[:], new.y[:], new.t[:], new.p[:] = x.astype(np.uint16), y.astype(np.uint16), t, p
        window.take(len(t))

    def _copied(self, block: Block, window: _Window) -> bool:
        """Add the next rows, all integers; False if they need a closer look."""
        n = len(block.t)
        new = window.next(n)
        copy, columns = (copy_columns, block[:4]) if block.packed is None else (copy_packed, block.packed)
        it = copy(*columns, new.x, new.y, new.t, new.p).tolist()
        polarities = self._polarities | ({-1} if it[HAS_P_MINUS] else set()) | ({0} if it[HAS_P_ZERO] else set())
        is_inside = it[MOST_X] < self._width and it[MOST_Y] < self._height
        if not is_inside or it[MOST_T] > 2 * SHIFT_T or it[MOST_P] > 2 * SHIFT_P or len(polarities) == 2:
            return False
        self._polarities = polarities
        self.row += n
        if self._t_offset:
            new.t[:] += self._t_offset
        window.num_back += it[NUM_BACK] + int(self._first_t is not None and new.t[0] < self._last_t)
        self._first_t = int(new.t[0]) if self._first_t is None else self._first_t
        self._last_t = int(new.t[-1])
        window.take(n)
        return True

    def _whole(self, name: str, values: NDArray[Any]) -> NDArray[Any]:
        if values.dtype.kind == "f":
            broken = ~(values == np.rint(values)) | ~np.isfinite(values)
            if broken.any():
                raise CorruptRecordingError(f"{name} of {self._where(broken)} is {values[broken][0]}, no whole number")
            return values.astype(np.float64)  # float16 cannot hold a sensor's size, which it is compared with
        return values

    def _where(self, broken: NDArray[np.bool_]) -> str:
        return f"event {self.row + int(broken.argmax()):,}"

    def _microseconds(self, t: NDArray[Any]) -> NDArray[np.int64]:
        exponent = EXPONENTS[self._unit.name]
        if t.dtype.kind == "f":
            values = t.astype(np.float64)
            if self._unit.is_guessed and exponent == 0 and np.any(broken := values != np.rint(values)):
                raise CorruptRecordingError(
                    f"the timestamp {values[broken][0]} of {self._where(broken)} has a fraction; "
                    "those before it are whole"
                )
            with np.errstate(over="ignore", invalid="ignore"):
                values = np.rint(values * 10.0**exponent)
            broken = ~(np.abs(values) < LATEST)
            result = np.where(broken, 0, values).astype(np.int64)
        else:
            most = LATEST // 10**exponent if exponent >= 0 else LATEST * 10**-exponent
            broken = (t >= most) | (t <= -most) if t.dtype.itemsize == 8 else np.zeros(len(t), bool)
            result = t.astype(np.int64)
            if exponent >= 0:
                result *= 10**exponent
            else:
                result = (result + 10**-exponent // 2) // 10**-exponent
        if broken.any():
            raise CorruptRecordingError(
                f"the timestamp {t[broken][0]} of {self._where(broken)} is none in {_UNIT_NAMES[self._unit.name]}"
            )
        return result + self._t_offset if self._t_offset else result

    def _check_length(self, t: NDArray[np.int64]) -> None:
        if not (self._unit.is_guessed and self._unit.name == "s"):
            return
        assert self._first_t is not None
        length = max(abs(int(t.max()) - self._first_t), abs(int(t.min()) - self._first_t))
        if length > LONGEST:
            raise ForeignRecordingError(
                f"its timestamps are no seconds, since it would last for {length // 10**6:,} s: name their column t_us"
            )

    def _polarity(self, p: NDArray[Any]) -> NDArray[np.uint8]:
        if p.dtype.kind == "b":
            return p.astype(np.uint8)
        least, greatest = (p.min(), p.max()) if len(p) else (1, 1)
        if p.dtype.kind == "f" or least < -1 or greatest > 1:
            broken = ~((p == 0) | (p == 1) | (p == -1))
            if broken.any():
                raise CorruptRecordingError(f"polarity of {self._where(broken)} is {p[broken][0]}, not 0, 1 or -1")
        if least == -1:
            self._polarities.add(-1)
        if least == 0 or (least == -1 and np.any(p == 0)):
            self._polarities.add(0)
        if len(self._polarities) == 2:
            raise CorruptRecordingError("its polarities are -1, 0 and 1: two of them may stand for OFF")
        return (p == 1).astype(np.uint8)


_UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}


def _leaves(values: NDArray[Any], size: int) -> bool:
    """Return whether a coordinate is outside of a sensor of this size."""
    if len(values) == 0 or (values.dtype.kind == "u" and values.dtype.itemsize <= 2 and size == 1 << 16):
        return False
    return bool(values.min() < 0 or values.max() >= size)
