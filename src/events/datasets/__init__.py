"""The datasets that `data.name` can name. A new one: describe it in a file of its own, register it here."""

import difflib

from src.command_line import UserError
from src.events.datasets.cifar10dvs import CIFAR10DVS
from src.events.datasets.demo import DEMO
from src.events.datasets.description import Dataset
from src.events.datasets.nmnist import NMNIST

DATASETS = {dataset.name.upper(): dataset for dataset in (NMNIST, CIFAR10DVS, DEMO)}


def get_dataset(name: str) -> Dataset:
    """The dataset of this name, whatever its case; UserError names the known ones."""
    if name.upper() in DATASETS:
        return DATASETS[name.upper()]
    near = difflib.get_close_matches(name.upper(), DATASETS, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise UserError(f"data.name = {name!r}: no such dataset; known: {', '.join(DATASETS)}{hint}")
