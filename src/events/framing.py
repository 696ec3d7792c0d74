"""Framing: every choice that turns a recording's events into frames, and the frames that it gives.

The choices apply in the order in which tonic's transforms are composed: first_saccade_only and stabilize, which are
N-MNIST's own, then the crop, Denoise, Downsample, MergePolarities and ToFrame.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.events.events import Events
from src.events.frames import framed_size, make_frames, require_inside
from src.events.kernels import (
    EVENT_COUNT,
    N_EVENT_BINS,
    N_TIME_BINS,
    TIME_WINDOW,
    denoise_events,
    most_frames,
    slices,
)
from src.events.saccades import first_saccade, stabilize
from src.frame_modes import FRAME_MODES

MODE_NUMBERS = {
    "event_count": EVENT_COUNT,
    "time_window": TIME_WINDOW,
    "n_time_bins": N_TIME_BINS,
    "n_event_bins": N_EVENT_BINS,
}
_WORDS = [mode.word for mode in FRAME_MODES.values()]
# Matches every name that `framing_name` gives.
NAME_PATTERN = rf"(?:{'|'.join(_WORDS)})\d+_overlap[0-9.e-]+_denoise\d+(?:_[a-z0-9.-]+)*"


@dataclass(frozen=True)
class Framing:
    """Everything that changes a bit of the frames; the defaults are those of the data section.

    Attributes:
        mode: event_count, time_window, n_time_bins or n_event_bins.
        size: events per frame, microseconds per window, or the number of bins.
        overlap: what consecutive frames share, in tonic's unit: events, microseconds, or a fraction of a bin.
        drop_incomplete: tonic's `not include_incomplete`, for event_count and time_window.
        dtype: binary, one packed bit per pixel, or counts, one byte per pixel, at most 255.
        polarities: both or merged.
        crop: region of the sensor, (x, y, width, height); None: all of it.
        downsample: tonic's spatial_factor, above 0 and at most 1.
        denoise_time: microseconds; 0: no denoising.
        first_saccade_only, stabilize: as tonic's N-MNIST dataset.
    """

    mode: str = "event_count"
    size: int = 1500
    overlap: float = 1000
    drop_incomplete: bool = True
    dtype: str = "binary"
    polarities: str = "both"
    crop: tuple[int, int, int, int] | None = None
    downsample: float = 1.0
    denoise_time: int = 1200
    first_saccade_only: bool = False
    stabilize: bool = False


def framing_parameters(framing: Framing) -> dict[str, Any]:
    """Return the framing under the names of the data section, without what its mode does not use."""
    parameters: dict[str, Any] = {
        "frame_mode": framing.mode,
        FRAME_MODES[framing.mode].size: framing.size,
        "overlap": int(framing.overlap) if framing.overlap == int(framing.overlap) else framing.overlap,
        "frame_dtype": framing.dtype,
        "polarities": framing.polarities,
        "downsample": float(framing.downsample),
        "denoise_time": framing.denoise_time,
        "first_saccade_only": framing.first_saccade_only,
        "stabilize": framing.stabilize,
    }
    if framing.crop is not None:
        parameters["crop"] = list(framing.crop)
    if not FRAME_MODES[framing.mode].in_bins:  # bins leave no incomplete frame
        parameters["drop_incomplete"] = framing.drop_incomplete
    return parameters


def size_options(framing: Framing) -> dict[str, float]:
    """Return the options that decide the number of frames per recording, under the names of the data section."""
    return {FRAME_MODES[framing.mode].size: framing.size, "overlap": framing.overlap}


def framing_name(parameters: dict[str, Any]) -> str:
    """Return the parameters' folder name: events1500_overlap1000_denoise1200, then what differs from the defaults."""
    mode = FRAME_MODES[parameters["frame_mode"]]
    words = [
        f"{mode.word}{parameters[mode.size]}",
        f"overlap{parameters['overlap']}",
        f"denoise{parameters['denoise_time']}",
    ]
    if not parameters.get("drop_incomplete", True):
        words.append("incomplete")
    if parameters["frame_dtype"] != "binary":
        words.append(parameters["frame_dtype"])
    if parameters["polarities"] != "both":
        words.append(parameters["polarities"])
    if "crop" in parameters:
        words.append("crop" + "x".join(map(str, parameters["crop"])))
    if parameters["downsample"] != 1:
        words.append(f"downsample{parameters['downsample']:g}")
    if parameters["first_saccade_only"]:
        words.append("firstsaccade")
    if parameters["stabilize"]:
        words.append("stabilized")
    return "_".join(words)


