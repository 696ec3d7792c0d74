"""The kernels of EVT 2.0 and EVT 2.1: words to events, and events to words. evt2.py and evt21.py say their layout."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.events.formats.evt3_kernels import count_bits, leave_out, lowest_bit
from src.events.formats.prophesee import AT, BACK, SHARED, UNREAD
from src.kernel_cache import cached_njit

CD_OFF, CD_ON, TIME_HIGH, EXT_TRIGGER, OTHERS, CONTINUED = 0, 1, 8, 10, 14, 15

# Places in the state: whether EVT 2.1 comes in halves, the higher one first; what decides about time; the timestamp of
# the last event; the vector that found no room: its column, row, polarity, timestamp, and the bits that are left.
IS_LEGACY, HAS_TIME, HIGH, LOOPS, LAST, COLUMN, ROW, POLARITY, NOW, BITS = range(SHARED, SHARED + 10)
NUM_STATES = SHARED + 10

_TIME_BITS = 34
_LARGEST_HIGH = (1 << 28) - 1
_LOOP = ((_LARGEST_HIGH << 6) - 10_000) >> 6  # TIME_HIGH that falls by so much has overflowed: all but 10 ms


@cached_njit(nogil=True)
def decode_evt2(
    raw: NDArray[np.uint8],
    end: int,
    state: NDArray[np.int64],
    width: int,
    height: int,
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    t: NDArray[np.int64],
    p: NDArray[np.uint8],
) -> int:
    """Write the next events of the EVT 2.0 words raw[state[AT]:end] until the arrays are full; return their number."""
    words = raw[state[AT] : end].view(np.uint32)
    num_words, room = len(words), len(t)
    has_time, high, loops, last = state[HAS_TIME], state[HIGH], state[LOOPS], state[LAST]
    begin = (loops << _TIME_BITS) + (high << 6)
    rows = height if has_time else 0  # before its first timestamp, nothing is inside
    back = np.int64(0)
    i = n = 0
    while i < num_words and n < room:
        word: Any = np.int64(words[np.uint64(i)])
        i += 1
        kind = word >> 28
        if kind <= CD_ON:
            column, row = word >> 11 & 0x7FF, word & 0x7FF
            if column < width and row < rows:
                now = begin + (word >> 22 & 0x3F)
                at = np.uint64(n)
                x[at], y[at], t[at], p[at] = column, row, now, kind
                n += 1
                back += now < last
                last = now
            elif has_time:
                leave_out(state, column, row)
            else:
                state[UNREAD] += 4
        elif kind == TIME_HIGH:
            loops += high - (word & _LARGEST_HIGH) >= _LOOP
            high = word & _LARGEST_HIGH
            begin = (loops << _TIME_BITS) + (high << 6)
            has_time, rows = 1, height
        elif kind != EXT_TRIGGER and kind != OTHERS and kind != CONTINUED:
            state[UNREAD] += 4
    state[AT] += 4 * i
    state[BACK] += back
    state[HAS_TIME], state[HIGH], state[LOOPS], state[LAST] = has_time, high, loops, last
    return n


@cached_njit(nogil=True)
def count_evt21(raw: NDArray[np.uint8], begin: int, end: int, is_legacy: int) -> int:
    """Return how many events the EVT 2.1 words in raw[begin:end] hold, with those without time or outside."""
    words = raw[begin:end].view(np.uint32)
    n = 0
    for i in range(len(words) // 2):
        if words[np.uint64(2 * i + 1 - is_legacy)] >> np.uint32(28) <= CD_ON:
            n += count_bits(words[np.uint64(2 * i + is_legacy)])
    return n


@cached_njit(nogil=True)
def decode_evt21(
    raw: NDArray[np.uint8],
    end: int,
    state: NDArray[np.int64],
    width: int,
    height: int,
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    t: NDArray[np.int64],
    p: NDArray[np.uint8],
) -> int:
    """Write the next events of the EVT 2.1 words raw[state[AT]:end] until the arrays are full; return their number."""
    words = raw[state[AT] : end].view(np.uint32)
    num_words, room = len(words) // 2, len(t)
    is_legacy, has_time, high, loops, last = state[IS_LEGACY], state[HAS_TIME], state[HIGH], state[LOOPS], state[LAST]
    first, row, polarity, now, bits = state[COLUMN], state[ROW], state[POLARITY], state[NOW], state[BITS]
    i = n = 0
    while True:
        while bits != 0 and n < room:
            column = first + lowest_bit(bits)
            bits &= bits - 1
            if column < width and row < height:
                at = np.uint64(n)
                x[at], y[at], t[at], p[at] = column, row, now, polarity
                n += 1
                state[BACK] += now < last
                last = now
            else:
                leave_out(state, column, row)
        if i == num_words or n == room:
            break
        head: Any = np.int64(words[np.uint64(2 * i + 1 - is_legacy)])
        tail: Any = np.int64(words[np.uint64(2 * i + is_legacy)])
        i += 1
        kind = head >> 28
        if kind <= CD_ON:
            if has_time:
                first, row, polarity, bits = head >> 11 & 0x7FF, head & 0x7FF, kind, tail
                now = (loops << _TIME_BITS) + (high << 6) + (head >> 22 & 0x3F)
            elif tail != 0:
                state[UNREAD] += 8
        elif kind == TIME_HIGH:
            loops += high - (head & _LARGEST_HIGH) >= _LOOP
            high = head & _LARGEST_HIGH
            has_time = 1
        elif kind != EXT_TRIGGER and kind != OTHERS and kind != CONTINUED:
            state[UNREAD] += 8
    state[AT] += 8 * i
    state[HAS_TIME], state[HIGH], state[LOOPS], state[LAST] = has_time, high, loops, last
    state[COLUMN], state[ROW], state[POLARITY], state[NOW], state[BITS] = first, row, polarity, now, bits
    return n


@cached_njit(nogil=True)
def encode_evt2(
    x: NDArray[np.uint16], y: NDArray[np.uint16], t: NDArray[np.int64], p: NDArray[np.uint8], words: NDArray[np.uint32]
) -> int:
    """Write the EVT 2.0 words of events to an array that has room for them; return their number."""
    n = 0
    high = np.int64(-1)
    for i in range(len(t)):
        while high < t[i] >> 6:
            high = _next_high(high, t[i] >> 6)
            words[n] = TIME_HIGH << 28 | high & _LARGEST_HIGH
            n += 1
        words[n] = np.int64(p[i]) << 28 | (t[i] & 0x3F) << 22 | np.int64(x[i]) << 11 | np.int64(y[i])
        n += 1
    return n


@cached_njit(nogil=True)
def encode_evt21(
    x: NDArray[np.uint16], y: NDArray[np.uint16], t: NDArray[np.int64], p: NDArray[np.uint8], words: NDArray[np.uint64]
) -> int:
    """Write the EVT 2.1 words of events to an array that has room for them; return their number."""
    n = i = 0
    high = np.int64(-1)
    while i < len(t):
        while high < t[i] >> 6:
            high = _next_high(high, t[i] >> 6)
            words[n] = np.uint64(TIME_HIGH << 28 | high & _LARGEST_HIGH) << np.uint64(32)
            n += 1
        base = np.int64(x[i]) & ~31
        head = _head(x[i], y[i], t[i], p[i])
        bits = np.int64(0)
        while i < len(t) and t[i] >> 6 == high and _head(x[i], y[i], t[i], p[i]) == head:
            bit = np.int64(1) << (np.int64(x[i]) - base)
            if bit <= bits:  # not to the right of the one before
                break
            bits |= bit
            i += 1
        words[n] = np.uint64(head) << np.uint64(32) | np.uint64(bits)
        n += 1
    return n


@cached_njit(nogil=True)
def _head(x: int, y: int, t: int, p: int) -> Any:
    """Return the higher half of the EVT 2.1 word that holds an event."""
    return np.int64(p) << 28 | (t & 0x3F) << 22 | (np.int64(x) & ~31) << 11 | np.int64(y)


@cached_njit(nogil=True)
def _next_high(high: int, wanted: int) -> Any:
    """Return the next TIME_HIGH, not cut to 28 bits: an overflow is the step from the largest to 0."""
    if high < 0:
        return min(wanted, _LARGEST_HIGH)
    if high & _LARGEST_HIGH == _LARGEST_HIGH:
        return high + 1
    return min(wanted, high | _LARGEST_HIGH)
