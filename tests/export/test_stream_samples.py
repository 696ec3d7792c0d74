"""What a circuit is to read of events is what a model reads of a recording's frames."""

import math

import numpy as np
import pytest
import torch

from src.data import read_samples
from src.events import Events
from src.events.framing import Framing, frame_shape, frames_of
from src.export.stream_plan import StreamPlan
from src.export.stream_samples import stream_samples
from src.frame_cache.cache import Split
from src.logic.thermometer import Thermometer

SENSOR = (9, 7, 2)


def some_events(number):
    rng = np.random.default_rng(0)
    x, y, p = (rng.integers(0, size, number) for size in SENSOR)
    return Events(x.astype(np.uint16), y.astype(np.uint16), np.arange(number) * 10, p.astype(np.uint8))


@pytest.mark.parametrize("thresholds", [(), (0, 2), (-1, 1, 3)])
@pytest.mark.parametrize("stack", [1, 3])
def test_samples_are_the_stacked_and_encoded_frames_of_a_preparation(thresholds, stack):
    framing = Framing(size=30, overlap=10, denoise_time=0, dtype="counts" if thresholds else "binary")
    plan = StreamPlan(framing, SENSOR, thresholds, stack)
    events = some_events(200)
    frames = frames_of(events, SENSOR, framing)
    numbers = np.zeros(len(frames), np.int64)
    frame_bits = math.prod(frame_shape(framing, SENSOR)) * (8 if thresholds else 1)
    samples = read_samples(Split(frames, numbers, numbers, stack, frame_bits), np.arange(len(frames)))
    if thresholds:
        thermometer = Thermometer(len(thresholds), 2 * stack)
        thermometer.thresholds.copy_(torch.tensor(thresholds))
        samples = thermometer.encode(samples)
    assert np.array_equal(stream_samples(events, plan), samples.numpy())


def test_a_recording_that_breaks_off_has_no_frame_that_its_end_would_complete():
    plan = StreamPlan(Framing(size=30, overlap=0, denoise_time=0, drop_incomplete=False), SENSOR)
    events = some_events(100)
    assert len(stream_samples(events, plan)) == 4
    assert len(stream_samples(events, plan, is_whole=False)) == 3


def test_a_recording_without_a_full_frame_has_no_samples_of_stacked_frames_either():
    plan = StreamPlan(Framing(size=30, overlap=0, denoise_time=0), SENSOR, stack=3)
    assert stream_samples(some_events(20), plan, is_whole=False).shape == (0, -(-3 * 9 * 7 * 2 // 8))
