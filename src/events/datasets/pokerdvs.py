"""POKER-DVS: pips of cards that are browsed quickly before a camera (Serrano-Gotarredona and Linares-Barranco 2015).

The published recordings hold 131 pips. tonic's archives, which are downloaded, hold 48 to train with and 20 to test
with, cut out as 35 x 35 pixels.
"""

from pathlib import Path

from src.events.datasets.dataset import Archive, Dataset, Recording, recordings_in_class_folders
from src.events.datasets.tables import events_of_columns, read_npy
from src.events.events import Events
from src.events.formats.errors import CorruptRecordingError
from src.events.formats.file_bytes import read_bytes

CLASSES = ("clubs", "hearts", "diamonds", "spades")
CLASS_FOLDERS = ("cl", "he", "di", "sp")  # in the order of tonic's labels
FULL_SIZE = 48 + 20
# tonic's class copies the archives from its package; only its repository has them.
_REPOSITORY = "https://raw.githubusercontent.com/neuromorphs/tonic/d6f0a56421008c8e5700ca52abda193f9ff29836"
ARCHIVES = tuple(
    Archive(
        url=f"{_REPOSITORY}/tonic/datasets/pips_{split}.tar.gz",
        file_name=f"pips_{split}.tar.gz",
        md5=md5,
        size=2_000_000,
        unpacked_size=10_000_000,
        unpacks_to=(f"pips_{split}",),
    )
    for split, md5 in (("train", "412bcfb96826e4fcb290558e8c150aae"), ("test", "eef2bf7d0d3defae89a6fa98b07c17af"))
)


def find_recordings(folder: Path) -> list[Recording]:
    """Return the .npy files under pips_train|pips_test/cl|he|di|sp, sorted."""
    return [
        recording
        for split, is_test in (("pips_train", False), ("pips_test", True))
        for recording in recordings_in_class_folders(folder / split, CLASS_FOLDERS, ".npy", is_test)
    ]


def read(path: str | Path) -> Events:
    """Return the events of a recording: a table [N, 4] of microseconds, x, y and polarity.

    Raises:
        CorruptRecordingError, ForeignRecordingError: as `read_npy` and `events_of_columns` do, or if it is empty.
    """
    table = read_npy(read_bytes(path))
    if len(table) == 0:
        raise CorruptRecordingError("it holds no events")
    t, x, y, p = table.T
    return events_of_columns(x, y, t, p)


POKERDVS = Dataset(
    name="POKERDVS",
    folder="POKERDVS",
    sensor_size=(35, 35, 2),
    classes=CLASSES,
    full_size=FULL_SIZE,
    own_test_split=True,
    find_recordings=find_recordings,
    read=read,
    archives=ARCHIVES,
    mirrored_keeps_class=True,
)
