"""N-CARS: cars, or no cars, before a car that drives (Sironi et al. 2018).

24,029 recordings of 100 ms by an ATIS: 7,940 of cars and 7,482 of background to train with, 4,396 and 4,211 to test
with. Recordings have different sizes, at most 120 x 100 pixels, which is the size of all frames.
"""

from pathlib import Path

from src.events.datasets.dataset import Archive, Dataset, Recording, recordings_in_class_folders
from src.events.formats.reading import read_recording

CLASSES = ("background", "cars")
FULL_SIZE = 7940 + 7482 + 4396 + 4211
WHOLE = "Prophesee_Dataset_n_cars"
ARCHIVES = (  # as tonic's former dataset NCARS had it
    Archive(
        url="http://www.prophesee.ai/resources/Prophesee_Dataset_n_cars.zip",
        file_name="Prophesee_Dataset_n_cars.zip",
        md5="553ce464d6e5e617b3c21ce27c19368e",
        size=500_000_000,
        unpacked_size=1_300_000_000,
        unpacks_to=("train", "test"),
    ),
)


def find_recordings(folder: Path) -> list[Recording]:
    """Return the .dat files under train|test/cars|background, sorted.

    The folders may have the names of the archives within the archive, n-cars_train and n-cars_test, and lie in a folder
    Prophesee_Dataset_n_cars.
    """
    return _of_split(folder, "train", is_test=False) + _of_split(folder, "test", is_test=True)


def _of_split(folder: Path, split: str, is_test: bool) -> list[Recording]:
    places = [split, f"n-cars_{split}", f"n-cars_{split}/{split}"]
    for place in [*places, *(f"{WHOLE}/{place}" for place in places)]:
        if found := recordings_in_class_folders(folder / place, CLASSES, ".dat", is_test):
            return found
    return []


NCARS = Dataset(
    name="NCARS",
    folder="NCARS",
    sensor_size=(120, 100, 2),
    classes=CLASSES,
    full_size=FULL_SIZE,
    own_test_split=True,
    find_recordings=find_recordings,
    read=read_recording,
    archives=ARCHIVES,
    mirrored_keeps_class=True,
)
