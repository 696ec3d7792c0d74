"""The kernels of denoising and framing: flat arrays in, flat arrays out.

They lie in one file, since numba compiles a kernel into those that call it, and takes its compiled code from disk until
the caller's file changes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.kernel_cache import cached_njit

EVENT_COUNT, TIME_WINDOW, N_TIME_BINS, N_EVENT_BINS = range(4)  # frame modes
# What the frames of one recording may take: a damaged timestamp or a wrong option must not fill the memory or the disk.
# A long recording may have more than MOST_BYTES, as long as they are no more than MOST_BYTES_PER_EVENT.
MOST_BYTES = 1 << 28
MOST_BYTES_PER_EVENT = 16


@cached_njit(nogil=True)
def denoise_events(
    x: NDArray[np.uint16], y: NDArray[np.uint16], t: NDArray[np.int64], p: NDArray[np.uint8], filter_time: int
) -> tuple[NDArray[np.uint16], NDArray[np.uint16], NDArray[np.int64], NDArray[np.uint8]]:
    """Return x, y, t and p of the events that denoising keeps, see `src.events.denoise`."""
    every = np.arange(len(t), dtype=np.uint32)
    kept = every[: keep_supported(x, y, t, filter_time, every)]
    return x[kept], y[kept], t[kept], p[kept]


@cached_njit(nogil=True)
def keep_supported(
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    t: NDArray[np.int64],
    filter_time: int,
    values: NDArray[np.uint32],
) -> Any:
    """Move the `values` [N] of the events that denoising keeps to the front, in order; return how many there are."""
    # Unsigned: a signed index would be tested for whether it counts from the end.
    one, stride = np.uint64(1), np.uint64(largest(y) + 3)
    memory = empty_memory(largest(x) + 1, np.int64(stride), filter_time)
    pixels = np.empty(len(t), dtype=np.uint64)
    for i in range(len(t)):  # apart from the loop below: this one vectorises
        pixels[i] = (np.uint64(x[i]) + one) * stride + np.uint64(y[i]) + one
    kept = np.uint64(0)
    for i in range(len(t)):
        pixel, now = pixels[i], t[i]
        memory[pixel] = now + filter_time
        # Four loads and no branch: whether an event has support is too random to predict.
        latest = max(max(memory[pixel - stride], memory[pixel + stride]), max(memory[pixel - one], memory[pixel + one]))
        values[kept] = values[i]
        kept += np.uint64(latest > now)
    return np.int64(kept)


@cached_njit(nogil=True)
def empty_memory(width: Any, stride: Any, filter_time: int) -> NDArray[np.int64]:
    """Return a flat [width + 2, stride] of filter_time; its border is never recent, which saves bounds checks."""
    memory = np.full((width + 2) * stride, np.iinfo(np.int64).min, dtype=np.int64)
    for column in range(1, width + 1):
        memory[column * stride + 1 : (column + 1) * stride - 1] = filter_time
    return memory


@cached_njit(nogil=True)
def largest(values: NDArray[np.uint16]) -> Any:
    """Return the largest of unsigned numbers, 0 if there are none, by a loop that vectorises."""
    most = values.dtype.type(0)
    for i in range(len(values)):
        most = max(most, values[i])
    return np.int64(most)


@cached_njit(nogil=True)
def slices(
    mode: int,
    times: NDArray[np.int64],
    num_events: int,
    size: int,
    overlap: float,
    drop_incomplete: bool,
    most: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each frame's events: from starts[f] up to ends[f], which may lie beyond the last event.

    The arithmetic is that of `tonic.slicers`, step by step, since a rounding decides where an event goes; so is the
    binary search in times that are out of order, whose result is NumPy's. No events: one slice, or the number of bins.

    Args:
        mode: EVENT_COUNT (SliceByEventCount), TIME_WINDOW (SliceByTime), N_TIME_BINS (SliceByTimeBins) or
            N_EVENT_BINS (SliceByEventBins).
        times: of the events [num_events], microseconds; looked at by the modes of time only.
        num_events: how many there are.
        size: events of a frame, microseconds of a window, or the number of bins.
        overlap: whole events, whole microseconds, or a fraction of a bin below 1.
        drop_incomplete: leave out the events, or the time, after the last whole frame; the bins have no such rest.
        most: frames.

    Returns:
        (starts, ends), int64 [F] each.

    Raises:
        ValueError: if there would be more than `most`.
    """
    if num_events == 0:
        num = _at_most(most, size if mode in (N_TIME_BINS, N_EVENT_BINS) else 1)
        return np.zeros(num, dtype=np.int64), np.zeros(num, dtype=np.int64)
    if mode == EVENT_COUNT:
        step = size - np.int64(overlap)
        length = min(size, num_events)
        num = _at_most(most, _rounded((num_events - length) / step, drop_incomplete) + 1)
        starts = np.arange(num) * step
        return starts, starts + length
    if mode == N_EVENT_BINS:
        num = _at_most(most, size)
        count = np.int64(num_events // size * (1 + overlap))
        starts = np.arange(num) * np.int64(count * (1 - overlap))
        return starts, starts + count
    if mode == TIME_WINDOW:
        duration = times[-1] - times[0]
        step = size - np.int64(overlap)
        num = _at_most(most, max(_rounded((duration - size) / step, drop_incomplete) + 1, 1))
        begins = np.arange(num) * step + times[0]
        return np.searchsorted(times, begins), np.searchsorted(times, begins + size)
    bins, window = time_bins(times[0], times[-1], _at_most(most, size), overlap)
    return np.searchsorted(times, bins), np.searchsorted(times, bins + window)


@cached_njit(nogil=True)
def time_bins(first: Any, last: Any, num: int, overlap: float) -> tuple[NDArray[np.float64], float]:
    """Return when each of `num` bins from the first to the last time begins, [num], and how long they are."""
    window = (last - first) // num * (1 + overlap)
    return np.arange(num) * (window * (1 - overlap)) + first, window


@cached_njit(nogil=True)
def most_frames(mode: int, num_events: int, frame_bytes: int) -> Any:
    """Return how many frames of this size a recording may have, by its number of events in the region."""
    per_event = 0 if mode in (N_TIME_BINS, N_EVENT_BINS) else MOST_BYTES_PER_EVENT  # all bins are open at a time
    return max(MOST_BYTES, per_event * num_events) // frame_bytes


@cached_njit(nogil=True)
def _rounded(number: float, down: bool) -> float:
    return np.floor(number) if down else np.ceil(number)


@cached_njit(nogil=True)
def _at_most(most: int, number: float) -> Any:
    if number > most:
        raise ValueError("it would give too many frames; are its timestamps damaged, or is the overlap too large?")
    return np.int64(number)


@cached_njit(nogil=True)
def frame_events(
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    t: NDArray[np.int64],
    p: NDArray[np.uint8],
    width: int,
    polarity_pixels: int,
    frame_bytes: int,
    downsample: float,
    denoise_time: int,
    mode: int,
    size: int,
    overlap: float,
    drop_incomplete: bool,
    counts: bool,
) -> NDArray[np.uint8]:
    """Return frames [F, frame_bytes], see `src.events.frames.make_frames`.

    Args:
        x, y, t, p: of the events, within the sensor.
        width: columns of a frame.
        polarity_pixels: pixels from one polarity to the next; 0 merges them.
        frame_bytes: of a frame of all its pixels' bits, or of their counts.
        others: as `make_frames`.
    """
    by_time = mode in (TIME_WINDOW, N_TIME_BINS)
    kept = len(t)
    pixels = np.empty(kept, dtype=np.uint32)  # the place in a frame of each kept event
    find_pixels(x, y, p, width, polarity_pixels, downsample, pixels)
    times = t if by_time else t[:0]
    if denoise_time > 0 and by_time:
        every = np.arange(kept, dtype=np.uint32)
        kept = keep_supported(x, y, t, denoise_time, every)
        pixels, times = pixels[every[:kept]], t[every[:kept]]
    elif denoise_time > 0:
        kept = keep_supported(x, y, t, denoise_time, pixels)
    most = most_frames(mode, len(t), frame_bytes)
    starts, ends = slices(mode, times, kept, size, overlap, drop_incomplete, most)

    # The bits of events that several frames share are set once, in a piece; a frame is the union of a few pieces.
    pieces = 1 if counts else _pieces(mode, starts, ends, frame_bytes)
    frames = np.zeros((len(starts) + pieces - 1, frame_bytes), dtype=np.uint8)
    for f in range(len(frames)):
        frame = frames[f]
        if pieces > 1:
            begin, end = f * starts[1], (f + 1) * starts[1]
        else:
            begin, end = starts[f], ends[f]
        if counts:
            for k in range(begin, min(end, kept)):
                frame[pixels[k]] += frame[pixels[k]] < 255
        else:
            for k in range(begin, min(end, kept)):
                frame[pixels[k] >> np.uint32(3)] |= np.uint8(1) << np.uint8(pixels[k] & np.uint32(7))
    for f in range(len(starts)):
        for later in range(f + 1, f + pieces):
            for byte in range(frame_bytes):
                frames[f, byte] |= frames[later, byte]
    return frames[: len(starts)]


@cached_njit(nogil=True)
def _pieces(mode: int, starts: NDArray[np.int64], ends: NDArray[np.int64], frame_bytes: int) -> Any:
    """Return how many steps between frames make up one frame; 1 if they do not, or if uniting them takes longer."""
    if mode not in (EVENT_COUNT, N_EVENT_BINS) or len(starts) < 2:
        return 1
    step = starts[1]
    if 16 * step < frame_bytes or ends[0] % step != 0:  # 16 bytes are united in the time of an event
        return 1
    return ends[0] // step


@cached_njit(nogil=True)
def find_pixels(
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    p: NDArray[np.uint8],
    width: int,
    polarity_pixels: int,
    downsample: float,
    pixels: NDArray[np.uint32],
) -> None:
    """Write the place in a frame of each event to `pixels`."""
    columns, plane = np.uint32(width), np.uint32(polarity_pixels)
    if downsample == 1.0:
        for i in range(len(x)):
            pixels[i] = np.uint32(p[i]) * plane + np.uint32(y[i]) * columns + np.uint32(x[i])
    else:
        for i in range(len(x)):
            row, column = np.uint32(y[i] * downsample), np.uint32(x[i] * downsample)
            pixels[i] = np.uint32(p[i]) * plane + row * columns + column
