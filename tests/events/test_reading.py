"""read_recording: any known format, clear errors."""

import pytest

from src.events import read_recording
from src.events.dataset import CorruptRecordingError


def test_an_n_mnist_file_is_read(tmp_path):
    (tmp_path / "a.bin").write_bytes(bytes([1, 2, 0x80, 0, 9]))
    events = read_recording(str(tmp_path / "a.bin"))
    assert (events.x[0], events.y[0], events.p[0], events.t[0]) == (1, 2, 1, 9)


def test_an_unknown_format_is_an_error_that_names_the_known_ones(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"")
    with pytest.raises(CorruptRecordingError, match=r"unknown format '\.txt'; known: \.bin"):
        read_recording(tmp_path / "a.txt")


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_recording(tmp_path / "a.bin")
