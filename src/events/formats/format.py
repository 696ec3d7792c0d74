"""Format: what a file format of recordings says about itself."""

from collections.abc import Callable
from dataclasses import dataclass

from src.events.events import Events


@dataclass(frozen=True)
class Format:
    """A file format of recordings.

    Attributes:
        decode: the whole file's bytes -> its events; raises CorruptRecordingError or ForeignRecordingError.
        beginning: the bytes that every file of the format begins with; empty if files begin with anything.
        suffix: the end of the file's name, such as ".bin", for a format whose files begin with anything.
    """

    decode: Callable[[bytes], Events]
    beginning: bytes = b""
    suffix: str = ""

    def knows(self, content: bytes, suffix: str) -> bool:
        """Return whether a file with these bytes and this suffix is in the format."""
        return content.startswith(self.beginning) and suffix.endswith(self.suffix)
