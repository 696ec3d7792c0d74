"""A toy file format: lines of "x y t p" behind a first line that names it."""

import numpy as np

from src.events import Events
from src.events.formats.format import Format

BEGINNING = b"toy events\n"


def encode(events: Events) -> bytes:
    rows = np.stack([events.x, events.y, events.t, events.p], 1).tolist()
    return BEGINNING + "".join(f"{x} {y} {t} {p}\n" for x, y, t, p in rows).encode()


def decode(content: bytes) -> Events:
    x, y, t, p = np.loadtxt(content[len(BEGINNING) :].decode().splitlines(), np.int64, ndmin=2).T
    return Events(x.astype(np.uint16), y.astype(np.uint16), t, p.astype(np.uint8))


FORMAT = Format(decode, beginning=BEGINNING)
