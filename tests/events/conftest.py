"""Recordings that several tests read."""

import pytest

from src.events.simulation.digits import create_cifar10dvs


@pytest.fixture(scope="session")
def simulated_cifar10dvs(tmp_path_factory):
    """A folder with a simulated recording of each class of CIFAR10-DVS."""
    folder = tmp_path_factory.mktemp("simulated") / "CIFAR10DVS"
    create_cifar10dvs(folder, recordings_per_class=1, seed=0)
    return folder
