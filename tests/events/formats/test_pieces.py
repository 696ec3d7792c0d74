"""Files that come in pieces: cut anywhere, cut short or damaged, they give what decode returns, or its error."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.events.formats import dat, event_stream, evt2, evt3, evt21, nmnist_bin
from src.events.formats.format import Format
from src.events.formats.windows import WINDOW_EVENTS
from src.registry import FILE_FORMATS
from tests.events.formats.streams import NOTHING, joined, ordered_events, outcome
from tests.events.formats.test_windows import EVENTS, ORDERED, with_overflows
from tests.recordings import same

SIZE = (34, 34)
FILES = {
    "EVT 3.0": (evt3.FORMAT, evt3.encode(ORDERED, SIZE)),
    "EVT 2.1": (evt21.FORMAT, evt21.encode(ORDERED, SIZE)),
    "EVT 2.1 in halves": (evt21.FORMAT, evt21.encode(ORDERED, SIZE, is_legacy=True)),
    "EVT 2.0": (evt2.FORMAT, evt2.encode(ORDERED, SIZE)),
    "DAT": (dat.FORMAT, dat.encode(ORDERED, SIZE)),
    "Event Stream": (event_stream.FORMAT, event_stream.encode(ORDERED, SIZE)),
    "Event Stream of an ATIS": (event_stream.FORMAT, event_stream.encode(ORDERED, SIZE, event_stream.ATIS)),
    "N-MNIST": (nmnist_bin.FORMAT, nmnist_bin.encode(EVENTS)),
    "N-MNIST with overflows": (nmnist_bin.FORMAT, with_overflows(nmnist_bin.encode(EVENTS))),
}
HEADER = 100  # bytes that hold each header


def in_pieces(file_format: Format, content: bytes, cuts: list[int]):
    cuts = sorted(HEADER + cut for cut in cuts)
    pieces = (content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True))
    return joined([NOTHING, *file_format.pieces(pieces)])


def test_all_formats_that_come_in_pieces_are_tested():
    every = [FILE_FORMATS.load(name) for name in FILE_FORMATS]
    assert {id(it) for it in every if it.pieces} == {id(it) for it, _ in FILES.values()}


@pytest.mark.parametrize("name", FILES)
@settings(deadline=None, max_examples=30)
@given(st.data())
def test_pieces_are_the_whole(name, data):
    file_format, content = FILES[name]
    content = bytearray(content[: data.draw(st.integers(HEADER, len(content)))])
    for at in data.draw(st.lists(st.integers(HEADER, len(content)), max_size=3)):
        content[at : at + 1] = bytes([data.draw(st.integers(0, 255))])
    cuts = data.draw(st.lists(st.integers(0, len(content) - HEADER), max_size=6))
    assert outcome(lambda: in_pieces(file_format, bytes(content), cuts)) == outcome(
        lambda: file_format.decode(bytes(content))
    )


@settings(deadline=None, max_examples=20)
@given(ordered_events(), st.integers(1, 9))
def test_vectors_of_evt3_may_be_cut_between_any_bytes(events, size):
    content = evt3.encode(events, (320, 240))
    assert same(in_pieces(evt3.FORMAT, content, list(range(0, len(content) - HEADER, size))), events)


def test_a_piece_may_hold_more_events_than_a_window():
    content = nmnist_bin.encode(EVENTS) * (2 * WINDOW_EVENTS // len(EVENTS) + 1)
    parts = list(nmnist_bin.pieces(iter([content])))
    assert max(map(len, parts)) == WINDOW_EVENTS
    assert same(joined(parts), nmnist_bin.decode(np.frombuffer(content, np.uint8)))


def test_events_are_given_as_soon_as_their_bytes_are_there():
    file_format, content = FILES["DAT"]
    begin = len(content) - 8 * len(ORDERED)
    parts = file_format.pieces(iter([content[: begin + 8], content[begin + 8 : begin + 27], content[begin + 27 :]]))
    assert [len(next(parts)), len(next(parts)), len(next(parts))] == [1, 2, len(ORDERED) - 3]
