"""Framing: bit-identical to tonic's transforms, in every mode and combination."""

import dataclasses

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tonic.datasets.nmnist import stabilize
from tonic.transforms import Denoise, Downsample, MergePolarities, ToFrame

from src.command_line import UserError
from src.config import Data
from src.events import Events, denoise, read_recording, to_frames
from src.events.framing import Framing, frame_bytes, frame_shape, frames_of
from src.frame_cache.framing_options import framing_of
from tests.recordings import event_streams, real_recordings

SENSOR_SIZE = (34, 34, 2)
PLAIN = Framing(overlap=0, denoise_time=0)


def tonic_s_counts(events, sensor_size, framing):
    """Counts [F, P, H, W] as a user of tonic would compose its transforms."""
    array = events.to_structured()
    if framing.first_saccade_only:
        array = array[array["t"] < 1e5]
    if framing.stabilize:
        array = stabilize(array)
    if framing.denoise_time and len(array):
        array = Denoise(framing.denoise_time)(array)
    array = Downsample(spatial_factor=framing.downsample)(array)
    if framing.polarities == "merged":
        array = MergePolarities()(array)
    polarities, height, width = frame_shape(framing, sensor_size)
    frames = ToFrame(
        (width, height, polarities),
        **{framing.mode: framing.size},
        overlap=framing.overlap,
        include_incomplete=not framing.drop_incomplete,
    )(array)
    return frames if len(array) else frames.reshape(len(frames), polarities, height, width)  # tonic's: W before H


def unpacked(frames, framing, sensor_size):
    """Our frames as numbers [F, P, H, W]."""
    shape = frame_shape(framing, sensor_size)
    assert frames.dtype == np.uint8
    assert frames.shape[1] == frame_bytes(framing, sensor_size)
    if framing.dtype == "binary":
        bits = np.unpackbits(frames, axis=1, bitorder="little")
        assert not bits[:, np.prod(shape) :].any()
        frames = bits[:, : np.prod(shape)]
    return frames.reshape(-1, *shape)


def assert_equals_tonic(events, sensor_size, framing):
    theirs = tonic_s_counts(events, sensor_size, framing)
    expected = np.minimum(theirs, 255) if framing.dtype == "counts" else theirs > 0
    ours = unpacked(frames_of(events, sensor_size, framing), framing, sensor_size)
    assert np.array_equal(ours, expected), framing


fractions = st.one_of(st.sampled_from([0, 0.1, 0.5, 0.9]), st.floats(0, 1, exclude_max=True))


SHORT_WINDOWS = st.tuples(st.integers(1, 800), st.integers(0, 799))


@st.composite
def framings(draw, windows=SHORT_WINDOWS, **others):
    modes = {
        "event_count": st.tuples(st.integers(1, 80), st.integers(0, 79)),
        "time_window": windows,
        "n_time_bins": st.tuples(st.integers(1, 40), fractions),
        "n_event_bins": st.tuples(st.integers(1, 40), fractions),
    }
    mode = draw(st.sampled_from(list(modes)))
    size, overlap = draw(modes[mode])
    if overlap >= 1:
        overlap %= size
    return Framing(
        mode,
        size,
        overlap,
        drop_incomplete=draw(st.booleans()),
        dtype=draw(st.sampled_from(["binary", "counts"])),
        polarities=draw(st.sampled_from(["both", "merged"])),
        downsample=draw(st.one_of(st.sampled_from([1.0, 0.5, 0.375, 1 / 3]), st.floats(0.01, 1))),
        denoise_time=draw(st.sampled_from([0, 0, 20, 1000])),
        **{name: draw(strategy) for name, strategy in others.items()},
    )


@settings(max_examples=300, deadline=None)
@given(event_streams(least=0), framings())
def test_frames_equal_tonic_s(stream, framing):
    assert_equals_tonic(*stream, framing)


@settings(max_examples=200, deadline=None)
@given(event_streams(), framings(), st.randoms(use_true_random=False))
def test_frames_equal_tonic_s_when_timestamps_are_out_of_order(stream, framing, random):
    events, sensor_size = stream
    order = random.sample(range(len(events)), len(events))
    assert_equals_tonic(dataclasses.replace(events, t=events.t[order]), sensor_size, framing)


SACCADE_WINDOWS = st.tuples(st.integers(20_000, 200_000), st.integers(0, 19_000))


