"""EVT 3.0: the RAW files of Prophesee's cameras, in words of 16 bits that change a state."""

from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from src.events.events import Events
from src.events.formats import evt3_kernels, prophesee
from src.events.formats.evt3_kernels import EXPELLIARMUS, METAVISION
from src.events.formats.format import Format
from src.registry import EVT3_CLOCKS

ENCODING = "EVT3"
CLOCK = EXPELLIARMUS  # or METAVISION: how timestamps are made
LARGEST_SIDE = 1 << 11  # pixels

_WORD_BYTES = 2
_MOST_PER_WORD = 12


def decode(content: bytes, clock: int = CLOCK) -> Events:
    """Return the events of an EVT 3.0 file, equal to those of expelliarmus, or with the camera's timestamps.

    A word is little-endian. Its 4 highest bits say what the other 12 are:

        0 ADDR_Y: row (11 bits); bit 11 is set for the slave of two cameras
        2 ADDR_X: an event: column (11), polarity (1)
        3 VECT_BASE_X: column (11) and polarity (1) of the vectors that follow
        4 VECT_12, 5 VECT_8: an event for each of 12 or 8 bits that is set, from the lowest on; the column goes on by 12
            or 8
        6 TIME_LOW, 8 TIME_HIGH: 12 bits of the timestamp in microseconds
        7 and 15 continued words, 10 external triggers, 14 others: no events of pixels, passed over

    Words of another kind are counted in `num_unread` of the result, and so is an event before the first TIME_HIGH,
    ADDR_Y or VECT_BASE_X that it needs: 2 bytes each. Events outside the sensor of the header, and those of a slave
    camera, which would lie over the master's, are left out and counted in `num_outside`, as Metavision leaves them out.
    Vectors need not come as 12, 12 and 8 bits.

    `clock` says how timestamps are made. Metavision's: TIME_HIGH << 12 | TIME_LOW; TIME_LOW is 0 when TIME_HIGH
    changes; 2^24 is added whenever TIME_HIGH falls by 2^11 or more. Expelliarmus's: TIME_LOW stays when TIME_HIGH
    changes; 2^12 is added whenever TIME_LOW falls, and 2^24 whenever TIME_HIGH does. TIME_LOW falls in a camera's file
    each time that TIME_HIGH rises, so expelliarmus's time runs at least twice as fast as the camera's.

    Source: Metavision's page "EVT 3.0 Format", OpenEB's `evt3_decoder`, and expelliarmus's `evt3.c`.

    Raises:
        CorruptRecordingError: if it is no EVT 3.0, ends within its header, or no event in it can be read.
        ForeignRecordingError: if more than a few events lie outside the sensor, or the words are not little-endian.
    """
    data = _data(np.frombuffer(content, np.uint8), clock)
    return data.whole(evt3_kernels.count_events(data.content, data.begin, data.end))


def windows(content: NDArray[np.uint8], most_events: int, clock: int = CLOCK) -> Iterator[Events]:
    """Yield the events of a file's bytes in parts of at most `most_events`; see `decode`."""
    return _data(content, clock).windows(most_events)


def _data(content: NDArray[np.uint8], clock: int) -> prophesee.Data:
    header = prophesee.raw_header(content[: prophesee.LARGEST_HEADER].tobytes(), ENCODING)
    width, height = header.sensor_size() or (LARGEST_SIDE, LARGEST_SIDE)
    state = np.zeros(evt3_kernels.NUM_STATES, np.int64)
    state[evt3_kernels.CLOCK] = clock
    state[[evt3_kernels.ROW, evt3_kernels.BASE]] = evt3_kernels.NONE
    sensor = (min(width, LARGEST_SIDE), min(height, LARGEST_SIDE))
    content = np.asarray(content)  # a mapped file's class would be compiled for again
    return prophesee.Data(content, header.end, _WORD_BYTES, _MOST_PER_WORD, evt3_kernels.decode, state, sensor)


def sensor_size(content: bytes) -> tuple[int, int] | None:
    """Return the sensor's width and height in pixels by the header; None if it does not say."""
    return prophesee.raw_header(content, ENCODING).sensor_size()


def encode(events: Events, sensor: tuple[int, int] = (1280, 720), clock: int = CLOCK) -> bytes:
    """Return the bytes of an EVT 3.0 file; `decode` with the same clock inverts it.

    Events must be in the order of time, their timestamps from 0 to 2^40, and lie on the sensor. The file begins with a
    TIME_HIGH for each 8.4 s before the first event.
    """
    width, height = sensor
    last = prophesee.check_encodable(events, (min(width, LARGEST_SIDE), min(height, LARGEST_SIDE)), 1 << 40)
    words = np.empty(7 * len(events) + (last >> 21) + 8, np.uint16)
    n = evt3_kernels.encode(events.x, events.y, events.t, events.p, width, clock, words)
    header = f"% evt 3.0\n% format EVT3;height={height};width={width}\n% geometry {width}x{height}\n% end\n"
    return header.encode() + words[:n].tobytes()


def _format(clock: int) -> Format:
    return Format(
        partial(decode, clock=clock),
        partial(windows, clock=clock),
        prophesee.pieces_by(partial(_data, clock=clock)),
        beginning=prophesee.BEGINNING,
        recognises=lambda content: prophesee.is_raw(content, ENCODING),
        sensor_size=sensor_size,
        clocks=EVT3_CLOCKS,
    )


FORMAT, METAVISION_FORMAT = _format(EXPELLIARMUS), _format(METAVISION)
__all__ = ["EXPELLIARMUS", "FORMAT", "METAVISION", "METAVISION_FORMAT", "decode", "encode", "sensor_size", "windows"]
