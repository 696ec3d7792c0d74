"""EVT 2.1: the RAW files of Prophesee's cameras, in words of 64 bits with up to 32 events each."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from src.events.events import Events
from src.events.formats import evt2_kernels, prophesee
from src.events.formats.format import Format

ENCODING = "EVT21"
LARGEST_SIDE = 1 << 11  # pixels

_WORD_BYTES = 8
_MOST_PER_WORD = 32


def decode(content: bytes) -> Events:
    """Return the events of an EVT 2.1 file.

    The 4 highest bits of a word say what the other 60 are:

        0 EVT_NEG, 1 EVT_POS: events of one polarity: from the highest bit on, lower part of the timestamp (6 bits),
            column of the first (11), row (11), an event for each of 32 bits that is set, from the lowest on
        8 TIME_HIGH: higher part of the timestamp (28), 32 bits without meaning
        10 external triggers, 14 others, 15 continued words: no events of pixels, passed over

    A word is little-endian. In a header with "endianness" as "legacy", and in one without that is of a camera before
    GenX320's, each half of a word is little-endian, and the higher half comes first. Time is that of EVT 2.0, and so is
    what counts in `num_unread` and `num_outside` of the result.

    Source: Metavision's page "EVT 2.1 Format", and OpenEB's `evt21_decoder` and `psee_raw_file_header`.

    Raises:
        CorruptRecordingError: if it is no EVT 2.1, ends within its header, or no event in it can be read.
        ForeignRecordingError: if more than a few events lie outside the sensor, or the words are big-endian.
    """
    data = _data(np.frombuffer(content, np.uint8))
    is_legacy = int(data.state[evt2_kernels.IS_LEGACY])
    return data.whole(evt2_kernels.count_evt21(data.content, data.begin, data.end, is_legacy))


def windows(content: NDArray[np.uint8], most_events: int) -> Iterator[Events]:
    """Yield the events of a file's bytes in parts of at most `most_events`; see `decode`."""
    return _data(content).windows(most_events)


def _data(content: NDArray[np.uint8]) -> prophesee.Data:
    header = prophesee.raw_header(content[: prophesee.LARGEST_HEADER].tobytes(), ENCODING)
    sensor = header.sensor_size() or (LARGEST_SIDE, LARGEST_SIDE)
    state = np.zeros(evt2_kernels.NUM_STATES, np.int64)
    state[evt2_kernels.IS_LEGACY] = header.endianness == "legacy"
    content = np.asarray(content)  # a mapped file's class would be compiled for again
    return prophesee.Data(content, header.end, _WORD_BYTES, _MOST_PER_WORD, evt2_kernels.decode_evt21, state, sensor)


def sensor_size(content: bytes) -> tuple[int, int] | None:
    """Return the sensor's width and height in pixels by the header; None if it does not say."""
    return prophesee.raw_header(content, ENCODING).sensor_size()


def encode(events: Events, sensor: tuple[int, int] = (1280, 720), is_legacy: bool = False) -> bytes:
    """Return the bytes of an EVT 2.1 file, in halves if it is legacy; `decode` inverts it.

    Events must be in the order of time, their timestamps from 0 to 2^50, and lie on the sensor.
    """
    width, height = sensor
    last = prophesee.check_encodable(events, (min(width, LARGEST_SIDE), min(height, LARGEST_SIDE)))
    words = np.empty(2 * len(events) + 2 * (last >> 34) + 2, np.uint64)
    words = words[: evt2_kernels.encode_evt21(events.x, events.y, events.t, events.p, words)]
    if is_legacy:
        words = words << np.uint64(32) | words >> np.uint64(32)
    endianness = "legacy" if is_legacy else "little"
    header = f"% evt 2.1\n% format EVT21;endianness={endianness};height={height};width={width}\n% end\n"
    return header.encode() + words.tobytes()


FORMAT = Format(
    decode,
    windows,
    prophesee.pieces_by(_data),
    beginning=prophesee.BEGINNING,
    recognises=lambda content: prophesee.is_raw(content, ENCODING),
    sensor_size=sensor_size,
)
