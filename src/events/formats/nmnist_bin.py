"""N-MNIST's .bin format: events of five bytes."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.events.events import Events
from src.events.formats.errors import CorruptRecordingError, refuse_pointer
from src.events.formats.format import Format
from src.kernel_cache import cached_njit

EVENT_BYTES = 5
OVERFLOW_Y = 240  # marks a timestamp overflow; it is no event
OVERFLOW_MICROSECONDS = 1 << 13
LARGEST_TIMESTAMP = (1 << 23) - 1


def decode(raw: NDArray[np.uint8]) -> Events:
    """Return the events of an N-MNIST file's bytes, equal to `tonic.io.read_mnist_file`.

    An event is 5 bytes, big-endian: x (8 bits), y (8), polarity (1), timestamp in microseconds (23). A y of 240 marks
    a timestamp overflow: every later timestamp grows by 2^13. An event that the file ends within is left out, as
    `num_unread` of the result says.

    Args:
        raw: uint8 [5 N], or a few more.

    Raises:
        CorruptRecordingError: if there is not one whole event in a file that is not empty.
    """
    n = len(raw) // EVENT_BYTES
    if n == 0 and len(raw):
        raise CorruptRecordingError(f"its length, {len(raw)} bytes, is not a multiple of {EVENT_BYTES}")
    num_unread = len(raw) % EVENT_BYTES
    x, y = np.empty(n, np.uint16), np.empty(n, np.uint16)
    t, p = np.empty(n, np.int64), np.empty(n, np.uint8)
    n = _decode(raw, x, y, t, p)
    return Events(x[:n], y[:n], t[:n], p[:n], num_unread)


@cached_njit(nogil=True)
def _decode(
    raw: NDArray[np.uint8],
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    t: NDArray[np.int64],
    p: NDArray[np.uint8],
) -> int:
    overflows = False
    for i in range(len(t)):
        overflows |= raw[EVENT_BYTES * i + 1] == OVERFLOW_Y
    if not overflows:  # nearly every recording; a loop without carried state runs several times as fast
        for i in range(len(t)):
            x[i], y[i], t[i], p[i] = _decode_event(raw, EVENT_BYTES * i)
        return len(t)
    n = 0
    time_shift = 0
    for i in range(len(t)):
        if raw[EVENT_BYTES * i + 1] == OVERFLOW_Y:
            time_shift += OVERFLOW_MICROSECONDS
            continue
        x[n], y[n], t[n], p[n] = _decode_event(raw, EVENT_BYTES * i)
        t[n] += time_shift
        n += 1
    return n


@cached_njit(nogil=True, inline="always")
def _decode_event(raw: NDArray[np.uint8], at: int) -> tuple[Any, Any, Any, Any]:
    low = np.int64(raw[at + 3]) << 8 | np.int64(raw[at + 4])
    return raw[at], raw[at + 1], (np.int64(raw[at + 2]) & 127) << 16 | low, raw[at + 2] >> 7


def encode(events: Events) -> bytes:
    """Return the bytes of an N-MNIST file; `decode` inverts it. Timestamps must be below 2^23 microseconds."""
    if len(events) and not (events.t.min() >= 0 and events.t.max() <= LARGEST_TIMESTAMP):
        raise ValueError(f"timestamps must lie in 0 to {LARGEST_TIMESTAMP} microseconds")
    raw = np.empty((len(events), EVENT_BYTES), dtype=np.uint8)
    raw[:, 0] = events.x
    raw[:, 1] = events.y
    raw[:, 2] = events.p << 7 | (events.t >> 16).astype(np.uint8)
    raw[:, 3] = (events.t >> 8 & 255).astype(np.uint8)
    raw[:, 4] = (events.t & 255).astype(np.uint8)
    return raw.tobytes()


def read(path: str | Path) -> Events:
    """Return the events of an N-MNIST .bin file; CorruptRecordingError if it is damaged or empty."""
    content = read_bytes(path)
    refuse_pointer(content)
    events = decode(np.frombuffer(content, dtype=np.uint8))
    if len(events) == 0:
        raise CorruptRecordingError("it holds no events")
    return events


def read_bytes(path: str | Path) -> bytes:
    """Return a file's bytes, several times as fast as a file object does for files of a few KiB."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe without a writer is empty
    try:
        content = os.read(descriptor, os.fstat(descriptor).st_size + 1)
        while more := os.read(descriptor, 1 << 20):
            content += more
    finally:
        os.close(descriptor)
    return content


FORMAT = Format(lambda content: decode(np.frombuffer(content, np.uint8)), suffix=".bin")
