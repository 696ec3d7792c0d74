"""The kernels of `FrameStream`: denoising and framing that keep their state and go on with the next events."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.kernel_cache import cached_njit

# Places in the state of `fill_frames`.
NUM_EVENTS, NEXT_FRAME, ORIGIN, LATEST = range(4)
STATE_SIZE = 4


@cached_njit(nogil=True)
def keep_supported_next(
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    t: NDArray[np.int64],
    filter_time: int,
    memory: NDArray[np.int64],
    stride: int,
    kept: NDArray[np.uint32],
) -> Any:
    """Write the places of the next events that denoising keeps to `kept`; return how many there are.

    The arithmetic is that of `kernels.keep_supported`, with a memory of the whole sensor.

    Args:
        x, y, t: of the next events.
        filter_time: microseconds.
        memory: flat [columns + 2, stride], see `kernels.empty_memory`; what the events before have left.
        stride: rows + 2.
        kept: uint32 [N], room for the places.
    """
    one, next_column = np.uint64(1), np.uint64(stride)
    number = np.uint64(0)
    for i in range(len(t)):
        pixel, now = (np.uint64(x[i]) + one) * next_column + np.uint64(y[i]) + one, t[i]
        memory[pixel] = now + filter_time
        latest = max(
            max(memory[pixel - next_column], memory[pixel + next_column]), max(memory[pixel - one], memory[pixel + one])
        )
        kept[number] = i
        number += np.uint64(latest > now)
    return np.int64(number)


@cached_njit(nogil=True)
def fill_frames(
    by_time: bool,
    pixels: NDArray[np.uint32],
    t: NDArray[np.int64],
    done: int,
    size: int,
    step: int,
    counts: bool,
    most: int,
    state: NDArray[np.int64],
    open_frames: NDArray[np.uint8],
    open_begins: NDArray[np.int64],
    frames: NDArray[np.uint8],
    begins: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> Any:
    """Write the next events into the frames that are open; move those that are full to `frames`.

    Args:
        by_time: frames are windows of time; if not, they hold a number of events.
        pixels, t: places in a frame and times of the next events.
        done: how many of them are in the frames already.
        size: events or microseconds of a frame.
        step: events or microseconds from one frame to the next.
        counts: a byte counts the events of a pixel, up to 255; if not, a bit says whether it had any.
        most: frames between two events; more are refused.
        state: int64 [STATE_SIZE]: events so far, the next frame that becomes full, and by time the first and the
            latest time.
        open_frames, open_begins: [ceil(size / step), bytes], and by events the time of each one's first event; frame f
            is in row f % ceil(size / step).
        frames, begins, ends: room for frames that are full, [F, bytes], and their times [F]: by events of their first
            and last event, by time the begin and the end of the window.

    Returns:
        (done, num_frames); if `done` is less than the number of events, `frames` is full.

    Raises:
        ValueError: for a step of time that `most` frames do not cover.
    """
    rows = len(open_frames)
    full = 0
    for i in range(done, len(t)):
        next_frame = state[NEXT_FRAME]
        if by_time:
            now = t[i] if state[NUM_EVENTS] == 0 else max(t[i], state[LATEST])
            if state[NUM_EVENTS] == 0:
                state[ORIGIN] = now
            origin = state[ORIGIN]
            if (np.float64(now) - np.float64(origin) - size) / step - next_frame > most:
                raise ValueError(
                    "it would give too many frames; are its timestamps damaged, or is the overlap too large?"
                )
            while now >= origin + next_frame * step + size:
                if full == len(frames):
                    return i, full
                row = next_frame % rows
                begins[full] = origin + next_frame * step
                ends[full] = begins[full] + size
                frames[full] = open_frames[row]
                open_frames[row] = 0
                full += 1
                next_frame += 1
                state[NEXT_FRAME] = next_frame
            last = (now - origin) // step
            state[LATEST] = now
        else:
            if full == len(frames):
                return i, full
            last = state[NUM_EVENTS] // step
            if last * step == state[NUM_EVENTS]:
                open_begins[last % rows] = t[i]
            state[LATEST] = t[i]
        pixel = pixels[i]
        for f in range(next_frame, last + 1):
            row = f % rows
            if counts:
                open_frames[row, pixel] += open_frames[row, pixel] < 255
            else:
                open_frames[row, pixel >> np.uint32(3)] |= np.uint8(1) << np.uint8(pixel & np.uint32(7))
        state[NUM_EVENTS] += 1
        if not by_time and state[NUM_EVENTS] == next_frame * step + size:
            row = next_frame % rows
            begins[full], ends[full] = open_begins[row], t[i]
            frames[full] = open_frames[row]
            open_frames[row] = 0
            full += 1
            state[NEXT_FRAME] = next_frame + 1
    return len(t), full


@cached_njit(nogil=True)
def fill_bins(
    keys: NDArray[np.float64],
    pixels: NDArray[np.uint32],
    begins: NDArray[np.float64],
    ends: NDArray[np.float64],
    first: int,
    counts: bool,
    frames: NDArray[np.uint8],
) -> Any:
    """Write the next events into all the frames, which are given by bounds, that they belong to.

    Args:
        keys: float64 [N], what the bounds are compared with: the numbers of the events, or their times; they rise.
        pixels: uint32 [N], places in a frame.
        begins, ends: float64 [F]; a frame holds the events from its begin up to its end. Both rise.
        first: the first frame whose end is not reached.
        counts: a byte counts the events of a pixel, up to 255; if not, a bit says whether it had any.
        frames: uint8 [F, bytes].

    Returns:
        `first` for the events that follow.
    """
    for i in range(len(keys)):
        while first < len(ends) and ends[first] <= keys[i]:
            first += 1
        f, pixel = first, pixels[i]
        while f < len(begins) and begins[f] <= keys[i]:
            if counts:
                frames[f, pixel] += frames[f, pixel] < 255
            else:
                frames[f, pixel >> np.uint32(3)] |= np.uint8(1) << np.uint8(pixel & np.uint32(7))
            f += 1
    return first