@st.composite
def saccade_streams(draw):
    """Events on N-MNIST's sensor, around the times at which its saccades turn."""
    n = draw(st.integers(0, 300))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    turns = rng.choice([0, 100_000, 105_000, 210_000, 315_000], n) + rng.integers(-2, 3, n)
    t = np.sort(np.where(rng.random(n) < 0.5, turns, rng.integers(0, 340_000, n)))
    x, y = rng.integers(0, 34, (2, n)).astype(np.uint16)
    return Events(x, y, t, rng.integers(0, 2, n).astype(np.uint8))


@settings(max_examples=150, deadline=None)
@given(saccade_streams(), framings(SACCADE_WINDOWS, first_saccade_only=st.booleans(), stabilize=st.booleans()))
def test_frames_of_n_mnist_s_saccades_equal_tonic_s(events, framing):
    assert_equals_tonic(events, SENSOR_SIZE, framing)


@pytest.mark.skipif(not real_recordings(), reason="no N-MNIST recordings here; name some by DIFFLOGIC_TEST_RECORDINGS")
@pytest.mark.parametrize(
    "framing",
    [
        Framing(dtype="counts", drop_incomplete=False),
        Framing("time_window", 50_000, 10_000),
        Framing("time_window", 33_333, 0, drop_incomplete=False, polarities="merged"),
        Framing("n_time_bins", 8, 0.1, dtype="counts"),
        Framing("n_event_bins", 7, 0.3, downsample=0.5),
        Framing("n_time_bins", 3, 0, stabilize=True, dtype="counts", polarities="merged"),
        Framing("event_count", 500, 0, first_saccade_only=True, stabilize=True, downsample=1 / 3),
    ],
    ids=lambda framing: f"{framing.mode}{framing.size}",
)
def test_frames_of_real_recordings_equal_tonic_s(framing):
    for path in real_recordings()[::40]:
        assert_equals_tonic(read_recording(path), SENSOR_SIZE, framing)


@settings(max_examples=100, deadline=None)
@given(event_streams(least=0), st.sampled_from([0, 20, 1000]))
def test_the_usual_frames_are_the_packed_ones_of_the_event_functions(stream, denoise_time):
    events, sensor_size = stream
    kept = denoise(events, denoise_time) if denoise_time else events
    frames = to_frames(kept, sensor_size, 30, 10)
    packed = np.packbits(frames.reshape(len(frames), -1), axis=1, bitorder="little")
    ours = frames_of(events, sensor_size, Framing(size=30, overlap=10, denoise_time=denoise_time))
    assert np.array_equal(ours, packed)


@given(st.integers(1, 2000), st.floats(0.001, 1), st.integers(0, 1))
@example(34, 0.5, 0)
@example(128, 0.375, 0)
@example(50, 1 / 49, 0)
def test_a_downsampled_frame_has_the_fewest_columns_that_hold_every_pixel(width, factor, axis):
    sensor_size = (width, 1, 2) if axis == 0 else (1, width, 2)
    columns = frame_shape(dataclasses.replace(PLAIN, downsample=factor), sensor_size)[2 - axis]
    assert columns == (np.arange(width) * factor).astype(np.int64).max() + 1


def test_frame_shapes():
    assert frame_shape(PLAIN, (128, 96, 2)) == (2, 96, 128)
    assert frame_shape(dataclasses.replace(PLAIN, downsample=0.375, polarities="merged"), (128, 96, 2)) == (1, 36, 48)
    assert frame_bytes(PLAIN, (9, 13, 2)) == 30
    assert frame_bytes(dataclasses.replace(PLAIN, dtype="counts"), (9, 13, 2)) == 234


def one_pixel(times, n=None):
    times = np.broadcast_to(np.asarray(times, np.int64), n or len(times))
    zeros = np.zeros(len(times), np.uint16)
    return Events(zeros, zeros, times, zeros.astype(np.uint8))


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 250), st.integers(1, 30), st.integers(0, 99), st.sampled_from(["n_time_bins", "n_event_bins"]))
@example(62, 12, 20, "n_time_bins")
@example(15, 5, 80, "n_event_bins")
def test_the_edges_of_bins_are_rounded_as_tonic_rounds_them(n, bins, percent, mode):
    # An event every microsecond, each at a pixel of its own: every rounding of an edge shows.
    events = dataclasses.replace(one_pixel(np.arange(n)), x=np.arange(n, dtype=np.uint16))
    assert_equals_tonic(events, (250, 1, 1), Framing(mode, bins, percent / 100, denoise_time=0))


