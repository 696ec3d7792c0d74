"""The kernels of EVT 3.0: words to events, and events to words. The layout of a word stands in evt3.py."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.events.formats.prophesee import AT, BACK, FIRST_P, FIRST_X, FIRST_Y, OUTSIDE, SHARED, UNREAD
from src.kernel_cache import cached_njit

ADDR_Y, ADDR_X, VECT_BASE_X, VECT_12, VECT_8, TIME_LOW, CONTINUED_4 = 0, 2, 3, 4, 5, 6, 7
TIME_HIGH, EXT_TRIGGER, OTHERS, CONTINUED_12 = 8, 10, 14, 15
METAVISION, EXPELLIARMUS = 0, 1  # how TIME_LOW and TIME_HIGH make a timestamp

# Places in the state: what decides about time; the row, base and polarity of the next events; bits of a vector that
# found no room, and where they begin; the timestamp of the last event.
CLOCK, HAS_TIME, LOW, HIGH, CARRIES, LOOPS, ROW, BASE, POLARITY, BITS, BITS_X, LAST = range(SHARED, SHARED + 12)
NUM_STATES = SHARED + 12
NONE = 1 << 20  # a row or a base that no word has given yet

_LOOP = 1 << 11  # TIME_HIGH that falls by so much has overflowed


@cached_njit(nogil=True)
def count_events(raw: NDArray[np.uint8], begin: int, end: int) -> int:
    """Return how many events the words in raw[begin:end] hold, with those that have no time or lie outside."""
    words = raw[begin:end].view(np.uint16)
    n = 0
    for i in range(len(words)):
        word = np.uint32(words[i])
        kind = word >> np.uint32(12)
        bits = word & np.uint32(0xFFF) if kind == VECT_12 else np.uint32(0)
        bits = word & np.uint32(0xFF) if kind == VECT_8 else bits
        bits = np.uint32(1) if kind == ADDR_X else bits
        n += count_bits(bits)
    return n


@cached_njit(nogil=True)
def decode(
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
    """Write the next events of raw[state[AT]:end] to the arrays until they are full; return their number.

    Rows and single events, four words in five, are done without a branch between them: which comes next cannot be
    foreseen.
    """
    words = raw[state[AT] : end].view(np.uint16)
    num_words, room = len(words), len(t)
    clock, has_time, low, high = state[CLOCK], state[HAS_TIME], state[LOW], state[HIGH]
    carries, loops = state[CARRIES], state[LOOPS]
    row, base, polarity, bits, bits_x = state[ROW], state[BASE], state[POLARITY], state[BITS], state[BITS_X]
    now = (loops << 24) + (high + carries << 12) + low
    rows = height if has_time else 0  # before its first timestamp, nothing is inside
    i = n = settled = 0
    while True:
        while bits != 0 and n < room:
            column = bits_x + lowest_bit(bits)
            bits &= bits - 1
            if column < width:
                at = np.uint64(n)
                x[at], y[at], t[at], p[at] = column, row, now, polarity
                n += 1
            else:
                leave_out(state, column, row)
        if i == num_words or n == room:
            break
        word: Any = np.int64(words[np.uint64(i)])
        i += 1
        kind = word >> 12
        content = word & 0xFFF
        if kind & 13 == 0:  # ADDR_Y or ADDR_X
            is_event = kind >> 1
            row = row & -is_event | content & is_event - 1
            column = content & 0x7FF
            is_inside = is_event & (column < width) & (row < rows)
            at = np.uint64(n)
            x[at], y[at], t[at], p[at] = column, row, now, content >> 11
            n += is_inside
            if is_event > is_inside:
                if has_time and row != NONE:
                    leave_out(state, column, row)
                else:
                    state[UNREAD] += 2
        elif kind in (VECT_12, VECT_8):
            bits = content if kind == VECT_12 else content & 0xFF
            bits_x = base
            base += 12 if kind == VECT_12 else 8
            if row >= rows or base >= NONE:
                while bits != 0:
                    column = bits_x + lowest_bit(bits)
                    bits &= bits - 1
                    if has_time and row != NONE and base < NONE:
                        leave_out(state, column, row)
                    else:
                        state[UNREAD] += 2
                        bits = 0
        elif kind == VECT_BASE_X:
            base, polarity = content & 0x7FF, content >> 11
        elif kind in (TIME_LOW, TIME_HIGH):
            if n > settled:  # all events since the last change have the same timestamp
                state[BACK] += now < state[LAST]
                state[LAST] = now
                settled = n
            if kind == TIME_LOW:
                carries += clock & (content < low)
                low = content
            else:
                if clock == EXPELLIARMUS:
                    loops += content < high
                else:
                    loops += high - content >= _LOOP
                    low = low if content == high else 0
                high = content
                has_time, rows = 1, height
            now = (loops << 24) + (high + carries << 12) + low
        elif kind < CONTINUED_12 and kind != EXT_TRIGGER and kind != OTHERS and kind != CONTINUED_4:
            state[UNREAD] += 2
            row = NONE if kind == 1 else row  # a row of no CD events
    if n > settled:
        state[BACK] += now < state[LAST]
        state[LAST] = now
    state[AT] += 2 * i
    state[HAS_TIME], state[LOW], state[HIGH], state[CARRIES], state[LOOPS] = has_time, low, high, carries, loops
    state[ROW], state[BASE], state[POLARITY], state[BITS], state[BITS_X] = row, base, polarity, bits, bits_x
    return n


@cached_njit(nogil=True)
def leave_out(state: NDArray[np.int64], column: int, row: int, polarity: int = 0) -> None:
    """Count an event that is left out, and keep the first one for the message."""
    if state[OUTSIDE] == 0:
        state[FIRST_X], state[FIRST_Y], state[FIRST_P] = column, row, polarity
    state[OUTSIDE] += 1


@cached_njit(nogil=True)
def lowest_bit(bits: int) -> Any:
    """Return the place of the lowest bit that is set."""
    return count_bits(np.uint32((bits & -bits) - 1))


@cached_njit(nogil=True)
def count_bits(bits: Any) -> Any:
    """Return how many bits of a uint32 are set; LLVM compiles it to one instruction."""
    bits = bits - (bits >> np.uint32(1) & np.uint32(0x55555555))
    bits = (bits & np.uint32(0x33333333)) + (bits >> np.uint32(2) & np.uint32(0x33333333))
    bits = bits + (bits >> np.uint32(4)) & np.uint32(0x0F0F0F0F)
    bits = bits + (bits >> np.uint32(8))
    return np.int64(bits + (bits >> np.uint32(16)) & np.uint32(0x3F))


@cached_njit(nogil=True)
def encode(
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    t: NDArray[np.int64],
    p: NDArray[np.uint8],
    width: int,
    clock: int,
    words: NDArray[np.uint16],
) -> int:
    """Write the words of events to an array that has room for them; return their number."""
    n = i = 0
    low: Any = 0
    high: Any = 0
    carries: Any = 0
    row: Any = -1
    while i < len(t):
        new_low = np.int64(t[i]) & 0xFFF
        if clock == EXPELLIARMUS:
            carries += new_low < low
        new_high = (np.int64(t[i]) >> 12) - carries
        while high < new_high or n == 0:
            is_largest = n > 0 and high & 0xFFF == 0xFFF  # a camera goes from the largest to 0
            high = high + 1 if is_largest else min(high + _LOOP - 1, high | 0xFFF, new_high)
            words[n] = TIME_HIGH << 12 | high & 0xFFF
            n += 1
            if clock == METAVISION:
                low = -1  # TIME_LOW always follows, as in a camera's file
        if new_low != low:
            low = new_low
            words[n] = TIME_LOW << 12 | low
            n += 1
        if y[i] != row:
            row = np.int64(y[i])
            words[n] = ADDR_Y << 12 | row
            n += 1
        base: Any = max(min(np.int64(x[i]), width - 32), 0)
        bits: Any = np.int64(0)
        k = i
        while k < len(t) and t[k] == t[i] and y[k] == y[i] and p[k] == p[i] and base <= x[k] < base + 32:
            bit = np.int64(1) << (np.int64(x[k]) - base)
            if bit <= bits:  # not to the right of the one before
                break
            bits |= bit
            k += 1
        if k - i >= 4:
            words[n] = VECT_BASE_X << 12 | np.int64(p[i]) << 11 | base
            words[n + 1] = VECT_12 << 12 | bits & 0xFFF
            words[n + 2] = VECT_12 << 12 | bits >> 12 & 0xFFF
            words[n + 3] = VECT_8 << 12 | bits >> 24
            n += 4
            i = k
        else:
            words[n] = ADDR_X << 12 | np.int64(p[i]) << 11 | np.int64(x[i])
            n += 1
            i += 1
    return n
