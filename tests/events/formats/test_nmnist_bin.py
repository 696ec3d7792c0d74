"""N-MNIST's format: equal to tonic's reader, and its own inverse."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tonic.datasets import NMNIST
from tonic.io import read_mnist_file

from src.events import Events
from src.events.datasets.nmnist import ARCHIVES, find_recordings
from src.events.formats import nmnist_bin
from src.events.formats.errors import CorruptRecordingError
from tests.recordings import real_recordings, real_sample, same


def by_tonic(content: bytes) -> Events:
    return Events.from_structured(read_mnist_file(io.BytesIO(content), NMNIST.dtype, is_stream=True))


def decoded(content: bytes) -> Events:
    return nmnist_bin.decode(np.frombuffer(content, np.uint8))


@settings(deadline=None)  # the first call compiles
@given(st.binary(min_size=5, max_size=500))
def test_any_bytes_decode_as_tonic_decodes_them(content):
    content = content[: len(content) // 5 * 5]
    assert same(decoded(content), by_tonic(content))


@given(st.lists(st.tuples(st.sampled_from([3, 240]), st.integers(0, 2**24 - 1)), min_size=1, max_size=60))
def test_timestamp_overflows_count_as_in_tonic(rows):
    content = b"".join(bytes([7, y]) + rest.to_bytes(3, "big") for y, rest in rows)
    assert same(decoded(content), by_tonic(content))


def test_an_event_is_five_big_endian_bytes():
    events = decoded(bytes([5, 9, 0x80 | 0x12, 0x34, 0x56]))
    assert [events.x[0], events.y[0], events.t[0], events.p[0]] == [5, 9, 0x123456, 1]


@given(st.integers(0, 100), st.integers(0, 2**32 - 1))
def test_encoding_is_the_inverse_of_decoding(n, seed):
    rng = np.random.default_rng(seed)
    events = Events(
        rng.integers(0, 256, n).astype(np.uint16),
        rng.integers(0, 240, n).astype(np.uint16),
        np.sort(rng.integers(0, 2**23, n)),
        rng.integers(0, 2, n).astype(np.uint8),
    )
    assert same(decoded(nmnist_bin.encode(events)), events)


def test_a_real_recording_of_a_larger_sensor_reads_as_tonic_reads_it():
    content = real_sample("faces_easy_0001.bin")
    assert same(decoded(content), by_tonic(content))


def test_rows_above_the_marker_s_are_read_and_the_markers_counted():
    events = decoded(bytes([1, 255, 0, 0, 1, 1, 240, 0, 0, 2, 255, 241, 0, 0, 3]))
    assert (events.y.tolist(), events.t.tolist(), events.num_outside) == ([255, 241], [1, 3 + 2**13], 1)
    assert decoded(bytes([1, 239, 0, 0, 1, 1, 240, 0, 0, 2])).num_outside == 0


def test_timestamps_that_begin_again_without_a_marker_are_steps_back():
    events = decoded(bytes([1, 2, 0x7F, 0xFF, 0xFF, 1, 2, 0, 0, 5, 1, 2, 0, 0, 4]))
    assert (events.t.tolist(), events.num_back) == ([2**23 - 1, 5, 4], 2)


@pytest.mark.parametrize(("x", "y"), [(256, 0), (0, 256), (0, 240)])
def test_coordinates_that_do_not_fit_are_not_encoded(x, y):
    event = Events(np.array([x], np.uint16), np.array([y], np.uint16), np.array([0]), np.zeros(1, np.uint8))
    with pytest.raises(ValueError, match="x and y must lie in 0 to 255, and y must not be 240"):
        nmnist_bin.encode(event)


@pytest.mark.parametrize("t", [-1, 2**23])
def test_timestamps_that_do_not_fit_are_not_encoded(t):
    events = Events(np.zeros(1, np.uint16), np.zeros(1, np.uint16), np.array([t]), np.zeros(1, np.uint8))
    with pytest.raises(ValueError, match="timestamps must lie in 0 to 8388607"):
        nmnist_bin.encode(events)


@pytest.mark.skipif(not real_recordings(), reason="no N-MNIST recordings here; name some by DIFFLOGIC_TEST_RECORDINGS")
def test_every_real_recording_reads_as_tonic_reads_it():
    for path in real_recordings():
        assert same(nmnist_bin.read(path), Events.from_structured(read_mnist_file(str(path), NMNIST.dtype))), path


@pytest.mark.parametrize(
    ("content", "message"),
    [(bytes(4), "4 bytes, is not a multiple of 5"), (b"", "no events"), (bytes([1, 240, 0, 0, 0]), "no events")],
)
def test_a_broken_file_is_a_corrupt_recording(tmp_path, content, message):
    (tmp_path / "a.bin").write_bytes(content)
    with pytest.raises(CorruptRecordingError, match=message):
        nmnist_bin.read(tmp_path / "a.bin")


def test_an_event_that_the_file_ends_within_is_left_out():
    events = nmnist_bin.encode(
        Events(np.arange(3, dtype=np.uint16), np.arange(3, dtype=np.uint16), np.arange(3), np.ones(3, np.uint8))
    )
    assert [(len(e := decoded(events[:length])), e.num_unread) for length in (15, 14, 11, 10)] == [
        (3, 0),
        (2, 4),
        (2, 1),
        (2, 0),
    ]


def test_recordings_are_found_by_split_and_digit_in_sorted_order(tmp_path):
    for name in (
        "Train/3/b.bin",
        "Train/3/a.bin",
        "Test/0/c.bin",
        "Train/3/notes.txt",
        "Train/x/d.bin",
        "Train/0/z.bin",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = [(Path(r.path).relative_to(tmp_path).as_posix(), r.label, r.is_test) for r in find_recordings(tmp_path)]
    assert found == [
        ("Train/0/z.bin", 0, False),
        ("Train/3/a.bin", 3, False),
        ("Train/3/b.bin", 3, False),
        ("Test/0/c.bin", 0, True),
    ]


def test_the_archives_are_those_of_tonic():
    ours = {(archive.url, archive.file_name, archive.md5, archive.unpacks_to) for archive in ARCHIVES}
    assert ours == {
        (NMNIST.train_url, NMNIST.train_filename, NMNIST.train_md5, (NMNIST.train_folder,)),
        (NMNIST.test_url, NMNIST.test_filename, NMNIST.test_md5, (NMNIST.test_folder,)),
    }
