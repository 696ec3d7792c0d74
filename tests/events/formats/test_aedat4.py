"""AEDAT 4: equal to tonic's reader and to iniVation's writer, its own inverse; damaged and hostile files are errors."""

import struct
from pathlib import Path

import lz4.frame
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from tonic.io import read_aedat4

from src.events import Events
from src.events.formats import aedat4
from src.events.formats.errors import CorruptRecordingError
from src.events.formats.windows import joined
from tests.recordings import same

KINDS = {"none": aedat4.NONE, "lz4": aedat4.LZ4, "zstd": aedat4.ZSTD}


def some_events(n, seed=0, first=1_600_000_000_000_000, step=100):
    rng = np.random.default_rng(seed)
    return Events(
        rng.integers(0, 2**15, n).astype(np.uint16),
        rng.integers(0, 2**15, n).astype(np.uint16),
        first + np.cumsum(rng.integers(0, step, n)),
        rng.integers(0, 2, n).astype(np.uint8),
    )


def by_tonic(content, folder):
    (folder / "a.aedat4").write_bytes(content)
    events = read_aedat4(str(folder / "a.aedat4"))
    return Events(events["x"], events["y"], events["t"].astype(np.int64), events["on"].astype(np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("aedat4")


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_dv_processing_is_read(kind):
    # Written with dv-processing 2.0.4: a stream of triggers and these events, in three packets.
    content = (Path(__file__).parent / "data" / f"dv_processing_{kind}.aedat4").read_bytes()
    k = np.arange(300)
    expected = Events(
        (5 * k % 128).astype(np.uint16),
        (3 * k % 128).astype(np.uint16),
        1_600_000_000_000_000 + 7 * k,
        (k % 3 == 0).astype(np.uint8),
    )
    assert same(aedat4.decode(content), expected)


def test_frames_imu_samples_and_triggers_beside_the_events_do_not_disturb(folder):
    # Written with dv-processing 2.0.4: three times 100 events and a frame, then IMU samples and triggers.
    path = Path(__file__).parent / "data" / "dv_processing_davis.aedat4"
    k = np.arange(300)
    expected = Events(
        (5 * k % 32).astype(np.uint16),
        (3 * k % 24).astype(np.uint16),
        1_600_000_000_000_000 + 7 * k,
        (k % 3 == 0).astype(np.uint8),
    )
    assert same(aedat4.decode(path.read_bytes()), expected)
    assert same(by_tonic(path.read_bytes(), folder), expected)
    assert aedat4.sensor_size(path.read_bytes()) == (32, 24)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 300),
    st.integers(0, 2**32 - 1),
    st.sampled_from(sorted(KINDS.values())),
    st.sampled_from([1, 300, 10_000]),
    st.sampled_from([0, 1_600_000_000_000_000, 2**62]),
)
def test_events_are_tonic_s_and_survive_encoding(folder, n, seed, compression, packet_microseconds, first):
    events = some_events(n, seed, first)
    content = aedat4.encode(events, (128, 128), compression, packet_microseconds)
    assert same(aedat4.decode(content), events)
    assert same(by_tonic(content, folder), events)


def test_a_packet_larger_than_a_chunk_is_read_whole(folder):
    events = some_events(30_000, step=2)
    for compression in KINDS.values():
        content = aedat4.encode(events, (128, 128), compression, packet_microseconds=10**9)
        assert same(aedat4.decode(content), events)
        assert same(by_tonic(content, folder), events)


def test_highly_compressed_events_outgrow_the_expected_number(folder):
    events = Events(*(np.ones(5000, dtype) for dtype in (np.uint16, np.uint16, np.int64, np.uint8)))
    content = aedat4.encode(events, (128, 128), aedat4.ZSTD)
    assert len(content) < 5000
    assert same(aedat4.decode(content), events)


def test_no_events_are_an_empty_recording():
    assert len(aedat4.decode(aedat4.encode(some_events(0), (128, 128)))) == 0


