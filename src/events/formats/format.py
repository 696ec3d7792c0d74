"""Format: what a file format of recordings says about itself."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.events.events import Events


@dataclass(frozen=True)
class Format:
    """A file format of recordings.

    Attributes:
        decode: the whole file's bytes -> its events; raises CorruptRecordingError or ForeignRecordingError.
        beginning: the bytes that every file of the format begins with; empty if files begin with anything.
        suffix: the end of the file's name, such as ".bin", for a format whose files begin with anything.
        recognises: for a format that no fixed beginning tells apart: whether a file with these bytes is in it.
        windows: the file's bytes, uint8 [N], which may be mapped from the disk, and a number of events -> the events in
            parts of at most that many, in the file's order; together they are what `decode` returns. The sums of the
            parts' `num_unread`, `num_outside` and `num_back` are those of the whole. None: such a file is always small.
        sensor_size: the file's bytes -> the sensor's width and height in pixels by its header; None if it has none.
    """

    decode: Callable[[bytes], Events]
    beginning: bytes = b""
    suffix: str = ""
    recognises: Callable[[bytes], bool] | None = None
    windows: Callable[[NDArray[np.uint8], int], Iterator[Events]] | None = None
    sensor_size: Callable[[bytes], tuple[int, int] | None] | None = None

    def knows(self, content: bytes, suffix: str) -> bool:
        """Return whether a file with these bytes and this suffix is in the format."""
        if not content.startswith(self.beginning) or not suffix.endswith(self.suffix):
            return False
        return self.recognises is None or self.recognises(content)
