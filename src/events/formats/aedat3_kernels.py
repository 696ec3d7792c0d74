"""The kernel of AEDAT 3.1: packets to events."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.events.formats.windows import AT, LAST_T, NUM_BACK, NUM_OUTSIDE, NUM_UNREAD, OWN
from src.kernel_cache import cached_njit

# Slots of the state, behind those of every format.
PACKET_EVENTS = OWN  # events left of the packet that AT is in
EXPECTED_VALID = OWN + 1  # how many of them are valid by the packet's header
OVERFLOW = OWN + 2  # eventTSOverflow of the packet
FIRST_SOURCE = OWN + 3  # eventSource of the first polarity packet; negative before it
NUM_OFF_SENSOR = OWN + 4  # the part of NUM_OUTSIDE that lies outside the sensor
FIRST_OUTSIDE = OWN + 5  # first of these: x << 16 | y
IS_CUT = OWN + 6  # whether the file ends within the packet, so that its header does not hold
NUM_OWN = 7

# Returned in place of a number of events.
BAD_COUNTS, UNKNOWN_TYPE, BAD_LAYOUT, COMPRESSED, OTHER_SOURCE, NEGATIVE_TIME, MORE_VALID = range(-7, 0)

_HEADER = 28  # bytes
_POLARITY = 1
_COMPRESSED_BIT = 0x8000
_LAST_TYPE, _FIRST_USER_TYPE = 13, 100  # libcaer's types are 0 to 13; those from 100 on are users' own
_CHUNK = 4096  # events; they are looked at twice, so they should stay in the cache


@cached_njit(nogil=True)
def read_packets(
    content: NDArray[np.uint8],
    width: int,
    height: int,
    state: NDArray[np.int64],
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    t: NDArray[np.int64],
    p: NDArray[np.uint8],
) -> int:
    """Write events to the arrays until they are full or the file ends; return their number, or an error."""
    end = len(content)
    n = 0
    while True:
        if state[PACKET_EVENTS] == 0:
            if state[EXPECTED_VALID] < 0:
                return MORE_VALID
            state[NUM_OUTSIDE] += state[EXPECTED_VALID]  # invalid events that the header counts as valid
            state[EXPECTED_VALID] = 0
            if state[AT] >= end:
                return n
            error = _enter_packet(content, state)
            if error < 0:
                return error
            continue
        if n == len(t):
            return n
        found = _read_events(content, width, height, state, x[n:], y[n:], t[n:], p[n:])
        if found < 0:
            return found
        n += found


@cached_njit(nogil=True)
def _enter_packet(content: NDArray[np.uint8], state: NDArray[np.int64]) -> int:
    """Go to a packet's first event, or behind a packet of another type; return 0, or an error."""
    at, end = state[AT], len(content)
    if at + _HEADER > end:
        state[NUM_UNREAD] = end - at
        state[AT] = end
        return 0
    kind = np.int64(content[at]) | np.int64(content[at + 1]) << 8
    source = np.int64(content[at + 2]) | np.int64(content[at + 3]) << 8
    event_bytes, t_offset, overflow = _int32(content, at + 4), _int32(content, at + 8), _int32(content, at + 12)
    capacity, number, valid = _int32(content, at + 16), _int32(content, at + 20), _int32(content, at + 24)
    is_compressed = kind & _COMPRESSED_BIT != 0
    kind &= _COMPRESSED_BIT - 1
    if _LAST_TYPE < kind < _FIRST_USER_TYPE:
        return UNKNOWN_TYPE
    if event_bytes <= 0 or overflow < 0 or not 0 <= valid <= number or capacity < 0:
        return BAD_COUNTS
    if kind == _POLARITY and is_compressed:
        return COMPRESSED
    if not is_compressed and capacity != number:
        return BAD_COUNTS
    size = capacity if is_compressed else event_bytes * number
    missing = max(0, at + _HEADER + size - end)
    if kind != _POLARITY:
        if missing:
            state[NUM_UNREAD] = end - at + missing
        state[AT] = end if missing else at + _HEADER + size
        return 0
    if event_bytes != 8 or t_offset != 4:
        return BAD_LAYOUT
    if state[FIRST_SOURCE] >= 0 and source != state[FIRST_SOURCE]:
        return OTHER_SOURCE
    state[FIRST_SOURCE] = source
    if missing:
        number = (size - missing) // 8
        valid = 0
        state[NUM_UNREAD] = size - 8 * number
    state[AT] = end if missing and number == 0 else at + _HEADER
    state[IS_CUT] = missing > 0
    state[PACKET_EVENTS], state[EXPECTED_VALID], state[OVERFLOW] = number, valid, overflow
    return 0


