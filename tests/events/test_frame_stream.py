"""FrameStream: whatever the parts that events come in, the frames and their times are those of the whole."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.events import Events
from src.events.frame_stream import FrameStream
from src.events.framing import Framing, frame_bytes, frame_times, frames_of
from tests.recordings import event_streams

SENSOR = (4, 3, 2)


def events_of(x, y, t, p=None):
    p = np.zeros(len(x)) if p is None else p
    return Events(np.array(x, np.uint16), np.array(y, np.uint16), np.array(t, np.int64), np.array(p, np.uint8))


def part(events, begin, end):
    return Events(events.x[begin:end], events.y[begin:end], events.t[begin:end], events.p[begin:end])


def streamed(events, cuts, sensor_size, framing, most_events=None):
    """Frames and times of events that come in parts, which end at these places."""
    stream = FrameStream(framing, sensor_size)
    bounds = [0, *sorted(cuts), len(events)]
    found = [full for a, b in itertools.pairwise(bounds) for full in stream.push(part(events, a, b))]
    found.append(stream.finish())
    assert stream.num_frames == sum(map(len, found))
    return np.concatenate([full.frames for full in found]), np.concatenate([full.times for full in found])


def assert_same_as_whole(events, cuts, sensor_size, framing):
    frames, times = streamed(events, cuts, sensor_size, framing)
    expected = frames_of(events, sensor_size, framing)
    assert frames.dtype == expected.dtype
    assert np.array_equal(frames, expected)
    assert np.array_equal(times, frame_times(events, sensor_size, framing))


@st.composite
def framings(draw, sensor_size):
    size = draw(st.integers(1, 60))
    width, height, _ = sensor_size
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    region = (left, top, draw(st.integers(1, width - left)), draw(st.integers(1, height - top)))
    return Framing(
        mode=draw(st.sampled_from(["event_count", "time_window"])),
        size=size,
        overlap=draw(st.integers(0, size - 1)),
        drop_incomplete=draw(st.booleans()),
        dtype=draw(st.sampled_from(["binary", "counts"])),
        polarities=draw(st.sampled_from(["both", "merged"])),
        crop=draw(st.sampled_from([None, region])),
        downsample=draw(st.sampled_from([1.0, 0.5, 0.3])),
        denoise_time=draw(st.sampled_from([0, 5, 100, 5000])),
    )


@settings(deadline=None)
@given(st.data())
def test_events_in_parts_give_the_frames_of_the_whole(data):
    events, sensor_size = data.draw(event_streams(least=0))
    cuts = data.draw(st.lists(st.integers(0, len(events)), max_size=6))
    assert_same_as_whole(events, cuts, sensor_size, data.draw(framings(sensor_size)))


@settings(deadline=None)
@given(st.data())
def test_frames_of_a_number_of_events_do_not_need_times_in_order(data):
    events, sensor_size = data.draw(event_streams())
    t = np.array(data.draw(st.permutations(events.t.tolist())), np.int64)
    events = Events(events.x, events.y, t, events.p)
    cuts = data.draw(st.lists(st.integers(0, len(events)), max_size=6))
    framing = Framing(mode="event_count", size=7, overlap=3, denoise_time=data.draw(st.sampled_from([0, 50])))
    assert_same_as_whole(events, cuts, sensor_size, framing)


@pytest.mark.parametrize("mode", ["event_count", "time_window"])
def test_long_recordings_are_looked_at_in_pieces(monkeypatch, mode):
    monkeypatch.setattr("src.events.frame_stream.MOST_EVENTS", 100)
    monkeypatch.setattr("src.events.frame_stream.FRAMES_BYTES", 20)
    rng = np.random.default_rng(0)
    x, y, p = (rng.integers(0, most, 1000) for most in SENSOR)
    events = events_of(x, y, np.cumsum(rng.integers(0, 9, 1000)), p)
    assert_same_as_whole(events, [], SENSOR, Framing(mode=mode, size=20, overlap=15, denoise_time=10))


@pytest.mark.parametrize("drop_incomplete", [True, False])
@pytest.mark.parametrize("mode", ["event_count", "time_window"])
@pytest.mark.parametrize("number", [0, 1, 7, 8, 9, 11, 12, 16, 17])
def test_the_end_is_that_of_the_whole(mode, drop_incomplete, number):
    events = events_of([1] * number, [1] * number, range(number))
    framing = Framing(mode=mode, size=8, overlap=4, drop_incomplete=drop_incomplete, denoise_time=0)
    assert_same_as_whole(events, [number // 2], SENSOR, framing)


@pytest.mark.parametrize("others", [0, 1])
def test_an_early_event_in_the_corner_waits_for_one_at_another_pixel(others):
    events = events_of([0] * 5 + [3] * others, [0] * (5 + others), range(5 + others))
    framing = Framing(mode="event_count", size=2, overlap=0, denoise_time=1000)
    assert_same_as_whole(events, [1, 3], SENSOR, framing)
    assert len(list(FrameStream(framing, SENSOR).push(events))) == others


def test_a_frame_is_there_as_soon_as_its_last_event_is():
    stream = FrameStream(Framing(mode="event_count", size=3, overlap=1, denoise_time=0), SENSOR)
    events = events_of(range(4), [0] * 4, range(4))
    assert [sum(map(len, stream.push(part(events, i, i + 1)))) for i in range(3)] == [0, 0, 1]


def test_a_window_is_there_as_soon_as_an_event_lies_behind_it():
    stream = FrameStream(Framing(mode="time_window", size=10, overlap=0, denoise_time=0), SENSOR)
    events = events_of([0] * 4, [0] * 4, [5, 14, 15, 40])
    found = [[tuple(times) for full in stream.push(part(events, i, i + 1)) for times in full.times] for i in range(4)]
    assert found == [[], [], [(5, 15)], [(15, 25), (25, 35)]]


def test_a_window_without_events_is_empty():
    events = events_of([0, 1, 2], [0, 0, 0], [0, 100, 131])
    assert_same_as_whole(events, [1], SENSOR, Framing(mode="time_window", size=10, overlap=3, denoise_time=0))


def test_events_outside_the_sensor_are_left_out_and_counted():
    stream = FrameStream(Framing(mode="event_count", size=2, overlap=0, denoise_time=0), SENSOR)
    (full,) = stream.push(events_of([0, 4, 0, 1], [0, 0, 3, 1], range(4)))
    assert np.array_equal(full.frames, frames_of(events_of([0, 1], [0, 1], [0, 3]), SENSOR, stream.framing))
    assert (stream.events.num_events, stream.events.num_outside) == (2, 2)


def test_an_event_that_goes_back_in_time_counts_as_of_the_latest_time():
    stream = FrameStream(Framing(mode="time_window", size=10, overlap=0, denoise_time=0), SENSOR)
    found = list(stream.push(events_of([0, 1, 2, 3], [0] * 4, [0, 12, 3, 20])))
    assert stream.events.num_back == 1
    expected = frames_of(events_of([0, 1, 2, 3], [0] * 4, [0, 12, 12, 20]), SENSOR, stream.framing)
    assert np.array_equal(np.concatenate([full.frames for full in found]), expected)


def test_going_back_is_seen_between_parts():
    stream = FrameStream(Framing(mode="event_count", size=9, overlap=0), SENSOR)
    for t in (5, 4, 6):
        list(stream.push(events_of([0], [0], [t])))
    assert stream.events.num_back == 1


def test_a_step_of_time_that_too_many_windows_lie_in_is_refused():
    stream = FrameStream(Framing(mode="time_window", size=1, overlap=0, denoise_time=0), SENSOR)
    with pytest.raises(ValueError, match="are its timestamps damaged"):
        list(stream.push(events_of([0, 0], [0, 0], [0, 2**60])))


def test_too_many_early_events_in_the_corner_are_refused(monkeypatch):
    monkeypatch.setattr("src.events.event_filter.MOST_WAITING", 10)
    stream = FrameStream(Framing(), SENSOR)
    with pytest.raises(ValueError, match=r"first 10 events all lie at pixel \(0, 0\)"):
        list(stream.push(events_of([0] * 11, [0] * 11, [0] * 11)))


@pytest.mark.parametrize("mode", ["n_time_bins", "n_event_bins"])
def test_modes_that_need_the_whole_recording_are_refused(mode):
    with pytest.raises(ValueError, match=f"data.frame_mode = {mode} depend on all"):
        FrameStream(Framing(mode=mode, size=3, overlap=0), SENSOR)


def test_an_overlap_that_keeps_too_many_frames_open_is_refused():
    with pytest.raises(ValueError, match="more than fit into memory"):
        FrameStream(Framing(mode="time_window", size=10**9, overlap=10**9 - 1), (1000, 1000, 2))


@settings(deadline=None)
@given(st.data())
def test_times_of_bins_are_those_of_their_events(data):
    events, sensor_size = data.draw(event_streams())
    mode = data.draw(st.sampled_from(["n_time_bins", "n_event_bins"]))
    framing = Framing(mode=mode, size=data.draw(st.integers(1, 5)), overlap=0.25, dtype="counts", denoise_time=0)
    frames, times = frames_of(events, sensor_size, framing), frame_times(events, sensor_size, framing)
    assert frames.shape == (len(times), frame_bytes(framing, sensor_size))
    for frame, (begin, end) in zip(frames, times, strict=True):
        inside = (events.t >= begin) & ((events.t < end) if mode == "n_time_bins" else (events.t <= end))
        if mode == "n_time_bins":
            assert frame.sum() == inside.sum()
        else:
            assert frame.sum() <= inside.sum()
