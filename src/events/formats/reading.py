"""read_recording: the events of a file of any known format."""

from pathlib import Path

import numpy as np

from src.events.events import Events
from src.events.formats import aedat2, aedat4, nmnist_bin
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError, refuse_pointer


def read_recording(path: str | Path) -> Events:
    """Events of a recording: AEDAT 4 or AEDAT 2.0, by how the file begins, else N-MNIST's format if it is a `.bin`.

    A file that was cut short gives its whole events; `num_unread` of the result says how many bytes were left out.

    Raises:
        CorruptRecordingError: if the file is damaged or holds no events.
        ForeignRecordingError: if it is not in a known format, or of another sensor.
        OSError: if it cannot be read.
    """
    return decode_recording(nmnist_bin.read_bytes(path), Path(path).suffix)


def decode_recording(content: bytes, suffix: str) -> Events:
    """Events of a file's bytes, as `read_recording`; the suffix counts for N-MNIST only, whose files begin anyhow."""
    refuse_pointer(content)
    if content.startswith(aedat4.MAGIC):
        events = aedat4.decode(content)
    elif content.startswith(aedat2.MAGIC):
        events = aedat2.decode(content)
    elif suffix == ".bin":
        events = nmnist_bin.decode(np.frombuffer(content, np.uint8))
    else:
        beginning = content[: len(aedat4.MAGIC)]
        raise ForeignRecordingError(
            f"unknown format: it begins with {beginning!r}; known are AEDAT 4, AEDAT 2.0 and N-MNIST's .bin"
        )
    if len(events) == 0:
        raise CorruptRecordingError("it holds no events")
    return events
