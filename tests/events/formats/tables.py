"""What the tests of formats that hold tables share: random events and the joining of windows."""

import numpy as np
from hypothesis import strategies as st

from src.events import Events
from tests.recordings import same


def some_events(n=50, seed=0, first=0, step=1000, width=300, height=200):
    """Events on a small sensor, in the order of time."""
    rng = np.random.default_rng(seed)
    return Events(
        rng.integers(0, width, n).astype(np.uint16),
        rng.integers(0, height, n).astype(np.uint16),
        first + np.cumsum(rng.integers(0, step, n)),
        rng.integers(0, 2, n).astype(np.uint8),
    )


@st.composite
def recordings(draw, least=0, most=60, latest=2**31):
    """Events with any coordinates and timestamps, not always in the order of time, and both polarities."""
    n = draw(st.integers(least, most))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    largest = draw(st.sampled_from([1, 300, 65536]))
    t = rng.integers(0, latest, n)
    return Events(
        rng.integers(0, largest, n).astype(np.uint16),
        rng.integers(0, largest, n).astype(np.uint16),
        np.sort(t) if draw(st.booleans()) else t,
        rng.integers(0, 2, n).astype(np.uint8),
    )


def require_windows(file_format, content, most_events):
    """Check that the windows of a file are what `decode` returns."""
    whole = file_format.decode(content)
    parts = list(file_format.windows(np.frombuffer(content, np.uint8), most_events))
    assert all(len(part) <= most_events for part in parts)
    assert all(part.x.dtype == np.uint16 and part.t.dtype == np.int64 and part.p.dtype == np.uint8 for part in parts)
    empty = Events(whole.x[:0], whole.y[:0], whole.t[:0], whole.p[:0])
    joined = [np.concatenate([getattr(part, name) for part in (empty, *parts)]) for name in "xytp"]
    assert same(Events(*joined), whole)
    for count in ("num_unread", "num_outside", "num_back"):
        assert sum(getattr(part, count) for part in parts) == getattr(whole, count)
