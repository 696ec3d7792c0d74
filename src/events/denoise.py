"""Denoise: drop events with no recent event beside them."""

import itertools
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from src.events.events import Events
from src.helpers import LOG

_EMPTY_RECORDINGS = itertools.count(1)
_NEVER = np.iinfo(np.int64).min


def denoise(events: Events, filter_time: int) -> Events:
    """Keep the events that have an event at one of the four neighbouring pixels less than filter_time before.

    Bit-identical to `tonic.transforms.Denoise(filter_time)`, its quirks included: the memory of a pixel without an
    event is filter_time, so an event with t < filter_time passes wherever it has a neighbouring pixel; the memory is
    as large as the data's largest x and y, so pixels beyond are no neighbours. Where tonic raises, on no events, the
    result is empty.

    Args:
        events: N events.
        filter_time: microseconds.
    """
    if len(events) == 0:
        LOG.warning("denoise: a recording without events stays without (%d so far)", next(_EMPTY_RECORDINGS))
        return events
    return Events(*_denoise(events.x, events.y, events.t, events.p, filter_time))


@numba.njit(cache=True, nogil=True)
def _denoise(
    x: NDArray[np.uint16], y: NDArray[np.uint16], t: NDArray[np.int64], p: NDArray[np.uint8], filter_time: int
) -> tuple[NDArray[np.uint16], NDArray[np.uint16], NDArray[np.int64], NDArray[np.uint8]]:
    keep = np.empty(len(t), dtype=np.uint32)
    kept = keep[: supported_events(x, y, t, filter_time, keep)]
    return x[kept], y[kept], t[kept], p[kept]


@numba.njit(cache=True, nogil=True)
def supported_events(
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    t: NDArray[np.int64],
    filter_time: int,
    keep: NDArray[np.uint32],
) -> int:
    """Write the indices of the events that denoising keeps to `keep` [N]; return how many there are."""
    stride = largest(y) + 3
    memory = _empty_memory(largest(x) + 1, stride, filter_time)
    kept = 0
    for i in range(len(t)):
        pixel = (np.int64(x[i]) + 1) * stride + np.int64(y[i]) + 1
        now = t[i]
        memory[pixel] = now + filter_time
        # Four loads and no branch: whether an event has support is too random to predict.
        latest = max(max(memory[pixel - stride], memory[pixel + stride]), max(memory[pixel - 1], memory[pixel + 1]))
        keep[kept] = i
        kept += latest > now
    return kept


@numba.njit(cache=True, nogil=True)
def _empty_memory(width: int, stride: int, filter_time: int) -> NDArray[np.int64]:
    """A flat [width + 2, stride] of filter_time, inside a border that is never recent and saves bounds checks."""
    memory = np.full((width + 2) * stride, _NEVER, dtype=np.int64)
    for column in range(1, width + 1):
        memory[column * stride + 1 : (column + 1) * stride - 1] = filter_time
    return memory


@numba.njit(cache=True, nogil=True)
def largest(values: NDArray[np.uint16]) -> Any:
    """The largest of unsigned numbers, 0 where there are none; a loop that vectorises."""
    most = values.dtype.type(0)
    for i in range(len(values)):
        most = max(most, values[i])
    return np.int64(most)
