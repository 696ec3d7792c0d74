"""N-MNIST's .bin format, which N-Caltech101 has too: events of five bytes, on sensors of up to 256 x 256 pixels."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from src.events.events import Events
from src.events.formats.errors import CorruptRecordingError, refuse_pointer
from src.events.formats.file_bytes import read_bytes
from src.events.formats.format import Format
from src.events.formats.windows import (
    AT,
    LAST_T,
    NUM_BACK,
    NUM_OUTSIDE,
    NUM_UNREAD,
    OWN,
    empty_events,
    in_pieces,
    in_windows,
    new_state,
    read_only,
    steps_back,
)
from src.kernel_cache import cached_njit

EVENT_BYTES = 5
OVERFLOW_Y = 240  # marks a timestamp overflow; it is no event
OVERFLOW_MICROSECONDS = 1 << 13
LARGEST_TIMESTAMP = (1 << 23) - 1

# Slots of the kernel's state, behind those of every format.
_TIME_SHIFT = OWN  # microseconds by which timestamps grow, so far
_NUM_MARKERS = OWN + 1
_HAS_ROWS_ABOVE = OWN + 2  # whether an event lies on a row above the marker's
_NUM_OWN = 3


def decode(raw: NDArray[np.uint8]) -> Events:
    """Return the events of an N-MNIST file's bytes, equal to `tonic.io.read_mnist_file`.

    An event is 5 bytes, big-endian: x (8 bits), y (8), polarity (1), timestamp in microseconds (23). A y of 240 marks
    a timestamp overflow: every later timestamp grows by 2^13. An event that the file ends within is left out, as
    `num_unread` of the result says. Timestamps that begin again after 2^23 without a marker stay as they are, as in
    tonic; `num_back` counts such steps.

    The format was made for a sensor of 240 rows, 0 to 239. On a sensor with more rows, an event on row 240 cannot be
    told from a marker. If a file has events on rows above 240, it has such a sensor. Then `num_outside` counts the
    markers, because they may be events. Source: the readers of the datasets' authors, and tonic's.

    Args:
        raw: uint8 [5 N], or a few more.

    Raises:
        CorruptRecordingError: if there is not one whole event in a file that is not empty.
    """
    raw = read_only(raw)  # its own few lines instead of `windows`, which take as long as a small recording
    state = _begin(raw)
    x, y, t, p = empty_events(len(raw) // EVENT_BYTES)
    n = _decode(raw, state, x, y, t, p)
    _finish(state)
    return Events(x[:n], y[:n], t[:n], p[:n], *state[NUM_UNREAD : NUM_BACK + 1].tolist())


def windows(content: NDArray[np.uint8], most_events: int) -> Iterator[Events]:
    """Yield the events in parts of at most `most_events`, as `decode` returns them; raises the same errors."""
    content = read_only(content)
    state = _begin(content)
    yield from in_windows(
        lambda *arrays: _decode(content, state, *arrays),
        state,
        len(content) - int(state[NUM_UNREAD]),
        EVENT_BYTES,
        most_events,
        lambda _: _finish(state),
    )


def pieces(content: Iterator[bytes]) -> Iterator[Events]:
    """Yield the events of a file that comes in pieces, see `Format.pieces`; raises the errors of `decode`."""
    state = new_state(_NUM_OWN, 0)

    def finish(num_events: int) -> None:
        if state[NUM_UNREAD] and not num_events and not state[_NUM_MARKERS]:
            _refuse_part(int(state[NUM_UNREAD]))
        _finish(state)

    yield from in_pieces(lambda part, *arrays: _decode(part, state, *arrays), state, content, finish)


def _refuse_part(num_bytes: int) -> NoReturn:
    raise CorruptRecordingError(f"its length, {num_bytes} bytes, is not a multiple of {EVENT_BYTES}")


def _begin(raw: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the kernel's state at the beginning of a file."""
    if 0 < len(raw) < EVENT_BYTES:
        _refuse_part(len(raw))
    state = new_state(_NUM_OWN, 0)
    state[NUM_UNREAD] = len(raw) % EVENT_BYTES
    return state