def file_of(packets, streams, compression=aedat4.NONE, table_position=aedat4.NO_TABLE, info=None):
    """A file of (stream, packed) packets; streams: number -> type identifier."""
    if info is None:
        nodes = "".join(
            f'<node name="{number}"><attr key="typeIdentifier">{kind}</attr><node name="info">'
            f'<attr key="sizeX">9</attr><attr key="sizeY">9</attr></node></node>'
            for number, kind in streams.items()
        )
        info = f'<dv version="2.0"><node name="outInfo">{nodes}</node></dv>'.encode()
    body = b"".join(struct.pack("<ii", stream, len(packed)) + packed for stream, packed in packets)
    return aedat4._header(compression, table_position, info) + body


def packet_of(events):
    """The one packet of these events, not compressed."""
    content = aedat4.encode(events, (9, 9), aedat4.NONE, packet_microseconds=10**18)
    return content[content.index(b"EVTS", content.index(b"</dv>")) - 8 : content.index(b"FTAB") - 8]


def test_the_stream_of_events_with_the_lowest_number_counts(folder):
    first, second, other = some_events(5, 1), some_events(6, 2), some_events(7, 3)
    packets = [(10, packet_of(other)), (9, packet_of(first)), (10, packet_of(other)), (9, packet_of(second))]
    content = file_of(packets, {1: "TRIG", 10: "EVTS", 9: "EVTS"})
    events = aedat4.decode(content)
    assert events.t.tolist() == first.t.tolist() + second.t.tolist()
    assert same(by_tonic(content, folder), events)


def test_without_a_table_the_packets_end_with_the_file(folder):
    content = file_of([(0, packet_of(some_events(5)))] * 2, {0: "EVTS"})
    assert same(by_tonic(content, folder), aedat4.decode(content))
    whole = 8 + len(packet_of(some_events(5)))
    for cut in (1, 50, whole - 1):
        events = aedat4.decode(content[:-cut])
        assert (len(events), events.num_unread) == (5, whole - cut)
    with pytest.raises(CorruptRecordingError, match="ends within a packet"):
        aedat4.decode(content[: -whole - 1])


