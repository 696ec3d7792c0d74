"""ArrayFile: bytes in memory, or mapped from the disk, as a file that other libraries read without a copy."""

import io
import os
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


class ArrayFile(io.RawIOBase):
    """A file for reading over uint8 [N].

    `on_read` is called with the beginning and end of what is about to be read; it may raise an error.
    """

    def __init__(self, content: NDArray[np.uint8], on_read: Callable[[int, int], None] | None = None) -> None:
        self._bytes = memoryview(content)  # type: ignore[arg-type]
        self._at = 0
        self._on_read = on_read

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def seekable(self) -> bool:
        """Return that it has positions."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position; ValueError if it is negative."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: len(self._bytes)}[whence]
        if base + offset < 0:
            raise ValueError(f"negative position {base + offset}")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Copy the next bytes into a buffer, and return how many there were."""
        target = memoryview(buffer).cast("B")
        source = self._bytes[self._at : self._at + len(target)]
        if self._on_read is not None:
            self._on_read(self._at, self._at + len(source))
        target[: len(source)] = source
        self._at += len(source)
        return len(source)
