"""The heaps of an HDF5 file, in which it has names and texts: read without h5py where it might never end."""

import re

import numpy as np
from numpy.typing import NDArray

from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError
from src.events.formats.search import find_all

_HEAP = b"HEAP\0"


def require_known_sizes(content: NDArray[np.uint8]) -> None:
    """Raise ForeignRecordingError if a file's addresses and lengths do not have 8 bytes, as those of nearly all do."""
    view = memoryview(content)  # type: ignore[arg-type]
    version = content[8] if len(content) > 24 else 0
    sizes = tuple(view[13:15] if version < 2 else view[9:11])
    if sizes != (8, 8):
        raise ForeignRecordingError(f"its addresses and lengths have {sizes} bytes, not 8")


def require_ending_lists(content: NDArray[np.uint8], begin: int, end: int) -> None:
    """Raise an error if the HDF5 library would follow a damaged list in a circle and fill the memory.

    It is for what the library is about to read, from `begin` to `end`. Nothing else of the file is looked at, which may
    be larger than the memory.

    Names of groups are in local heaps: `HEAP`, a version of 1 byte, 3 bytes, then the size of the heap's data, where
    its first free block is, and the data's address (8 bytes each). A free block begins with where the next one is and
    its size (8 bytes each); 1 means none. Source: the HDF5 file format specification.

    Raises:
        CorruptRecordingError: if a list of free blocks has no end. One that leaves its heap is for the library to find.
    """
    view = memoryview(content)  # type: ignore[arg-type]
    first = max(0, begin - len(_HEAP) + 1)  # the library may have read the beginning of the name before
    for match in re.finditer(_HEAP, view[first : end + len(_HEAP) - 1]):
        position = first + match.start()
        size, block, address = np.frombuffer(
            view[position + 8 : position + 32].tobytes().ljust(24, b"\0"), "<u8"
        ).tolist()
        for _ in range(min(size, len(view)) // 16 + 1):
            if block == 1 or block + 16 > size or address + block + 16 > len(view):
                break
            block = int.from_bytes(view[address + block : address + block + 8], "little")
        else:
            raise CorruptRecordingError(f"it is damaged: its list of free blocks at byte {position} has no end")


def geometry_in_heaps(content: NDArray[np.uint8]) -> bytes | None:
    """Return the only text such as `1280x720` in a file's global heaps, which hold texts of any length; None if none.

    A heap is `GCOL`, a version of 1 byte, 3 zeros, its size (8 bytes) and objects: an index (2 bytes), a count of
    references (2), 4 zeros, a size (8) and that many bytes, padded to a multiple of 8. An object with index 0 is what
    is left of the heap, its header included. Source: the HDF5 file format specification.

    Raises:
        CorruptRecordingError: if there is none, and the objects of a heap do not follow each other to its end.
    """
    view = memoryview(content)  # type: ignore[arg-type]
    found = set()
    is_damaged = False
    for position in find_all(content, b"GCOL\x01\0\0\0"):
        at = position + 16
        end = position + int.from_bytes(view[position + 8 : at], "little")
        while at + 16 <= end <= len(view):
            index = int.from_bytes(view[at : at + 2], "little")
            size = int.from_bytes(view[at + 8 : at + 16], "little")
            if index == 0:
                at = at + size if size >= 16 else end + 1
                continue
            text = view[at + 16 : at + 16 + min(size, 16)].tobytes().rstrip(b"\0")
            if re.fullmatch(rb"\d{1,5}x\d{1,5}", text):
                found.add(text)
            at += 16 + -(-size // 8) * 8
        is_damaged |= at > end or end > len(view)
    if is_damaged and not found:
        raise CorruptRecordingError("it is damaged where it has the text of its attribute geometry")
    return found.pop() if len(found) == 1 else None
