"""AEDAT 2.0: upright, ON is 1, time goes on past 2^32; damaged files are errors."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tonic.io import get_aer_events_from_file, read_aedat_header_from_file

from src.events import Events
from src.events.formats import aedat2
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError
from tests.recordings import real_sample, same

HEADER = b"#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n# Timestamps tick is 1 us\r\n"
DAVIS346 = "eu.seebetter.ini.chips.davis.Davis346red"
CHIPS = {
    "": (128, 128),
    "ch.unizh.ini.jaer.chip.retina.DVS128": (128, 128),
    "eu.seebetter.ini.chips.davis.DAVIS240C": (240, 180),
    DAVIS346: (346, 260),
    "eu.seebetter.ini.chips.davis.Davis640": (640, 480),
}


def header_of(chip):
    return HEADER + b"# AEChip: " + chip.encode() + b"\r\n#End Of ASCII Header\r\n"


def file_of(*words, header=HEADER):
    return header + b"".join(struct.pack(">II", address, t) for address, t in words)


@settings(deadline=None)  # the first call compiles
@given(st.integers(0, 200), st.integers(0, 2**32 - 1), st.sampled_from(sorted(CHIPS)))
def test_encoding_is_the_inverse_of_decoding(n, seed, chip):
    rng = np.random.default_rng(seed)
    events = Events(
        rng.integers(0, CHIPS[chip][0], n).astype(np.uint16),
        rng.integers(0, CHIPS[chip][1], n).astype(np.uint16),
        rng.integers(0, 2**32) + np.cumsum(rng.integers(0, 2**30, n)),
        rng.integers(0, 2, n).astype(np.uint8),
    )
    decoded = aedat2.decode(aedat2.encode(events, chip))
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


def test_steps_back_in_time_are_counted():
    assert aedat2.decode(file_of((0, 9), (0, 8), (1 << 31, 7), (0, 10), (0, 9))).num_back == 2


def test_an_address_of_a_davis_has_its_pixel_in_other_bits():
    words = [(0, 5), (259 << 22 | 345 << 12 | 1 << 11, 6), (100 << 22 | 200 << 12 | 0x3FF, 7)]
    events = aedat2.decode(file_of(*words, header=header_of(DAVIS346)))
    assert [events.x.tolist(), events.y.tolist()] == [[345, 0, 145], [259, 0, 159]]
    assert [events.p.tolist(), events.t.tolist()] == [[0, 1, 0], [5, 6, 7]]


def test_frames_imu_samples_and_signals_of_a_davis_are_left_out():
    words = [(1 << 12, 1), (1 << 31 | 5 << 12 | 700, 2), (1 << 31 | 3 << 10 | 7 << 28, 3), (1 << 10, 4), (2 << 12, 5)]
    events = aedat2.decode(file_of(*words, header=header_of(DAVIS346)))
    assert (events.x.tolist(), events.t.tolist(), events.num_outside) == ([344, 343], [1, 5], 0)


def test_addresses_outside_a_davis_s_sensor_are_left_out_and_counted():
    words = [(k << 12, k) for k in range(300)]
    words[7] = (346 << 12, 7)
    words[8] = (260 << 22, 8)
    events = aedat2.decode(file_of(*words, header=header_of(DAVIS346)))
    assert (len(events), events.num_outside) == (298, 2)
    with pytest.raises(ForeignRecordingError, match="address 0x15a000 is none of a 346 x 260 sensor"):
        aedat2.decode(file_of((346 << 12, 7), header=header_of(DAVIS346)))


def test_events_of_a_davis_are_tonic_s(tmp_path):
    rng = np.random.default_rng(0)
    words = [
        (int(y) << 22 | int(x) << 12 | int(p) << 11, 5 * k)
        for k, (x, y, p) in enumerate(rng.integers(0, (346, 260, 2), (500, 3)))
    ]
    (tmp_path / "a.aedat").write_bytes(file_of(*words, header=header_of(DAVIS346)))
    version, begin, _ = read_aedat_header_from_file(str(tmp_path / "a.aedat"))
    theirs = get_aer_events_from_file(str(tmp_path / "a.aedat"), version, begin)
    address = theirs["address"].astype(np.int64)
    x, y, p = 345 - ((address & 4190208) >> 12), 259 - ((address & 2143289344) >> 22), (address & 2048) >> 11
    expected = Events(*(a.astype(np.int64) for a in (x, y, theirs["timeStamp"], p)))
    assert same(aedat2.decode((tmp_path / "a.aedat").read_bytes()), expected)


@pytest.mark.parametrize("chip", [chip for chip in CHIPS if chip])
def test_the_sensor_is_that_of_the_camera_in_the_header(chip):
    assert aedat2.sensor_size(header_of(chip)) == CHIPS[chip]


def test_without_a_camera_in_the_header_the_sensor_is_not_told():
    assert aedat2.sensor_size(HEADER) is None


def test_a_real_header_names_its_sensor():
    assert aedat2.sensor_size(real_sample("header.aedat")) == (346, 260)


@pytest.mark.parametrize(
    "chip", ["eu.seebetter.ini.chips.davis.Davis346redColor", "ch.unizh.ini.jaer.chip.dvs320.DVS320"]
)
def test_a_camera_whose_addresses_are_not_known_is_named(chip):
    with pytest.raises(ForeignRecordingError, match=f"its camera is {chip}; of AEDAT 2.0, DVS128 and DAVIS128"):
        aedat2.decode(file_of((0, 1), header=header_of(chip)))


def test_an_event_that_begins_like_a_header_s_line_is_an_event():
    header = HEADER + b"# AEChip: " + DAVIS346.encode() + b"\r\n"
    words = [(ord("#") << 24, 1), (ord("#") << 24 | 0x0A0A << 3, 2)]
    assert len(aedat2.decode(file_of(*words, header=header))) == 2


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
@pytest.mark.parametrize("chip", ["", DAVIS346])
def test_events_of_another_sensor_are_not_encoded(x, y, p, chip):
    x, y = x * CHIPS[chip][0] // 128, y * CHIPS[chip][1] // 128
    event = Events(np.array([x], np.uint16), np.array([y], np.uint16), np.array([0]), np.array([p], np.uint8))
    with pytest.raises(ValueError, match=f"0 to {CHIPS[chip][0] - 1}"):
        aedat2.encode(event, chip)
