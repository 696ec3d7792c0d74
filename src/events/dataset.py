"""What a dataset of recordings is: the description that each dataset's file gives of itself."""

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from src.events.events import Events


class CorruptRecordingError(Exception):
    """A recording cannot be read; its text says why."""


@dataclass(frozen=True)
class Recording:
    """One file of a dataset; `size` in bytes. The path is text: a Path takes longer to make than a file to read."""

    path: str
    label: int
    size: int
    is_test: bool  # it belongs to the dataset's own test split


@dataclass(frozen=True)
class Dataset:
    """A dataset of labelled recordings.

    Attributes:
        name: as in `data.name`, and the folder of its caches.
        folder: the recordings' folder under `data.data_root`.
        sensor_size: (W, H, P), tonic's order.
        classes: names, in the order of the labels.
        full_size: recordings of the complete dataset.
        own_test_split: whether recordings say that they are for the test.
        find_recordings: folder -> its recordings, in an order that depends on their names only.
        read: path -> events; raises CorruptRecordingError.
        obtain: (folder, seed) -> None; downloads or simulates the recordings into the folder; raises UserError.
        is_current: (folder, seed) -> whether what lies in the folder can be used as it is.
        note: a line to say whenever this dataset is prepared.
    """

    name: str
    folder: str
    sensor_size: tuple[int, int, int]
    classes: tuple[str, ...]
    full_size: int
    own_test_split: bool
    find_recordings: Callable[[Path], list[Recording]]
    read: Callable[[str | Path], Events]
    obtain: Callable[[Path, int], None]
    is_current: Callable[[Path, int], bool] = lambda folder, seed: True
    note: str = ""


def recordings_in_class_folders(
    folder: Path, class_folders: Sequence[str], suffix: str, is_test: bool
) -> list[Recording]:
    """Files `folder/<class folder>/*suffix`; the label is the class folder's place in the list."""
    found = []
    for label, name in enumerate(class_folders):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder / name) as entries:
            files = [entry for entry in entries if entry.name.endswith(suffix) and entry.is_file()]
            for entry in sorted(files, key=lambda entry: entry.name):
                found.append(Recording(entry.path, label, entry.stat().st_size, is_test))
    return found
