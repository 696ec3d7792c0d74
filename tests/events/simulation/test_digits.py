"""The simulated datasets: the demo in N-MNIST's format, the stand-in for CIFAR10-DVS in that one's."""

import numpy as np
import pytest

from src.command_line import UserError
from src.events import read_recording
from src.events.datasets.cifar10dvs import CIFAR10DVS
from src.events.datasets.demo import DEMO
from src.events.simulation import digits


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """All 1797 recordings of the demo, which takes seconds."""
    folder = tmp_path_factory.mktemp("data") / "DEMO"
    digits.create(folder, seed=0)
    return folder


@pytest.mark.slow
def test_all_digits_are_recorded_and_a_fifth_of_each_class_is_for_the_test(folder):
    recordings = DEMO.find_recordings(folder)
    assert len(recordings) == DEMO.full_size
    assert {recording.label for recording in recordings} == set(range(10))
    assert 0.19 < np.mean([recording.is_test for recording in recordings]) < 0.21


@pytest.mark.slow
def test_the_files_are_readable_and_about_as_long_as_n_mnist_s(folder):
    lengths = [len(read_recording(recording.path)) for recording in DEMO.find_recordings(folder)[::100]]
    assert 2000 < np.median(lengths) < 8000


@pytest.mark.slow
def test_the_folder_is_current_for_its_seed_only(folder):
    assert digits.is_current(folder, 0)
    assert not digits.is_current(folder, 1)
    assert not digits.is_current(folder.parent, 0)


@pytest.mark.slow
def test_nothing_temporary_is_left(folder):
    assert [path.name for path in folder.parent.iterdir()] == ["DEMO"]


def test_the_stand_in_has_as_many_events_in_as_much_time_as_cifar10_dvs(simulated_cifar10dvs):
    recordings = [read_recording(recording.path) for recording in CIFAR10DVS.find_recordings(simulated_cifar10dvs)]
    assert len(recordings) == 10
    assert 150_000 < np.mean([len(events) for events in recordings]) < 250_000
    for events in recordings:
        assert 1_250_000 < events.t[-1] - events.t[0] < 1_350_000
        assert 0.4 < events.p.mean() < 0.6
        assert max(events.x.max(), events.y.max()) == 127


def test_a_larger_stand_in_of_the_same_seed_begins_with_the_same_recordings(
    simulated_cifar10dvs, tmp_path, monkeypatch
):
    monkeypatch.setattr(digits, "CLASSES", ("airplane",))
    digits.create_cifar10dvs(tmp_path / "CIFAR10DVS", recordings_per_class=2, seed=0)
    again, other = sorted((tmp_path / "CIFAR10DVS").glob("*/*.aedat4"))
    assert again.read_bytes() == (simulated_cifar10dvs / "airplane" / again.name).read_bytes()
    assert again.read_bytes() != other.read_bytes()


def test_recordings_that_are_not_simulated_are_never_replaced(tmp_path):
    with pytest.raises(UserError, match="no simulation: not replaced"):
        digits.create_cifar10dvs(tmp_path, recordings_per_class=1, seed=0)


def test_a_stand_in_is_replaced_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(digits, "CLASSES", ("frog",))
    folder = tmp_path / "CIFAR10DVS"
    for number in (2, 1):
        digits.create_cifar10dvs(folder, recordings_per_class=number, seed=0)
    assert sorted(path.name for path in folder.rglob("*")) == ["cifar10_frog_0.aedat4", "frog", "simulation.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["CIFAR10DVS"]
