"""EVT 2.0: equal to expelliarmus and faery, its own inverse; what cannot be read is counted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.events import Events
from src.events.formats import evt2
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError
from tests.events.formats.streams import (
    HEIGHT,
    NOTHING,
    WIDTH,
    by_expelliarmus,
    by_faery,
    counts,
    joined,
    ordered_events,
    outcome,
    rows,
    steps_back,
)
from tests.recordings import same

HEADER = b"% evt 2.0\n% format EVT2;height=240;width=320\n% end\n"
NO_SIZE = b"% evt 2.0\n"
OFF, ON, HIGH = 0, 1, 8


def event(kind, low, x, y):
    return kind << 28 | low << 22 | x << 11 | y


def high(time):
    return HIGH << 28 | time


def file_of(*words, header=HEADER):
    return header + np.array(words, "<u4").tobytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("evt2")


@settings(max_examples=50, deadline=None)  # the first call compiles
@given(ordered_events(most_step=1 << 35, first=1 << 36))
def test_encoding_is_the_inverse_of_decoding(events):
    decoded = evt2.decode(evt2.encode(events, (WIDTH, HEIGHT)))
    assert same(decoded, events)
    assert counts(decoded) == (0, 0, 0)


@settings(max_examples=20, deadline=None)
@given(ordered_events())
def test_encoded_events_are_expelliarmus_s(folder, events):
    assert same(by_expelliarmus(evt2.encode(events, (WIDTH, HEIGHT)), "evt2", folder), events)


@settings(max_examples=5, deadline=None)
@given(ordered_events(most_step=1 << 35))
def test_encoded_events_are_faery_s(folder, events):
    assert same(by_faery(evt2.encode(events, (WIDTH, HEIGHT)), ".raw", folder), events)


KINDS = st.sampled_from([OFF, ON, HIGH, 10, 14, 15])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(KINDS, st.integers(0, 2**28 - 1))))
def test_any_words_are_read_as_expelliarmus_reads_them_but_for_an_overflow(folder, words):
    content = file_of(high(5), *(kind << 28 | rest for kind, rest in words), event(ON, 1, 2, 3), header=NO_SIZE)
    events, expected = evt2.decode(content), by_expelliarmus(content, "evt2", folder)
    assert same(Events(events.x, events.y, events.t % 2**34, events.p), expected)
    assert events.num_back == steps_back(events.t)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 15), st.integers(0, 2**28 - 1)), max_size=80),
    st.integers(1, 20),
    st.sampled_from([HEADER, NO_SIZE]),
)
def test_windows_of_any_size_are_together_what_decode_returns(words, most_events, header):
    content = file_of(high(0), *(kind << 28 | rest for kind, rest in words), header=header) + b"abc"
    parts = []

    def read():
        parts.extend(evt2.windows(np.frombuffer(content, np.uint8), most_events))
        return joined([*parts, NOTHING])

    assert outcome(read) == outcome(lambda: evt2.decode(content))
    assert all(len(part) <= most_events for part in parts)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([HEADER, NO_SIZE, b"% "]))
def test_arbitrary_data_give_events_on_the_sensor_or_a_corrupt_recording(data, header):
    try:
        events = evt2.decode(header + data)
    except CorruptRecordingError:
        return
    assert len(events) == 0 or (events.x.max() < 2048 and events.y.max() < 2048 and events.p.max() <= 1)


def test_a_file_cut_within_a_word_says_so():
    events = evt2.decode(file_of(high(1), event(ON, 3, 5, 6), event(OFF, 3, 5, 6))[:-1])
    assert (rows(events), counts(events)) == ([(5, 6, 67, 1)], (3, 0, 0))


def test_events_before_the_first_time_high_are_unread():
    events = evt2.decode(file_of(event(ON, 3, 5, 6), high(1), event(OFF, 3, 5, 6)))
    assert (rows(events), counts(events)) == ([(5, 6, 67, 0)], (4, 0, 0))


def test_a_file_whose_events_have_no_time_is_corrupt():
    with pytest.raises(CorruptRecordingError, match="no event in it can be read: 4 bytes have no place or no time"):
        evt2.decode(file_of(event(ON, 3, 5, 6)))


def test_words_of_no_known_kind_are_unread_and_triggers_are_passed_over():
    words = [kind << 28 for kind in (2, 7, 9, 10, 11, 12, 13, 14, 15)]
    events = evt2.decode(file_of(high(1), *words, event(OFF, 3, 5, 6)))
    assert (len(events), counts(events)) == (1, (24, 0, 0))


def test_time_overflows_after_34_bits():
    last = (1 << 28) - 1
    events = evt2.decode(file_of(high(last), event(ON, 63, 1, 1), high(0), event(ON, 1, 1, 1), high(last), high(3)))
    assert events.t.tolist() == [2**34 - 1, 2**34 + 1]
    assert counts(events) == (0, 0, 0)


def test_a_smaller_fall_of_time_is_a_step_back():
    events = evt2.decode(file_of(high(1 << 27), event(ON, 0, 1, 1), high(5), event(ON, 0, 1, 1), event(ON, 9, 1, 1)))
    assert events.t.tolist() == [1 << 33, 320, 329]
    assert events.num_back == 1


def test_events_outside_the_sensor_are_left_out_and_counted():
    inside = [event(ON, 0, 319, 239)] * 200
    events = evt2.decode(file_of(high(0), *inside, event(ON, 0, 320, 0), event(ON, 0, 0, 240)))
    assert (len(events), counts(events)) == (200, (0, 2, 0))


def test_another_sensor_s_file_is_foreign():
    with pytest.raises(ForeignRecordingError, match=r"2 of its 3 events .* \(x 400, y 1 is none of 320 x 240 pixels\)"):
        evt2.decode(file_of(high(0), event(ON, 0, 1, 1), event(ON, 0, 400, 1), event(ON, 0, 401, 1)))


def test_the_sensor_s_size_is_the_header_s():
    assert evt2.sensor_size(HEADER) == (320, 240)
    assert evt2.sensor_size(NO_SIZE) is None
