"""EVT 3.0: equal to expelliarmus and to Metavision's rules, its own inverse; what cannot be read is counted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.events import Events
from src.events.formats import evt3
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError
from src.events.formats.evt3 import EXPELLIARMUS, METAVISION
from src.events.formats.prophesee import parse_header
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
from tests.recordings import same, sample

HEADER = b"% evt 3.0\n% format EVT3;height=240;width=320\n% end\n"
NO_SIZE = b"% evt 3.0\n"
RAW, ARRAY = sample("evt3_sample.raw"), sample("evt3_sample.npy")
needs_sample = pytest.mark.skipif(not RAW.exists(), reason="no samples of other formats here")

Y, X, BASE, VECT_12, VECT_8, LOW, HIGH = 0, 2, 3, 4, 5, 6, 8
ON = 1 << 11


def file_of(*words, header=HEADER):
    return header + np.array([kind << 12 | content for kind, content in words], "<u2").tobytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("evt3")


@needs_sample
def test_a_camera_s_file_is_read_as_expelliarmus_has_read_it():
    events = evt3.decode(RAW.read_bytes())
    assert same(events, Events.from_structured(np.load(ARRAY)))
    assert counts(events) == (0, 0, 0)


@needs_sample
def test_a_camera_s_file_by_metavision_s_clock_lies_within_its_time_high_words():
    content = RAW.read_bytes()
    events = evt3.decode(content, METAVISION)
    words = np.frombuffer(content, "<u2", offset=parse_header(content).end)
    high = words[words >> 12 == HIGH].astype(np.int64) & 0xFFF
    assert high.min() << 12 <= events.t.min() <= events.t.max() < high.max() + 1 << 12


@needs_sample
def test_a_camera_s_file_in_windows_is_the_same():
    content = np.memmap(RAW, np.uint8, mode="r")
    events = joined(evt3.windows(content, 1000))
    assert same(events, evt3.decode(RAW.read_bytes()))


@settings(max_examples=50, deadline=None)  # the first call compiles
@given(ordered_events(), st.sampled_from([EXPELLIARMUS, METAVISION]))
def test_encoding_is_the_inverse_of_decoding(events, clock):
    decoded = evt3.decode(evt3.encode(events, (WIDTH, HEIGHT), clock), clock)
    assert same(decoded, events)
    assert counts(decoded) == (0, 0, 0)


@settings(max_examples=20, deadline=None)
@given(ordered_events())
def test_encoded_events_are_expelliarmus_s(folder, events):
    assert same(by_expelliarmus(evt3.encode(events, (WIDTH, HEIGHT)), "evt3", folder), events)


@settings(max_examples=5, deadline=None)
@given(ordered_events())
def test_encoded_events_are_faery_s_by_metavision_s_clock(folder, events):
    content = evt3.encode(events, (WIDTH, HEIGHT), METAVISION)
    assert same(by_faery(content, ".raw", folder), evt3.decode(content, METAVISION))


WORDS = st.lists(st.tuples(st.sampled_from([Y, X, BASE, VECT_12, VECT_8, LOW, HIGH, 7, 14, 15]), st.integers(0, 1000)))


@settings(max_examples=50, deadline=None)
@given(WORDS)
def test_any_words_are_read_as_expelliarmus_reads_them(folder, words):
    content = file_of((HIGH, 5), (Y, 3), (BASE, 9), *words, (X, 1), header=NO_SIZE)
    events = evt3.decode(content)
    assert same(events, by_expelliarmus(content, "evt3", folder))
    assert events.num_back == steps_back(events.t)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 15), st.integers(0, 4095)), max_size=80),
    st.integers(1, 40),
    st.sampled_from([HEADER, NO_SIZE]),
    st.sampled_from([EXPELLIARMUS, METAVISION]),
)
def test_windows_of_any_size_are_together_what_decode_returns(words, most_events, header, clock):
    content = file_of((HIGH, 0), (Y, 3), (BASE, 9), *words, header=header)
    parts = []

    def read():
        parts.extend(evt3.windows(np.frombuffer(content, np.uint8), most_events, clock))
        return joined([*parts, NOTHING])

    expected = outcome(lambda: evt3.decode(content, clock))
    assert outcome(read) == expected
    assert all(len(part) <= most_events for part in parts)
    assert isinstance(expected, str) or expected[1][2] == steps_back(np.array(expected[0][2]))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([HEADER, NO_SIZE, b"% "]))
def test_arbitrary_data_give_events_on_the_sensor_or_a_corrupt_recording(data, header):
    try:
        events = evt3.decode(header + data)
    except CorruptRecordingError:
        return
    assert len(events) == 0 or (events.x.max() < 2048 and events.y.max() < 2048 and events.p.max() <= 1)


def test_a_vector_s_events_go_from_its_lowest_bit_on_and_the_base_goes_on():
    content = file_of((HIGH, 0), (Y, 7), (BASE, ON | 100), (VECT_12, 0b100000000001), (VECT_12, 1), (VECT_8, 0x82))
    assert rows(evt3.decode(content)) == [(x, 7, 0, 1) for x in (100, 111, 112, 125, 131)]


def test_a_vector_at_the_end_of_the_file_is_read_without_those_that_should_follow(folder):
    content = file_of((HIGH, 0), (Y, 7), (BASE, 100), (VECT_12, 3))
    assert rows(evt3.decode(content)) == [(100, 7, 0, 0), (101, 7, 0, 0)]
    assert same(evt3.decode(content), by_expelliarmus(content, "evt3", folder))


def test_the_higher_4_bits_of_a_vect_8_mean_nothing():
    assert rows(evt3.decode(file_of((HIGH, 0), (Y, 7), (BASE, 0), (VECT_8, 0xF01)))) == [(0, 7, 0, 0)]


def test_a_file_cut_within_a_word_says_so():
    content = file_of((HIGH, 0), (Y, 7), (X, 1), (X, 2))
    events = evt3.decode(content[:-1])
    assert (rows(events), counts(events)) == ([(1, 7, 0, 0)], (1, 0, 0))


@pytest.mark.parametrize(
    ("words", "num_unread"),
    [
        ([(Y, 7), (X, 1), (X, 2), (HIGH, 1), (X, 3)], 4),
        ([(Y, 7), (BASE, 1), (VECT_12, 3), (HIGH, 1), (X, 3)], 2),
        ([(HIGH, 1), (X, 3), (Y, 7), (X, 3)], 2),
        ([(HIGH, 1), (Y, 7), (VECT_8, 3), (X, 3)], 2),
        ([(HIGH, 1), (Y, 9), (1, 9), (X, 2), (Y, 7), (X, 3)], 4),
    ],
    ids=["no time", "vector without time", "no row", "vector without base", "row of other events"],
)
def test_events_without_time_row_or_base_are_unread(words, num_unread):
    events = evt3.decode(file_of(*words))
    assert (rows(events), counts(events)) == ([(3, 7, 4096, 0)], (num_unread, 0, 0))


def test_a_file_whose_events_have_no_time_is_corrupt():
    with pytest.raises(CorruptRecordingError, match="no event in it can be read: 2 bytes have no place or no time"):
        evt3.decode(file_of((Y, 7), (X, 1)))


def test_words_of_no_known_kind_are_unread_and_triggers_are_passed_over():
    events = evt3.decode(file_of((HIGH, 0), (Y, 7), *((kind, 5) for kind in (7, 9, 10, 11, 12, 13, 14, 15)), (X, 1)))
    assert (rows(events), counts(events)) == ([(1, 7, 0, 0)], (8, 0, 0))


def test_metavision_s_time_overflows_after_24_bits_and_may_step_back():
    words = [
        (HIGH, 4094),
        (LOW, 9),
        (X, 1),
        (HIGH, 4095),
        (X, 1),
        (HIGH, 0),
        (X, 1),
        (LOW, 5),
        (X, 1),
        (LOW, 3),
        (X, 1),
    ]
    events = evt3.decode(file_of((Y, 7), *words), METAVISION)
    assert events.t.tolist() == [4094 * 4096 + 9, 4095 * 4096, 2**24, 2**24 + 5, 2**24 + 3]
    assert counts(events) == (0, 0, 1)


def test_a_small_fall_of_time_high_is_a_step_back_for_metavision_and_an_overflow_for_expelliarmus():
    content = file_of((Y, 7), (HIGH, 9), (X, 1), (HIGH, 8), (X, 1))
    assert evt3.decode(content, METAVISION).t.tolist() == [9 << 12, 8 << 12]
    assert evt3.decode(content, METAVISION).num_back == 1
    assert evt3.decode(content, EXPELLIARMUS).t.tolist() == [9 << 12, (1 << 24) + (8 << 12)]


def test_a_fall_of_time_low_adds_2_to_the_12th_for_expelliarmus():
    content = file_of((HIGH, 1), (LOW, 9), (Y, 7), (X, 1), (LOW, 3), (X, 1))
    assert evt3.decode(content, EXPELLIARMUS).t.tolist() == [4096 + 9, 2 * 4096 + 3]


def test_events_outside_the_sensor_are_left_out_and_counted():
    inside = [(X, 1)] * 300
    content = file_of((HIGH, 0), (Y, 7), *inside, (X, 320), (BASE, 319), (VECT_12, 3), (Y, 240), (X, 5))
    events = evt3.decode(content)
    assert (len(events), counts(events)) == (301, (0, 3, 0))
    assert int(events.x.max()) == 319


def test_another_sensor_s_file_is_foreign():
    with pytest.raises(ForeignRecordingError, match=r"2 of its 3 events .* \(x 400, y 7 is none of 320 x 240 pixels\)"):
        evt3.decode(file_of((HIGH, 0), (Y, 7), (X, 1), (X, 400), (X, 401)))


def test_a_slave_camera_s_events_are_left_out():
    events = evt3.decode(file_of((HIGH, 0), (Y, 7), *[(X, 1)] * 100, (Y, 1 << 11 | 7), (X, 2), header=NO_SIZE))
    assert (len(events), counts(events)) == (100, (0, 1, 0))


def test_the_sensor_s_size_is_the_header_s():
    assert evt3.sensor_size(HEADER) == (320, 240)
    assert evt3.sensor_size(NO_SIZE) is None


@pytest.mark.parametrize(
    ("x", "y", "t", "p", "message"),
    [
        ([320], [0], [0], [0], "320 x 240 pixels"),
        ([0], [240], [0], [0], "320 x 240 pixels"),
        ([0], [0], [0], [2], "p in 0 to 1"),
        ([0], [0], [-1], [0], "timestamps"),
        ([0, 0], [0, 0], [5, 4], [0, 0], "timestamps"),
        ([0], [0], [2**41], [0], "timestamps"),
    ],
)
def test_what_the_format_cannot_hold_is_not_encoded(x, y, t, p, message):
    events = Events(np.array(x, np.uint16), np.array(y, np.uint16), np.array(t), np.array(p, np.uint8))
    with pytest.raises(ValueError, match=message):
        evt3.encode(events, (WIDTH, HEIGHT))
