"""The kernels of AEDAT 4: packets to events, and the LZ4 frames that packets usually are to packets.

The `lz4` package decompresses nearly as fast, but its calls and copies, two a packet, cost as much as the rest of the
reader. So LZ4 is decoded here where it is as cameras and `lz4.frame.compress` write it; whatever else there is,
malformed data included, is left to the package. Source: the LZ4 project's descriptions of its frame and block formats.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.kernel_cache import cached_njit

NO_EVENTS, CUT, OUTSIDE, CUT_EVENTS = -1, -2, -3, -4  # returned in place of a number of events
NOT_PLAIN = -1  # returned in place of an end

_LINKED, _INDEPENDENT = 0xC04040, 0x824060  # a plain frame's descriptor: checksum, block size and flags
_BLOCK = 1 << 16  # most bytes of a decompressed block


@cached_njit(nogil=True)
def unpack_plain(
    content: NDArray[np.uint8],
    at: int,
    end: int,
    stream: int,
    n: int,
    size: int,
    most: int,
    body: NDArray[np.uint8],
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    t: NDArray[np.int64],
    p: NDArray[np.uint8],
) -> tuple[int, int, int]:
    """Decompress and unpack packets that are plain LZ4 frames, up to the first that is not, or is not sound.

    Args:
        content: the file.
        at, end: the packets to look at are content[at:end].
        stream: the packets' that count; others are passed over.
        n: events that are there already; those of the packets are written behind them.
        size: bytes of the packets that were decompressed already.
        most: a packet with which they are more is left.
        body: room for one packet, decompressed; a larger one is left.
        x, y, t, p: room for events; a packet for which it is too little is left.

    Returns:
        (where the packet begins that is left, `end` if none is; n; size).
    """
    while at + 8 <= end:
        after = at + 8 + _uint32(content, at + 4)
        if after > end:
            break
        if _uint32(content, at) == stream:
            length = _decompress(content, at + 8, after, body)
            if length < 0 or size + length > most or n + length // 16 > len(x):
                break
            found = unpack(body[:length], n, x, y, t, p)
            if found < 0:
                break
            n += found
            size += length
        at = after
    return at, n, size


@cached_njit(nogil=True)
def unpack(
    body: NDArray[np.uint8],
    begin: int,
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    t: NDArray[np.int64],
    p: NDArray[np.uint8],
) -> int:
    """Write the events of an EventPacket behind its size to the arrays, from `begin` on; return their number.

    A damaged packet gives NO_EVENTS, CUT, OUTSIDE or CUT_EVENTS: an exception of compiled code could not be told from
    others.
    """
    size = len(body)
    if size < 12 or body[8] != 69 or body[9] != 86 or body[10] != 84 or body[11] != 83:  # EVTS
        return NO_EVENTS
    if _uint32(body, 0) + 4 > size:
        return CUT
    table = 4 + _uint32(body, 4)
    if table > size - 4:
        return OUTSIDE
    distance = _uint32(body, table)
    vtable = table - (distance - (distance >> 31 << 32))  # it is signed
    if not 0 <= vtable <= size - 2:
        return OUTSIDE
    offset = 0
    if _uint16(body, vtable) >= 6:
        if vtable + 4 > size - 2:
            return OUTSIDE
        offset = _uint16(body, vtable + 4)
    if offset == 0:
        return 0  # the field is absent: no events
    elements = table + offset
    if elements > size - 4:
        return OUTSIDE
    vector = elements + _uint32(body, elements)
    if vector > size - 4:
        return OUTSIDE
    n = _uint32(body, vector)
    if vector + 4 + 16 * n > size:
        return CUT_EVENTS
    words = body[vector + 4 : vector + 4 + 16 * n].view(np.int64)  # two per event: t; then x, y and whether it is ON
    x, y, t, p = x[begin:], y[begin:], t[begin:], p[begin:]  # an index with an offset might count from the end
    for i in range(n):
        t[i] = words[2 * i]
        rest = words[2 * i + 1]
        x[i] = rest & 0xFFFF
        y[i] = rest >> 16 & 0xFFFF
        p[i] = (rest >> 32 & 0xFF) != 0
    return n


@cached_njit(nogil=True)
def _decompress(content: NDArray[np.uint8], begin: int, end: int, out: NDArray[np.uint8]) -> int:
    """Decompress the plain LZ4 frame content[begin:end]; return its end in `out`, or NOT_PLAIN.

    Plain: blocks of at most 64 KiB, all compressed, no checksums of content, no dictionary, nothing behind it.
    """
    if end - begin < 11 or _uint32(content, begin) != 0x184D2204:
        return NOT_PLAIN
    descriptor = _uint32(content, begin + 3) >> 8
    if descriptor not in (_LINKED, _INDEPENDENT):
        return NOT_PLAIN
    at = begin + 7
    written = 0
    while at + 4 <= end:
        size = _uint32(content, at)
        at += 4
        if size == 0:
            return written if at == end else NOT_PLAIN
        if at + size > end:  # also if its highest bit says that it is not compressed
            return NOT_PLAIN
        room = min(written + _BLOCK, len(out))
        written = _decompress_block(content, at, at + size, out, written, room, 0 if descriptor == _LINKED else written)
        if written < 0:
            return NOT_PLAIN
        at += size
    return NOT_PLAIN


@cached_njit(nogil=True)
def _decompress_block(
    content: NDArray[np.uint8], at: int, end: int, out: NDArray[np.uint8], written: int, room: int, earliest: int
) -> int:
    """Decompress the LZ4 block content[at:end] to out[written:room]; return where it ends there, or NOT_PLAIN.

    A block is sequences: a token with two lengths, literals, and how far back the match lies that comes next; the last
    has literals only. Matches may not begin before `earliest`. Both buffers' ends are checked before each access.
    """
    while at < end:
        # Copies of 8 bytes may write more than they should, as long as it stays in the room: the rest comes over it.
        is_roomy = at + 24 <= end and written + 40 <= room
        if is_roomy:
            # Most sequences of events are half an event: literals and a match that are 8 bytes together. One load from
            # where the match's half began, which one store has written, and a mask: no length, no branch to foresee.
            sequence = _load8(content, at)
            half_literals = sequence >> np.uint64(4) & np.uint64(15)
            if half_literals + (sequence & np.uint64(15)) == np.uint64(4):
                bits = half_literals << np.uint64(3)
                sequence >>= np.uint64(8)
                distance: Any = np.int64(sequence >> bits & np.uint64(0xFFFF))
                after: Any = np.int64(half_literals) + 3
                if 8 <= distance <= written - earliest:
                    mask = (np.uint64(1) << bits) - np.uint64(1)
                    _store8(out, written, sequence & mask | _load8(out, written - distance) & ~mask)
                    at, written = at + after, written + 8
                    continue
        token: Any = np.int64(content[np.uint64(at)])
        at += 1
        literals, length = token >> 4, (token & 15) + 4
        if is_roomy and literals < 15:
            _copy8(out, written, content, at)
            _copy8(out, written + 8, content, at + 8)
            at, written = at + literals, written + literals
            match = written - _uint16(content, at)
            at += 2
            if length < 19 and earliest <= match <= written - 8:
                _copy8(out, written, out, match)
                _copy8(out, written + 8, out, match + 8)
                _copy8(out, written + 16, out, match + 16)
                written += length
                continue
        else:
            if literals == 15:
                more, at = _length(content, at, end)
                literals += more
            if at + literals > end or written + literals > room:
                return NOT_PLAIN
            for i in range(literals):
                out[written + i] = content[at + i]
            at, written = at + literals, written + literals
            if at == end:
                return written
            if at > end - 8 or written > room - 12:  # by the format's rules for its end, the block should be over
                return NOT_PLAIN
            match = written - _uint16(content, at)
            at += 2
        if length == 19:
            more, at = _length(content, at, end)
            length += more
        if not earliest <= match < written or written + length > room:
            return NOT_PLAIN
        for i in range(length):
            out[written + i] = out[match + i]
        written += length
    return NOT_PLAIN


@cached_njit(nogil=True)
def _length(content: NDArray[np.uint8], at: int, end: int) -> tuple[int, int]:
    """Return the rest of a length that did not fit a token, and where it ends; a huge length if it never ends."""
    length = 0
    while at < end:
        byte: Any = np.int64(content[at])
        at += 1
        length += byte
        if byte < 255:
            return length, at
    return 1 << 40, at


@cached_njit(nogil=True)
def _copy8(out: NDArray[np.uint8], to: int, source: NDArray[np.uint8], at: int) -> None:
    _store8(out, to, _load8(source, at))


@cached_njit(nogil=True)
def _load8(source: NDArray[np.uint8], at: int) -> Any:
    """Return 8 bytes as a number; LLVM compiles it to one load."""
    first = np.uint64(at)
    word = np.uint64(0)
    for i in range(8):
        word |= np.uint64(source[first + np.uint64(i)]) << np.uint64(8 * i)
    return word


@cached_njit(nogil=True)
def _store8(out: NDArray[np.uint8], to: int, word: Any) -> None:
    """Write a number's 8 bytes; LLVM compiles it to one store."""
    for i in range(8):
        out[np.uint64(to) + np.uint64(i)] = np.uint8(word >> np.uint64(8 * i))


@cached_njit(nogil=True)
def _uint16(body: NDArray[np.uint8], at: int) -> Any:
    # Unsigned: a signed index would be tested for whether it counts from the end.
    first = np.uint64(at)
    return np.int64(body[first]) | np.int64(body[first + np.uint64(1)]) << 8


@cached_njit(nogil=True)
def _uint32(body: NDArray[np.uint8], at: int) -> Any:
    return _uint16(body, at) | _uint16(body, at + 2) << 16
