"""The simulated demo dataset: deterministic, in N-MNIST's format, plausible."""

import numpy as np
import pytest

from src.events import demo, read_recording
from tests.recordings import same


def simulated(seed, image=None):
    image = np.eye(8) if image is None else image
    return demo.simulate(image, np.random.default_rng(seed))


def test_a_recording_is_a_function_of_image_and_seed():
    assert same(simulated(1), simulated(1))
    assert not same(simulated(1), simulated(2))


def test_events_are_in_order_on_the_sensor_and_of_both_polarities():
    events = simulated(0)
    assert (np.diff(events.t) >= 0).all()
    assert events.t[0] >= 0
    assert events.t[-1] < 300_000
    assert max(events.x.max(), events.y.max()) < 34
    assert 0.3 < events.p.mean() < 0.7


def test_a_blank_image_gives_noise_events_only():
    assert len(simulated(0, np.zeros((8, 8)))) == demo.NOISE_EVENTS


def test_events_come_from_three_saccades_with_rests_between():
    counts = np.histogram(simulated(0).t, bins=30, range=(0, 300_000))[0]
    for rest in (0, 10, 20, 29):
        assert counts[rest] < counts.max() / 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "DEMO"
    demo.create(folder, seed=0)
    return folder


def test_all_digits_are_recorded_and_a_fifth_of_each_class_is_for_the_test(folder):
    recordings = demo.DEMO.find_recordings(folder)
    assert len(recordings) == demo.DEMO.full_size
    assert {recording.label for recording in recordings} == set(range(10))
    assert 0.19 < np.mean([recording.is_test for recording in recordings]) < 0.21


def test_the_files_are_readable_and_about_as_long_as_n_mnist_s(folder):
    lengths = [len(read_recording(recording.path)) for recording in demo.DEMO.find_recordings(folder)[::100]]
    assert 2000 < np.median(lengths) < 8000


def test_the_folder_is_current_for_its_seed_only(folder):
    assert demo.is_current(folder, 0)
    assert not demo.is_current(folder, 1)
    assert not demo.is_current(folder.parent, 0)


def test_nothing_temporary_is_left(folder):
    assert [path.name for path in folder.parent.iterdir()] == ["DEMO"]
