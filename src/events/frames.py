"""Frames: events to binary frames of a fixed number of events, as booleans or packed bits."""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from src.events.denoise import largest, supported_events
from src.events.events import Events


def to_frames(
    events: Events, sensor_size: tuple[int, int, int], events_per_frame: int, overlap: int = 0
) -> NDArray[np.bool_]:
    """Binary frames of events_per_frame events; consecutive frames share `overlap` events.

    Bit-identical to `tonic.transforms.ToFrame(sensor_size, event_count=events_per_frame, overlap=overlap) > 0`: fewer
    events than events_per_frame give one frame of them all, none give one empty frame, and events after the last
    whole frame are left out.

    Args:
        events: N events.
        sensor_size: (W, H, P), tonic's order.
        events_per_frame: events of a frame.
        overlap: events, smaller than events_per_frame.

    Returns:
        bool [F, P, H, W].

    Raises:
        ValueError: for an event outside the sensor, or an overlap that leaves no step.
    """
    _check(events, sensor_size, events_per_frame, overlap)
    width, height, polarities = sensor_size
    num_frames = max(0, len(events) - events_per_frame) // (events_per_frame - overlap) + 1
    frames = np.zeros((num_frames, polarities, height, width), dtype=np.bool_)
    _mark(events.x, events.y, events.p, events_per_frame, events_per_frame - overlap, frames)
    return frames


@numba.njit(cache=True, nogil=True)
def _mark(
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    p: NDArray[np.uint8],
    events_per_frame: int,
    step: int,
    frames: NDArray[np.bool_],
) -> None:
    for f in range(len(frames)):
        for i in range(f * step, min(f * step + events_per_frame, len(x))):
            frames[f, p[i], y[i], x[i]] = True


def to_packed_frames(
    events: Events,
    sensor_size: tuple[int, int, int],
    events_per_frame: int,
    overlap: int = 0,
    denoise_time: int = 0,
) -> NDArray[np.uint8]:
    """`to_frames` of `denoise` of the events in one pass, as packed bits; a denoise_time of 0 does not denoise.

    Returns:
        uint8 [F, ceil(P*H*W/8)], C order of [P, H, W], little-endian bit order.

    Raises:
        ValueError: as `to_frames`.
    """
    _check(events, sensor_size, events_per_frame, overlap)
    width, height, polarities = sensor_size
    return _pack(
        events.x,
        events.y,
        events.t,
        events.p,
        width,
        height,
        -(-polarities * height * width // 8),
        events_per_frame,
        events_per_frame - overlap,
        denoise_time,
    )


def _check(events: Events, sensor_size: tuple[int, int, int], events_per_frame: int, overlap: int) -> None:
    if not 0 <= overlap < events_per_frame:
        raise ValueError(f"overlap {overlap} must be at least 0 and less than events_per_frame {events_per_frame}")
    for name, size in zip("xyp", sensor_size, strict=True):
        if len(events) and (most := largest(getattr(events, name))) >= size:
            raise ValueError(f"an event has {name} = {most}, outside the sensor (0 to {size - 1})")


@numba.njit(cache=True, nogil=True)
def _pack(
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    t: NDArray[np.int64],
    p: NDArray[np.uint8],
    width: int,
    height: int,
    frame_bytes: int,
    events_per_frame: int,
    step: int,
    denoise_time: int,
) -> NDArray[np.uint8]:
    bits = np.empty(len(t), dtype=np.uint32)  # of each kept event, its place in a frame
    if denoise_time > 0:
        keep = np.empty(len(t), dtype=np.uint32)
        kept = supported_events(x, y, t, denoise_time, keep)
        for k in range(kept):
            bits[k] = _place(x, y, p, width, height, keep[k])
    else:
        kept = len(t)
        for i in range(kept):
            bits[i] = _place(x, y, p, width, height, i)

    num_frames = max(0, kept - events_per_frame) // step + 1
    frames = np.zeros((num_frames, frame_bytes), dtype=np.uint8)
    for f in range(num_frames):
        frame = frames[f]
        for k in range(f * step, min(f * step + events_per_frame, kept)):
            frame[bits[k] >> np.uint32(3)] |= np.uint8(1) << np.uint8(bits[k] & np.uint32(7))
    return frames


@numba.njit(cache=True, nogil=True, inline="always")
def _place(x: NDArray[np.uint16], y: NDArray[np.uint16], p: NDArray[np.uint8], width: int, height: int, i: int) -> Any:
    return (np.int64(p[i]) * height + np.int64(y[i])) * width + np.int64(x[i])
