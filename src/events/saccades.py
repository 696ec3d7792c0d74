"""N-MNIST's three saccades: keeping the first, and taking the camera's motion out; bit-identical to tonic."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.events.events import Events
from src.kernel_cache import cached_njit

FIRST_SACCADE_MICROSECONDS = 100_000
SACCADE_MICROSECONDS = 105e3
LARGEST = 33  # column or row


def first_saccade(events: Events) -> Events:
    """Return the events before 100 ms, as `tonic.datasets.NMNIST(first_saccade_only=True)` does."""
    kept = events.t < FIRST_SACCADE_MICROSECONDS
    return Events(events.x[kept], events.y[kept], events.t[kept], events.p[kept])


def stabilize(events: Events) -> Events:
    """Return the events moved against the saccades, so that the digit stands still; drop those that leave the sensor.

    As `tonic.datasets.nmnist.stabilize`: saccades of 105 ms, a straight line each, though `first_saccade` ends at
    100 ms; an event leaves by its place before it is rounded, half to even.
    """
    return Events(*_stabilize(events.x, events.y, events.t, events.p))


@cached_njit(nogil=True)
def _stabilize(
    x: NDArray[np.uint16], y: NDArray[np.uint16], t: NDArray[np.int64], p: NDArray[np.uint8]
) -> tuple[NDArray[np.uint16], NDArray[np.uint16], NDArray[np.int64], NDArray[np.uint8]]:
    new_x, new_y = np.empty(len(t), np.uint16), np.empty(len(t), np.uint16)
    keep = np.empty(len(t), np.uint32)
    kept = 0
    for i in range(len(t)):
        column, row = _stable_place(x[i], y[i], t[i])
        if 0 <= column <= LARGEST and 0 <= row <= LARGEST:
            new_x[kept], new_y[kept] = np.uint16(np.rint(column)), np.uint16(np.rint(row))
            keep[kept] = i
            kept += 1
    return new_x[:kept], new_y[:kept], t[keep[:kept]], p[keep[:kept]]


@cached_njit(nogil=True)
def _stable_place(x: int, y: int, t: int) -> tuple[Any, Any]:
    # In tonic's order of operations: the sums are rounded.
    column, row = 4.0 + x, 2.0 + y
    if t <= SACCADE_MICROSECONDS:
        return column - 3.5 * t / SACCADE_MICROSECONDS, row - 7 * t / SACCADE_MICROSECONDS
    if t <= 2 * SACCADE_MICROSECONDS:
        since = t - SACCADE_MICROSECONDS
        return column - 3.5 - 3.5 * since / SACCADE_MICROSECONDS, row - 7 + 7 * since / SACCADE_MICROSECONDS
    since = t - 2 * SACCADE_MICROSECONDS
    return column - 7 + 7 * since / SACCADE_MICROSECONDS, row