def frame_shape(framing: Framing, sensor_size: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return a frame's (P, H, W) for a sensor (W, H, P): merging and downsampling make it smaller.

    Downsampling keeps the fewest columns that hold every pixel, int((W - 1) * downsample) + 1, and rows likewise.
    """
    region = region_size(framing, sensor_size)
    width, height, polarities = framed_size(region, framing.polarities == "merged", framing.downsample)
    return polarities, height, width


def region_size(framing: Framing, sensor_size: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return (W, H, P) of the part of the sensor that frames show."""
    return sensor_size if framing.crop is None else (framing.crop[2], framing.crop[3], sensor_size[2])


def cropped(events: Events, crop: tuple[int, int, int, int]) -> Events:
    """Return the events in a region (x, y, width, height), whose corner becomes pixel (0, 0)."""
    left, top, width, height = crop
    x, y = events.x - np.uint16(left), events.y - np.uint16(top)  # those before the corner become large
    kept = (x < width) & (y < height)
    return replace(events, x=x[kept], y=y[kept], t=events.t[kept], p=events.p[kept])


def frame_bytes(framing: Framing, sensor_size: tuple[int, int, int]) -> int:
    """Return the bytes of a frame: P*H*W bits packed, or P*H*W bytes for counts."""
    polarities, height, width = frame_shape(framing, sensor_size)
    pixels = polarities * height * width
    return pixels if framing.dtype == "counts" else -(-pixels // 8)


def frames_of(events: Events, sensor_size: tuple[int, int, int], framing: Framing) -> NDArray[np.uint8]:
    """Return the frames of a recording, bit-identical to tonic's transforms.

    `> 0` of tonic's frames for binary, `min(…, 255)` of them for counts, where tonic's own int16 counts hold: a pixel
    with more than 32,767 events in a frame stays at 255, and set, here. A recording without events, or of which
    denoising leaves none, gives one empty frame, or the number of bins; tonic's have W and H swapped there.

    Args:
        events: N events.
        sensor_size: (W, H, P) of the recording, tonic's order.
        framing: how.

    Returns:
        uint8 [F, frame_bytes]: packed bits, little-endian bit order, or counts; C order of [P, H, W].

    Raises:
        ValueError: for an event outside the sensor, or if the frames are more than `kernels.most_frames`.
    """
    events = of_region(events, sensor_size, framing)
    return make_frames(
        events,
        region_size(framing, sensor_size),
        MODE_NUMBERS[framing.mode],
        framing.size,
        framing.overlap,
        framing.drop_incomplete,
        framing.dtype == "counts",
        framing.polarities == "merged",
        framing.downsample,
        framing.denoise_time,
    )


def frame_times(events: Events, sensor_size: tuple[int, int, int], framing: Framing) -> NDArray[np.int64]:
    """Return when each frame of `frames_of` begins and ends, int64 [F, 2], in microseconds.

    Frames of a number of events (event_count, n_event_bins) begin with their first event and end with their last one;
    a frame without events has 0 and 0. Frames of a time (time_window, n_time_bins) are the time itself: their events
    are at or after its begin and before its end.

    Raises:
        ValueError: as `frames_of`.
    """
    events = of_region(events, sensor_size, framing)
    t = events.t
    mode, size, overlap = MODE_NUMBERS[framing.mode], framing.size, float(framing.overlap)
    most = most_frames(mode, len(t), frame_bytes(framing, sensor_size))
    if framing.denoise_time > 0 and len(t):
        t = denoise_events(events.x, events.y, t, events.p, framing.denoise_time)[2]
    starts, ends = slices(mode, t, len(t), size, overlap, framing.drop_incomplete, most)
    if len(t) == 0:
        return np.zeros((len(starts), 2), np.int64)
    frames = np.arange(len(starts))
    if mode == TIME_WINDOW:
        begins = frames * (size - int(overlap)) + t[0]
        return np.stack([begins, begins + size], axis=1)
    if mode == N_TIME_BINS:
        window = (t[-1] - t[0]) // size * (1 + overlap)
        bins = frames * (window * (1 - overlap)) + t[0]
        return np.ceil(np.stack([bins, bins + window], axis=1)).astype(np.int64)
    times = np.stack([t[np.minimum(starts, len(t) - 1)], t[np.minimum(ends, len(t)) - 1]], axis=1)
    times[np.minimum(ends, len(t)) <= starts] = 0
    return times


def of_region(events: Events, sensor_size: tuple[int, int, int], framing: Framing) -> Events:
    """Return the events of the saccade and of the region of the sensor that frames show, at their places in it.

    What becomes of an event does not depend on the others, so this may be done part by part.

    Raises:
        OutsideSensorError: if it looks at the place of an event outside the sensor.
    """
    if framing.first_saccade_only or framing.stabilize:
        require_inside(events, sensor_size)  # first, since they drop or move events that lie outside
    if framing.first_saccade_only:
        events = first_saccade(events)
    if framing.stabilize:
        events = stabilize(events)
    if framing.crop is not None:
        require_inside(events, sensor_size)
        events = cropped(events, framing.crop)
    return events
