"""The datasets that `data.name` can name, one per file; src/registry.py lists them."""

import difflib

from src.command_line import UserError
from src.events.datasets.dataset import Dataset
from src.registry import DATASETS


def get_dataset(name: str) -> Dataset:
    """Return the dataset of this name, whatever its case; a UserError names the known ones."""
    if name.upper() in DATASETS:
        dataset: Dataset = DATASETS.load(name.upper())
        return dataset
    near = difflib.get_close_matches(name.upper(), DATASETS, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise UserError(f"data.name = {name!r}: no such dataset; known: {', '.join(DATASETS)}{hint}")
