"""What a circuit is to read of the events of a recording, worked out by the code that prepares frames for training."""

import numpy as np
import torch
from numpy.typing import NDArray

from src.data import read_samples
from src.events.events import Events
from src.events.frame_stream import FrameStream
from src.export.stream_plan import StreamPlan
from src.frame_cache.cache import Split
from src.logic.thermometer import encode_counts


def stream_samples(events: Events, plan: StreamPlan, is_whole: bool = True) -> NDArray[np.uint8]:
    """Return the bits of each frame of a recording, stacked and encoded, packed: uint8 [F, bytes].

    Args:
        events: those outside the sensor are left out.
        plan: what becomes of them.
        is_whole: whether the recording ends with these events, which may complete a frame.

    Raises:
        ValueError: as `FrameStream.push`.
    """
    stream = FrameStream(plan.framing, plan.sensor_size)
    parts = [np.empty((0, stream.frame_bytes), np.uint8), *(full.frames for full in stream.push(events))]
    if is_whole:
        parts.append(stream.finish().frames)
    frames = np.concatenate(parts)
    if len(frames) == 0:
        return np.empty((0, -(-plan.stack * plan.bits_per_frame // 8)), np.uint8)
    recording = np.zeros(len(frames), np.int64)
    frame_bits = plan.pixels * (8 if plan.framing.dtype == "counts" else 1)
    samples = read_samples(Split(frames, recording, recording, plan.stack, frame_bits), np.arange(len(frames)))
    if plan.thresholds:
        samples = encode_counts(samples, plan.stack * plan.frame_size[2], torch.tensor(plan.thresholds))
    return samples.numpy()
