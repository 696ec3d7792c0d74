"""Events of pipes and files: at once for lines and formats that come in pieces, at the end for the others."""

import contextlib
import gzip
import os
import tempfile
import threading

import pytest

from src.command_line import RunError, Stopped
from src.events.event_pipe import read_events
from src.events.formats import aedat2, aedat3, aedat4, evt3, hdf5, nmnist_bin, npy, npz, text
from src.events.formats.errors import ForeignRecordingError
from src.events.formats.reading import decode_recording, format_name
from src.registry import FILE_FORMATS
from tests.events.formats.streams import joined
from tests.events.formats.test_pieces import FILES, ORDERED
from tests.events.test_event_lines import rows
from tests.recordings import same

RECORDINGS = {
    **{name: content for name, (_, content) in FILES.items() if not name.startswith("N-MNIST")},
    "AEDAT 2.0": aedat2.encode(ORDERED),
    "AEDAT 3.1": aedat3.encode(ORDERED),
    "AEDAT 4": aedat4.encode(ORDERED, (34, 34)),
    "HDF5": hdf5.encode(ORDERED),
    ".npy": npy.encode(ORDERED),
    ".npz": npz.encode(ORDERED),
    "text in seconds": text.encode(ORDERED),
    "text, compressed": gzip.compress(text.encode(ORDERED, unit="us")),
    "text with names": text.encode(ORDERED, "xypt", ",", "us", "x,y,p,t\n"),
    "text with names in a comment": text.encode(ORDERED, "xypt", " ", "us", "# x y p t\n"),
    "text with a sensor": text.encode(ORDERED, unit="us", header="34 34\n"),
}


def from_file(path):
    with path.open("rb") as file:
        return joined(list(read_events(file.fileno(), lambda: None)))


def test_a_file_of_lines_is_read(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"1 2 3 0\n4 5 6 1")
    assert rows(from_file(tmp_path / "a.txt")) == [(1, 2, 3, 0), (4, 5, 6, 1)]


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_file_may_be_a_recording(name, tmp_path):
    (tmp_path / "a").write_bytes(RECORDINGS[name])
    assert same(from_file(tmp_path / "a"), decode_recording(RECORDINGS[name], ""))


def whole_pipe(*pieces, **expected):
    """The parts that come from a pipe whose pieces are written without waiting."""
    read, write = os.pipe()

    def write_all():
        with contextlib.suppress(BrokenPipeError), os.fdopen(write, "wb", buffering=0) as file:
            for piece in pieces:
                file.write(piece)

    writing = threading.Thread(target=write_all)
    writing.start()
    try:
        return list(read_events(read, lambda: None, **expected))
    finally:
        os.close(read)
        writing.join()


def from_pipe(*pieces, check=lambda: None):
    """The parts that come from a pipe; each piece is written when the parts before it have been read."""
    read, write = os.pipe()
    pieces = list(pieces)

    def write_next():
        os.write(write, pieces.pop(0)) if pieces else os.close(write)

    threading.Timer(0.0, write_next).start()
    try:
        for events in read_events(read, check):
            yield events
            write_next()
    finally:
        os.close(read)


def test_events_are_there_as_soon_as_their_lines_are():
    found = [rows(events) for events in from_pipe(b"1 2 3 0\n4 5 6 1\n7 ", b"8 9 1\n")]
    assert found == [[(1, 2, 3, 0), (4, 5, 6, 1)], [(7, 8, 9, 1)]]


@pytest.mark.parametrize("piece", [b"1 2 3 0\n", b"#\n1 2 3 0\n"])
def test_a_short_line_does_not_wait_for_more(piece):
    assert rows(next(from_pipe(piece, b"4 5 6 1\n"))) == [(1, 2, 3, 0)]


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_pipe_may_carry_a_recording(name):
    content = RECORDINGS[name]
    assert same(joined(whole_pipe(content)), decode_recording(content, ""))


@pytest.mark.parametrize("name", ["EVT 3.0", "DAT", "Event Stream"])
def test_a_recording_s_events_are_there_as_soon_as_their_bytes_are(name):
    content = RECORDINGS[name]
    events = from_pipe(content[:600], content[600:1200], content[1200:])
    assert len(next(events)) > 0
    assert len(next(events)) > 0


def test_a_header_may_come_in_pieces():
    content = RECORDINGS["EVT 3.0"]
    assert same(joined(whole_pipe(*(content[at : at + 7] for at in range(0, len(content), 7)))), ORDERED)


def test_evt3_has_the_timestamps_that_are_asked_for():
    content = evt3.encode(ORDERED, (34, 34), evt3.METAVISION)
    assert same(joined(whole_pipe(content, evt3_clock="metavision")), ORDERED)


def test_bytes_without_a_mark_are_n_mnist_s_if_such_recordings_are_expected():
    content = nmnist_bin.encode(ORDERED)
    assert same(joined(whole_pipe(content, suffix=".bin")), ORDERED)
    with pytest.raises(ForeignRecordingError, match=r"N-MNIST's \.bin has no mark of its own: give predict the file"):
        whole_pipe(content)


def test_lines_are_lines_even_if_n_mnist_s_recordings_are_expected():
    assert rows(joined(whole_pipe(b"1 2 3 0\n4 5 6 1\n", suffix=".bin"))) == [(1, 2, 3, 0), (4, 5, 6, 1)]


@pytest.mark.parametrize("name", ["EVT 3.0", "AEDAT 2.0"])
def test_a_recording_that_is_cut_short_says_so(name):
    parts = whole_pipe(RECORDINGS[name][:-3])
    assert sum(part.num_unread for part in parts) == decode_recording(RECORDINGS[name][:-3], "").num_unread > 0


def test_a_recording_that_cannot_be_kept_says_where(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(RunError, match=r"none: cannot keep the recording there: .*; TMPDIR names another folder"):
        whole_pipe(RECORDINGS["AEDAT 4"])


def test_what_is_in_no_known_format_is_refused():
    with pytest.raises(ForeignRecordingError, match="neither lines `t x y p` nor a known format: it begins with"):
        whole_pipe(b"\x80\x00" * 20)


def test_a_pointer_to_a_recording_is_refused():
    with pytest.raises(ForeignRecordingError, match="git lfs pull"):
        whole_pipe(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")


def test_waiting_ends_when_the_check_says_so():
    calls = []

    def check():
        calls.append(1)
        if len(calls) > 2:
            raise Stopped("enough")

    read, write = os.pipe()
    with pytest.raises(Stopped):
        list(read_events(read, check))
    os.close(read)
    os.close(write)


def sensor_of(content):
    name = format_name(content, "")
    sensor_size = name and FILE_FORMATS.load(name).sensor_size
    return sensor_size(content) if sensor_size else None


@pytest.mark.parametrize("name", [name for name, content in RECORDINGS.items() if sensor_of(content)])
def test_a_recording_of_another_sensor_is_refused_before_its_first_event(name):
    width, height = sensor_of(RECORDINGS[name])
    assert whole_pipe(RECORDINGS[name], sensor=(width, height))
    with pytest.raises(
        ForeignRecordingError, match=f"of a sensor of {width} x {height} pixels; one of 1280 x 720 is needed"
    ):
        whole_pipe(RECORDINGS[name], sensor=(1280, 720))