@pytest.mark.parametrize(("n", "count"), [(254, 254), (255, 255), (256, 255), (70_000, 255)])
def test_a_count_stays_at_255(n, count):
    framing = Framing("event_count", 100_000, 0, dtype="counts", denoise_time=0)
    assert frames_of(one_pixel(7, n), (1, 1, 2), framing).tolist() == [[count, 0]]


def test_a_pixel_of_more_events_than_tonic_can_count_is_set():
    # tonic's counts are int16 and wrap around to -32768; a busy pixel must not go dark because of that.
    framing = Framing("event_count", 100_000, 0, denoise_time=0)
    assert frames_of(one_pixel(7, 40_000), (1, 1, 2), framing).tolist() == [[1]]


@pytest.mark.parametrize(
    ("mode", "frames"), [("event_count", 1), ("time_window", 1), ("n_time_bins", 5), ("n_event_bins", 5)]
)
@pytest.mark.parametrize("denoise_time", [0, 1000])
def test_no_events_give_empty_frames(mode, frames, denoise_time):
    framing = Framing(mode, 5, 0, denoise_time=denoise_time)
    ours = frames_of(one_pixel([]), (2, 3, 2), framing)
    assert ours.shape == (frames, 2)
    assert not ours.any()


@pytest.mark.parametrize("option", ["first_saccade_only", "stabilize"])
def test_an_event_outside_the_sensor_is_an_error_though_a_transform_would_take_it_away(option):
    x, y = np.array([3, 200], np.uint16), np.array([3, 3], np.uint16)
    events = Events(x, y, np.array([0, 200_000]), np.zeros(2, np.uint8))
    with pytest.raises(ValueError, match="x = 200, outside the sensor"):
        frames_of(events, SENSOR_SIZE, dataclasses.replace(PLAIN, **{option: True}))


def test_frames_without_number_are_an_error_and_fill_no_memory():
    with pytest.raises(ValueError, match="too many frames; are its timestamps damaged"):
        frames_of(one_pixel([0, 2**62]), SENSOR_SIZE, Framing("time_window", 1, 0, denoise_time=0))


@pytest.mark.parametrize(("mode", "overlap"), [("time_window", 8), ("n_time_bins", 1.0), ("n_event_bins", -0.1)])
def test_an_overlap_without_a_step_is_an_error(mode, overlap):
    with pytest.raises(ValueError, match="overlap"):
        frames_of(one_pixel([1, 2]), SENSOR_SIZE, Framing(mode, 8, overlap))


def test_the_framing_is_that_of_the_data_section():
    assert framing_of(Data()) == Framing()
    data = Data(frame_mode="n_time_bins", n_time_bins=8, overlap=0.1, events_per_frame=3, frame_dtype="counts")
    assert framing_of(data) == Framing("n_time_bins", 8, 0.1, dtype="counts")
    assert framing_of(Data(frame_mode="time_window", time_window=50_000)) == Framing("time_window", 50_000, 0)


def test_options_that_do_not_fit_are_a_user_s_error():
    with pytest.raises(UserError, match=r"data.frame_mode = time_window needs data.time_window, microseconds"):
        framing_of(Data(frame_mode="time_window"))


CROP = (3, 2, 20, 17)  # x, y, width, height


@given(event_streams())
def test_a_cropped_recording_has_the_frames_of_a_sensor_of_that_size(stream_and_size):
    left, top, width, height = CROP
    stream, size = stream_and_size
    sensor = (max(size[0], left + width), max(size[1], top + height), size[2])
    x, y = stream.x.astype(int) - left, stream.y.astype(int) - top
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    part = Events(x[inside].astype(np.uint16), y[inside].astype(np.uint16), stream.t[inside], stream.p[inside])
    framing = Framing(size=5, overlap=2, denoise_time=1000)
    ours = frames_of(stream, sensor, dataclasses.replace(framing, crop=CROP))
    assert np.array_equal(ours, frames_of(part, (width, height, size[2]), framing))


def test_a_crop_is_the_shape_of_a_frame_before_downsampling():
    assert frame_shape(Framing(crop=CROP), (346, 260, 2)) == (2, 17, 20)
    assert frame_shape(Framing(crop=CROP, downsample=0.5), (346, 260, 2)) == (2, 9, 10)
