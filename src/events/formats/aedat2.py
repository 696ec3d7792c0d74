"""AEDAT 2.0: jAER's format, in which CIFAR10-DVS was first published, a file of a 128 x 128 sensor."""

import numpy as np
from numpy.typing import NDArray

from src.events.events import Events
from src.events.formats.errors import CorruptRecordingError, check_outside
from src.events.formats.format import Format

MAGIC = b"#!AER-DAT2.0"
END_OF_HEADER = b"end of ascii header"
PIXEL = 0x7FFF  # bits of a pixel's address and polarity; with bit 31 or 15 it is a signal, such as a synchronisation
OTHERS = 0x7FFF0000  # bits that only addresses of larger sensors have

_EVENT = np.dtype([("address", ">u4"), ("t", ">u4")])


def decode(content: bytes) -> Events:
    """Return the events of an AEDAT 2.0 file: lines that begin with `#`, then pairs of big-endian 32-bit words.

    The first word of a pair is an address a, the second a timestamp in microseconds, which begins again after 2^32.
    Upright images with polarity 1 for ON need

        x = 127 - (a >> 8 & 127), y = 127 - (a >> 1 & 127), p = 1 - (a & 1).

    That is how spikingjelly reads CIFAR10-DVS, and it is a clockwise quarter turn of what `dat2mat.m` gives (x = 127 -
    (a >> 1 & 127), y = a >> 8 & 127), the reader that the dataset's authors name, and jAER's DVS128, in which the
    images lie on their side; both have the same polarity, a bit of 0 for ON. `tonic.io.read_dvs_128` turns and inverts
    nothing. The AEDAT 4 files of the dataset were made of these by iniVation's DV, whose conversion is not published:
    they may show the images turned or mirrored differently, so do not mix the two in one dataset.

    An event that the file ends within is left out, and so are a few with addresses of no pixel; `num_unread` and
    `num_outside` of the result say so.

    Raises:
        CorruptRecordingError: if it is no AEDAT 2.0, or holds not one whole event.
        ForeignRecordingError: if more than a few addresses are of another sensor.
    """
    if not content.startswith(MAGIC):
        raise CorruptRecordingError("it does not begin as an AEDAT 2.0 file")
    begin = _end_of_header(content)
    whole, num_unread = divmod(len(content) - begin, _EVENT.itemsize)
    if num_unread and not whole:
        raise CorruptRecordingError(f"its data, {num_unread} bytes, are not a multiple of {_EVENT.itemsize}")
    words = np.frombuffer(content, _EVENT, count=whole, offset=begin)
    address = words["address"].astype(np.uint32)
    is_pixel = address <= PIXEL
    others = address[(address & OTHERS != 0) & (address >> 31 == 0)]
    if others.size:
        sensor = f"address {others[0]:#x} is none of a 128 x 128 sensor"
        check_outside(others.size, int(is_pixel.sum()) + others.size, sensor)
    t = _unwrapped(words["t"])[is_pixel]
    address = address[is_pixel]
    return Events(
        (127 - (address >> 8)).astype(np.uint16),
        (127 - (address >> 1 & 127)).astype(np.uint16),
        t,
        (~address & 1).astype(np.uint8),
        num_unread,
        others.size,
    )


def _end_of_header(content: bytes) -> int:
    begin = 0
    while content[begin : begin + 1] == b"#":
        end = content.find(b"\n", begin) + 1
        if end == 0:
            raise CorruptRecordingError("it ends within its header")
        if END_OF_HEADER in content[begin:end].lower():
            return end
        begin = end
    return begin


def _unwrapped(t: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Return 64-bit timestamps: a step back by more than 2^31 is a step forward through 2^32."""
    if len(t) == 0:
        return np.empty(0, np.int64)
    steps = np.diff(t.astype(np.uint32)).view(np.int32)
    return np.int64(t[0]) + np.concatenate([[0], np.cumsum(steps, dtype=np.int64)])


def encode(events: Events) -> bytes:
    """Return the bytes of an AEDAT 2.0 file; `decode` inverts it, apart from multiples of 2^32 microseconds.

    The events must lie on a 128 x 128 sensor.
    """
    if len(events) and (max(events.x.max(), events.y.max()) > 127 or events.p.max() > 1):
        raise ValueError("x and y must lie in 0 to 127, p in 0 to 1")
    words = np.empty(len(events), _EVENT)
    x, y, p = (values.astype(np.uint32) for values in (events.x, events.y, events.p))
    words["address"] = 127 - x << 8 | 127 - y << 1 | 1 - p
    words["t"] = events.t.astype(np.uint32)
    return MAGIC + b"\r\n# Timestamps tick is 1 us\r\n#End Of ASCII Header\r\n" + words.tobytes()


FORMAT = Format(decode, beginning=MAGIC)
