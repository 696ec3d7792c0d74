"""Small recordings in the real layout of each dataset of the field: a blob of events whose place is the class."""

import math
from pathlib import Path

import numpy as np
import scipy.io

from src.events import Events
from src.events.datasets import get_dataset
from src.events.formats import aedat3, dat, nmnist_bin

NAMES = ("DVSGESTURE", "NCALTECH101", "ASLDVS", "NCARS", "POKERDVS")


def blob(rng: np.random.Generator, label: int, num_classes: int, size: tuple[int, int], n: int, span: int) -> Events:
    """Return `n` events within `span` microseconds around a place on the sensor that belongs to the class."""
    side = math.ceil(math.sqrt(num_classes))
    width, height = size
    x = rng.normal((label % side + 0.5) * width / side, width / side / 8, n)
    y = rng.normal((label // side + 0.5) * height / side, height / side / 8, n)
    return Events(
        np.clip(x, 0, width - 1).astype(np.uint16),
        np.clip(y, 0, height - 1).astype(np.uint16),
        np.sort(rng.integers(0, span, n)),
        rng.integers(0, 2, n).astype(np.uint8),
    )


def write(name: str, data_root: Path, per_class: int, events: int = 600) -> Path:
    """Write recordings of each class and split under `data_root`; return the dataset's folder."""
    dataset = get_dataset(name)
    folder = data_root / dataset.folder
    rng = np.random.default_rng(0)
    for label in range(len(dataset.classes)):
        for number in range(per_class):
            _WRITERS[name](folder, rng, label, number, events)
    return folder


def write_original_gestures(data_root: Path, people: dict[str, bool], events: int = 600) -> Path:
    """Write IBM's layout of DVS128 Gesture; `people` says who is for the test. Arms are rolled twice."""
    folder = data_root / "DVSGesture" / "DvsGesture"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for person in people:
        labels = [*range(8), 7, 8, 9, 10]
        parts = [blob(rng, label, 11, (128, 128), events, 1_000_000) for label in labels]
        begins = 80_000_000 + 2_000_000 * np.arange(len(labels))
        times = np.concatenate([part.t + begin for part, begin in zip(parts, begins, strict=True)])
        x, y, p = (np.concatenate([getattr(part, column) for part in parts]) for column in "xyp")
        (folder / f"{person}_led.aedat").write_bytes(aedat3.encode(Events(x, y, times, p)))
        rows = [f"{label + 1},{begin},{begin + 900_000}" for label, begin in zip(labels, begins, strict=True)]
        (folder / f"{person}_led_labels.csv").write_text("class,startTime_usec,endTime_usec\r\n" + "\r\n".join(rows))
    for file, for_test in (("trials_to_train.txt", False), ("trials_to_test.txt", True)):
        names = [f"{person}_led.aedat\n" for person, is_test in people.items() if is_test == for_test]
        (folder / file).write_text("".join(names))
    return folder.parent


def _gesture(folder: Path, rng: np.random.Generator, label: int, number: int, n: int) -> None:
    events = blob(rng, label, 11, (128, 128), n, 1_000_000)
    for split, first in (("ibmGestureTrain", 1), ("ibmGestureTest", 24)):
        path = folder / split / f"user{first + number:02d}_led" / f"{label}.npy"
        _save(path, [events.x, events.y, events.p, events.t // 1000])


def _caltech(folder: Path, rng: np.random.Generator, label: int, number: int, n: int) -> None:
    events = blob(rng, label, 101, (200 + 10 * (number % 3), 150), n, 300_000)
    events.x[0] = events.y[0] = 0  # the place stays, although the smallest x and y are subtracted
    events.x[:] += 3
    name = get_dataset("NCALTECH101").classes[label]
    _put(folder / "Caltech101" / name / f"image_{number + 1:04d}.bin", nmnist_bin.encode(events))


def _letter(folder: Path, rng: np.random.Generator, label: int, number: int, n: int) -> None:
    events = blob(rng, label, 24, (240, 180), n, 100_000)
    letter = get_dataset("ASLDVS").classes[label]
    path = folder / letter / f"{letter}_{number + 1:04d}.mat"
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {"ts": events.t.astype(np.int32), "x": events.x, "y": 179 - events.y, "pol": events.p}
    scipy.io.savemat(path, {name: column[:, None] for name, column in columns.items()}, do_compression=True)


def _car(folder: Path, rng: np.random.Generator, label: int, number: int, n: int) -> None:
    for split in ("train", "test"):
        events = blob(rng, label, 2, (120 - 10 * (number % 3), 100), n, 100_000)
        path = folder / split / ("background", "cars")[label] / f"obj_{number:06d}_td.dat"
        _put(path, dat.encode(events, event_type=dat.EVENT_2D))


def _pip(folder: Path, rng: np.random.Generator, label: int, number: int, n: int) -> None:
    for split in ("pips_train", "pips_test"):
        events = blob(rng, label, 4, (35, 35), n, 20_000)
        path = folder / split / ("cl", "he", "di", "sp")[label] / f"{number}.npy"
        _save(path, [events.t, events.x, events.y, events.p])


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _save(path: Path, columns: list[np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.stack([column.astype(np.int64) for column in columns], axis=1))


_WRITERS = {"DVSGESTURE": _gesture, "NCALTECH101": _caltech, "ASLDVS": _letter, "NCARS": _car, "POKERDVS": _pip}
