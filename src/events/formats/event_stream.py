"""Event Stream: the `.es` format of Alexandre Marcireau, which faery and event_stream read and write.

A file begins with `Event Stream`, three bytes of version, and a byte that says what its events are: 0 generic, 1 DVS, 2
ATIS, 3 displays, 4 colour. In DVS and ATIS files, the sensor's width and height follow, uint16. Integers are
little-endian. An event of version 2 is 5 bytes: the first has the time since the event before it, in microseconds, then
come x and y, uint16. Rows are counted from the bottom.

    DVS: bits 1 to 7 of the first byte are the time, below 127; bit 0 is the polarity, 1 for ON. A byte 0xff that stands
        before an event adds 127 microseconds, a byte 0xfe adds nothing.
    ATIS: bits 2 to 7 are the time, below 63; bits 0 and 1 are 0 for OFF, 2 for ON, 1 and 3 for the two ends of an
        exposure measurement, which is no change. A byte 0xfc + n before an event adds 63 n microseconds.

Source: the Event Stream specification of neuromorphic-paris, and the files that faery writes.
"""

from collections.abc import Iterator
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from src.events.events import Events
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError, check_outside
from src.events.formats.format import Format
from src.events.formats.windows import (
    AT,
    LAST_T,
    NUM_OUTSIDE,
    NUM_UNREAD,
    OWN,
    in_pieces,
    in_windows,
    joined,
    new_state,
    read_only,
)
from src.kernel_cache import cached_njit

MAGIC = b"Event Stream"
VERSION = 2  # the major one
GENERIC, DVS, ATIS, DISPLAY, COLOUR = range(5)
HEADER_BYTES = 20  # of a DVS or ATIS file
EVENT_BYTES = 5
_KINDS = {GENERIC: "generic", DISPLAY: "display", COLOUR: "colour"}
_FIRST_OUTSIDE = OWN  # slot of the kernel's state: the first event outside the sensor, x << 16 | y


