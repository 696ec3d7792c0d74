"""AEDAT 2.0: jAER's format, in which CIFAR10-DVS was first published, of DVS128 and DAVIS cameras."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.events.events import Events
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError, check_outside
from src.events.formats.format import Format
from src.events.formats.windows import (
    AT,
    LAST_T,
    NUM_BACK,
    NUM_OUTSIDE,
    NUM_UNREAD,
    OWN,
    in_windows,
    joined,
    new_state,
    read_only,
    steps_back,
)
from src.kernel_cache import cached_njit

MAGIC = b"#!AER-DAT2.0"
END_OF_HEADER = b"end of ascii header"
LARGEST_HEADER = 1 << 24  # bytes; jAER writes all its preferences there
PIXEL = 0x7FFF  # bits of a DVS128's address and polarity; with bit 31 or 15 it is a signal, such as a synchronisation
OTHERS = 0x7FFF0000  # bits that only addresses of larger sensors have
EVENT_BYTES = 8
_NO_DAVIS_EVENT = 0x80000400  # bits of a DAVIS's word that is a pixel of a frame, an IMU sample or a signal
_CHUNK = 4096  # events; they are looked at twice, so they should stay in the cache

# Slots of the kernel's state, behind those of every format.
_PREVIOUS, _TIME = OWN, OWN + 1  # timestamp of the last word, as it is and past 2^32; negative before the first word
_FIRST_OUTSIDE = OWN + 2  # first address outside the sensor
_NUM_OWN = 3

_EVENT = np.dtype([("address", ">u4"), ("t", ">u4")])
_CHIP = re.compile(rb"^# *AEChip: *([\x21-\x7e]+)", re.MULTILINE)
_LINE = re.compile(rb"#[\t\r\x20-\xff]*\n")  # of a header; what has other characters is an event that begins like one
_DAVIS_PACKAGE = "eu.seebetter.ini.chips.davis."
_DAVIS_SIZES = {"davis128": (128, 128), "davis240": (240, 180), "davis346": (346, 260), "davis640": (640, 480)}


@dataclass(frozen=True)
class _Camera:
    """Where an address has its pixel, and how many pixels there are."""

    width: int = 128
    height: int = 128
    is_davis: bool = False


def decode(content: bytes) -> Events:
    """Return the events of an AEDAT 2.0 file: lines that begin with `#`, then pairs of big-endian 32-bit words.

    The first word of a pair is an address a, the second a timestamp in microseconds, which begins again after 2^32.
    The header's line `# AEChip:` names the camera. Without it, the camera is a DVS128, with 128 x 128 pixels. Upright
    images of a DVS128 with polarity 1 for ON need

        x = 127 - (a >> 8 & 127), y = 127 - (a >> 1 & 127), p = 1 - (a & 1).

    That is how spikingjelly reads CIFAR10-DVS, and it is a clockwise quarter turn of what `dat2mat.m` gives (x = 127 -
    (a >> 1 & 127), y = a >> 8 & 127), the reader that the dataset's authors name, and jAER's DVS128, in which the
    images lie on their side; both have the same polarity, a bit of 0 for ON. `tonic.io.read_dvs_128` turns and inverts
    nothing. The AEDAT 4 files of the dataset were made of these by iniVation's DV, whose conversion is not published:
    they may show the images turned or mirrored differently, so do not mix the two in one dataset.

    The address of a DAVIS128, 240, 346 or 640 has its pixel in other bits. Images are upright with

        x = width - 1 - (a >> 12 & 1023), y = height - 1 - (a >> 22 & 511), p = a >> 11 & 1

    if bits 31 and 10 are 0. With bit 31, the word is a pixel of a frame or an IMU sample; with bit 10, an external
    signal. Both are left out. Source: jAER's DavisChip and DavisBaseCamera, which count y from the bottom;
    `tonic.io.read_davis_346` gives the same, but takes the other words for events too. Colour DAVIS cameras have
    another layout and are not read.

    An event that the file ends within is left out, and so are a few with addresses of no pixel; `num_unread` and
    `num_outside` of the result say so.

    Raises:
        CorruptRecordingError: if it is no AEDAT 2.0, or holds not one whole event.
        ForeignRecordingError: if it is another camera's, or more than a few addresses are of another sensor.
    """
    return joined(windows(read_only(content), max(1, len(content) // EVENT_BYTES)))


def windows(content: NDArray[np.uint8], most_events: int) -> Iterator[Events]:
    """Yield the events in parts of at most `most_events`, as `decode` returns them; raises the same errors."""
    content = read_only(content)
    header = _header(content[:LARGEST_HEADER].tobytes())
    camera = _camera(_chip(header))
    num_bytes = len(content) - len(header)
    num_unread = num_bytes % EVENT_BYTES
    if num_unread and num_bytes < EVENT_BYTES:
        raise CorruptRecordingError(f"its data, {num_unread} bytes, are not a multiple of {EVENT_BYTES}")
    end = len(content) - num_unread
    state = new_state(_NUM_OWN, len(header))
    state[_PREVIOUS], state[NUM_UNREAD] = -1, num_unread

    def fill(*arrays: NDArray[np.generic]) -> int:
        n: int = _decode(content, end, camera.is_davis, camera.width, camera.height, state, *arrays)
        return n

    def finish(num_events: int) -> None:
        if num_outside := int(state[NUM_OUTSIDE]):
            pixels = f"address {state[_FIRST_OUTSIDE]:#x} is none of a {camera.width} x {camera.height} sensor"
            check_outside(num_outside, num_events + num_outside, pixels)

    yield from in_windows(fill, state, end, EVENT_BYTES, most_events, finish)


def sensor_size(content: bytes) -> tuple[int, int] | None:
    """Return the width and height of the sensor of the camera that the header names; None if it names none.

    Raises the errors of `decode` for a damaged header, and for a camera that is not read.
    """
    chip = _chip(_header(bytes(content[:LARGEST_HEADER])))
    camera = _camera(chip)
    return (camera.width, camera.height) if chip else None


def _header(content: bytes) -> bytes:
    if not content.startswith(MAGIC):
        raise CorruptRecordingError("it does not begin as an AEDAT 2.0 file")
    begin = 0
    while content[begin : begin + 1] == b"#":
        line = _LINE.match(content, begin)
        if line is None:
            if content.find(b"\n", begin) < 0 and _is_text(content[begin:]):
                raise CorruptRecordingError("it ends within its header")
            break
        begin = line.end()
        if END_OF_HEADER in line[0].lower():
            break
    return content[:begin]


def _is_text(content: bytes) -> bool:
    return _LINE.fullmatch(content + b"\n") is not None


def _chip(header: bytes) -> str:
    """Return the class of jAER that the header names; empty if it names none."""
    found = _CHIP.search(header)
    return found[1].decode() if found else ""


def _camera(chip: str) -> _Camera:
    name = chip.removeprefix(_DAVIS_PACKAGE).lower()
    if not chip or "dvs128" in name or "tmpdiff128" in name:
        return _Camera()
    for davis, size in _DAVIS_SIZES.items():
        if chip.startswith(_DAVIS_PACKAGE) and name.startswith(davis) and "color" not in name:
            return _Camera(*size, is_davis=True)
    raise ForeignRecordingError(f"its camera is {chip}; of AEDAT 2.0, DVS128 and DAVIS128, 240, 346 and 640 are read")


@cached_njit(nogil=True)
def _decode(
    content: NDArray[np.uint8],
    end: int,
    is_davis: bool,
    width: int,
    height: int,
    state: NDArray[np.int64],
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    t: NDArray[np.int64],
    p: NDArray[np.uint8],
) -> int:
    """Write events to the arrays until they are full or the words end; return their number."""
    words = content[state[AT] : end].view(np.uint32)  # two per event: address; timestamp
    if state[_PREVIOUS] < 0 and len(words):
        state[_PREVIOUS] = state[_TIME] = _swapped(words[1])
    n = 0
    while len(words) and n < len(t):
        m = min(len(words) // 2, min(len(t) - n, _CHUNK))
        if _is_plain(words[: 2 * m], is_davis, width, height, state[_PREVIOUS]):
            _decode_plain(words[: 2 * m], is_davis, width, height, state, x[n:], y[n:], t[n:], p[n:])
            n += m
        else:
            n += _decode_any(words[: 2 * m], is_davis, width, height, state, x[n:], y[n:], t[n:], p[n:])
        words = words[2 * m :]
    state[AT] = end - 4 * len(words)
    return n


@cached_njit(nogil=True)
def _is_plain(words: NDArray[np.uint32], is_davis: bool, width: int, height: int, previous: int) -> bool:
    """Return whether all words are events inside the sensor, in an order of time that does not pass 2^32."""
    every: Any = np.uint32(0)
    most_x: Any = np.uint32(0)
    most_y: Any = np.uint32(0)
    first: Any = np.uint32(previous)
    last: Any = first
    for i in range(len(words) // 2):
        address, stamp = _swapped(words[2 * i]), _swapped(words[2 * i + 1])
        every |= address
        most_x = max(most_x, address >> np.uint32(12) & np.uint32(1023))
        most_y = max(most_y, address >> np.uint32(22) & np.uint32(511))
        first, last = min(first, stamp), max(last, stamp)
    if last - first >= np.uint32(1 << 31):
        return False
    if is_davis:
        return every & np.uint32(_NO_DAVIS_EVENT) == 0 and most_x < width and most_y < height
    return every <= np.uint32(PIXEL)


@cached_njit(nogil=True)
def _decode_plain(
    words: NDArray[np.uint32],
    is_davis: bool,
    width: int,
    height: int,
    state: NDArray[np.int64],
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    t: NDArray[np.int64],
    p: NDArray[np.uint8],
) -> None:
    """Write the events of plain words, which is nearly every chunk: loops without branches and carried state."""
    m = len(words) // 2
    base = state[_TIME] - state[_PREVIOUS]
    for i in range(m):
        address, t[i] = _swapped(words[2 * i]), base + np.int64(_swapped(words[2 * i + 1]))
        if is_davis:
            x[i] = np.uint32(width - 1) - (address >> np.uint32(12) & np.uint32(1023))
            y[i] = np.uint32(height - 1) - (address >> np.uint32(22) & np.uint32(511))
            p[i] = address >> np.uint32(11) & np.uint32(1)
        else:
            x[i], y[i], p[i] = _dvs128_x(address), _dvs128_y(address), ~address & np.uint32(1)
    state[NUM_BACK] += steps_back(t[:m], state[LAST_T])
    state[_TIME] = state[LAST_T] = t[m - 1]
    state[_PREVIOUS] = _swapped(words[2 * m - 1])


@cached_njit(nogil=True)
def _decode_any(
    words: NDArray[np.uint32],
    is_davis: bool,
    width: int,
    height: int,
    state: NDArray[np.int64],
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    t: NDArray[np.int64],
    p: NDArray[np.uint8],
) -> int:
    """Write the events among the words; return their number."""
    previous, time, last = np.uint32(state[_PREVIOUS]), state[_TIME], state[LAST_T]
    n = num_back = 0
    for i in range(len(words) // 2):
        address, stamp = _swapped(words[2 * i]), _swapped(words[2 * i + 1])
        time += np.int64(np.int32(stamp - previous))  # a step back by more than 2^31 is one forward through 2^32
        previous = stamp
        if is_davis:
            column = width - 1 - np.int64(address >> np.uint32(12) & np.uint32(1023))
            row = height - 1 - np.int64(address >> np.uint32(22) & np.uint32(511))
            x[n], y[n], t[n], p[n] = column, row, time, address >> np.uint32(11) & np.uint32(1)
            is_event = address & np.uint32(_NO_DAVIS_EVENT) == 0
            is_inside = column >= 0 and row >= 0
        else:
            x[n], y[n], t[n], p[n] = _dvs128_x(address), _dvs128_y(address), time, ~address & np.uint32(1)
            is_inside = address <= np.uint32(PIXEL)
            is_event = is_inside or (address & np.uint32(OTHERS) != 0 and address >> np.uint32(31) == 0)
        if is_event and is_inside:
            num_back += time < last
            last = time
            n += 1
        elif is_event:
            if state[NUM_OUTSIDE] == 0:
                state[_FIRST_OUTSIDE] = address
            state[NUM_OUTSIDE] += 1
    state[_PREVIOUS], state[_TIME], state[LAST_T] = previous, time, last
    state[NUM_BACK] += num_back
    return n


@cached_njit(nogil=True)
def _dvs128_x(address: Any) -> Any:
    return np.uint32(127) - (address >> np.uint32(8) & np.uint32(127))


@cached_njit(nogil=True)
def _dvs128_y(address: Any) -> Any:
    return np.uint32(127) - (address >> np.uint32(1) & np.uint32(127))


@cached_njit(nogil=True)
def _swapped(word: Any) -> Any:
    """Return a word with its bytes in the other order; LLVM compiles it to one instruction."""
    middle = (word & np.uint32(0xFF00)) << np.uint32(8) | (word >> np.uint32(8) & np.uint32(0xFF00))
    return np.uint32(word << np.uint32(24) | middle | word >> np.uint32(24))


def encode(events: Events, chip: str = "") -> bytes:
    """Return the bytes of an AEDAT 2.0 file; `decode` inverts it, apart from multiples of 2^32 microseconds.

    The events must lie on the sensor of the camera `chip`, a class of jAER as in `# AEChip:`; empty for a DVS128.
    """
    camera = _camera(chip)
    most_x, most_y = camera.width - 1, camera.height - 1
    if len(events) and (events.x.max() > most_x or events.y.max() > most_y or events.p.max() > 1):
        raise ValueError(f"x must lie in 0 to {most_x}, y in 0 to {most_y}, p in 0 to 1")
    words = np.empty(len(events), _EVENT)
    x, y, p = (values.astype(np.uint32) for values in (events.x, events.y, events.p))
    if camera.is_davis:
        words["address"] = most_y - y << 22 | most_x - x << 12 | p << 11
    else:
        words["address"] = 127 - x << 8 | 127 - y << 1 | 1 - p
    words["t"] = events.t.astype(np.uint32)
    lines = [MAGIC, b"# Timestamps tick is 1 us", *([b"# AEChip: " + chip.encode()] if chip else [])]
    return b"\r\n".join([*lines, b"#End Of ASCII Header", words.tobytes()])


FORMAT = Format(decode, windows, beginning=MAGIC, sensor_size=sensor_size)
