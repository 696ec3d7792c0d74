"""Frames: events to packed bits or counts in one pass, with denoising, downsampling and merging on the way."""

import numpy as np
from numpy.typing import NDArray

from src.events.events import Events
from src.events.formats.errors import check_outside
from src.events.kernels import EVENT_COUNT, TIME_WINDOW, frame_events, largest


class OutsideSensorError(ValueError):
    """An event lies outside the sensor."""


def to_frames(
    events: Events, sensor_size: tuple[int, int, int], events_per_frame: int, overlap: int = 0
) -> NDArray[np.bool_]:
    """Return binary frames of events_per_frame events; consecutive frames share `overlap` events.

    Bit-identical to `tonic.transforms.ToFrame(sensor_size, event_count=events_per_frame, overlap=overlap) > 0`: fewer
    events than events_per_frame give one frame of them all, none give one empty frame, and events after the last
    whole frame are left out. `src.events.framing` has the other ways to frame.

    Args:
        events: N events.
        sensor_size: (W, H, P), tonic's order.
        events_per_frame: events per frame.
        overlap: events, smaller than events_per_frame.

    Returns:
        bool [F, P, H, W].

    Raises:
        ValueError: for an event outside the sensor, an overlap that leaves no step, or frames of more than MOST_BYTES
            in packed form.
    """
    packed = make_frames(events, sensor_size, EVENT_COUNT, events_per_frame, overlap)
    width, height, polarities = sensor_size
    bits = np.unpackbits(packed, axis=1, count=polarities * height * width, bitorder="little")
    return bits.reshape(len(packed), polarities, height, width).view(np.bool_)


def make_frames(
    events: Events,
    sensor_size: tuple[int, int, int],
    mode: int,
    size: int,
    overlap: float = 0.0,
    drop_incomplete: bool = True,
    counts: bool = False,
    merged: bool = False,
    downsample: float = 1.0,
    denoise_time: int = 0,
) -> NDArray[np.uint8]:
    """Return frames as flat bytes: tonic's Denoise, Downsample, MergePolarities and ToFrame, in this order.

    Args:
        events: N events.
        sensor_size: (W, H, P) of the events, tonic's order.
        mode, size, overlap, drop_incomplete: see `slices`.
        counts: write one byte per pixel, its number of events, at most 255; else one bit per pixel, set if it had any.
        merged: all polarities become one.
        downsample: coordinates are multiplied by it and cut to whole numbers.
        denoise_time: microseconds, see `denoise`; 0 does not denoise.

    Returns:
        uint8 [F, P*H*W] for counts, else [F, ceil(P*H*W/8)] in little-endian bit order; C order of [P, H, W].

    Raises:
        ValueError: as `to_frames`.
    """
    _check(events, sensor_size, mode, size, overlap)
    width, height, polarities = framed_size(sensor_size, merged, downsample)
    pixels = polarities * height * width
    return frame_events(
        events.x,
        events.y,
        events.t,
        events.p,
        width,
        0 if merged else height * width,
        pixels if counts else -(-pixels // 8),
        float(downsample),
        denoise_time,
        mode,
        size,
        float(overlap),
        drop_incomplete,
        counts,
    )


def framed_size(sensor_size: tuple[int, int, int], merged: bool, downsample: float) -> tuple[int, int, int]:
    """Return (W, H, P) of the frames: the fewest columns and rows that hold every downsampled pixel."""
    width, height, polarities = sensor_size
    return int((width - 1) * downsample) + 1, int((height - 1) * downsample) + 1, 1 if merged else polarities


def _check(events: Events, sensor_size: tuple[int, int, int], mode: int, size: int, overlap: float) -> None:
    limit = size if mode in (EVENT_COUNT, TIME_WINDOW) else 1
    if not 0 <= overlap < limit:
        raise ValueError(f"overlap {overlap} must be at least 0 and less than {limit}")
    require_inside(events, sensor_size)


def keep_inside(events: Events, sensor_size: tuple[int, int, int]) -> Events:
    """Return the events on the sensor (W, H, P); ForeignRecordingError if more than a few lie outside."""
    width, height, polarities = sensor_size
    inside = (events.x < width) & (events.y < height) & (events.p < polarities)
    num_outside = len(events) - int(np.count_nonzero(inside))
    check_outside(num_outside, len(events), f"{width} x {height} pixels")
    x, y, t, p = events.x[inside], events.y[inside], events.t[inside], events.p[inside]
    return Events(x, y, t, p, events.num_unread, events.num_outside + num_outside)


def require_inside(events: Events, sensor_size: tuple[int, int, int]) -> None:
    """Raise OutsideSensorError for an event outside the sensor (W, H, P)."""
    for name, most in zip("xyp", sensor_size, strict=True):
        if len(events) and (value := largest(getattr(events, name))) >= most:
            raise OutsideSensorError(f"an event has {name} = {value}, outside the sensor (0 to {most - 1})")
