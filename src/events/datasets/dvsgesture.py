"""DVS128 Gesture: eleven gestures of 29 people in up to five kinds of light (Amir et al. 2017).

IBM's archive holds a file per person and light, with a table of the gestures in it: 98 files with 1,176 samples to
train with, and 24 files with 288 to test with. An arm is rolled twice in each file. tonic's archives, which are
downloaded, hold a file per person, light and class, so that they have one of the two arm rolls. They lack a hand
clapping too, which leaves 1,077 and 264 samples. Their timestamps are whole milliseconds. IBM's archive is used if it
is unpacked into the dataset's folder.
"""

import contextlib
import csv
from pathlib import Path

import numpy as np

from src.command_line import UserError
from src.events.datasets.dataset import Archive, Dataset, Recording
from src.events.datasets.tables import events_of_columns, read_npy
from src.events.events import Events
from src.events.formats.errors import CorruptRecordingError
from src.events.formats.file_bytes import read_bytes
from src.events.formats.reading import read_recording

CLASSES = (
    "hand clapping",
    "right hand wave",
    "left hand wave",
    "right arm clockwise",
    "right arm counterclockwise",
    "left arm clockwise",
    "left arm counterclockwise",
    "arm roll",
    "air drums",
    "air guitar",
    "other gestures",
)
FULL_SIZE = 1077 + 264
TRAIN, TEST = "ibmGestureTrain", "ibmGestureTest"
ORIGINAL = "DvsGesture"  # folder of IBM's archive
TRIALS = {"trials_to_train.txt": False, "trials_to_test.txt": True}
HEADER = ["class", "startTime_usec", "endTime_usec"]

ARCHIVES = (  # as tonic.datasets.DVSGesture has them; this form of the addresses serves the files to programs
    Archive(
        url="https://api.figshare.com/v2/file/download/38022171",
        file_name="ibmGestureTrain.tar.gz",
        md5="3a8f0d4120a166bac7591f77409cb105",
        size=2_300_000_000,
        unpacked_size=6_000_000_000,
        unpacks_to=(TRAIN,),
    ),
    Archive(
        url="https://api.figshare.com/v2/file/download/38020584",
        file_name="ibmGestureTest.tar.gz",
        md5="56070e45dadaa85fff82e0fbfbc06de5",
        size=600_000_000,
        unpacked_size=1_500_000_000,
        unpacks_to=(TEST,),
    ),
)


def find_recordings(folder: Path) -> list[Recording]:
    """Return the recordings of tonic's layout or of IBM's, sorted; a person is a group.

    tonic's is ibmGestureTrain|ibmGestureTest/<person>_<light>/<label>.npy. IBM's is DvsGesture/<person>_<light>.aedat
    beside <person>_<light>_labels.csv; a recording is a line of such a table.

    Raises:
        UserError: if both are there, or a table of IBM's is missing or damaged.
    """
    preprocessed = _preprocessed(folder / TRAIN, is_test=False) + _preprocessed(folder / TEST, is_test=True)
    original = [it for name, is_test in TRIALS.items() for it in _original(folder / ORIGINAL, name, is_test)]
    if preprocessed and original:
        raise UserError(
            f"{folder} holds DVS128 Gesture twice: {len(original)} recordings in {ORIGINAL}, as IBM has it, and "
            f"{len(preprocessed)} in {TRAIN} and {TEST}, as tonic has it. Keep one there, and move the other"
        )
    return preprocessed or original


def _preprocessed(folder: Path, is_test: bool) -> list[Recording]:
    found = []
    for trial in sorted(folder.glob("user*_*")):
        for label in range(len(CLASSES)):
            path = trial / f"{label}.npy"
            with contextlib.suppress(OSError):
                found.append(Recording(str(path), label, path.stat().st_size, is_test, group=_person(trial.name)))
    return found


def _person(trial: str) -> str:
    return trial.partition("_")[0]


def _original(folder: Path, trials: str, is_test: bool) -> list[Recording]:
    """Return the samples of the files that a list of IBM's names and that are there."""
    found = []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for trial in sorted((folder / trials).read_text(encoding="utf-8", errors="replace").split()):
            path = folder / trial
            if path.is_file():
                size, person = path.stat().st_size, _person(trial)
                for label, begin, end in _samples(folder / f"{path.stem}_labels.csv"):
                    found.append(Recording(str(path), label, size, is_test, group=person, begin=begin, end=end))
    return found


def _samples(table: Path) -> list[tuple[int, int, int]]:
    """Return (label, begin, end) of each line of a table, in microseconds; a sample's end may be after the next begin.

    Raises:
        UserError: if it is not there or damaged.
    """
    try:
        lines = table.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise UserError(f"{table}: cannot be read: {error.strerror}; it says which gestures a file holds") from error
    samples = []
    for number, cells in enumerate(csv.reader(lines), start=1):
        if [cell.strip() for cell in cells] == HEADER or not any(cells):
            continue
        try:
            label, begin, end = map(int, cells)
        except ValueError:
            label = begin = end = 0
        if not (1 <= label <= len(CLASSES) and 0 <= begin < end):
            raise UserError(
                f"{table}, line {number}: {','.join(cells)!r} is no class from 1 to 11 with a begin and an end"
            )
        samples.append((label - 1, begin, end))
    return samples


def read(path: str | Path) -> Events:
    """Return the events of a recording of tonic's, or of a whole file of IBM's.

    tonic's are tables [N, 4] of x, y, polarity and milliseconds.

    Raises:
        CorruptRecordingError, ForeignRecordingError: as `read_npy`, `events_of_columns` and `read_recording` do.
    """
    if not str(path).endswith(".npy"):
        return read_recording(path)
    table = read_npy(read_bytes(path))
    if len(table) == 0:
        raise CorruptRecordingError("it holds no events")
    if table.dtype.kind != "f":
        table = table.astype(np.int64)
    x, y, p, milliseconds = table.T
    return events_of_columns(x, y, milliseconds * 1000, p)  # in the file's type of numbers, as tonic does


DVSGESTURE = Dataset(
    name="DVSGESTURE",
    folder="DVSGesture",
    sensor_size=(128, 128, 2),
    classes=CLASSES,
    full_size=FULL_SIZE,
    own_test_split=True,
    find_recordings=find_recordings,
    read=read,
    archives=ARCHIVES,
    mirrored_keeps_class=False,  # the left hand becomes the right hand
)
