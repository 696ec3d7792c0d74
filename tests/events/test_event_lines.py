"""Events as lines of text: in any pieces, from files, pipes and recordings; what is no event is named with its line."""

import contextlib
import os
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.command_line import Stopped
from src.events import Events
from src.events.event_lines import LONGEST_LINE, EventLines, read_events
from src.events.formats import aedat2
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError
from tests.recordings import event_streams, same


def joined(parts):
    return Events(*(np.concatenate([getattr(part, name) for part in parts]) for name in "xytp"))


def parsed(*pieces):
    lines = EventLines()
    return joined([*map(lines.push, pieces), lines.finish()])


def text_of(events):
    return "".join(
        f"{t} {x} {y} {p}\n" for x, y, t, p in zip(events.x, events.y, events.t, events.p, strict=True)
    ).encode()


def rows(events):
    return list(zip(*(getattr(events, name).tolist() for name in "txyp"), strict=True))


@settings(deadline=None)
@given(st.data())
def test_lines_in_any_pieces_are_their_events(data):
    events, _ = data.draw(event_streams(least=0))
    events = Events(events.x, events.y, events.t, np.minimum(events.p, 1))
    content = text_of(events)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=5)))
    pieces = [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    assert same(parsed(*pieces), events)


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text("0123456789-+.,# \t\r\n", max_size=60).map(str.encode))
def test_any_bytes_are_events_or_a_corrupt_recording(content):
    with contextlib.suppress(CorruptRecordingError):
        assert len(parsed(content)) <= content.count(b"\n") + 1


@pytest.mark.parametrize(
    "text", [b"1 2 3 0", b"  1\t2 3   0  \r\n", b"1,2,3,0\n", b"1, 2, 3, 0\n", b"# t x y p\n\n1 2 3 0\n\n# end"]
)
def test_separators_comments_and_empty_lines_are_free(text):
    assert rows(parsed(text)) == [(1, 2, 3, 0)]


def test_a_time_may_be_negative_and_large():
    assert rows(parsed(b"-5 65535 0 1\n999999999999999999 0 65535 0\n")) == [
        (-5, 65535, 0, 1),
        (999999999999999999, 0, 65535, 0),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "1 2 3",
        "1 2 3 0 5",
        "1 2 3 2",
        "1 2 3 -1",
        "1 65536 3 0",
        "1 2 -3 0",
        "0.000001 2 3 0",
        "1 2 3 0x",
        "t x y p",
        "9999999999999999999 2 3 0",
        "99999999999999999999999999 2 3 0",
        "1 2 3 0 # comment",
        ",1 2 3 0",
        "-",
    ],
)
def test_a_line_that_is_no_event_is_named(line):
    with pytest.raises(CorruptRecordingError, match=r"^line 3: ") as error:
        parsed(b"1 2 3 0\n# no event\n", line.encode() + b"\n1 2 3 0\n")
    assert repr(line.strip()) in str(error.value)
    assert "give t x y p, whole numbers" in str(error.value)


def test_a_line_that_does_not_end_is_refused():
    with pytest.raises(CorruptRecordingError, match="line 1 has more than"):
        EventLines().push(b"1" * (LONGEST_LINE + 1))


def from_file(path):
    with path.open("rb") as file:
        return joined(list(read_events(file.fileno(), lambda: None)))


def test_a_file_of_lines_is_read(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"1 2 3 0\n4 5 6 1")
    assert rows(from_file(tmp_path / "a.txt")) == [(1, 2, 3, 0), (4, 5, 6, 1)]


def test_a_file_may_be_a_recording(tmp_path):
    events = Events(
        np.array([1, 2], np.uint16), np.array([3, 4], np.uint16), np.array([5, 6]), np.array([0, 1], np.uint8)
    )
    (tmp_path / "a").write_bytes(aedat2.encode(events))
    assert same(from_file(tmp_path / "a"), events)


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


def test_a_recording_in_a_pipe_is_refused_with_what_to_do():
    with pytest.raises(
        ForeignRecordingError, match=r"a recording \(AEDAT 2.0\) cannot be read from a pipe; give its file"
    ):
        list(from_pipe(b"#!AER-DAT2.0\r\n" + bytes(8)))


def test_what_is_no_text_is_refused():
    with pytest.raises(ForeignRecordingError, match="no text of lines"):
        list(from_pipe(b"\x80\x00" * 20))


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
