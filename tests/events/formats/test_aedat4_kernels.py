"""The kernels of AEDAT 4: plain LZ4 frames are decompressed as by the lz4 package, all others are left to it."""

import lz4.frame
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.events.formats import aedat4
from src.events.formats.aedat4_kernels import NOT_PLAIN, _decompress
from tests.recordings import same

# Bytes with matches of all distances and lengths, runs, and literals.
PIECES = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.builds(lambda content, times: content * times, st.binary(min_size=1, max_size=20), st.integers(0, 60)),
        st.builds(lambda seed, n: np.random.default_rng(seed).bytes(n), st.integers(0, 99), st.integers(0, 400)),
    ),
    max_size=12,
)


def decompressed(packed, room=1 << 20):
    """The bytes, or None where they are left to the package; nothing is written behind the room."""
    content = np.frombuffer(b"before" + packed + b"after", np.uint8)
    out = np.full(room + 64, 0xA5, np.uint8)
    end = _decompress(content, 6, 6 + len(packed), out[:room])
    assert (out[room:] == 0xA5).all()
    return None if end == NOT_PLAIN else out[:end].tobytes()


def compressed(content, **options):
    return lz4.frame.compress(content, store_size=False, **options)


def events_like(n, seed=0):
    records = np.zeros(n, aedat4._EVENT)
    rng = np.random.default_rng(seed)
    records["t"] = 1_600_000_000_000_000 + np.cumsum(rng.integers(0, 20, n))
    records["x"], records["y"] = rng.integers(0, 128, n), rng.integers(0, 128, n)
    records["on"] = rng.integers(0, 2, n)
    return records.tobytes()


@settings(max_examples=200, deadline=None)
@given(PIECES, st.booleans(), st.integers(0, 12))
def test_a_plain_frame_is_decompressed_as_by_the_package(pieces, linked, level):
    content = b"".join(pieces) + bytes(64)  # zeros at the end: a block that does not shrink is left
    packed = compressed(content, block_linked=linked, compression_level=level)
    assert decompressed(packed) in (content, None)
    assert decompressed(packed, room=len(content)) in (content, None)
    assert decompressed(packed, room=len(content) - 1) is None


@pytest.mark.parametrize("linked", [True, False])
def test_blocks_of_events_are_plain(linked):
    content = events_like(10_000)  # three blocks
    assert decompressed(compressed(content, block_linked=linked)) == content


@settings(max_examples=200, deadline=None)
@given(st.data(), st.booleans())
def test_a_damaged_frame_is_left_or_decompressed_as_by_the_package(data, linked):
    packed = bytearray(compressed(events_like(12) + b"abc" * 30, block_linked=linked))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    found = decompressed(bytes(packed[: data.draw(st.integers(0, len(packed)))]))
    assert found is None or found == lz4.frame.decompress(packed)


@pytest.mark.parametrize(
    "options",
    [{"content_checksum": True}, {"block_checksum": True}, {"block_size": lz4.frame.BLOCKSIZE_MAX1MB}],
    ids=["content checksum", "block checksum", "large blocks"],
)
def test_other_frames_are_left_to_the_package(options):
    content = events_like(5000)
    assert decompressed(compressed(content, **options)) is None
    assert decompressed(lz4.frame.compress(content)) is None  # says its size
    assert decompressed(compressed(content) + b"x") is None


def test_packets_that_are_left_stand_between_those_that_are_not():
    whole = aedat4.encode(aedat4.Events(*events_arrays(3000)), (128, 128), aedat4.LZ4, packet_microseconds=5000)
    expected = aedat4.decode(whole)
    position = int.from_bytes(whole[18 + 36 : 18 + 44], "little")
    at = 18 + int.from_bytes(whole[14:18], "little")
    packets = []
    while at < position:
        _, packed = aedat4._packet(whole, at, position)
        at += 8 + len(packed)
        if len(packets) % 2:
            packed = lz4.frame.compress(lz4.frame.decompress(packed), content_checksum=True)
        packets.append(aedat4._PACKET.pack(0, len(packed)) + packed)
    assert len(packets) > 4
    info = whole[whole.index(b"<dv") : whole.index(b"</dv>") + 5]
    content = aedat4._header(aedat4.LZ4, aedat4.NO_TABLE, info) + b"".join(packets)
    assert same(aedat4.decode(content), expected)


def events_arrays(n):
    records = np.frombuffer(events_like(n), aedat4._EVENT)
    return tuple(np.ascontiguousarray(records[name]) for name in ("x", "y", "t", "on"))
