"""AEDAT 3.1: polarity events equal to tonic's; packets of other types do not disturb; damaged files are errors."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tonic.io import get_aer_events_from_file, read_aedat_header_from_file

from src.events import Events
from src.events.formats import aedat3
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError
from src.events.formats.windows import joined
from tests.recordings import same

HEADER = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#Start-Time: 2016-11-28 15:47:27\r\n#!END-HEADER\r\n"


def some_events(n, seed=0, size=128, first=1000, step=300):
    rng = np.random.default_rng(seed)
    return Events(
        rng.integers(0, size, n).astype(np.uint16),
        rng.integers(0, size, n).astype(np.uint16),
        first + np.cumsum(rng.integers(0, step, n)),
        rng.integers(0, 2, n).astype(np.uint8),
    )


def polarity_packet(events, t_overflow=0, **changes):
    """A packet of these events; `changes` are fields of its header."""
    header = np.array(
        (1, changes.pop("source", 1), 8, 4, t_overflow, len(events), len(events), len(events)), aedat3.PACKET
    )
    for name, value in changes.items():
        header[name] = value
    words = [
        struct.pack("<II", x << 17 | y << 2 | p << 1 | 1, t)
        for x, y, t, p in zip(*(getattr(events, name).tolist() for name in "xytp"), strict=True)
    ]
    return header.tobytes() + b"".join(words)


def other_packet(kind, size, number):
    return aedat3.packet_header(kind, number, size) + bytes(range(256))[: size * number].ljust(size * number, b"\xff")


FIVE, SEVEN = some_events(5), some_events(7, seed=1, first=9000)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 300), st.integers(0, 2**32 - 1), st.sampled_from([0, 2**31 - 5000, 3 * 2**31]), st.integers(1, 400)
)
def test_decoding_is_the_inverse_of_encoding_also_when_timestamps_overflow(n, seed, first, packet_events):
    events = some_events(n, seed, first=first)
    decoded = aedat3.decode(aedat3.encode(events, packet_events=packet_events))
    assert same(decoded, events)
    assert (decoded.num_unread, decoded.num_outside, decoded.num_back) == (0, 0, 0)


@pytest.mark.parametrize("size", [128, 2**15])
def test_events_are_tonic_s(tmp_path, size):
    events = some_events(5000, size=size)
    path = tmp_path / "a.aedat"
    path.write_bytes(aedat3.encode(events, "DVS128" if size == 128 else "unknown", packet_events=700))
    version, begin, _ = read_aedat_header_from_file(str(path))
    theirs = get_aer_events_from_file(str(path), version, begin)
    address = theirs["address"]
    x, y, p = address >> 17 & 0x7FFF, address >> 2 & 0x7FFF, address >> 1 & 1  # as read_dvs_red does
    expected = Events(
        x.astype(np.uint16), y.astype(np.uint16), theirs["timeStamp"].astype(np.int64), p.astype(np.uint8)
    )
    assert same(aedat3.decode(path.read_bytes()), expected)


def test_the_bits_of_an_event_are_those_of_libcaer():
    word = 300 << 17 | 200 << 2 | 1 << 1 | 1
    packet = struct.pack("<HHiiiiii", 1, 0, 8, 4, 2, 1, 1, 1) + struct.pack("<Ii", word, 77)
    events = aedat3.decode(HEADER.replace(b"DVS128", b"DAVIS346") + packet)
    assert [events.x[0], events.y[0], events.t[0], events.p[0]] == [300, 200, 2 * 2**31 + 77, 1]


def test_packets_of_other_types_do_not_disturb():
    others = [
        other_packet(0, 8, 2),  # special events, among them triggers
        other_packet(2, 36 + 2 * 9, 1),  # a frame of 16 bits per pixel
        other_packet(3, 36, 4),  # IMU samples
        other_packet(100, 12, 3),  # a user's own type
        aedat3.packet_header(1, 0),
    ]
    packets = [others[0], polarity_packet(FIVE), others[1], others[2], polarity_packet(SEVEN), *others[3:]]
    events = aedat3.decode(HEADER + b"".join(packets))
    assert same(events, joined(iter([FIVE, SEVEN])))
    assert events.num_unread == 0


def test_a_compressed_packet_of_another_type_is_passed_over():
    frame = np.array((0x8002, 1, 54, 4, 0, 11, 1, 1), aedat3.PACKET).tobytes() + bytes(11)
    assert same(aedat3.decode(HEADER + frame + polarity_packet(FIVE)), FIVE)


def test_invalid_events_are_left_out():
    packet = bytearray(polarity_packet(FIVE, valid=3))
    for k in (1, 4):
        packet[28 + 8 * k] &= 0xFE
    events = aedat3.decode(HEADER + bytes(packet))
    kept = [0, 2, 3]
    assert same(events, Events(FIVE.x[kept], FIVE.y[kept], FIVE.t[kept], FIVE.p[kept]))
    assert events.num_outside == 0


def test_invalid_events_that_the_packet_counts_as_valid_are_counted():
    packet = bytearray(polarity_packet(FIVE))
    packet[28] &= 0xFE
    events = aedat3.decode(HEADER + bytes(packet))
    assert (len(events), events.num_outside) == (4, 1)


def test_a_file_cut_anywhere_gives_its_whole_events_and_counts_the_rest():
    first, second = polarity_packet(FIVE), polarity_packet(SEVEN)
    content = HEADER + first + second
    for length in range(len(HEADER), len(content)):
        events = aedat3.decode(content[:length])
        of_first, of_second = length - len(HEADER) - 28, length - len(HEADER) - len(first) - 28
        whole = min(5, max(0, of_first // 8)) + max(0, of_second // 8)
        assert len(events) == whole
        if of_second >= 0:
            assert events.num_unread == 7 * 8 - of_second // 8 * 8
        elif of_first > 40:
            assert events.num_unread == of_first - 40
        elif 0 <= of_first < 40:
            assert events.num_unread == 40 - of_first // 8 * 8
    events = aedat3.decode(HEADER + first + other_packet(2, 54, 1)[:-1])
    assert (len(events), events.num_unread) == (5, 28 + 54)


def test_events_outside_the_header_s_sensor_are_left_out_and_counted():
    events = some_events(300)
    events.x[50] = 128
    decoded = aedat3.decode(HEADER + polarity_packet(events))
    assert (len(decoded), decoded.num_outside) == (299, 1)
    foreign = HEADER + polarity_packet(Events(FIVE.x + 200, FIVE.y, FIVE.t, FIVE.p))
    with pytest.raises(ForeignRecordingError, match=r"5 of its 5 events .*128 x 128 pixels; the first is at"):
        aedat3.decode(foreign)


def test_steps_back_in_time_are_counted_within_and_between_packets():
    later, earlier = some_events(5, first=10**6), some_events(5)
    later.t[2] = 0
    assert aedat3.decode(HEADER + polarity_packet(later) + polarity_packet(earlier)).num_back == 2


@pytest.mark.parametrize(
    ("source", "size"),
    [(b"DVS128", (128, 128)), (b"DAVIS240C", (240, 180)), (b"DAVIS346B", (346, 260)), (b"Dynapse", None)],
)
def test_the_sensor_is_that_of_the_camera_in_the_header(source, size):
    assert aedat3.sensor_size(HEADER.replace(b"DVS128", source) + polarity_packet(FIVE)) == size


def test_two_cameras_in_the_header_name_no_sensor():
    two = HEADER.replace(b"#Start", b"#Source 2: DAVIS240C\r\n#-Source 9: DVS128\r\n#Start")
    assert aedat3.sensor_size(two) is None


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"#!AER-DAT2.0\r\n", CorruptRecordingError, "does not begin as an AEDAT 3.1"),
        (HEADER[:-1], CorruptRecordingError, "ends within its header"),
        (HEADER.replace(b"RAW", b"SerialTS"), ForeignRecordingError, r"compressed \(SerialTS\)"),
        (HEADER + polarity_packet(FIVE, type=0x8001), ForeignRecordingError, "polarity packets are compressed"),
        (
            HEADER + polarity_packet(FIVE, number=4, valid=4),
            CorruptRecordingError,
            "near byte 95: its counts and sizes",
        ),
        (HEADER + polarity_packet(FIVE, valid=6), CorruptRecordingError, "counts and sizes do not add up"),
        (HEADER + polarity_packet(FIVE, valid=4), CorruptRecordingError, "more valid events than it says"),
        (HEADER + polarity_packet(FIVE, size=16), CorruptRecordingError, "not laid out as polarity events"),
        (HEADER + polarity_packet(FIVE, t_offset=8), CorruptRecordingError, "not laid out as polarity events"),
        (HEADER + polarity_packet(FIVE, size=-8), CorruptRecordingError, "counts and sizes do not add up"),
        (HEADER + polarity_packet(FIVE, type=33), CorruptRecordingError, "its type is unknown"),
        (HEADER + polarity_packet(FIVE, -1), CorruptRecordingError, "counts and sizes do not add up"),
        (
            HEADER + polarity_packet(FIVE) + polarity_packet(FIVE, source=2),
            ForeignRecordingError,
            "events of several cameras",
        ),
        (
            HEADER + polarity_packet(Events(FIVE.x, FIVE.y, FIVE.t | 1 << 31, FIVE.p)),
            CorruptRecordingError,
            "near byte 123: a timestamp is negative",
        ),
    ],
)
def test_what_is_wrong_is_said(content, error, message):
    with pytest.raises(error, match=message):
        aedat3.decode(content)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_file_gives_events_or_a_corrupt_recording(data):
    content = bytearray(HEADER + polarity_packet(FIVE) + other_packet(2, 54, 1) + polarity_packet(SEVEN))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(len(HEADER), len(content) - 1))
        content[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    try:
        events = aedat3.decode(bytes(content))
    except CorruptRecordingError:
        return
    assert len(events) == 0 or (events.x.max() < 128 and events.p.max() < 2)


@pytest.mark.parametrize(
    ("x", "t", "p", "message"), [(2**15, 0, 0, "0 to 32767"), (0, -1, 0, "negative"), (0, 0, 2, "p")]
)
def test_what_does_not_fit_is_not_encoded(x, t, p, message):
    event = Events(np.array([x], np.uint16), np.zeros(1, np.uint16), np.array([t]), np.array([p], np.uint8))
    with pytest.raises(ValueError, match=message):
        aedat3.encode(event)
