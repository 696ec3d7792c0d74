"""DAT: Prophesee's files of decoded events, in which N-CARS and the GEN1 and 1 Mpx datasets are distributed."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from src.events.events import Events
from src.events.formats import prophesee
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError
from src.events.formats.evt3_kernels import leave_out
from src.events.formats.format import Format
from src.events.formats.prophesee import AT, BACK, SHARED
from src.kernel_cache import cached_njit

EVENT_2D, EVENT_CD = 0, 12  # types of events that are those of pixels
LARGEST_SIDE = prophesee.LARGEST_SIDE
VERSION = "2"

_EVENT_BYTES = 8
_LAST, _LAST_RAW, _LOOPS = range(SHARED, SHARED + 3)  # timestamp of the last event, its 32 bits, and their overflows
_NUM_STATES = SHARED + 3


def decode(content: bytes) -> Events:
    """Return the events of a DAT file, equal to those of expelliarmus if their timestamps never fall.

    Behind the header there are the type of the events (1 byte), 12 for events of pixels or 0 in older files such as
    N-CARS's, and their size (1 byte), 8. An event is two little-endian words of 32 bits: the timestamp in microseconds;
    and from the lowest bit on, column (14 bits), row (14), polarity (4).

    The timestamp overflows after 71 minutes: 2^32 is added whenever it falls by more than 2^31, as in faery;
    expelliarmus adds it whenever it falls. Events outside the sensor, if the header names one, and events with a
    polarity of more than 1 are left out, and `num_outside` of the result counts them. An event that the file ends
    within is left out too, as `num_unread` says.

    Source: Metavision's page "DAT File Format".

    Raises:
        CorruptRecordingError: if it is no DAT, ends within its header, or holds not one whole event.
        ForeignRecordingError: if the events are of another type, size or version, or more than a few lie outside.
    """
    data = _data(np.frombuffer(content, np.uint8))
    return data.whole((data.end - data.begin) // _EVENT_BYTES)


def windows(content: NDArray[np.uint8], most_events: int) -> Iterator[Events]:
    """Yield the events of a file's bytes in parts of at most `most_events`; see `decode`."""
    return _data(content).windows(most_events)


def _data(content: NDArray[np.uint8]) -> prophesee.Data:
    beginning = content[: prophesee.LARGEST_HEADER + 2].tobytes()
    header = _header(beginning)
    begin = header.end + 2
    if begin > len(content):
        raise CorruptRecordingError("it ends before the type and the size of its events")
    kind, size = beginning[header.end : begin]
    if kind not in (EVENT_2D, EVENT_CD) or size != _EVENT_BYTES:
        raise ForeignRecordingError(f"its events are of type {kind} with {size} bytes, none of pixels with 8 bytes")
    sensor = header.sensor_size() or (LARGEST_SIDE, LARGEST_SIDE)
    content = np.asarray(content)  # a mapped file's class would be compiled for again
    return prophesee.Data(content, begin, _EVENT_BYTES, 1, _decode, np.zeros(_NUM_STATES, np.int64), sensor)


def _header(content: bytes) -> prophesee.Header:
    header = prophesee.parse_header(content)
    if not header.is_dat:
        raise CorruptRecordingError("its header is none of a DAT file")
    if header.problem:
        raise CorruptRecordingError(header.problem)
    version = header.fields.get("Version", VERSION)
    if version not in (VERSION, f"{VERSION}.0"):
        raise ForeignRecordingError(f"its header says version {version[:20]!r} of DAT; version {VERSION} is read")
    return header


@cached_njit(nogil=True)
def _decode(
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
    words = raw[state[AT] : end].view(np.uint32)
    num_events, room = len(words) // 2, len(t)
    last, last_raw, loops, back = state[_LAST], state[_LAST_RAW], state[_LOOPS], np.int64(0)
    i = n = 0
    while i < num_events and n < room:
        time, place = np.int64(words[np.uint64(2 * i)]), np.int64(words[np.uint64(2 * i + 1)])
        i += 1
        column, row, polarity = place & 0x3FFF, place >> 14 & 0x3FFF, place >> 28
        if column < width and row < height and polarity <= 1:
            loops += last_raw - time > 1 << 31
            last_raw = time
            now = (loops << 32) + time
            at = np.uint64(n)
            x[at], y[at], t[at], p[at] = column, row, now, polarity
            n += 1
            back += now < last
            last = now
        else:
            leave_out(state, column, row, polarity)
    state[AT] += _EVENT_BYTES * i
    state[BACK] += back
    state[_LAST], state[_LAST_RAW], state[_LOOPS] = last, last_raw, loops
    return n


def sensor_size(content: bytes) -> tuple[int, int] | None:
    """Return the sensor's width and height in pixels by the header; None if it does not say."""
    return _header(content).sensor_size()


def encode(events: Events, sensor: tuple[int, int] | None = None, event_type: int = EVENT_CD) -> bytes:
    """Return the bytes of a DAT file; `decode` inverts it.

    Events must be in the order of time and lie on the sensor. The first timestamp must be below 2^32, and no two events
    2^31 microseconds or more apart.
    """
    last = prophesee.check_encodable(events, sensor or (LARGEST_SIDE, LARGEST_SIDE))
    if last and (events.t[0] >> 32 or np.any(np.diff(events.t) >= 1 << 31)):
        raise ValueError("the first timestamp must be below 2^32, and no two 2^31 microseconds or more apart")
    words = np.empty((len(events), 2), np.uint32)
    words[:, 0] = events.t & 0xFFFFFFFF
    words[:, 1] = events.x | events.y.astype(np.uint32) << 14 | events.p.astype(np.uint32) << 28
    size = f"% Width {sensor[0]}\n% Height {sensor[1]}\n" if sensor else ""
    header = f"% Data file containing CD events\n% Version {VERSION}\n{size}".encode()
    return header + bytes([event_type, _EVENT_BYTES]) + words.tobytes()


def _recognises(content: bytes) -> bool:
    return prophesee.parse_header(content).is_dat


FORMAT = Format(
    decode,
    windows,
    prophesee.pieces_by(_data),
    beginning=prophesee.BEGINNING,
    recognises=_recognises,
    sensor_size=sensor_size,
)
