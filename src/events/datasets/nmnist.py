"""N-MNIST: MNIST's digits before a moving camera (Orchard et al. 2015)."""

from pathlib import Path

from src.events.datasets.dataset import Archive, Dataset, Recording, recordings_in_class_folders
from src.events.formats.nmnist_bin import read

FULL_SIZE = 70_000


def find_recordings(folder: Path) -> list[Recording]:
    """Return the .bin files under Train/<digit> and Test/<digit>, sorted."""
    digits = [str(digit) for digit in range(10)]
    return [
        recording
        for subfolder, is_test in (("Train", False), ("Test", True))
        for recording in recordings_in_class_folders(folder / subfolder, digits, ".bin", is_test)
    ]


_MENDELEY = "https://data.mendeley.com/public-files/datasets/468j46mzdv/files"
ARCHIVES = (  # as tonic.datasets.NMNIST has them
    Archive(
        url=f"{_MENDELEY}/39c25547-014b-4137-a934-9d29fa53c7a0/file_downloaded",
        file_name="train.zip",
        md5="20959b8e626244a1b502305a9e6e2031",
        size=1_010_000_000,
        unpacked_size=1_400_000_000,
        unpacks_to=("Train",),
    ),
    Archive(
        url=f"{_MENDELEY}/05a4d654-7e03-4c15-bdfa-9bb2bcbea494/file_downloaded",
        file_name="test.zip",
        md5="69ca8762b2fe404d9b9bad1103e97832",
        size=170_000_000,
        unpacked_size=240_000_000,
        unpacks_to=("Test",),
    ),
)
NMNIST = Dataset(
    name="NMNIST",
    folder="NMNIST",
    sensor_size=(34, 34, 2),
    classes=tuple(str(digit) for digit in range(10)),
    full_size=FULL_SIZE,
    own_test_split=True,
    find_recordings=find_recordings,
    read=read,
    archives=ARCHIVES,
    has_saccades=True,
)
