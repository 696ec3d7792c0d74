"""Real recordings, where there are some, and random event streams."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

from src.events import Events
from tests.small_job import REPOSITORY


def real_recordings() -> list[Path]:
    """The .bin files under $DIFFLOGIC_TEST_RECORDINGS, or under data beside the repository or in it."""
    return sorted(path for root in _data_folders() for path in (root / "NMNIST").glob("*/*/*.bin"))


def real_sample(name: str) -> bytes:
    """A real file of another format, from `formats` in the folders of `real_recordings`; skips where it is absent."""
    if (path := sample(name)).is_file():
        return path.read_bytes()
    pytest.skip(f"no {name} here; its folder's parent can be named by DIFFLOGIC_TEST_RECORDINGS")


def sample(name: str) -> Path:
    """The file of this name under formats, where `real_recordings` looks too; a path of no file if there is none."""
    paths = [root / "formats" / name for root in _data_folders()]
    return next((path for path in paths if path.is_file()), paths[0])


def _data_folders() -> list[Path]:
    named = os.environ.get("DIFFLOGIC_TEST_RECORDINGS")
    return [Path(named)] if named else [REPOSITORY.parent / "shared" / "data", REPOSITORY / "data"]


@st.composite
def event_streams(draw, least=1, most=200):
    """(events, sensor_size): any small sensor, timestamps in order with repetitions, starting early or late."""
    width, height, polarities = draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(st.integers(2, 3))
    n = draw(st.integers(least, most))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    steps = rng.integers(0, draw(st.integers(1, 40)), n)
    events = Events(
        rng.integers(0, width, n).astype(np.uint16),
        rng.integers(0, height, n).astype(np.uint16),
        np.cumsum(steps) + draw(st.sampled_from([0, 3, 10_000])),
        rng.integers(0, polarities, n).astype(np.uint8),
    )
    return events, (width, height, polarities)


def same(a: Events, b: Events) -> bool:
    """Whether two recordings hold the same events."""
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in "xytp")
