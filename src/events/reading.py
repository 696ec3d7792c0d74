"""read_recording: the events of a file of any known format."""

from pathlib import Path

from src.events import nmnist
from src.events.dataset import CorruptRecordingError
from src.events.events import Events

_READERS = {".bin": nmnist.read}


def read_recording(path: str | Path) -> Events:
    """Events of a recording; `.bin` is N-MNIST's format.

    Raises:
        CorruptRecordingError: if the file holds no events, or is not in a known format.
        OSError: if it cannot be read.
    """
    path = Path(path)
    if path.suffix not in _READERS:
        raise CorruptRecordingError(f"unknown format {path.suffix!r}; known: {', '.join(_READERS)}")
    return _READERS[path.suffix](path)
