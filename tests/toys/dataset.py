"""A toy dataset: text files of two classes, left and right, of a sensor of 8 x 6 pixels."""

import dataclasses
from pathlib import Path

import numpy as np

from src.events import Events, read_recording
from src.events.datasets.dataset import Dataset, Recording, recordings_in_class_folders
from src.events.datasets.nmnist import NMNIST
from tests.toys.file_format import encode

CLASSES = ("left", "right")


def find_recordings(folder: Path) -> list[Recording]:
    return recordings_in_class_folders(folder, CLASSES, ".txt", is_test=False)


def write_recordings(folder: Path) -> None:
    """Write ten recordings of each class, whose events lie in its half of the sensor."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(10):
            x, y = rng.integers(4 * label, 4 * label + 4, 200), rng.integers(0, 6, 200)
            t, p = np.sort(rng.integers(0, 10_000, 200)), rng.integers(0, 2, 200)
            events = Events(x.astype(np.uint16), y.astype(np.uint16), t, p.astype(np.uint8))
            (folder / name / f"{number}.txt").write_bytes(encode(events))


TOY = Dataset(
    name="TOY",
    folder="toy",
    sensor_size=(8, 6, 2),
    classes=CLASSES,
    full_size=20,
    own_test_split=False,
    find_recordings=find_recordings,
    read=read_recording,
)

WITHOUT_ARCHIVES = dataclasses.replace(NMNIST, archives=())
