"""The demo dataset: scikit-learn's handwritten digits before a simulated event sensor.

The digits are real (1,797 of the UCI optical recognition set), the events are not: each image moves on N-MNIST's three
saccades before an ideal 34 x 34 sensor that compares log intensities with thresholds, plus noise events.
"""

import itertools
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba
import numpy as np
from numpy.typing import NDArray

from src.events import nmnist
from src.events.dataset import Dataset
from src.events.events import Events
from src.helpers import LOG, available_cores
from src.io_funcs import write_json

SIMULATION_VERSION = 1
SENSOR = 34  # pixels, both ways
DIGIT_SCALE = 3.1  # sensor pixels a pixel of the 8 x 8 image
DARKEST = 0.12  # intensity of the background, where ink is 1
THRESHOLD = 0.35  # of log intensity
THRESHOLD_SPREAD = 0.04  # standard deviation between pixels
NOISE_EVENTS = 150  # a recording
STEP_MICROSECONDS = 2_000
SACCADE_MICROSECONDS = 100_000
CORNERS = ((0.0, 0.0), (3.5, 7.0), (7.0, 0.0), (0.0, 0.0))  # (x, y) of the image between saccades, pixels
TEST_FRACTION = 0.2
_MARKER = "simulation.json"


def simulate(image: NDArray[np.float64], rng: np.random.Generator) -> Events:
    """Events of an 8 x 8 image (0 to 1) on three saccades; `rng` draws threshold mismatch and noise."""
    thresholds = np.maximum(rng.normal(THRESHOLD, THRESHOLD_SPREAD, size=(2, SENSOR, SENSOR)), THRESHOLD / 2)  # OFF, ON
    signal = _sense(image, _path_of_image(), thresholds)
    duration = SACCADE_MICROSECONDS * (len(CORNERS) - 1)
    noise = np.stack(
        [
            rng.integers(0, SENSOR, NOISE_EVENTS),
            rng.integers(0, SENSOR, NOISE_EVENTS),
            rng.integers(0, duration, NOISE_EVENTS),
            rng.integers(0, 2, NOISE_EVENTS),
        ]
    )
    x, y, t, p = np.concatenate([signal, noise], axis=1)
    order = np.argsort(t, kind="stable")
    return Events(
        x[order].astype(np.uint16),
        y[order].astype(np.uint16),
        t[order].astype(np.int64),
        p[order].astype(np.uint8),
    )


def _path_of_image() -> NDArray[np.float64]:
    """Top left corner of the image at each step, [steps + 1, 2] (x, y); each saccade speeds up and slows down."""
    phase = np.arange(0, SACCADE_MICROSECONDS, STEP_MICROSECONDS) / SACCADE_MICROSECONDS
    moved = (1 - np.cos(np.pi * phase))[:, None] / 2
    corners = np.array(CORNERS)
    legs = [a + moved * (b - a) for a, b in itertools.pairwise(corners)]
    return np.concatenate([*legs, corners[-1:]]) + 1.0


@numba.njit(cache=True, nogil=True)
def _sense(image: NDArray[np.float64], path: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.int64]:
    """Events [4, N] (x, y, t, p) of the moving image: a pixel fires when its log intensity has moved a threshold."""
    capacity = 4096
    events = np.empty((4, capacity), dtype=np.int64)
    n = 0
    rows, columns = image.shape
    level = np.empty((SENSOR, SENSOR))
    previous = np.empty((SENSOR, SENSOR))
    for step in range(len(path)):
        for y in range(SENSOR):
            for x in range(SENSOR):
                # Bilinear interpolation between the image's pixels, background outside.
                u = (x - path[step, 0]) / DIGIT_SCALE - 0.5
                v = (y - path[step, 1]) / DIGIT_SCALE - 0.5
                i, j = int(np.floor(v)), int(np.floor(u))
                ink = 0.0
                for di in range(2):
                    for dj in range(2):
                        if 0 <= i + di < rows and 0 <= j + dj < columns:
                            weight = (1 - abs(v - i - di)) * (1 - abs(u - j - dj))
                            ink += weight * image[i + di, j + dj]
                now = np.log(DARKEST + (1 - DARKEST) * ink)
                if step == 0:
                    level[y, x] = now
                    previous[y, x] = now
                    continue
                rising = now > level[y, x]
                threshold = thresholds[np.int64(rising), y, x]
                while abs(now - level[y, x]) >= threshold and (now > level[y, x]) == rising:
                    level[y, x] += threshold if rising else -threshold
                    crossed = (level[y, x] - previous[y, x]) / (now - previous[y, x])
                    crossed = min(max(crossed, 0.0), 1.0)
                    if n == capacity:
                        capacity *= 2
                        grown = np.empty((4, capacity), dtype=np.int64)
                        grown[:, :n] = events[:, :n]
                        events = grown
                    events[0, n] = x
                    events[1, n] = y
                    events[2, n] = np.int64((step - 1 + crossed) * STEP_MICROSECONDS)
                    events[3, n] = np.int64(rising)
                    n += 1
                previous[y, x] = now
    return events[:, :n]


def create(folder: Path, seed: int) -> None:
    """Simulate all recordings into `folder`, in N-MNIST's layout and format; a function of the seed.

    The folder appears whole: it is written under a temporary name and renamed.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images, labels = digits.images / 16.0, digits.target
    LOG.info("simulating %d event recordings from scikit-learn's handwritten digits in %s", len(images), folder)
    is_test = np.zeros(len(images), dtype=bool)
    rng = np.random.default_rng([seed, 0])
    for label in range(10):
        members = rng.permutation(np.flatnonzero(labels == label))
        is_test[members[: round(TEST_FRACTION * len(members))]] = True

    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    for split in ("Train", "Test"):
        for label in range(10):
            (temporary / split / str(label)).mkdir(parents=True)

    def write(index: int) -> None:
        events = simulate(images[index], np.random.default_rng([seed, 1, index]))
        split = "Test" if is_test[index] else "Train"
        path = temporary / split / str(labels[index]) / f"{index + 1:05d}.bin"
        path.write_bytes(nmnist.encode(events))

    try:
        with ThreadPoolExecutor(available_cores()) as pool:
            list(pool.map(write, range(len(images))))
        write_json(temporary / _MARKER, _marker(seed))
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def is_current(folder: Path, seed: int) -> bool:
    """Whether the folder holds the simulation of this seed and version."""
    try:
        return json.loads((folder / _MARKER).read_text()) == _marker(seed)
    except (OSError, ValueError):
        return False


def _marker(seed: int) -> dict[str, object]:
    return {"simulated": True, "seed": seed, "version": SIMULATION_VERSION}


DEMO = Dataset(
    name="DEMO",
    folder="DEMO",
    sensor_size=(SENSOR, SENSOR, 2),
    classes=nmnist.NMNIST.classes,
    full_size=1797,
    own_test_split=True,
    find_recordings=nmnist.find_recordings,
    read=nmnist.read,
    obtain=create,
    is_current=is_current,
    note="DEMO is simulated: real handwritten digits, events from a sensor model. Don't publish accuracies on it",
)
