"""Recordings in a self-test: as long as a file of C can hold, with frames of every one."""

import numpy as np
import pytest

from src.events import Events
from src.events.framing import Framing
from src.export.c_stream import examples
from src.export.c_stream.examples import cut
from src.export.stream_plan import StreamPlan
from src.export.stream_samples import stream_samples

SENSOR = (8, 8, 2)


def events_of(number):
    zeros = np.zeros(number, np.uint16)
    return Events(zeros + 1, zeros, np.arange(number) * 10, zeros.astype(np.uint8))


@pytest.mark.parametrize(("size", "expected"), [(100, 5000), (2600, 5200), (4000, 6000)])
def test_long_recordings_are_cut_but_not_below_two_frames(size, expected):
    framing = Framing(size=size, overlap=0, denoise_time=0)
    assert len(cut(events_of(6000), StreamPlan(framing, SENSOR))) == expected


def test_short_recordings_stay_whole():
    assert len(cut(events_of(3), StreamPlan(Framing(size=100, overlap=0), SENSOR))) == 3


@pytest.mark.parametrize("size", [2, 60])
def test_recordings_have_a_bounded_number_of_frames(monkeypatch, size):
    monkeypatch.setattr(examples, "FRAMES", 300)
    plan = StreamPlan(Framing(mode="time_window", size=size, overlap=size - 1, denoise_time=0), SENSOR)
    assert 0 < len(stream_samples(cut(events_of(6000), plan), plan)) <= 300