@pytest.mark.parametrize("closed", [True, False], ids=["copy that is not whole", "writer that was killed"])
@pytest.mark.parametrize("compression", KINDS.values(), ids=KINDS)
def test_the_whole_packets_of_a_file_that_was_cut_short_anywhere_are_read(compression, closed):
    content = bytearray(aedat4.encode(some_events(20), (128, 128), compression, packet_microseconds=400))
    every = aedat4.decode(bytes(content))
    events_until = np.unique((every.t - every.t[0]) // 400, return_counts=True)[1].cumsum()
    ends, end = packet_ends(content)
    if not closed:
        struct.pack_into("<q", content, TABLE_POSITION, aedat4.NO_TABLE)
    for length in range(end + closed):
        whole = sum(position <= length for position in ends[1:])
        if whole:
            events = aedat4.decode(bytes(content[:length]))
            n = events_until[whole - 1]
            assert same(events, Events(every.x[:n], every.y[:n], every.t[:n], every.p[:n]))
            assert events.num_unread == (end if closed else length) - ends[whole]
        elif closed or length != ends[0]:
            with pytest.raises(CorruptRecordingError):
                aedat4.decode(bytes(content[:length]))


TABLE_POSITION = 18 + 36  # where the header of `encode` has it


def packet_ends(content):
    """Where the packets of a whole file begin and end, and where its table begins."""
    ends, end = [18 + struct.unpack_from("<I", content, 14)[0]], struct.unpack_from("<q", content, TABLE_POSITION)[0]
    while ends[-1] < end:
        ends.append(ends[-1] + 8 + struct.unpack_from("<i", content, ends[-1] + 4)[0])
    return ends, end


@pytest.mark.parametrize("compression", [aedat4.LZ4, aedat4.ZSTD], ids=["lz4", "zstd"])
def test_a_damaged_packet_in_a_file_that_was_written_to_its_end_makes_it_corrupt(compression):
    content = bytearray(aedat4.encode(some_events(20), (128, 128), compression, packet_microseconds=400))
    at = packet_ends(content)[0][1]
    content[at + 8 : at + 12] = b"abcd"
    with pytest.raises(CorruptRecordingError, match="does not decompress"):
        aedat4.decode(bytes(content))
    struct.pack_into("<q", content, TABLE_POSITION, aedat4.NO_TABLE)  # its writer was killed: it is read up to there
    assert 0 < len(aedat4.decode(bytes(content))) < 20


def test_a_limit_is_no_end_of_a_file_that_was_cut_short(monkeypatch):
    bomb = file_of(
        [(0, zstandard.compress(packet_of(some_events(9)))), (0, zstandard.compress(bytes(2**22)))], EVTS, aedat4.ZSTD
    )
    monkeypatch.setattr(aedat4, "LARGEST_PACKET", 2**20)
    with pytest.raises(CorruptRecordingError, match="more than 1048576 bytes"):
        aedat4.decode(bomb)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_file_gives_events_or_a_corrupt_recording(data):
    content = bytearray(aedat4.encode(some_events(20), (9, 9), data.draw(st.sampled_from(sorted(KINDS.values()))), 400))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    try:
        events = aedat4.decode(bytes(content))
    except CorruptRecordingError:
        return
    assert len(events.x) == len(events.t)


EVTS = {0: "EVTS"}
ONE = packet_of(some_events(1))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "does not begin as AEDAT 4"),
        (aedat4.MAGIC, "outside of the data"),
        (aedat4.MAGIC + struct.pack("<I", 2**31), "header of 2147483648 bytes is too large"),
        (aedat4.MAGIC + struct.pack("<I", 50), "ends within its header"),
        (aedat4.MAGIC + struct.pack("<I", 50) + bytes(50), "no IOHeader"),
        (file_of([], EVTS, compression=5), "unknown compression 5"),
        (file_of([], EVTS, table_position=20), "cut short or damaged"),
        (file_of([], EVTS, table_position=-7), "cut short or damaged"),
        (file_of([], EVTS, table_position=2**62), "cut short or damaged"),
        (file_of([], EVTS, info=b"<dv>"), "no XML"),
        (file_of([], EVTS, info=b"\xff"), "no XML"),
        (file_of([], EVTS, info=b'<!DOCTYPE dv [<!ENTITY a "b">]><dv>&a;</dv>'), "declares entities"),
        (file_of([], {0: "FRME", 1: "TRIG"}), "no stream of events"),
        (file_of([(0, b"abc")], EVTS), "holds no events"),
        (file_of([(0, ONE[:8] + b"TRIG" + ONE[12:])], EVTS), "holds no events"),
        (file_of([(0, ONE[:-1])], EVTS), "ends before its data"),
        (file_of([(0, struct.pack("<I", 20) + ONE[4:30])], EVTS), "outside of the data|ends before"),
        (file_of([(0, ONE[:28] + struct.pack("<I", 2**32 - 1) + ONE[32:])], EVTS), "ends before its events"),
        (file_of([(0, b"abc" * 9)], EVTS, aedat4.LZ4), "does not decompress"),
        (file_of([(0, b"abc")], EVTS, aedat4.ZSTD), "does not decompress"),
        (file_of([(0, lz4.frame.compress(ONE)[:-9])], EVTS, aedat4.LZ4), "ends before its data"),
        (file_of([(0, zstandard.compress(ONE)[:-9])], EVTS, aedat4.ZSTD), "holds no events|ends before its data"),
    ],
)
def test_what_is_wrong_is_said(content, message):
    with pytest.raises(CorruptRecordingError, match=message):
        aedat4.decode(content)


@pytest.mark.parametrize(
    ("compression", "bomb"),
    [(aedat4.LZ4, lz4.frame.compress(bytes(2**24))), (aedat4.ZSTD, zstandard.compress(bytes(2**24)))],
    ids=["lz4", "zstd"],
)
def test_a_decompression_bomb_is_not_unpacked(compression, bomb, monkeypatch):
    monkeypatch.setattr(aedat4, "LARGEST_PACKET", 2**20)
    with pytest.raises(CorruptRecordingError, match="more than 1048576 bytes"):
        aedat4.decode(file_of([(0, bomb)], EVTS, compression))