def decode(content: bytes) -> Events:
    """Return a DVS file's events, or the changes of an ATIS file, equal to `faery.events_stream_from_file`.

    y is counted from the top, as faery's stream of events and other formats have it: it is the height - 1 - the file's
    y. The first event's time counts from 0. A few events outside the sensor are left out and counted in `num_outside`;
    faery stops there. An event that the file ends within is left out, as `num_unread` says.

    Raises:
        CorruptRecordingError: if it is no Event Stream, or ends within its header.
        ForeignRecordingError: if its version is not 2, if it holds generic, display or colour events, or if more than a
            few events lie outside the sensor.
    """
    return joined(windows(read_only(content), max(1, len(content) // EVENT_BYTES)))


def windows(content: NDArray[np.uint8], most_events: int) -> Iterator[Events]:
    """Yield the events in parts of at most `most_events`, as `decode` returns them; raises the same errors."""
    content = read_only(content)
    decoder = _Decoder(content[:HEADER_BYTES].tobytes())
    yield from in_windows(
        lambda *arrays: decoder.fill(content, *arrays),
        decoder.state,
        len(content),
        EVENT_BYTES,
        most_events,
        decoder.finish,
    )


def pieces(content: Iterator[bytes]) -> Iterator[Events]:
    """Yield the events of a file that comes in pieces, see `Format.pieces`; raises the errors of `decode`."""
    first = next(content, b"")
    decoder = _Decoder(first[:HEADER_BYTES])
    state = decoder.state

    def fill(part: NDArray[np.uint8], *arrays: NDArray[np.generic]) -> int:
        n = decoder.fill(part, *arrays)
        state[AT] -= state[NUM_UNREAD]  # what the part ends within may go on in the next one
        state[NUM_UNREAD] = 0
        return n

    yield from in_pieces(fill, state, chain([first[HEADER_BYTES:]], content), decoder.finish)


class _Decoder:
    """What its header makes of a file, and the state of the kernel."""

    def __init__(self, header: bytes) -> None:
        self.kind, self.width, self.height = _header(header)
        self.state = new_state(1, HEADER_BYTES)
        self.state[LAST_T] = 0

    def fill(self, content: NDArray[np.uint8], *arrays: NDArray[np.generic]) -> int:
        """Write the next events to the arrays; return their number."""
        n: int = _decode(content, self.kind == ATIS, self.width, self.height, self.state, *arrays)
        return n

    def finish(self, num_events: int) -> None:
        """Raise ForeignRecordingError if too many events lie outside."""
        if num_outside := int(self.state[NUM_OUTSIDE]):
            first = f"{self.state[_FIRST_OUTSIDE] >> 16}, {self.state[_FIRST_OUTSIDE] & 0xFFFF}"
            sensor = f"{self.width} x {self.height} pixels; the first is at {first}"
            check_outside(num_outside, num_events + num_outside, sensor)


def sensor_size(content: bytes) -> tuple[int, int]:
    """Return the sensor's width and height by the header; raises the errors of `decode` for other headers."""
    return _header(bytes(content[:HEADER_BYTES]))[1:]


def _header(content: bytes) -> tuple[int, int, int]:
    """Return the kind of events, and the sensor's width and height."""
    if not content.startswith(MAGIC):
        raise CorruptRecordingError("it does not begin as an Event Stream file")
    fields = content[len(MAGIC) :]
    if len(fields) < 4:
        raise CorruptRecordingError("it ends within its header")
    if fields[0] != VERSION:
        version = ".".join(map(str, fields[:3]))
        raise ForeignRecordingError(f"it is Event Stream {version}; only versions {VERSION}.x.y are read")
    kind = fields[3]
    if kind not in (DVS, ATIS):
        name = _KINDS.get(kind, f"unknown ({kind})")
        raise ForeignRecordingError(f"its events are {name}; of Event Stream, only DVS and ATIS events are read")
    if len(fields) < 8:
        raise CorruptRecordingError("it ends within its header")
    return kind, int.from_bytes(fields[4:6], "little"), int.from_bytes(fields[6:8], "little")


@cached_njit(nogil=True)
def _decode(
    content: NDArray[np.uint8],
    is_atis: bool,
    width: int,
    height: int,
    state: NDArray[np.int64],
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    t: NDArray[np.int64],
    p: NDArray[np.uint8],
) -> int:
    """Write events to the arrays until they are full or the file ends; return their number."""
    end = len(content)
    at, time = state[AT], state[LAST_T]
    n = 0
    while at < end:
        first = np.int64(content[at])
        if is_atis:
            if first >= 0xFC:
                time += 63 * (first & 3)
                at += 1
                continue
        elif first >= 0xFE:
            time += 127 * (first & 1)
            at += 1
            continue
        if at + EVENT_BYTES > end:
            state[NUM_UNREAD] = end - at
            at = end
            break
        if n == len(t):
            break
        column = np.int64(content[at + 1]) | np.int64(content[at + 2]) << 8
        row = np.int64(content[at + 3]) | np.int64(content[at + 4]) << 8
        at += EVENT_BYTES
        time += first >> 2 if is_atis else first >> 1
        if column >= width or row >= height:
            if state[NUM_OUTSIDE] == 0:
                state[_FIRST_OUTSIDE] = column << 16 | row
            state[NUM_OUTSIDE] += 1
            continue
        x[n], y[n], t[n] = column, height - 1 - row, time
        p[n] = first >> 1 & 1 if is_atis else first & 1
        if not (is_atis and first & 1):  # the ends of an exposure measurement are written over
            n += 1
    state[AT], state[LAST_T] = at, time
    return n


def encode(events: Events, sensor_size: tuple[int, int], kind: int = DVS) -> bytes:
    """Return the bytes of an Event Stream file; `decode` inverts it.

    Args:
        events: in the order of time, from 0 on, and on the sensor.
        sensor_size: (W, H).
        kind: DVS or ATIS.
    """
    width, height = sensor_size
    steps = np.diff(events.t, prepend=0)
    if len(events) and (events.x.max() >= width or events.y.max() >= height or events.p.max() > 1 or steps.min() < 0):
        raise ValueError("events must lie on the sensor, their timestamps must not go back, and p must be 0 or 1")
    most = 63 if kind == ATIS else 127
    overflows, rest = np.divmod(steps, most)
    parts = []
    for k in range(len(events)):
        n = int(overflows[k])
        if kind == ATIS:
            parts.append(b"\xff" * (n // 3) + (bytes([0xFC | n % 3]) if n % 3 else b""))
            parts.append(bytes([rest[k] << 2 | events.p[k] << 1]))
        else:
            parts.append(b"\xff" * n + bytes([rest[k] << 1 | events.p[k]]))
        parts.append(int(events.x[k]).to_bytes(2, "little") + int(height - 1 - events.y[k]).to_bytes(2, "little"))
    header = MAGIC + bytes([VERSION, 0, 0, kind]) + width.to_bytes(2, "little") + height.to_bytes(2, "little")
    return header + b"".join(parts)


FORMAT = Format(decode, windows, pieces, beginning=MAGIC, sensor_size=sensor_size)
