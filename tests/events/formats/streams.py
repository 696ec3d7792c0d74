"""Random events, windows that are joined again, and the readers of other projects."""

import numpy as np
import pytest
from hypothesis import strategies as st

from src.events import Events
from src.events.formats.errors import CorruptRecordingError

WIDTH, HEIGHT = 320, 240
NOTHING = Events(*(np.empty(0, dtype) for dtype in (np.uint16, np.uint16, np.int64, np.uint8)))


@st.composite
def ordered_events(draw, most_step=1 << 13, first=1 << 26):
    """Events in the order of time on a small sensor, some of them side by side in one row at one time."""
    n = draw(st.integers(1, 200))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    changes = rng.random(n) < draw(st.sampled_from([0.1, 0.5, 1.0]))
    group = np.cumsum(changes)
    steps = np.where(changes, rng.integers(0, draw(st.sampled_from([2, 100, most_step])), n), 0)
    columns = rng.integers(0, WIDTH, n + 1)[group] + np.arange(n)
    return Events(
        (columns % WIDTH).astype(np.uint16),
        rng.integers(0, HEIGHT, n + 1)[group].astype(np.uint16),
        draw(st.integers(0, first)) + np.cumsum(steps),
        rng.integers(0, 2, n + 1)[group].astype(np.uint8),
    )


def joined(parts):
    """The events of all parts, with the sums of their counts."""
    parts = list(parts)
    arrays = [np.concatenate([getattr(part, name) for part in parts]) for name in "xytp"]
    counts = [sum(getattr(part, name) for part in parts) for name in ("num_unread", "num_outside", "num_back")]
    return Events(*arrays, *counts)


def rows(events):
    return list(zip(*(getattr(events, name).tolist() for name in "xytp"), strict=True))


def counts(events):
    return events.num_unread, events.num_outside, events.num_back


def outcome(read):
    """What a call returns as lists, or the error's text."""
    try:
        events = read()
    except CorruptRecordingError as error:
        return str(error)
    return [getattr(events, name).tolist() for name in "xytp"], counts(events)


def steps_back(t):
    return int(np.count_nonzero(t[1:] < t[:-1]))


def by_expelliarmus(content, encoding, folder):
    """The events that expelliarmus reads."""
    expelliarmus = pytest.importorskip("expelliarmus")
    path = folder / f"a.{'dat' if encoding == 'dat' else 'raw'}"
    path.write_bytes(content)
    return Events.from_structured(expelliarmus.Wizard(encoding=encoding).read(str(path)))


def by_faery(content, suffix, folder):
    """The events that faery reads."""
    faery = pytest.importorskip("faery")
    path = folder / f"a{suffix}"
    path.write_bytes(content)
    array = faery.events_stream_from_file(path).to_array()
    return Events(array["x"], array["y"], array["t"].astype(np.int64), array["on"].astype(np.uint8))
