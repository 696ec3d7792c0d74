"""AEDAT 2.0: upright, ON is 1, time goes on past 2^32; damaged files are errors."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.events import Events
from src.events.formats import aedat2
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError
from tests.recordings import same

HEADER = b"#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n# Timestamps tick is 1 us\r\n"


def file_of(*words, header=HEADER):
    return header + b"".join(struct.pack(">II", address, t) for address, t in words)


@given(st.integers(0, 200), st.integers(0, 2**32 - 1))
def test_encoding_is_the_inverse_of_decoding(n, seed):
    rng = np.random.default_rng(seed)
    events = Events(
        rng.integers(0, 128, n).astype(np.uint16),
        rng.integers(0, 128, n).astype(np.uint16),
        rng.integers(0, 2**32) + np.cumsum(rng.integers(0, 2**30, n)),
        rng.integers(0, 2, n).astype(np.uint8),
    )
    decoded = aedat2.decode(aedat2.encode(events))
    first = events.t[:1] // 2**32 * 2**32
    assert same(decoded, Events(events.x, events.y, events.t - first, events.p))


def test_pixels_are_turned_upright_and_a_polarity_bit_of_0_is_on():
    events = aedat2.decode(file_of((10 << 8 | 3 << 1 | 0, 5), (127 << 8 | 0 << 1 | 1, 6)))
    assert events.x.tolist() == [117, 0]
    assert events.y.tolist() == [124, 127]
    assert events.p.tolist() == [1, 0]
    assert events.t.tolist() == [5, 6]


@given(st.lists(st.integers(0, 2**15 - 1), min_size=1, max_size=50))
def test_the_image_is_that_of_the_dataset_s_matlab_reader_turned_clockwise_by_a_quarter(addresses):
    events = aedat2.decode(file_of(*((address, t) for t, address in enumerate(addresses))))
    matlab_x = np.array([127 - (address >> 1 & 127) for address in addresses])
    matlab_y = np.array([address >> 8 & 127 for address in addresses])
    assert events.x.tolist() == (127 - matlab_y).tolist()
    assert events.y.tolist() == matlab_x.tolist()


def test_timestamps_go_on_past_32_bits_and_may_step_back():
    events = aedat2.decode(file_of((0, 2**32 - 10), (0, 5), (0, 3), (0, 2**31), (0, 2**32 - 1), (0, 0)))
    assert (events.t - 2**32).tolist() == [-10, 5, 3, 2**31, 2**32 - 1, 2**32]


def test_special_events_are_left_out_but_their_time_counts():
    events = aedat2.decode(file_of((0, 2**31), (1 << 31, 2**32 - 1), (1 << 15, 1), (2, 7)))
    assert events.t.tolist() == [2**31, 2**32 + 7]


def test_the_header_ends_at_its_last_line_or_where_it_says_so():
    first = (ord("#") << 24 | 1 << 31, 1)
    assert len(aedat2.decode(file_of((0, 1), (0, 2)))) == 2
    assert len(aedat2.decode(file_of(first, (0, 2), header=HEADER + b"#End Of ASCII Header\r\n"))) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "does not begin as an AEDAT 2.0 file"),
        (b"#!AER-DAT3.1\r\n", "does not begin as an AEDAT 2.0 file"),
        (HEADER[:-1], "ends within its header"),
        (file_of((0, 1))[:-1], "7 bytes, are not a multiple of 8"),
        (file_of((0, 1), (1 << 22, 1)), "1 of its 2 events lie .*address 0x400000 is none of a 128 x 128 sensor"),
    ],
)
def test_what_is_wrong_is_said(content, message):
    with pytest.raises(CorruptRecordingError, match=message):
        aedat2.decode(content)


def test_what_is_sound_of_a_damaged_file_is_read_and_the_rest_counted():
    words = [(address, 10 * address) for address in range(100)]
    words[50] = (1 << 22, 500)
    events = aedat2.decode(file_of(*words, (7, 7))[:-3])
    assert (len(events), events.num_unread, events.num_outside) == (99, 5, 1)
    assert events.t.tolist() == [t for address, t in words if address < 1 << 22]


def test_a_file_of_a_larger_sensor_is_not_called_corrupt_or_empty():
    davis = file_of(*((0x4BCA1A + (k << 22), 100_000 + k) for k in range(20)))
    with pytest.raises(ForeignRecordingError, match=r"20 of its 20 events lie outside .*address 0x4bca1a is none of"):
        aedat2.decode(davis)


@given(st.binary(max_size=200))
def test_arbitrary_data_give_events_or_a_corrupt_recording(data):
    try:
        events = aedat2.decode(aedat2.MAGIC + data)
    except CorruptRecordingError:
        return
    assert len(events) == 0 or max(events.x.max(), events.y.max()) < 128


@pytest.mark.parametrize(("x", "y", "p"), [(128, 0, 0), (0, 128, 0), (0, 0, 2)])
def test_events_of_another_sensor_are_not_encoded(x, y, p):
    with pytest.raises(ValueError, match="0 to 127"):
        aedat2.encode(
            Events(np.array([x], np.uint16), np.array([y], np.uint16), np.array([0]), np.array([p], np.uint8))
        )
