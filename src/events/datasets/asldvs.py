"""ASL-DVS: the letters of American sign language that a still hand shows (Bi et al. 2019).

100,800 recordings of 100 ms by a DAVIS240C, 4,200 per letter from a to y without j. Five people made them, but neither
names nor contents of the files say who, so that a person's recordings are in train and in test. There is no test split:
`data.test_split` draws one, as the paper's authors draw a fifth.
"""

import io
from pathlib import Path

import numpy as np

from src.events.datasets.dataset import Archive, Dataset, Recording, recordings_in_class_folders
from src.events.datasets.tables import MOST_SHOWN, events_of_columns
from src.events.events import Events
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError, refuse_pointer
from src.events.formats.file_bytes import read_bytes
from src.helpers import one_line

CLASSES = tuple("abcdefghiklmnopqrstuvwxy")  # tonic numbers them in an alphabet of 26: its k is 10, ours is 9
WIDTH, HEIGHT = 240, 180
FULL_SIZE = 100_800
COLUMNS = ("ts", "x", "y", "pol")
ARCHIVES = (  # as tonic.datasets.ASLDVS has it
    Archive(
        url="https://www.dropbox.com/sh/ibq0jsicatn7l6r/AACNrNELV56rs1YInMWUs9CAa?dl=1",
        file_name="ASLDVS.zip",
        md5="33f8b87bf45edc0bfed0de41822279b9",
        size=4_000_000_000,
        unpacked_size=8_000_000_000,
        unpacks_to=CLASSES,
    ),
)


def find_recordings(folder: Path) -> list[Recording]:
    """Return the .mat files under <letter>, sorted; none is for the test."""
    return recordings_in_class_folders(folder, CLASSES, ".mat", is_test=False)


def read(path: str | Path) -> Events:
    """Return the events of a .mat file (ts in microseconds, x, y, pol), with y counted from the top, as tonic does.

    Raises:
        CorruptRecordingError: if it is damaged, empty or lacks a column.
        ForeignRecordingError: if more than a few events lie outside the sensor.
    """
    from scipy.io import loadmat  # takes a while, and other datasets do without

    content = read_bytes(path)
    refuse_pointer(content)
    try:
        found = loadmat(io.BytesIO(content), variable_names=COLUMNS)
        t, x, y, p = (np.asarray(found[name]).ravel() for name in COLUMNS)
    except KeyError as error:
        raise ForeignRecordingError(f"it has no column {error.args[0]!r}; expected ts, x, y and pol") from error
    except Exception as error:  # a damaged file fails in many ways
        raise CorruptRecordingError(f"it cannot be read as a .mat file: {one_line(error)[:MOST_SHOWN]}") from error
    lengths = {len(column) for column in (t, x, y, p)}
    kinds = {column.dtype.kind for column in (t, x, y, p)}
    if len(lengths) != 1 or not kinds <= set("iuf"):
        raise CorruptRecordingError("its columns ts, x, y and pol are not numbers of equally many events")
    if lengths == {0}:
        raise CorruptRecordingError("it holds no events")
    return events_of_columns(x, HEIGHT - 1 - y.astype(np.float64), t, p)


ASLDVS = Dataset(
    name="ASLDVS",
    folder="ASLDVS",
    sensor_size=(WIDTH, HEIGHT, 2),
    classes=CLASSES,
    full_size=FULL_SIZE,
    own_test_split=False,
    find_recordings=find_recordings,
    read=read,
    archives=ARCHIVES,
    mirrored_keeps_class=True,  # a letter of the other hand
)
