"""read_recording: any known format by its content, clear errors for anything else."""

import os
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.events import Events, read_recording
from src.events.formats import (
    aedat2,
    aedat3,
    aedat4,
    dat,
    event_stream,
    evt2,
    evt3,
    evt21,
    file_bytes,
    hdf5,
    nmnist_bin,
    npy,
    npz,
    text,
)
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError
from src.events.formats.reading import read_windows, sensor_size_of
from src.events.formats.windows import joined
from src.registry import FILE_FORMATS
from tests.recordings import same

EVENTS = Events(
    np.array([1, 2], np.uint16), np.array([3, 4], np.uint16), np.array([5, 900]), np.array([1, 0], np.uint8)
)
CONTENTS = {
    "aedat4": aedat4.encode(EVENTS, (128, 128)),
    "aedat": aedat2.encode(EVENTS),
    "aedat3": aedat3.encode(EVENTS),
    "es": event_stream.encode(EVENTS, (34, 34)),
    "evt3": evt3.encode(EVENTS),
    "evt21": evt21.encode(EVENTS),
    "evt2": evt2.encode(EVENTS),
    "dat": dat.encode(EVENTS),
    "bin": nmnist_bin.encode(EVENTS),
    "h5": hdf5.encode(EVENTS),
    "npy": npy.encode(EVENTS),
    "npz": npz.encode(EVENTS),
    "csv": text.encode(EVENTS),
}


@pytest.mark.parametrize("suffix", CONTENTS)
def test_each_format_is_read(tmp_path, suffix):
    (tmp_path / f"a.{suffix}").write_bytes(CONTENTS[suffix])
    assert same(read_recording(str(tmp_path / f"a.{suffix}")), EVENTS)


@pytest.mark.parametrize("suffix", CONTENTS)
def test_a_file_that_is_mapped_gives_the_same(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(file_bytes, "MAPPED_BYTES", 1)
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(CONTENTS[suffix])
    assert same(read_recording(path), EVENTS)
    assert [len(events) for events in read_windows(path, 1)] == [1, 1]


@pytest.mark.parametrize("is_mapped", [False, True])
def test_a_file_without_events_is_corrupt_in_windows_too(tmp_path, monkeypatch, is_mapped):
    monkeypatch.setattr(file_bytes, "MAPPED_BYTES", 1 if is_mapped else 1 << 25)
    (tmp_path / "a.raw").write_bytes(evt3.encode(joined(iter([]))))
    with pytest.raises(CorruptRecordingError, match="holds no events"):
        list(read_windows(tmp_path / "a.raw", 100))


def test_the_sensor_s_size_may_stand_behind_the_first_mebibyte(tmp_path):
    n = np.arange(200_000)
    events = Events((n % 640).astype(np.uint16), (n % 480).astype(np.uint16), n, (n % 2).astype(np.uint8))
    path = tmp_path / "a.h5"
    path.write_bytes(hdf5.encode(events, "m3ed", None, (640, 480)))
    assert path.stat().st_size > 1 << 20
    assert sensor_size_of(path) == (640, 480)


@pytest.mark.parametrize("name", ["a.aedat4", "a.aedat", "a.bin", "a"])
@pytest.mark.parametrize("kind", [kind for kind in CONTENTS if kind not in ("bin", "csv")])  # these have no beginning
def test_what_a_file_begins_with_counts_not_its_name(tmp_path, kind, name):
    (tmp_path / name).write_bytes(CONTENTS[kind])
    assert same(read_recording(tmp_path / name), EVENTS)


@pytest.mark.parametrize("name", ["a.txt", "a.aedat4", "a"])
@pytest.mark.parametrize("content", [b"#!AER-DAT1.0\r\n", b"hello", bytes(10)])
def test_an_unknown_format_is_an_error_that_names_the_known_ones(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    *names, last = FILE_FORMATS
    known = re.escape(f"known are {', '.join(names)} and {last}")
    with pytest.raises(ForeignRecordingError, match=f"unknown format: .*; {known}"):
        read_recording(tmp_path / name)


@pytest.mark.parametrize("name", ["a.raw", "a.bin", "a"])
def test_an_empty_file_is_said_to_be_empty(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    for read in (read_recording, lambda path: list(read_windows(path, 100))):
        with pytest.raises(CorruptRecordingError, match=r"^the file is empty$"):
            read(tmp_path / name)


@pytest.mark.parametrize("is_mapped", [False, True])
@pytest.mark.parametrize("most_events", [1, 1 << 22])
def test_a_file_of_another_sensor_than_is_needed_is_foreign(tmp_path, monkeypatch, is_mapped, most_events):
    monkeypatch.setattr(file_bytes, "MAPPED_BYTES", 1 if is_mapped else 1 << 25)
    (tmp_path / "a.raw").write_bytes(CONTENTS["evt2"])
    (tmp_path / "a.csv").write_bytes(CONTENTS["csv"])
    for name, sensor in (("a.raw", (1280, 720)), ("a.raw", None), ("a.csv", (640, 480))):  # a text has no header
        assert same(joined(read_windows(tmp_path / name, most_events, sensor=sensor)), EVENTS)
    with pytest.raises(ForeignRecordingError, match="of a sensor of 1280 x 720 pixels; one of 640 x 480 is needed"):
        list(read_windows(tmp_path / "a.raw", most_events, sensor=(640, 480)))


NONE = Events(EVENTS.x[:0], EVENTS.y[:0], EVENTS.t[:0], EVENTS.p[:0])


@pytest.mark.parametrize(
    "content", [aedat4.encode(NONE, (9, 9)), aedat2.encode(NONE), evt3.encode(NONE), dat.encode(NONE)]
)
def test_a_recording_without_events_is_corrupt(tmp_path, content):
    (tmp_path / "a.bin").write_bytes(content)
    with pytest.raises(CorruptRecordingError, match="it holds no events"):
        read_recording(tmp_path / "a.bin")


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([b"", aedat2.MAGIC, aedat4.MAGIC, *(c[:300] for kind, c in CONTENTS.items() if kind != "h5")]),
    st.binary(),
)
def test_arbitrary_bytes_give_events_or_a_corrupt_recording(tmp_path_factory, beginning, rest):
    path = tmp_path_factory.getbasetemp() / "arbitrary.bin"
    path.write_bytes(beginning + rest)
    try:
        events = read_recording(path)
    except CorruptRecordingError:
        return
    assert len(events) > 0


@pytest.mark.parametrize("read", [read_recording, nmnist_bin.read])
@pytest.mark.parametrize(
    ("content", "command"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 5\n", "git lfs pull"),
        (b"/annex/objects/MD5E-s5--ab.bin\n", "git annex get"),
    ],
)
def test_a_pointer_to_a_recording_names_what_brings_it(tmp_path, read, content, command):
    (tmp_path / "a.bin").write_bytes(content)
    with pytest.raises(ForeignRecordingError, match=f"only a pointer to the recording; `{command}` downloads"):
        read(tmp_path / "a.bin")


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_recording(tmp_path / "a.bin")


@pytest.mark.parametrize("path", ["/dev/zero", "a pipe"])
@pytest.mark.parametrize("read", [read_recording, nmnist_bin.read, lambda path: list(read_windows(path, 100))])
def test_what_is_no_regular_file_is_an_os_error(tmp_path, path, read):
    if path == "a pipe":
        path = tmp_path / "pipe"
        os.mkfifo(path)
    with pytest.raises(OSError, match="not a regular file"):
        read(path)