def test_many_packets_are_no_bomb_either(monkeypatch):
    content = file_of([(0, ONE)] * 11, EVTS)
    monkeypatch.setattr(aedat4, "LARGEST_RATIO", 0)
    monkeypatch.setattr(aedat4, "LARGEST_PACKET", 11 * len(ONE))
    assert len(aedat4.decode(content)) == 11
    monkeypatch.setattr(aedat4, "LARGEST_PACKET", 11 * len(ONE) - 1)
    with pytest.raises(CorruptRecordingError, match="it decompresses to more than"):
        aedat4.decode(content)


def test_a_small_packet_may_expand_less_than_a_large_one():
    bomb = zstandard.compress(bytes(2**21))
    assert len(bomb) < 1000
    with pytest.raises(CorruptRecordingError, match="a packet decompresses to more than"):
        aedat4.decode(file_of([(0, bomb)], EVTS, aedat4.ZSTD))


def test_a_bomb_in_another_stream_is_passed_over():
    bomb = zstandard.compress(bytes(2**24))
    assert (
        len(aedat4.decode(file_of([(1, bomb), (0, zstandard.compress(ONE))], {0: "EVTS", 1: "FRME"}, aedat4.ZSTD))) == 1
    )


def test_the_limit_of_a_recording_grows_with_the_file(monkeypatch):
    monkeypatch.setattr(aedat4, "LARGEST_PACKET", 2**12)
    events = some_events(2000)
    for compression in KINDS.values():
        content = aedat4.encode(events, (128, 128), compression, packet_microseconds=1000)
        assert same(aedat4.decode(content), events)


def test_steps_back_in_time_are_counted_within_and_between_packets():
    events = some_events(10)
    events.t[5] = events.t[4] - 1
    packets = [(0, packet_of(events)), (0, packet_of(some_events(10)))]
    assert aedat4.decode(file_of(packets, EVTS)).num_back == 2


def test_packets_that_are_larger_than_what_is_unpacked_at_once_are_given_in_windows(monkeypatch):
    monkeypatch.setattr(aedat4, "SMALLEST_ROOM", 64)
    events = some_events(5000)
    for compression in KINDS.values():
        content = np.frombuffer(aedat4.encode(events, (128, 128), compression, packet_microseconds=20_000), np.uint8)
        for most_events in (1, 50, 300, 10_000):
            parts = list(aedat4.windows(content, most_events))
            assert max(map(len, parts)) <= most_events
            assert same(joined(iter(parts)), events)


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ({}, None),
        ({"sizeX": "9"}, None),
        ({"sizeX": "x", "sizeY": "9"}, None),
        ({"sizeX": "0", "sizeY": "9"}, None),
        ({"sizeX": "346", "sizeY": "260"}, (346, 260)),
    ],
)
def test_the_sensor_is_that_of_the_stream_that_is_read(attributes, size):
    said = "".join(f'<attr key="{key}">{value}</attr>' for key, value in attributes.items())
    node = '<node name="{}"><attr key="typeIdentifier">EVTS</attr><node name="info">{}</node></node>'
    other = '<attr key="sizeX">5</attr><attr key="sizeY">5</attr>'
    info = f'<dv><node name="outInfo">{node.format(1, other)}{node.format(0, said)}</node></dv>'.encode()
    assert aedat4.sensor_size(file_of([], {}, info=info)) == size


def test_deeply_nested_descriptions_end_in_an_error():
    info = b"<dv>" * 60_000
    with pytest.raises(CorruptRecordingError, match="no XML"):
        aedat4.decode(file_of([], EVTS, info=info))
    with pytest.raises(CorruptRecordingError, match="no stream of events"):
        aedat4.decode(file_of([], EVTS, info=b"<dv>" * 25_000 + b"</dv>" * 25_000))
