"""to_frames: bit-identical to tonic's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tonic.datasets import NMNIST
from tonic.io import read_mnist_file
from tonic.transforms import Denoise, ToFrame

from src.events import Events, denoise, read_recording, to_frames
from src.events.frames import make_frames
from src.events.kernels import EVENT_COUNT
from tests.recordings import event_streams, real_recordings

FRAMINGS = st.integers(1, 80).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1)))


@settings(max_examples=200, deadline=None)
@given(event_streams(), FRAMINGS)
def test_frames_equal_tonic_s(stream, framing):
    events, sensor_size = stream
    frames = to_frames(events, sensor_size, *framing)
    expected = ToFrame(sensor_size, event_count=framing[0], overlap=framing[1])(events.to_structured()) > 0
    assert frames.dtype == np.bool_
    assert np.array_equal(frames, expected)


@pytest.mark.skipif(not real_recordings(), reason="no N-MNIST recordings here; name some by DIFFLOGIC_TEST_RECORDINGS")
@pytest.mark.parametrize("step", [20, pytest.param(1, marks=pytest.mark.slow)])
def test_every_real_recording_gives_tonic_s_frames(step):
    theirs = ToFrame((34, 34, 2), event_count=1500, overlap=1000)
    for path in real_recordings()[::step]:
        expected = theirs(Denoise(1200)(read_mnist_file(str(path), NMNIST.dtype))) > 0
        events = read_recording(path)
        assert np.array_equal(to_frames(denoise(events, 1200), (34, 34, 2), 1500, 1000), expected), path


def stream_of(n, x=0, y=0, p=0):
    full = np.full(n, 1)
    return Events((full * x).astype(np.uint16), (full * y).astype(np.uint16), np.arange(n), (full * p).astype(np.uint8))


@pytest.mark.parametrize(("n", "frames"), [(0, 1), (1, 1), (9, 1), (10, 1), (13, 1), (14, 2), (17, 2), (18, 3)])
def test_a_frame_begins_every_events_per_frame_minus_overlap_events(n, frames):
    assert len(to_frames(stream_of(n), (2, 2, 2), 10, 6)) == frames


@pytest.mark.parametrize(
    "overlap", [0, 20, 30, 40, 45, 50, 59]
)  # 30 and 40: a frame is made of pieces, shared by others
@pytest.mark.parametrize("drop_incomplete", [True, False])
@pytest.mark.parametrize("n", [30, 60, 95, 1000])
def test_a_frame_s_events_are_its_own_whatever_it_shares_with_others(overlap, drop_incomplete, n):
    rng = np.random.default_rng(overlap)
    x, y, p = (rng.integers(0, most, n) for most in (34, 34, 2))
    events = Events(x.astype(np.uint16), y.astype(np.uint16), np.arange(n), p.astype(np.uint8))
    frames = make_frames(events, (34, 34, 2), EVENT_COUNT, 60, overlap, drop_incomplete)
    rests = np.ceil((n - min(n, 60)) / (60 - overlap)) if not drop_incomplete else (n - min(n, 60)) // (60 - overlap)
    expected = np.zeros((int(rests) + 1, 2, 34, 34), np.bool_)
    for f, frame in enumerate(expected):
        its = slice(f * (60 - overlap), f * (60 - overlap) + 60)
        frame[p[its], y[its], x[its]] = True
    assert np.array_equal(frames, np.packbits(expected.reshape(len(expected), -1), axis=1, bitorder="little"))


def test_axes_are_polarity_row_and_column():
    frames = to_frames(stream_of(3, x=4, y=1, p=1), (5, 3, 2), 3)
    assert frames.shape == (1, 2, 3, 5)
    assert np.argwhere(frames).tolist() == [[0, 1, 1, 4]]


@pytest.mark.parametrize(("place", "name"), [({"x": 5}, "x = 5"), ({"y": 3}, "y = 3"), ({"p": 2}, "p = 2")])
def test_an_event_outside_the_sensor_is_an_error(place, name):
    with pytest.raises(ValueError, match=f"{name}, outside the sensor"):
        to_frames(stream_of(3, **place), (5, 3, 2), 3)


@pytest.mark.parametrize("overlap", [-1, 3, 4])
def test_an_overlap_without_a_step_is_an_error(overlap):
    with pytest.raises(ValueError, match="overlap"):
        to_frames(stream_of(3), (5, 3, 2), 3, overlap)