@cached_njit(nogil=True)
def _read_events(
    content: NDArray[np.uint8],
    width: int,
    height: int,
    state: NDArray[np.int64],
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    t: NDArray[np.int64],
    p: NDArray[np.uint8],
) -> int:
    """Write events of one packet to the arrays, at most a chunk; return their number, or an error."""
    at = state[AT]
    m = min(state[PACKET_EVENTS], min(len(t), _CHUNK))
    words = content[at : at + 8 * m].view(np.uint32)  # two per event: x, y, polarity and validity; then t
    every: Any = np.uint32(1)
    times: Any = np.uint32(0)
    most_x: Any = np.uint32(0)
    most_y: Any = np.uint32(0)
    for i in range(m):
        word, time = words[2 * i], words[2 * i + 1]
        every &= word
        times |= time
        most_x = max(most_x, word >> np.uint32(17))
        most_y = max(most_y, word >> np.uint32(2) & np.uint32(0x7FFF))
    base = state[OVERFLOW] << 31
    last = state[LAST_T]
    n = num_valid = num_back = 0
    if every & np.uint32(1) and times >> np.uint32(31) == 0 and most_x < width and most_y < height:
        for i in range(m):  # nearly every packet; a loop without branches
            word = words[2 * i]
            x[i] = word >> np.uint32(17)
            y[i] = word >> np.uint32(2) & np.uint32(0x7FFF)
            p[i] = word >> np.uint32(1) & np.uint32(1)
            t[i] = base + np.int64(words[2 * i + 1])
        num_back += t[0] < last
        for i in range(1, m):
            num_back += words[2 * i + 1] < words[2 * i - 1]
        n = num_valid = m
        last = t[m - 1]
    else:
        for i in range(m):
            word, time = words[2 * i], words[2 * i + 1]
            if word & np.uint32(1) == 0:
                continue
            num_valid += 1
            column, row = np.int64(word >> np.uint32(17)), np.int64(word >> np.uint32(2) & np.uint32(0x7FFF))
            if time >> np.uint32(31):
                state[AT] = at + 8 * i
                return NEGATIVE_TIME
            if column >= width or row >= height:
                if state[NUM_OFF_SENSOR] == 0:
                    state[FIRST_OUTSIDE] = column << 16 | row
                state[NUM_OFF_SENSOR] += 1
                state[NUM_OUTSIDE] += 1
                continue
            x[n], y[n], p[n], t[n] = column, row, word >> np.uint32(1) & np.uint32(1), base + np.int64(time)
            num_back += t[n] < last
            last = t[n]
            n += 1
    state[AT] = at + 8 * m
    state[PACKET_EVENTS] -= m
    state[LAST_T] = last
    state[NUM_BACK] += num_back
    if state[IS_CUT] == 0:
        state[EXPECTED_VALID] -= num_valid
    elif state[PACKET_EVENTS] == 0:
        state[AT] = len(content)
    return n


@cached_njit(nogil=True)
def _int32(content: NDArray[np.uint8], at: int) -> Any:
    low = np.int64(content[at]) | np.int64(content[at + 1]) << 8 | np.int64(content[at + 2]) << 16
    return low | np.int64(np.int8(content[at + 3])) << 24
