"""Find where a few bytes occur in a file of any size, at the speed of memory."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from src.events.formats.windows import read_only
from src.kernel_cache import cached_njit

_NONE = -1
_PIECE = 1 << 12  # bytes that are compared at once


def find_all(content: NDArray[np.uint8], pattern: bytes) -> Iterator[int]:
    """Return where a pattern of 4 bytes or more begins in a file, one place after the other."""
    raw, beginning = read_only(content), read_only(pattern[:4])
    at = _next(raw, beginning, 0)
    while at != _NONE:
        if raw[at : at + len(pattern)].tobytes() == pattern:
            yield at
        at = _next(raw, beginning, at + 1)


@cached_njit(nogil=True)
def _next(content: NDArray[np.uint8], beginning: NDArray[np.uint8], at: int) -> int:
    """Return where 4 bytes occur next from a place on; _NONE if they do not.

    The least difference of a piece tells whether it has them. It is found without branches, many bytes at once.
    """
    a, b, c, d = beginning[0], beginning[1], beginning[2], beginning[3]
    end = len(content) - 3
    while at < end:
        n = min(_PIECE, end - at)
        first, second = content[at : at + n], content[at + 1 : at + 1 + n]
        third, fourth = content[at + 2 : at + 2 + n], content[at + 3 : at + 3 + n]
        least = np.uint8(255)
        for i in range(n):
            least = min(least, np.uint8((first[i] ^ a) | (second[i] ^ b) | (third[i] ^ c) | (fourth[i] ^ d)))
        if least == 0:
            for i in range(n):
                if first[i] == a and second[i] == b and third[i] == c and fourth[i] == d:
                    return at + i
        at += n
    return _NONE
