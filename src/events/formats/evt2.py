"""EVT 2.0: the RAW files of Prophesee's cameras, in words of 32 bits."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from src.events.events import Events
from src.events.formats import evt2_kernels, prophesee
from src.events.formats.format import Format

ENCODING = "EVT2"
LARGEST_SIDE = 1 << 11  # pixels

_WORD_BYTES = 4


def decode(content: bytes) -> Events:
    """Return the events of an EVT 2.0 file, equal to those of expelliarmus in the first 4.7 hours.

    A word is little-endian. Its 4 highest bits say what the others are:

        0 CD_OFF, 1 CD_ON: an event: from the highest bit on, lower part of the timestamp (6 bits), column (11) and row
            (11)
        8 TIME_HIGH: higher part of the timestamp (28)
        10 external triggers, 14 others, 15 continued words: no events of pixels, passed over

    A timestamp in microseconds is TIME_HIGH << 6 | the lower part. 2^34 is added whenever TIME_HIGH falls by all but
    10 ms of its range, as in Metavision; after a smaller fall time goes on from there. Expelliarmus does not add it.
    Words of another kind are counted in `num_unread` of the result, and so are events before the first TIME_HIGH: they
    have no time. Metavision leaves these out too; expelliarmus counts their time from 0. Events outside the sensor of
    the header are left out and counted in `num_outside`.

    Source: Metavision's page "EVT 2.0 Format", and OpenEB's `evt2_decoder`.

    Raises:
        CorruptRecordingError: if it is no EVT 2.0, ends within its header, or no event in it can be read.
        ForeignRecordingError: if more than a few events lie outside the sensor, or the words are not little-endian.
    """
    data = _data(np.frombuffer(content, np.uint8))
    return data.whole((data.end - data.begin) // _WORD_BYTES)


def windows(content: NDArray[np.uint8], most_events: int) -> Iterator[Events]:
    """Yield the events of a file's bytes in parts of at most `most_events`; see `decode`."""
    return _data(content).windows(most_events)


def _data(content: NDArray[np.uint8]) -> prophesee.Data:
    header = prophesee.raw_header(content[: prophesee.LARGEST_HEADER].tobytes(), ENCODING)
    sensor = header.sensor_size() or (LARGEST_SIDE, LARGEST_SIDE)
    state = np.zeros(evt2_kernels.NUM_STATES, np.int64)
    content = np.asarray(content)  # a mapped file's class would be compiled for again
    return prophesee.Data(content, header.end, _WORD_BYTES, 1, evt2_kernels.decode_evt2, state, sensor)


def sensor_size(content: bytes) -> tuple[int, int] | None:
    """Return the sensor's width and height in pixels by the header; None if it does not say."""
    return prophesee.raw_header(content, ENCODING).sensor_size()


def encode(events: Events, sensor: tuple[int, int] = (1280, 720)) -> bytes:
    """Return the bytes of an EVT 2.0 file; `decode` inverts it.

    Events must be in the order of time, their timestamps from 0 to 2^50, and lie on the sensor.
    """
    width, height = sensor
    last = prophesee.check_encodable(events, (min(width, LARGEST_SIDE), min(height, LARGEST_SIDE)))
    words = np.empty(2 * len(events) + 2 * (last >> 34) + 2, np.uint32)
    n = evt2_kernels.encode_evt2(events.x, events.y, events.t, events.p, words)
    header = f"% evt 2.0\n% format EVT2;height={height};width={width}\n% geometry {width}x{height}\n% end\n"
    return header.encode() + words[:n].tobytes()


FORMAT = Format(
    decode,
    windows,
    prophesee.pieces_by(_data),
    beginning=prophesee.BEGINNING,
    recognises=lambda content: prophesee.is_raw(content, ENCODING),
    sensor_size=sensor_size,
)
