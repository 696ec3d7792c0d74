"""Simulated recordings: handwritten digits in front of a sensor model, for the demo and as a stand-in for CIFAR10-DVS.

The digits are real (scikit-learn's 1,797 of the UCI optical recognition set), the events are not. The demo dataset
moves them on N-MNIST's three saccades before a 34 x 34 sensor. The stand-in moves them as CIFAR10-DVS was recorded,
again and again on a closed path before a 128 x 128 sensor (Li et al. 2017), a digit in the place of a class.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.command_line import UserError
from src.events.datasets.cifar10dvs import CLASSES, SENSOR_SIZE, SIMULATION_MARKER
from src.events.events import Events
from src.events.formats import aedat4, nmnist_bin
from src.events.simulation.sensor import Setup, simulate
from src.helpers import LOG, available_cores
from src.io_funcs import read_text, write_json

SIMULATION_VERSION = 1
TEST_FRACTION = 0.2
FIRST_TIMESTAMP = 1_500_000_000_000_000  # microseconds since 1970, as a camera gives, for the stand-in's recordings

DEMO_SETUP = Setup(
    pixels=34,
    image_scale=3.1,
    corners=((1.0, 1.0), (4.5, 8.0), (8.0, 1.0), (1.0, 1.0)),
    leg_microseconds=100_000,
    loops=1,
    threshold=0.35,
    threshold_spread=0.04,
    noise_events=150,
)
# About 200,000 events in 1.3 s.
CIFAR10DVS_SETUP = Setup(
    pixels=SENSOR_SIZE[0],
    image_scale=12.0,
    corners=((16.0, 6.0), (26.0, 16.0), (16.0, 26.0), (6.0, 16.0), (16.0, 6.0)),
    leg_microseconds=54_000,
    loops=6,
    threshold=0.44,
    threshold_spread=0.05,
    noise_events=10_000,
)


def create(folder: Path, seed: int) -> None:
    """Simulate all recordings of the demo dataset into `folder`, in N-MNIST's layout and format.

    A function of the seed. The folder appears whole: it is written under a temporary name and renamed.
    """
    images, labels = _digits()
    LOG.info("simulating %d event recordings from scikit-learn's handwritten digits in %s", len(images), folder)
    is_test = np.zeros(len(images), dtype=bool)
    rng = np.random.default_rng([seed, 0])
    for label in range(10):
        members = rng.permutation(np.flatnonzero(labels == label))
        is_test[members[: round(TEST_FRACTION * len(members))]] = True

    def write(index: int) -> None:
        events = simulate(images[index], DEMO_SETUP, np.random.default_rng([seed, 1, index]))
        split = "Test" if is_test[index] else "Train"
        path = temporary / split / str(labels[index]) / f"{index + 1:05d}.bin"
        path.write_bytes(nmnist_bin.encode(events))

    with _whole_folder(folder, _marker(seed)) as temporary:
        for split in ("Train", "Test"):
            for label in range(10):
                (temporary / split / str(label)).mkdir(parents=True)
        with ThreadPoolExecutor(available_cores()) as pool:
            list(pool.map(write, range(len(images))))


def create_cifar10dvs(folder: Path, recordings_per_class: int, seed: int) -> None:
    """Simulate a stand-in for CIFAR10-DVS into `folder`, in its layout and format: <class>/*.aedat4, AEDAT 4 with LZ4.

    The digit d stands in for the class of label d; from about 178 recordings per class on, images come again, before
    another sensor. A function of the seed and of nothing else; fewer recordings are the first of more. The folder
    appears whole, with a marker by which every preparation says that it is simulated.

    Raises:
        UserError: if the folder is there and is not a simulation.
    """
    if folder.exists() and not (folder / SIMULATION_MARKER).exists():
        raise UserError(f"{folder} is there and no simulation: not replaced")
    images, labels = _digits()
    LOG.info("simulating %d recordings in the manner of CIFAR10-DVS in %s", len(CLASSES) * recordings_per_class, folder)

    def write(recording: tuple[int, int]) -> None:
        label, number = recording
        members = np.flatnonzero(labels == label)
        events = simulate(
            images[members[number % len(members)]], CIFAR10DVS_SETUP, np.random.default_rng([seed, label, number])
        )
        events = Events(events.x, events.y, events.t + FIRST_TIMESTAMP, events.p)
        path = temporary / CLASSES[label] / f"cifar10_{CLASSES[label]}_{number}.aedat4"
        path.write_bytes(aedat4.encode(events, SENSOR_SIZE[:2]))

    with _whole_folder(folder, _marker(seed) | {"recordings_a_class": recordings_per_class}) as temporary:
        for name in CLASSES:
            (temporary / name).mkdir(parents=True)
        with ThreadPoolExecutor(available_cores()) as pool:
            list(pool.map(write, np.ndindex(len(CLASSES), recordings_per_class)))


def _digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return images [N, 8, 8], ink from 0 to 1, and labels [N]."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images / 16.0, digits.target


@contextlib.contextmanager
def _whole_folder(folder: Path, marker: dict[str, Any]) -> Iterator[Path]:
    """Yield a temporary folder that becomes `folder`, with a marker in it, unless the block raises."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        yield temporary
        write_json(temporary / SIMULATION_MARKER, marker)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def is_current(folder: Path, seed: int) -> bool:
    """Return whether the folder holds the demo dataset of this seed and version."""
    try:
        return json.loads(read_text(folder / SIMULATION_MARKER)) == _marker(seed)
    except (OSError, ValueError):
        return False


def _marker(seed: int) -> dict[str, Any]:
    return {"simulated": True, "seed": seed, "version": SIMULATION_VERSION}
