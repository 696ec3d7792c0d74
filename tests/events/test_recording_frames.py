"""RecordingFrames: a recording that is read in windows gives the frames and times of the whole, bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.events import Events
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError
from src.events.framing import Framing, frame_times, frames_of
from src.events.recording_frames import RecordingFrames
from tests.recordings import event_streams

SENSOR = (4, 3, 2)


def events_of(t, x=None, **counts):
    x = np.zeros(len(t)) if x is None else x
    zeros = np.zeros(len(t), np.uint8)
    return Events(np.array(x, np.uint16), zeros.astype(np.uint16), np.array(t, np.int64), zeros, **counts)


def cut(events, most_events):
    """The events in windows of this many."""
    return [
        Events(*(getattr(events, name)[begin : begin + most_events] for name in "xytp"))
        for begin in range(0, len(events), most_events)
    ]


def made(windows, sensor_size, framing):
    recording = RecordingFrames(lambda: iter(windows), sensor_size, framing, with_times=True)
    parts = list(recording)
    assert recording.num_frames == sum(map(len, parts))
    frames, times = (np.concatenate([getattr(part, name) for part in parts]) for name in ("frames", "times"))
    return recording, frames, times


@st.composite
def framings(draw, sensor_size):
    mode = draw(st.sampled_from(["event_count", "time_window", "n_time_bins", "n_event_bins"]))
    in_bins = mode.startswith("n_")
    size = draw(st.integers(1, 12 if in_bins else 60))
    width, height, _ = sensor_size
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    region = (left, top, draw(st.integers(1, width - left)), draw(st.integers(1, height - top)))
    return Framing(
        mode=mode,
        size=size,
        overlap=draw(st.sampled_from([0.0, 0.25, 0.9])) if in_bins else draw(st.integers(0, size - 1)),
        drop_incomplete=draw(st.booleans()),
        dtype=draw(st.sampled_from(["binary", "counts"])),
        polarities=draw(st.sampled_from(["both", "merged"])),
        crop=draw(st.sampled_from([None, region])),
        downsample=draw(st.sampled_from([1.0, 0.5])),
        denoise_time=draw(st.sampled_from([0, 5, 5000])),
    )


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_frames_and_times_do_not_depend_on_the_size_of_the_windows(data):
    events, sensor_size = data.draw(event_streams())
    framing = data.draw(framings(sensor_size))
    recording, frames, times = made(cut(events, data.draw(st.integers(1, 40))), sensor_size, framing)
    assert np.array_equal(frames, frames_of(events, sensor_size, framing))
    assert np.array_equal(times, frame_times(events, sensor_size, framing))
    assert recording.num_events == len(events)


def test_losses_of_all_windows_are_added_up():
    windows = [events_of([1, 2], num_back=1, num_outside=1), events_of([3], num_back=2), events_of([], num_unread=5)]
    recording, _, _ = made(windows, SENSOR, Framing(size=2, overlap=0, denoise_time=0))
    assert (recording.num_unread, recording.num_outside, recording.num_back) == (5, 1, 3)


@pytest.mark.parametrize("most_events", [500, 1000])
@pytest.mark.parametrize("mode", ["event_count", "n_event_bins"])
def test_a_few_events_outside_the_sensor_are_left_out_and_counted(mode, most_events):
    events = events_of(range(1000), x=[9, *[0] * 998, 9])
    framing = Framing(mode=mode, size=10, overlap=0, denoise_time=0)
    recording, frames, _ = made(cut(events, most_events), SENSOR, framing)
    assert (recording.num_outside, recording.num_events) == (2, 998)
    assert np.array_equal(frames, frames_of(events_of(range(998)), SENSOR, framing))


@pytest.mark.parametrize("most_events", [50, 100])
@pytest.mark.parametrize("mode", ["event_count", "n_event_bins"])
def test_many_events_outside_the_sensor_are_an_error(mode, most_events):
    events = events_of(range(100), x=[9] * 50 + [0] * 50)
    with pytest.raises(ForeignRecordingError, match="50 of its 100 events lie outside the sensor"):
        made(cut(events, most_events), SENSOR, Framing(mode=mode, size=10, overlap=0, denoise_time=0))


@pytest.mark.parametrize("mode", ["time_window", "n_time_bins"])
def test_windows_of_time_of_a_long_recording_need_times_in_order(mode):
    events = events_of([1, 2, 3, 2, 4, 5])
    framing = Framing(mode=mode, size=2, overlap=0, denoise_time=0)
    with pytest.raises(CorruptRecordingError, match=r"its times go back.*; give data\.window_events a number above"):
        made(cut(events, 2), SENSOR, framing)
    assert np.array_equal(made([events], SENSOR, framing)[1], frames_of(events, SENSOR, framing))


@pytest.mark.parametrize("most_events", [3, 6])
@pytest.mark.parametrize(("mode", "size"), [("time_window", 1), ("n_time_bins", 1 << 28)])
def test_frames_that_would_fill_the_disk_are_an_error(mode, size, most_events):
    events = events_of([0, 1, 2, 3, 4, 1 << 40])
    with pytest.raises(ValueError, match="too many frames"):
        made(cut(events, most_events), SENSOR, Framing(mode=mode, size=size, overlap=0, denoise_time=0))


def test_a_recording_without_events_is_an_error():
    with pytest.raises(CorruptRecordingError, match="it holds no events"):
        made([events_of([])], SENSOR, Framing())
