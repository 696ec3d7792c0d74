"""Events as lines of text: in any pieces; what is no event is named with its line."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.events import Events
from src.events.event_lines import LONGEST_LINE, EventLines
from src.events.formats.errors import CorruptRecordingError
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


def test_off_is_0_or_minus_1_in_all_lines():
    assert rows(parsed(b"1 2 3 -1\n2 2 3 1\n")) == [(1, 2, 3, 0), (2, 2, 3, 1)]
    with pytest.raises(CorruptRecordingError, match="line 2: '2 2 3 0'"):
        parsed(b"1 2 3 -1\n", b"2 2 3 0\n")


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
