"""The kernel that decompresses LZF, the fast compression of h5py.

The compressed bytes are runs and copies. A run is its length - 1 (below 32), then its bytes. A copy is 3 bits and 5
bits, and maybe more bytes: the 3 bits are the length - 2, or 7, and then the next byte is added to it; the 5 bits and
another byte are the distance - 1. Source: liblzf. Most runs and copies are short, and are copied as whole words of 8
bytes; what is written too much is overwritten by what follows.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.kernel_cache import cached_njit

# Unsigned, so that no index has to be looked at whether it is negative.
_ZERO, _ONE, _TWO, _THREE, _FIVE, _SEVEN, _EIGHT = (np.uint64(n) for n in (0, 1, 2, 3, 5, 7, 8))
_WORD_BYTES = 8
_WORD = np.uint64(_WORD_BYTES)
_LONGEST_RUN = np.uint64(32)  # bytes
_LOW_BITS = np.uint64(31)


def unpack_lzf(packed: NDArray[np.uint8], unpacked: NDArray[np.uint8]) -> bool:
    """Decompress into an array; return whether all was sound and filled it.

    Args:
        packed: uint8 [N], which cannot be written.
        unpacked: uint8 [M].
    """
    return bool(_unpack(packed, _words(packed), unpacked, _words(unpacked)) == len(unpacked))


def _words(content: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return the 8 bytes from each place of an array on as a word; any words if the array is shorter than a run."""
    room = content if len(content) >= _LONGEST_RUN else np.zeros(_LONGEST_RUN, np.uint8)
    words: NDArray[np.uint64] = np.ndarray((len(room) - _WORD_BYTES + 1,), np.uint64, room, strides=(1,))
    words.flags.writeable = content.flags.writeable
    return words


@cached_njit(nogil=True)
def _unpack(
    packed: NDArray[np.uint8],
    packed_words: NDArray[np.uint64],
    unpacked: NDArray[np.uint8],
    words: NDArray[np.uint64],
) -> int:
    """Return how many bytes were written; -1 if the compressed ones are damaged, or too many."""
    num_packed, size = np.uint64(len(packed)), np.uint64(len(unpacked))
    last_packed = num_packed - min(num_packed, _LONGEST_RUN)  # up to here, a longest run may be read
    last = size - min(size, _LONGEST_RUN)  # and written
    at: Any = _ZERO
    n: Any = _ZERO
    while at < num_packed:
        control = np.uint64(packed[at])
        at += _ONE
        if control < _LONGEST_RUN:
            length = control + _ONE
            if at <= last_packed and n <= last:
                if length <= _TWO * _WORD:
                    words[n], words[n + _WORD] = packed_words[at], packed_words[at + _WORD]
                else:
                    first, second = packed_words[at], packed_words[at + _WORD]
                    third, fourth = packed_words[at + _TWO * _WORD], packed_words[at + _THREE * _WORD]
                    words[n], words[n + _WORD] = first, second
                    words[n + _TWO * _WORD], words[n + _THREE * _WORD] = third, fourth
            elif at + length > num_packed or n + length > size:
                return -1
            else:
                for i in range(length):
                    unpacked[n + np.uint64(i)] = packed[at + np.uint64(i)]
            at += length
        else:
            length = (control >> _FIVE) + _TWO
            if length == _TWO + _SEVEN and at < num_packed:
                length += np.uint64(packed[at])
                at += _ONE
            if at >= num_packed:
                return -1
            distance = ((control & _LOW_BITS) << _EIGHT) + np.uint64(packed[at]) + _ONE
            at += _ONE
            if distance > n or n + length > size:
                return -1
            if length <= _WORD <= distance and n <= last:
                words[n] = words[n - distance]
            else:
                for i in range(length):
                    unpacked[n + np.uint64(i)] = unpacked[n + np.uint64(i) - distance]
        n += length
    return int(n)
