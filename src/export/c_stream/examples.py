"""The recordings in a self-test: real ones, cut to what a file of C can hold, and the counts of their frames."""

import math

import numpy as np
import torch

from src.data import read_samples
from src.events.events import Events
from src.events.frame_stream import FrameStream
from src.events.framing import Framing, frame_shape
from src.export.c_stream.design import StreamDesign
from src.export.c_stream.self_test import StreamExamples
from src.export.example_recordings import example_recordings
from src.export.exported import ExportedModel
from src.frame_cache.cache import Split

RECORDINGS = 10  # at most
EVENTS = 50_000  # of all of them
FRAMES = 2_000  # of each one
WRAP = 1 << 32  # microseconds


def stream_examples(exported: ExportedModel, design: StreamDesign) -> StreamExamples:
    """Return example recordings, each `cut`, with first times below 2^32, and the counts of their frames."""
    recordings, what = example_recordings(exported.config, design.sensor_size, RECORDINGS)
    parts = [cut(events, design.framing, design.sensor_size) for events in recordings]
    early = [Events(it.x, it.y, it.t - it.t[:1].sum() // WRAP * WRAP, it.p) for it in parts]
    counts = []
    for events in early:
        frames = streamed_frames(design.framing, design.sensor_size, design.stack, events)
        with torch.no_grad():
            counts.append(exported.full_circuit(exported.model.circuit_inputs(frames).numpy()))
    return StreamExamples(early, counts, what)


def cut(events: Events, framing: Framing, sensor_size: tuple[int, int, int]) -> Events:
    """Return the first events: a recording's share of EVENTS, but at least two frames, and no more than FRAMES."""
    two_frames = 2 * framing.size if framing.mode == "event_count" else 0
    events = events.chosen(slice(max(EVENTS // RECORDINGS, two_frames)))
    while len(events) and _has_many_frames(events, framing, sensor_size):
        events = events.chosen(slice(len(events) // 2))
    return events


def streamed_frames(framing: Framing, sensor_size: tuple[int, int, int], stack: int, events: Events) -> torch.Tensor:
    """Return the stacked frames of a recording whose events come one after the other, as `read_samples` gives them.

    Raises:
        ValueError: as `FrameStream.push`.
    """
    stream = FrameStream(framing, sensor_size)
    frames = np.concatenate([*(full.frames for full in stream.push(events)), stream.finish().frames])
    recording = np.zeros(len(frames), np.int64)
    bits = math.prod(frame_shape(framing, sensor_size)) * (8 if framing.dtype == "counts" else 1)
    return read_samples(Split(frames, recording, recording, stack, bits), np.arange(len(frames)))


def _has_many_frames(events: Events, framing: Framing, sensor_size: tuple[int, int, int]) -> bool:
    stream = FrameStream(framing, sensor_size)
    try:
        return any(stream.num_frames >= FRAMES for _ in stream.push(events))
    except ValueError:  # far too many
        return True
