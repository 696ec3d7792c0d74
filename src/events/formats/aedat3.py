"""AEDAT 3.1: the format of iniVation's cAER, in which DVS128 Gesture is distributed.

A file is lines that end with CR LF, from `#!AER-DAT3.1` to `#!END-HEADER`, then packets; integers are little-endian.
A packet is a header of 28 bytes and its events, all of one type:

    eventType uint16, eventSource uint16, eventSize int32 (bytes), eventTSOffset int32 (of the timestamp in an event),
    eventTSOverflow int32, eventCapacity int32, eventNumber int32, eventValid int32

A polarity event (type 1) is 8 bytes: a word with bit 0 valid, bit 1 polarity (1 is ON), bits 2 to 16 y and bits 17 to
31 x, then a timestamp in microseconds, int32. eventTSOverflow counts how often timestamps have passed 2^31. Packets of
other types, such as special events, frames, IMU samples and triggers, are passed over. In a file, eventCapacity equals
eventNumber. Only in a compressed packet, whose type has bit 15 set, it is the number of bytes that follow.

Sources: iniVation's description of AEDAT 3.1, libcaer's `events/common.h` and `events/polarity.h`, cAER's output.
"""

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from src.events.events import Events
from src.events.formats.aedat3_kernels import (
    BAD_COUNTS,
    BAD_LAYOUT,
    COMPRESSED,
    FIRST_OUTSIDE,
    FIRST_SOURCE,
    MORE_VALID,
    NEGATIVE_TIME,
    NUM_OFF_SENSOR,
    NUM_OWN,
    OTHER_SOURCE,
    UNKNOWN_TYPE,
    read_packets,
)
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError, check_outside
from src.events.formats.format import Format
from src.events.formats.windows import AT, in_windows, joined, new_state, read_only

MAGIC = b"#!AER-DAT3.1"
END_OF_HEADER = b"#!END-HEADER\r\n"
EVENT_BYTES = 8
POLARITY = 1  # eventType
LARGEST_HEADER = 1 << 20  # bytes
LARGEST_COORDINATE = (1 << 15) - 1
LARGEST_SENSOR = (LARGEST_COORDINATE + 1, LARGEST_COORDINATE + 1)  # if the header names no known camera

PACKET = np.dtype(
    [
        ("type", "<u2"),
        ("source", "<u2"),
        ("size", "<i4"),
        ("t_offset", "<i4"),
        ("t_overflow", "<i4"),
        ("capacity", "<i4"),
        ("number", "<i4"),
        ("valid", "<i4"),
    ]
)
_SOURCE = re.compile(rb"^#Source +\d+: *([A-Za-z0-9_]+)", re.MULTILINE)
_FORMAT = re.compile(rb"^#Format: *([^\r\n]*)", re.MULTILINE)
_SENSORS = {"DVS128": (128, 128), "DAVIS128": (128, 128), "DAVIS208": (208, 192), "DAVIS240": (240, 180)}
_SENSORS |= {"DAVIS346": (346, 260), "DAVIS640": (640, 480)}

_ERRORS = {
    BAD_COUNTS: "its counts and sizes do not add up",
    UNKNOWN_TYPE: "its type is unknown",
    BAD_LAYOUT: "its events are not laid out as polarity events",
    NEGATIVE_TIME: "a timestamp is negative",
    MORE_VALID: "it holds more valid events than it says",
}


