"""N-Caltech101: Caltech101's pictures before a moving camera (Orchard et al. 2015).

8,709 recordings of 100 classes and one of background; Caltech101's class Faces is left out, since Faces_easy shows the
same faces. There is no test split: `data.test_split` draws one. Recordings are as large as their pictures, at most
240 x 180 pixels, which is the size of all frames.
"""

from dataclasses import replace
from pathlib import Path

from src.events.datasets.dataset import Archive, Dataset, Recording, recordings_in_class_folders
from src.events.events import Events
from src.events.formats import nmnist_bin

# fmt: off
CLASSES = (
    "BACKGROUND_Google", "Faces_easy", "Leopards", "Motorbikes", "accordion", "airplanes", "anchor", "ant", "barrel",
    "bass", "beaver", "binocular", "bonsai", "brain", "brontosaurus", "buddha", "butterfly", "camera", "cannon",
    "car_side", "ceiling_fan", "cellphone", "chair", "chandelier", "cougar_body", "cougar_face", "crab", "crayfish",
    "crocodile", "crocodile_head", "cup", "dalmatian", "dollar_bill", "dolphin", "dragonfly", "electric_guitar",
    "elephant", "emu", "euphonium", "ewer", "ferry", "flamingo", "flamingo_head", "garfield", "gerenuk", "gramophone",
    "grand_piano", "hawksbill", "headphone", "hedgehog", "helicopter", "ibis", "inline_skate", "joshua_tree",
    "kangaroo", "ketch", "lamp", "laptop", "llama", "lobster", "lotus", "mandolin", "mayfly", "menorah", "metronome",
    "minaret", "nautilus", "octopus", "okapi", "pagoda", "panda", "pigeon", "pizza", "platypus", "pyramid", "revolver",
    "rhino", "rooster", "saxophone", "schooner", "scissors", "scorpion", "sea_horse", "snoopy", "soccer_ball",
    "stapler", "starfish", "stegosaurus", "stop_sign", "strawberry", "sunflower", "tick", "trilobite", "umbrella",
    "watch", "water_lilly", "wheelchair", "wild_cat", "windsor_chair", "wrench", "yin_yang",
)
# fmt: on
FULL_SIZE = 8709
FOLDER = "Caltech101"
ARCHIVES = (  # as tonic.datasets.NCALTECH101 has it
    Archive(
        url="https://data.mendeley.com/public-files/datasets/cy6cvx3ryv/files/"
        "36b5c52a-b49d-4853-addb-a836a8883e49/file_downloaded",
        file_name="N-Caltech101-archive.zip",
        md5="66201824eabb0239c7ab992480b50ba3",
        size=3_000_000_000,
        unpacked_size=5_000_000_000,
        unpacks_to=(FOLDER,),
    ),
)


def find_recordings(folder: Path) -> list[Recording]:
    """Return the .bin files under Caltech101/<class>, sorted; none is for the test."""
    return recordings_in_class_folders(folder / FOLDER, CLASSES, ".bin", is_test=False)


def read(path: str | Path) -> Events:
    """Return the events of a recording, moved so that the smallest x and the smallest y are 0, as tonic moves them.

    Raises:
        CorruptRecordingError: if it is damaged or empty.
    """
    events = nmnist_bin.read(path)
    return replace(events, x=events.x - events.x.min(), y=events.y - events.y.min())


NCALTECH101 = Dataset(
    name="NCALTECH101",
    folder="NCALTECH101",
    sensor_size=(240, 180, 2),
    classes=CLASSES,
    full_size=FULL_SIZE,
    own_test_split=False,
    find_recordings=find_recordings,
    read=read,
    archives=ARCHIVES,
    mirrored_keeps_class=True,
)
