"""DAT: equal to expelliarmus and faery, its own inverse; what cannot be read is counted or refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.events.formats import dat
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
from tests.recordings import same, sample

HEADER = b"% Data file containing CD events\n% Version 2\n% Width 320\n% Height 240\n"
NO_SIZE = b"% Data file containing CD events\n% Version 2\n"
NCARS = sample("ncars.dat")


def file_of(*events, header=HEADER, kind=12):
    words = [word for t, x, y, p in events for word in (t, x | y << 14 | p << 28)]
    return header + bytes([kind, 8]) + np.array(words, "<u4").tobytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("dat")


@pytest.mark.skipif(not NCARS.exists(), reason="no samples of other formats here")
def test_an_n_cars_file_is_read_as_expelliarmus_reads_it(folder):
    content = NCARS.read_bytes()
    events = dat.decode(content)
    assert same(events, by_expelliarmus(content, "dat", folder))
    assert (len(events), counts(events), dat.sensor_size(content)) == (2009, (0, 0, 0), None)


@settings(max_examples=50, deadline=None)  # the first call compiles
@given(ordered_events(most_step=1 << 31, first=1 << 31), st.sampled_from([None, (WIDTH, HEIGHT)]))
def test_encoding_is_the_inverse_of_decoding(events, sensor):
    content = dat.encode(events, sensor)
    assert same(dat.decode(content), events)
    assert dat.sensor_size(content) == sensor


@settings(max_examples=20, deadline=None)
@given(ordered_events(most_step=1 << 31))
def test_encoded_events_are_expelliarmus_s(folder, events):
    assert same(by_expelliarmus(dat.encode(events), "dat", folder), events)


@settings(max_examples=5, deadline=None)
@given(ordered_events(most_step=1 << 31))
def test_encoded_events_are_faery_s(folder, events):
    assert same(by_faery(dat.encode(events, (WIDTH, HEIGHT)), ".dat", folder), events)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**32 - 1), st.integers(0, 330), st.integers(0, 250), st.sampled_from([0, 1, 1, 1, 9])
        ),
        max_size=60,
    ),
    st.integers(1, 20),
    st.sampled_from([HEADER, NO_SIZE]),
)
def test_windows_of_any_size_are_together_what_decode_returns(events, most_events, header):
    content = file_of(*events, header=header) + b"abc"
    parts = []

    def read():
        parts.extend(dat.windows(np.frombuffer(content, np.uint8), most_events))
        return joined([*parts, NOTHING])

    expected = outcome(lambda: dat.decode(content))
    assert outcome(read) == expected
    assert all(len(part) <= most_events for part in parts)
    assert isinstance(expected, str) or expected[1][2] == steps_back(np.array(expected[0][2]))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([HEADER + b"\x0c\x08", NO_SIZE + b"\x00\x08", HEADER, b"% "]))
def test_arbitrary_data_give_events_on_the_sensor_or_a_corrupt_recording(data, header):
    try:
        events = dat.decode(header + data)
    except CorruptRecordingError:
        return
    assert len(events) == 0 or (max(events.x.max(), events.y.max()) < 1 << 14 and events.p.max() <= 1)


def test_an_event_is_8_bytes_from_the_lowest_bit_on():
    for kind in (0, 12):
        assert rows(dat.decode(file_of((7, 300, 200, 1), kind=kind))) == [(300, 200, 7, 1)]


def test_an_event_that_the_file_ends_within_is_left_out():
    events = dat.decode(file_of((1, 2, 3, 1), (2, 3, 4, 0))[:-1])
    assert (rows(events), counts(events)) == ([(2, 3, 1, 1)], (7, 0, 0))


def test_time_overflows_after_32_bits_and_smaller_falls_are_steps_back():
    events = dat.decode(file_of(*((t, 1, 1, 1) for t in (5, 2**32 - 1, 2, 1, 2**31, 0))))
    assert events.t.tolist() == [5, 2**32 - 1, 2**32 + 2, 2**32 + 1, 2**32 + 2**31, 2**32]
    assert events.num_back == 2


def test_a_few_events_outside_the_sensor_or_without_a_polarity_are_left_out_and_counted():
    events = dat.decode(file_of(*[(1, 319, 239, 1)] * 300, (0, 320, 1, 1), (0, 1, 240, 1), (0, 1, 1, 2)))
    assert (len(events), counts(events)) == (300, (0, 3, 0))


@pytest.mark.parametrize(
    ("event", "message"),
    [((0, 320, 1, 1), "x 320, y 1 is none of 320 x 240 pixels"), ((0, 1, 1, 2), "2 is no polarity")],
)
def test_many_of_them_are_a_foreign_recording(event, message):
    with pytest.raises(ForeignRecordingError, match=rf"2 of its 3 events lie outside the sensor \({message}\)"):
        dat.decode(file_of((0, 1, 1, 1), event, event))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "none of a DAT file"),
        (b"% evt 3.0\n\0\x08", "none of a DAT file"),
        (NO_SIZE[:-1], "ends within its header"),
        (NO_SIZE, "ends before the type and the size"),
        (NO_SIZE + b"\x0c", "ends before the type and the size"),
        (NO_SIZE + b"\x0e\x08", "events are of type 14 with 8 bytes"),
        (NO_SIZE + b"\x0c\x10", "events are of type 12 with 16 bytes"),
        (NO_SIZE + b"\x0c\x08abcd", "no event in it can be read: 4 bytes"),
        (b"% Data file\n% Version 1\n\x0c\x08", "version '1' of DAT; version 2 is read"),
        (b"% Data file\n% Width 0\n% Height 9\n\x0c\x08", "a side of '0' pixels"),
    ],
)
def test_what_is_wrong_is_said(content, message):
    with pytest.raises(CorruptRecordingError, match=message):
        dat.decode(content)


def test_timestamps_that_do_not_fit_are_not_encoded():
    with pytest.raises(ValueError, match="the first timestamp must be below"):
        dat.encode(dat.Events(*(np.array([5], d) for d in ("u2", "u2")), np.array([1 << 32]), np.array([1], "u1")))