def _finish(state: NDArray[np.int64]) -> None:
    if state[_HAS_ROWS_ABOVE]:
        state[NUM_OUTSIDE] = state[_NUM_MARKERS]


@cached_njit(nogil=True)
def _decode(
    raw: NDArray[np.uint8],
    state: NDArray[np.int64],
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    t: NDArray[np.int64],
    p: NDArray[np.uint8],
) -> int:
    """Write events to the arrays until they are full or the file ends; return their number."""
    raw = raw[state[AT] :]  # an index with an offset might count from the end, which is slower
    num_words = len(raw) // EVENT_BYTES
    time_shift = state[_TIME_SHIFT]
    m = min(num_words, len(t))
    overflows = has_rows_above = False
    for i in range(m):
        row = raw[EVENT_BYTES * i + 1]
        overflows |= row == OVERFLOW_Y
        has_rows_above |= row > OVERFLOW_Y
    n = m
    if not overflows:  # nearly every recording; a loop without carried state runs several times as fast
        for i in range(m):
            x[i], y[i], t[i], p[i] = _decode_event(raw, EVENT_BYTES * i)
        if time_shift:
            for i in range(m):
                t[i] += time_shift
    else:
        n = i = 0
        while i < num_words and n < len(t):
            at = EVENT_BYTES * i
            i += 1
            if raw[at + 1] == OVERFLOW_Y:
                time_shift += OVERFLOW_MICROSECONDS
                state[_NUM_MARKERS] += 1
                continue
            has_rows_above |= raw[at + 1] > OVERFLOW_Y
            x[n], y[n], t[n], p[n] = _decode_event(raw, at)
            t[n] += time_shift
            n += 1
        m = i
    if n:
        state[NUM_BACK] += steps_back(t[:n], state[LAST_T])
        state[LAST_T] = t[n - 1]
    state[AT] += EVENT_BYTES * m
    state[_TIME_SHIFT] = time_shift
    state[_HAS_ROWS_ABOVE] |= has_rows_above
    return n


@cached_njit(nogil=True, inline="always")
def _decode_event(raw: NDArray[np.uint8], at: int) -> tuple[Any, Any, Any, Any]:
    low = np.int64(raw[at + 3]) << 8 | np.int64(raw[at + 4])
    return raw[at], raw[at + 1], (np.int64(raw[at + 2]) & 127) << 16 | low, raw[at + 2] >> 7


def encode(events: Events) -> bytes:
    """Return the bytes of an N-MNIST file; `decode` inverts it.

    x and y must lie in 0 to 255, but y must not be 240, the marker of an overflow. Timestamps must be below 2^23
    microseconds.
    """
    if len(events) and (max(events.x.max(), events.y.max()) > 255 or np.any(events.y == OVERFLOW_Y)):
        raise ValueError(f"x and y must lie in 0 to 255, and y must not be {OVERFLOW_Y}")
    if len(events) and not (events.t.min() >= 0 and events.t.max() <= LARGEST_TIMESTAMP):
        raise ValueError(f"timestamps must lie in 0 to {LARGEST_TIMESTAMP} microseconds")
    raw = np.empty((len(events), EVENT_BYTES), dtype=np.uint8)
    raw[:, 0] = events.x
    raw[:, 1] = events.y
    raw[:, 2] = events.p << 7 | (events.t >> 16).astype(np.uint8)
    raw[:, 3] = (events.t >> 8 & 255).astype(np.uint8)
    raw[:, 4] = (events.t & 255).astype(np.uint8)
    return raw.tobytes()


def read(path: str | Path) -> Events:
    """Return the events of an N-MNIST .bin file; CorruptRecordingError if it is damaged or empty."""
    content = read_bytes(path)
    refuse_pointer(content)
    events = decode(np.frombuffer(content, dtype=np.uint8))
    if len(events) == 0:
        raise CorruptRecordingError("it holds no events")
    return events


FORMAT = Format(lambda content: decode(np.frombuffer(content, np.uint8)), windows, pieces, suffix=".bin")
