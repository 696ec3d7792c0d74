"""EVT 2.1: equal to a reading word by word, its own inverse in both orders; what cannot be read is counted."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from src.events.formats import evt21
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError
from tests.events.formats.streams import (
    HEIGHT,
    NOTHING,
    WIDTH,
    counts,
    joined,
    ordered_events,
    outcome,
    rows,
    steps_back,
)
from tests.recordings import same

HEADER = b"% format EVT21;endianness=little;height=240;width=320\n% end\n"
LEGACY = b"% evt 2.1\n% endianness legacy\n"
NO_SIZE = b"% evt 2.1\n"
NEG, POS, HIGH = 0, 1, 8


def vector(kind, low, x, y, bits):
    return kind << 60 | low << 54 | x << 43 | y << 32 | bits


def high(time):
    return (HIGH << 28 | time) << 32


def file_of(*words, header=HEADER):
    content = np.array(words, "<u8")
    if header is LEGACY:
        content = content << np.uint64(32) | content >> np.uint64(32)
    return header + content.tobytes()


@settings(max_examples=50, deadline=None)  # the first call compiles
@given(ordered_events(most_step=1 << 35, first=1 << 36), st.booleans())
def test_encoding_is_the_inverse_of_decoding(events, is_legacy):
    decoded = evt21.decode(evt21.encode(events, (WIDTH, HEIGHT), is_legacy))
    assert same(decoded, events)
    assert counts(decoded) == (0, 0, 0)


def word_by_word(words):
    """The events of words behind a TIME_HIGH, by the vendor's description."""
    found, time_high, loops = [], 0, 0
    for word in words:
        kind, bits = word >> 60, word & 0xFFFFFFFF
        if kind == HIGH:
            loops += (time_high - (word >> 32 & 0xFFFFFFF)) * 64 >= (2**28 - 1) * 64 - 10_000
            time_high = word >> 32 & 0xFFFFFFF
        elif kind in (NEG, POS):
            t = loops * 2**34 + time_high * 64 + (word >> 54 & 63)
            x, y = word >> 43 & 0x7FF, word >> 32 & 0x7FF
            found += [(x + k, y, t, kind) for k in range(32) if bits >> k & 1]
    return found


WORDS = st.lists(
    st.builds(
        lambda kind, rest, bits: kind << 60 | rest << 32 | bits,
        st.sampled_from([NEG, POS, HIGH, 10, 14, 15]),
        st.one_of(st.integers(0, 2**28 - 1), st.sampled_from([0, 2**28 - 1])),
        st.integers(0, 2**32 - 1),
    ),
    max_size=40,
)


@settings(max_examples=50, deadline=None)
@given(WORDS, st.sampled_from([LEGACY, NO_SIZE]))
def test_any_words_are_read_as_described(words, header):
    words = [high(5), vector(POS, 1, 2, 3, 2**32 - 1), *words]
    expected = [row for row in word_by_word(words) if row[0] < 2048]
    try:
        events = evt21.decode(file_of(*words, header=header))
    except ForeignRecordingError:
        return
    assert rows(events) == expected
    assert events.num_back == steps_back(events.t)
    assert events.num_outside == len(word_by_word(words)) - len(expected)


@settings(max_examples=100, deadline=None)
@given(WORDS, st.integers(1, 70), st.sampled_from([HEADER, LEGACY, NO_SIZE]))
def test_windows_of_any_size_are_together_what_decode_returns(words, most_events, header):
    content = file_of(high(0), *words, header=header) + b"abc"
    parts = []

    def read():
        parts.extend(evt21.windows(np.frombuffer(content, np.uint8), most_events))
        return joined([*parts, NOTHING])

    assert outcome(read) == outcome(lambda: evt21.decode(content))
    assert all(len(part) <= most_events for part in parts)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([HEADER, NO_SIZE, LEGACY, b"% "]))
def test_arbitrary_data_give_events_on_the_sensor_or_a_corrupt_recording(data, header):
    try:
        events = evt21.decode(header + data)
    except CorruptRecordingError:
        return
    assert len(events) == 0 or (events.x.max() < 2048 and events.y.max() < 2048 and events.p.max() <= 1)


def test_the_documented_orders_of_bytes_are_the_same_word():
    time_high, word = high(0), 0x1102030405060708
    little = bytes.fromhex("0807060504030211")
    legacy = bytes.fromhex("0403021108070605")
    expected = evt21.decode(file_of(time_high, word, header=NO_SIZE))
    assert file_of(word, header=NO_SIZE).endswith(little)
    assert file_of(word, header=LEGACY).endswith(legacy)
    assert same(evt21.decode(file_of(time_high, word, header=LEGACY)), expected)
    assert len(expected) == (0x05060708).bit_count()


def test_a_file_cut_within_a_word_says_so():
    events = evt21.decode(file_of(high(1), vector(POS, 3, 32, 6, 0b101), vector(NEG, 3, 0, 6, 1))[:-1])
    assert (rows(events), counts(events)) == ([(32, 6, 67, 1), (34, 6, 67, 1)], (7, 0, 0))


def test_events_before_the_first_time_high_are_unread():
    events = evt21.decode(file_of(vector(POS, 3, 32, 6, 3), high(1), vector(NEG, 3, 0, 6, 1)))
    assert (rows(events), counts(events)) == ([(0, 6, 67, 0)], (8, 0, 0))


def test_words_of_no_known_kind_are_unread_and_triggers_are_passed_over():
    words = [kind << 60 for kind in (2, 9, 10, 13, 14, 15)]
    events = evt21.decode(file_of(high(1), *words, vector(NEG, 3, 0, 6, 1)))
    assert (len(events), counts(events)) == (1, (24, 0, 0))


def test_the_part_of_a_vector_outside_the_sensor_is_left_out_and_counted():
    inside = [vector(POS, 0, 288, 1, 2**32 - 1)] * 20
    events = evt21.decode(file_of(high(0), *inside, vector(POS, 0, 318, 1, 0b1111), vector(POS, 0, 0, 240, 1)))
    assert (len(events), counts(events)) == (642, (0, 3, 0))


def test_the_sensor_s_size_is_the_header_s():
    assert evt21.sensor_size(HEADER) == (320, 240)
    assert evt21.sensor_size(LEGACY) is None
