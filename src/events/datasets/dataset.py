"""What a dataset of recordings is: the description that each dataset's file gives of itself."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from src.events.events import Events
from src.registry import EVT3_CLOCKS

UNPACKED = ".unpacked"  # in a dataset's folder: recordings that are unpacked, but not all moved to their places yet


@dataclass(frozen=True)
class Recording:
    """One labelled recording of a dataset: a file, or a part of one.

    Attributes:
        path: of the file. It is text: a Path takes longer to make than a file to read.
        label: number of its class.
        size: bytes of the file.
        is_test, is_val: whether it belongs to a test or validation split of the dataset's own.
        group: recordings of one group, such as a person's, stay in one split; empty: a group of its own.
        begin, end: the part's events are at or after the one and before the other, in microseconds; None: no bound.
    """

    path: str
    label: int
    size: int
    is_test: bool
    is_val: bool = False
    group: str = ""
    begin: int | None = None
    end: int | None = None


@dataclass(frozen=True)
class OwnRecordings:
    """What the data section says of the user's own recordings.

    Attributes:
        folder: under `data.data_root`, or a path.
        sensor_size: (width, height) in pixels; None: as the files' headers say.
        evt3_clock: name in `EVT3_CLOCKS`.
        group_by: regular expression, searched for in a file's path under the folder, that finds the recording's group.
    """

    folder: str | None = None
    sensor_size: tuple[int, int] | None = None
    evt3_clock: str = next(iter(EVT3_CLOCKS))
    group_by: str | None = None


def _is_unpacked(folder: Path, seed: int) -> bool:
    return not (folder / UNPACKED).exists()


@dataclass(frozen=True)
class Archive:
    """A zip or tar.gz file that holds recordings.

    Attributes:
        url: where it can be downloaded.
        file_name: its name on disk, and under `data.url`.
        md5: of the file, in hexadecimal.
        size: bytes, about; for the check of free space before the download.
        unpacked_size: bytes, about, with zip files inside it that are unpacked in their turn.
        unpacks_to: names that it brings into the dataset's folder.
    """

    url: str
    file_name: str
    md5: str
    size: int
    unpacked_size: int
    unpacks_to: tuple[str, ...]


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
        read: path -> events; raises CorruptRecordingError, or ForeignRecordingError.
        windows: path, a number of events -> what `read` returns, in parts of at most that many events; None: recordings
            are short enough to be read as a whole.
        archives: from where the recordings are downloaded (archives.py); none if they are simulated.
        obtain: (folder, seed) -> None; simulates the recordings into the folder; None if they are downloaded.
        is_current: (folder, seed) -> whether what lies in the folder can be used as it is.
        mirrored_keeps_class: whether a recording with left and right exchanged is still of its class.
        has_saccades: whether the sensor moved in N-MNIST's three saccades, which `events/saccades.py` knows.
        note: a line to say whenever this dataset is prepared.
        of_options: for a dataset of the user's own recordings: options -> the dataset that they describe.
        complete: folder -> this dataset with the classes, the sensor and the test split that lie there, and its
            recordings; None if they are known without the folder.
    """

    name: str
    folder: str
    sensor_size: tuple[int, int, int]
    classes: tuple[str, ...]
    full_size: int
    own_test_split: bool
    find_recordings: Callable[[Path], list[Recording]]
    read: Callable[[str | Path], Events]
    windows: Callable[[str | Path, int], Iterator[Events]] | None = None
    archives: tuple[Archive, ...] = ()
    obtain: Callable[[Path, int], None] | None = None
    is_current: Callable[[Path, int], bool] = _is_unpacked
    mirrored_keeps_class: bool = False
    has_saccades: bool = False
    note: str = ""
    of_options: "Callable[[OwnRecordings], Dataset] | None" = None
    complete: "Callable[[Path], tuple[Dataset, list[Recording]]] | None" = None

    @property
    def folder_option(self) -> str:
        """Return the option that says where the recordings lie."""
        return "data_root" if self.of_options is None else "folder"


def recordings_in_class_folders(
    folder: Path, class_folders: Sequence[str], suffix: str, is_test: bool
) -> list[Recording]:
    """Return the files `folder/<class folder>/*suffix` that are not hidden; a label is its class folder's place."""
    found = []
    for label, name in enumerate(class_folders):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder / name) as entries:
            files = [entry for entry in entries if _is_recording(entry, suffix)]
            for entry in sorted(files, key=lambda entry: entry.name):
                found.append(Recording(entry.path, label, entry.stat().st_size, is_test))
    return found


def _is_recording(entry: "os.DirEntry[str]", suffix: str) -> bool:
    return entry.name.endswith(suffix) and not is_hidden(entry.name) and _leads_to_a_file(entry)


def _leads_to_a_file(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself
        return False


def is_hidden(name: str) -> bool:
    """Return whether a system put this file or folder beside the recordings, such as ._NAME.bin."""
    return name.startswith(".") or name.casefold() in _OF_SYSTEMS


_OF_SYSTEMS = {"__macosx", "@eadir", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "lost+found"}


def broken_links(folder: Path, depth: int = 3) -> list[str]:
    """Return the links that lead nowhere, sorted: the folder, its parent, or anything in it down to the recordings."""
    for path in (folder.parent, folder):
        if path.is_symlink() and not path.exists():
            return [str(path)]
    return sorted(_broken_links(str(folder), depth))


def _broken_links(folder: str, depth: int) -> Iterator[str]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink() and not Path(entry.path).exists():
                yield entry.path
            elif depth > 1 and not is_hidden(entry.name) and entry.is_dir():
                yield from _broken_links(entry.path, depth - 1)
