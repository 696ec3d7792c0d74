"""What formats share that are decoded in windows: a kernel's state, and the loops that fill window after window."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.events.events import Events
from src.kernel_cache import cached_njit

# A kernel keeps these in an int64 array, so that it can go on where it has stopped. A format's own slots follow.
AT = 0  # where it goes on in the file; it is the end once nothing is left
NUM_UNREAD, NUM_OUTSIDE, NUM_BACK = 1, 2, 3  # as in Events, so far
LAST_T = 4  # timestamp of the last event
OWN = 5  # first slot of a format's own

WINDOW_EVENTS = 1 << 16  # of a file that comes in pieces
NO_TIME = np.iinfo(np.int64).min  # LAST_T before the first event


def new_state(num_own: int, at: int) -> NDArray[np.int64]:
    """Return the state of a kernel that begins at a position of the file and has `num_own` slots of its own."""
    state = np.zeros(OWN + num_own, np.int64)
    state[AT], state[LAST_T] = at, NO_TIME
    return state


def empty_events(n: int) -> tuple[NDArray[np.uint16], NDArray[np.uint16], NDArray[np.int64], NDArray[np.uint8]]:
    """Return arrays for x, y, t and p of n events."""
    return np.empty(n, np.uint16), np.empty(n, np.uint16), np.empty(n, np.int64), np.empty(n, np.uint8)


def read_only(content: NDArray[np.uint8] | bytes) -> NDArray[np.uint8]:
    """Return a file's bytes as an array that cannot be written: kernels are compiled for this kind of array only."""
    view = np.frombuffer(content, np.uint8) if isinstance(content, bytes) else np.asarray(content).view()
    view.flags.writeable = False
    return view


@cached_njit(nogil=True)
def steps_back(t: NDArray[np.int64], last: int) -> int:
    """Return how many timestamps are before the one before them; `last` is before the first."""
    num_back = 0
    for i in range(1, len(t)):
        num_back += t[i] < t[i - 1]
    return num_back + (t[0] < last) if len(t) else 0


def in_windows(
    fill: Callable[..., int],
    state: NDArray[np.int64],
    end: int,
    event_bytes: int,
    most_events: int,
    finish: Callable[[int], None],
) -> Iterator[Events]:
    """Fill windows until a kernel has come to the end; only the last may have no events, if it has counts.

    Args:
        fill: arrays of x, y, t and p -> number of events written to them; it advances `state`, and stops only if the
            arrays are full or nothing is left.
        state: see `new_state`.
        end: where the file's events end.
        event_bytes: fewest bytes of the file that an event takes.
        most_events: size of a window.
        finish: called with the number of all events before the last window is given; it may raise an error, or change
            the counts in `state`.
    """
    if most_events < 1:
        raise ValueError(f"a window must hold at least 1 event, got {most_events}")
    num_events = 0
    given = np.zeros(3, np.int64)
    while True:
        arrays = empty_events(min(most_events, max(1, (end - int(state[AT])) // event_bytes)))
        n = fill(*arrays)
        num_events += n
        is_last = state[AT] >= end
        if is_last:
            finish(num_events)
        counts = state[NUM_UNREAD : NUM_BACK + 1] - given
        if n or counts.any():
            x, y, t, p = arrays
            yield Events(x[:n], y[:n], t[:n], p[:n], *map(int, counts))
        if is_last:
            return
        given += counts


def in_pieces(
    fill: Callable[..., int],
    state: NDArray[np.int64],
    pieces: Iterable[bytes],
    finish: Callable[[int], None],
) -> Iterator[Events]:
    """Fill windows of WINDOW_EVENTS from a file that comes piece by piece, with all events that are there.

    Args:
        fill: a part of the file, uint8 [N], and arrays of x, y, t and p -> number of events written to them; it
            advances `state`, and stops only if the arrays are full or no whole event is left.
        state: see `new_state`; AT counts from the beginning of the part.
        pieces: the file's bytes behind the header.
        finish: as in `in_windows`; the bytes of an event that the file ends within count in NUM_UNREAD by then.
    """
    num_events = 0
    given = np.zeros(3, np.int64)
    rest = b""
    for piece in pieces:
        content = read_only(rest + piece)
        state[AT] = 0
        is_over = False
        while not is_over:
            x, y, t, p = empty_events(WINDOW_EVENTS)
            n = fill(content, x, y, t, p)
            num_events += n
            is_over = n < WINDOW_EVENTS
            counts = state[NUM_UNREAD : NUM_BACK + 1] - given
            given += counts
            if n or counts.any():
                yield Events(x[:n], y[:n], t[:n], p[:n], *map(int, counts))
        rest = content[state[AT] :].tobytes()
    state[NUM_UNREAD] += len(rest)
    finish(num_events)
    counts = state[NUM_UNREAD : NUM_BACK + 1] - given
    if counts.any():
        yield Events(*empty_events(0), *map(int, counts))


def joined(windows: Iterator[Events]) -> Events:
    """Return the events of all windows in one; windows are copied only if there are several."""
    parts = list(windows)
    if len(parts) == 1:
        return parts[0]
    arrays: list[Any] = [np.concatenate([getattr(part, name) for part in parts]) for name in "xytp"] if parts else []
    counts = (sum(getattr(part, name) for part in parts) for name in ("num_unread", "num_outside", "num_back"))
    return Events(*(arrays or empty_events(0)), *counts)
