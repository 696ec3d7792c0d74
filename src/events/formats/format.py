"""Format: what a file format of recordings says about itself."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.events.events import Events
from src.registry import Registry

HEADER_BYTES = 1 << 20  # at the beginning of a file, which hold its header


@dataclass(frozen=True)
class Format:
    """A file format of recordings.

    Attributes:
        decode: the whole file's bytes -> its events; raises CorruptRecordingError or ForeignRecordingError.
        windows: the file's bytes, uint8 [N], which may be mapped from the disk, and a number of events -> the events in
            parts of at most that many, in the file's order; together they are what `decode` returns. The sums of the
            parts' `num_unread`, `num_outside` and `num_back` are those of the whole. Only the last may have no
            events. None: the file is decoded as a whole, so its length decides about the memory.
        pieces: the file's bytes in pieces, of which the first holds the whole header -> the events, as soon as their
            bytes are there; together they are what `decode` returns, with its errors. None: it needs the whole file.
        beginning: the bytes that every file of the format begins with; empty if files begin with anything.
        suffix: the end of the file's name, such as ".bin", for a format whose files begin with anything.
        recognises: for a format that no fixed beginning tells apart: whether a file with these bytes is in it.
        sensor_size: the file's bytes -> the sensor's width and height in pixels by its header; None if it has none.
        clocks: for a format whose timestamps readers make in several ways: the registry of the ways, which loads the
            format that makes them so. The format itself makes them in the first way.
        has_scattered_header: `sensor_size` needs the whole file, not only its first HEADER_BYTES.
    """

    decode: Callable[[bytes], Events]
    windows: Callable[[NDArray[np.uint8], int], Iterator[Events]] | None = None
    pieces: Callable[[Iterator[bytes]], Iterator[Events]] | None = None
    beginning: bytes = b""
    suffix: str = ""
    recognises: Callable[[bytes], bool] | None = None
    sensor_size: Callable[[bytes], tuple[int, int] | None] | None = None
    clocks: Registry | None = None
    has_scattered_header: bool = False

    def knows(self, content: bytes, suffix: str) -> bool:
        """Return whether a file with these bytes and this suffix is in the format."""
        if not content.startswith(self.beginning) or not suffix.endswith(self.suffix):
            return False
        return self.recognises is None or self.recognises(content)

    def with_clock(self, name: str) -> "Format":
        """Return the format that makes timestamps in the way of this name; itself if there is one way only."""
        return self if self.clocks is None else self.clocks.load(name)

    def in_windows(self, content: NDArray[np.uint8], most_events: int) -> Iterator[Events]:
        """Return the events in parts, see `windows`."""
        return iter([self.decode(content.tobytes())]) if self.windows is None else self.windows(content, most_events)
