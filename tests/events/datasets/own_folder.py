"""Folders of recordings that the tests of own recordings make."""

import numpy as np

from src.events import Events
from src.events.formats import nmnist_bin

ZEROS = np.zeros(3, np.uint16)
EVENTS = Events(ZEROS, ZEROS, np.arange(3), np.zeros(3, np.uint8))


def write(folder, *names, content=None):
    """Make recordings of these names under the folder; return the folder."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(nmnist_bin.encode(EVENTS) if content is None else content)
    return folder
