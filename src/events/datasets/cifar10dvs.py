"""CIFAR10-DVS: its folders, and whether they hold the real dataset or a simulated one."""

from pathlib import Path

from src.command_line import UserError
from src.events.datasets.dataset import UNPACKED, Archive, Dataset, Recording, recordings_in_class_folders
from src.events.formats.reading import read_recording
from src.helpers import LOG

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SENSOR_SIZE = (128, 128, 2)
FULL_SIZE = 10_000
SIMULATION_MARKER = "simulation.json"  # lies in a folder of simulated recordings
ARCHIVES = (  # as tonic.datasets.CIFAR10DVS has it; this form of its address serves the file to programs
    Archive(
        url="https://api.figshare.com/v2/file/download/38023437",
        file_name="CIFAR10DVS.zip",
        md5="ce3a4a0682dc0943703bd8f749a7701c",
        size=11_000_000_000,
        unpacked_size=12_000_000_000,
        unpacks_to=CLASSES,
    ),
)


def find_recordings(folder: Path) -> list[Recording]:
    """Return the .aedat4 files under <class>, or the older archives' .aedat files, sorted; none is for the test.

    Raises:
        UserError: for a mixture: most recordings would be there twice, perhaps turned.
    """
    new, old = (recordings_in_class_folders(folder, CLASSES, suffix, is_test=False) for suffix in (".aedat4", ".aedat"))
    if new and old:
        raise UserError(
            f"{folder} holds CIFAR10-DVS in both of its formats ({len(new)} .aedat4 and {len(old)} .aedat files): "
            f"the same recordings, differently oriented. Keep one format there, and the other in another folder"
        )
    return new or old


def is_current(folder: Path, seed: int) -> bool:
    """Return whether all recordings are in their places; warn if they are simulated."""
    if (folder / SIMULATION_MARKER).exists():
        LOG.warning("the recordings under %s are simulated, not CIFAR10-DVS. Don't publish accuracies on them", folder)
    return not (folder / UNPACKED).exists()


CIFAR10DVS = Dataset(
    name="CIFAR10DVS",
    folder="CIFAR10DVS",
    sensor_size=SENSOR_SIZE,
    classes=CLASSES,
    full_size=FULL_SIZE,
    own_test_split=False,
    find_recordings=find_recordings,
    read=read_recording,
    archives=ARCHIVES,
    is_current=is_current,
    mirrored_keeps_class=True,
)