def decode(content: bytes) -> Events:
    """Return the valid polarity events of an AEDAT 3.1 file, in the file's order.

    Invalid events are left out. A few events outside the sensor that the header names are left out too, and counted in
    `num_outside`; so are invalid events that the packet's header counts as valid. A file that was cut short gives its
    whole events. `num_unread` then counts the bytes of the last packet that were left out or are missing.

    `tonic.io.get_aer_events_from_file` takes the packets of every type for polarity events, keeps invalid ones, and
    ignores eventTSOverflow. DVS128 Gesture has polarity packets only, without overflows, so both read the same there.

    Raises:
        CorruptRecordingError: if it is no AEDAT 3.1, or a packet's header contradicts itself.
        ForeignRecordingError: if polarity packets are compressed or of several cameras, or if more than a few events
            lie outside the camera's sensor.
    """
    return joined(windows(read_only(content), max(1, len(content) // EVENT_BYTES)))


def windows(content: NDArray[np.uint8], most_events: int) -> Iterator[Events]:
    """Yield the events in parts of at most `most_events`, as `decode` returns them; raises the same errors."""
    content = read_only(content)
    header = _header(content[:LARGEST_HEADER].tobytes())
    width, height = _sensor_size(header) or LARGEST_SENSOR
    state = new_state(NUM_OWN, len(header))
    state[FIRST_SOURCE] = -1

    def fill(*arrays: NDArray[np.generic]) -> int:
        n: int = read_packets(content, width, height, state, *arrays)
        if n == COMPRESSED:
            raise ForeignRecordingError("its polarity packets are compressed; cAER can write it again as RAW")
        if n == OTHER_SOURCE:
            raise ForeignRecordingError("it holds the events of several cameras")
        if n < 0:
            raise CorruptRecordingError(f"a packet is damaged near byte {state[AT]}: {_ERRORS[n]}")
        return n

    def finish(num_events: int) -> None:
        if state[NUM_OFF_SENSOR]:
            first = f"{state[FIRST_OUTSIDE] >> 16}, {state[FIRST_OUTSIDE] & 0xFFFF}"
            sensor = f"{width} x {height} pixels; the first is at {first}"
            check_outside(int(state[NUM_OFF_SENSOR]), num_events + int(state[NUM_OFF_SENSOR]), sensor)

    yield from in_windows(fill, state, len(content), EVENT_BYTES, most_events, finish)


def sensor_size(content: bytes) -> tuple[int, int] | None:
    """Return the sensor's width and height by the camera that the header names; None if it names no known one."""
    return _sensor_size(_header(bytes(content[:LARGEST_HEADER])))


def _header(content: bytes) -> bytes:
    if not content.startswith(MAGIC):
        raise CorruptRecordingError("it does not begin as an AEDAT 3.1 file")
    end = content.find(END_OF_HEADER)
    if end < 0:
        raise CorruptRecordingError("it ends within its header")
    header = content[: end + len(END_OF_HEADER)]
    written_as = _FORMAT.search(header)
    if written_as and b"SerialTS" in written_as[1]:
        raise ForeignRecordingError(f"its packets are compressed ({written_as[1].decode('ascii', 'replace')})")
    return header


def _sensor_size(header: bytes) -> tuple[int, int] | None:
    cameras = {source.decode().upper() for source in _SOURCE.findall(header)}
    sizes = {size for name, size in _SENSORS.items() for camera in cameras if camera.startswith(name)}
    return sizes.pop() if len(sizes) == 1 == len(cameras) else None


def encode(events: Events, source: str = "DVS128", packet_events: int = 4096) -> bytes:
    """Return the bytes of an AEDAT 3.1 file with polarity packets of at most `packet_events`; `decode` inverts it.

    x and y must be below 2^15, and lie on the sensor if `source` is a known camera; t must not be negative.
    """
    if len(events) and (max(events.x.max(), events.y.max()) > LARGEST_COORDINATE or events.p.max() > 1):
        raise ValueError(f"x and y must lie in 0 to {LARGEST_COORDINATE}, p in 0 to 1")
    if len(events) and events.t.min() < 0:
        raise ValueError("timestamps must not be negative")
    words = np.empty((len(events), 2), "<u4")
    words[:, 0] = events.x.astype(np.uint32) << 17 | events.y.astype(np.uint32) << 2 | events.p << 1 | 1
    words[:, 1] = events.t & 0x7FFFFFFF
    overflow = events.t >> 31
    cuts = np.union1d(np.arange(packet_events, len(events), packet_events), np.flatnonzero(np.diff(overflow)) + 1)
    begins, ends = [0, *cuts.tolist()], [*cuts.tolist(), len(events)]
    parts = [
        packet_header(POLARITY, end - begin, t_overflow=int(overflow[begin])) + words[begin:end].tobytes()
        for begin, end in zip(begins, ends, strict=True)
        if end > begin
    ]
    header = MAGIC + b"\r\n#Format: RAW\r\n#Source 1: " + source.encode() + b"\r\n" + END_OF_HEADER
    return header + b"".join(parts)


def packet_header(kind: int, number: int, size: int = EVENT_BYTES, t_overflow: int = 0) -> bytes:
    """Return the header of a packet of camera 1 whose events are all valid."""
    return np.array((kind, 1, size, 4, t_overflow, number, number, number), PACKET).tobytes()


FORMAT = Format(decode, windows, beginning=MAGIC, sensor_size=sensor_size)
