"""A mapped file that becomes shorter while it is read: an error with its name, and the process goes on."""

import signal
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

from src.events import Events
from src.events.formats import aedat4, evt3, hdf5, npy, npz, text
from src.events.formats.file_bytes import MAPPED_BYTES, read_or_map
from src.events.formats.mapped_file import guarded
from src.events.formats.reading import read_windows

RNG = np.random.default_rng(0)
EVENTS = Events(
    RNG.integers(0, 300, 500_000, np.uint16),
    RNG.integers(0, 200, 500_000, np.uint16),
    np.sort(RNG.integers(0, 1_000_000, 500_000)),
    RNG.integers(0, 2, 500_000, np.uint8),
)
ENCODERS = {
    "aedat4": partial(aedat4.encode, sensor_size=(346, 260)),
    "evt3": evt3.encode,
    "h5": hdf5.encode,
    "npy": npy.encode,
    "npz": npz.encode,
    "csv": text.encode,
}


@pytest.fixture
def mapped(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"\1" * (MAPPED_BYTES + 1))
    return path, read_or_map(path)


@pytest.mark.parametrize("suffix", ENCODERS)
def test_a_recording_that_becomes_shorter_is_an_error_with_its_name(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    content = ENCODERS[suffix](EVENTS)
    assert len(content) >= MAPPED_BYTES
    path.write_bytes(content)
    windows = read_windows(path, 10_000)
    next(windows)
    path.write_bytes(content[:4096])
    with pytest.raises(OSError, match="it became shorter while it was read") as caught:
        list(windows)
    assert caught.value.filename == str(path)


def test_a_file_that_is_whole_again_after_a_page_was_lost_is_still_an_error(mapped):
    path, content = mapped
    whole = path.read_bytes()

    def cut_and_mend():
        with guarded(content, path):
            path.write_bytes(b"")
            assert content[-1] == 0  # SIGBUS
            path.write_bytes(whole)

    with pytest.raises(OSError, match="became shorter"):
        cut_and_mend()


def test_an_error_that_lost_pages_have_caused_is_told_as_theirs(mapped):
    path, content = mapped
    path.write_bytes(b"")
    with pytest.raises(OSError, match="became shorter"), guarded(content, path):
        assert content[0] == 1, "it seems to be damaged"


def test_an_error_of_a_whole_file_stays_as_it_is(mapped):
    path, content = mapped
    with pytest.raises(ValueError, match="damaged"), guarded(content, path):
        raise ValueError("damaged")


def test_another_file_s_lost_page_still_ends_the_process(tmp_path):
    lines = f"""
import mmap, os
from src.events.formats.mapped_file import guarded
paths = [{str(tmp_path / "one")!r}, {str(tmp_path / "other")!r}]
for path in paths:
    open(path, "wb").write(bytes(4096))
one, other = (mmap.mmap(os.open(path, os.O_RDONLY), 0, access=mmap.ACCESS_READ) for path in paths)
os.truncate(paths[1], 0)
with guarded(one, paths[0]):
    other[0]
"""
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGBUS
