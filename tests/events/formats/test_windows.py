"""Windows: of any size, they hold what decode returns, and no more events than asked for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.events import Events
from src.events.formats import aedat2, aedat3, aedat4, event_stream, nmnist_bin
from src.events.formats.errors import CorruptRecordingError
from src.events.formats.windows import joined
from tests.recordings import same


def some_events(n):
    """Events of which some are before the one before them."""
    rng = np.random.default_rng(n)
    return Events(
        rng.integers(0, 34, n).astype(np.uint16),
        rng.integers(0, 34, n).astype(np.uint16),
        np.abs(np.cumsum(rng.integers(-20, 400, n))),
        rng.integers(0, 2, n).astype(np.uint8),
    )


def with_overflows(content):
    """The file with a marker of an overflow before every seventh event, and an event on a row above it at the end."""
    words = [content[at : at + 5] for at in range(0, len(content), 5)]
    return b"".join(bytes([0, 240, 0, 0, 0]) * (k % 7 == 0) + word for k, word in enumerate(words)) + b"\0\xff\0\0\0"


EVENTS = some_events(500)
ORDERED = Events(EVENTS.x, EVENTS.y, np.sort(EVENTS.t), EVENTS.p)
FILES = {
    "aedat2": (aedat2.FORMAT, aedat2.encode(EVENTS)),
    "aedat2 of a davis": (aedat2.FORMAT, aedat2.encode(EVENTS, "eu.seebetter.ini.chips.davis.DAVIS240C")),
    "aedat3": (aedat3.FORMAT, aedat3.encode(EVENTS, packet_events=90)),
    "aedat4": (aedat4.FORMAT, aedat4.encode(ORDERED, (34, 34))),
    "aedat4 with steps back": (aedat4.FORMAT, aedat4.encode(EVENTS, (34, 34), aedat4.ZSTD)),
    "nmnist": (nmnist_bin.FORMAT, nmnist_bin.encode(EVENTS)),
    "nmnist with overflows": (nmnist_bin.FORMAT, with_overflows(nmnist_bin.encode(EVENTS))),
    "event stream": (event_stream.FORMAT, event_stream.encode(ORDERED, (34, 34))),
}
COUNTS = ("num_unread", "num_outside", "num_back")


def decoded_or_error(decode):
    try:
        return decode()
    except CorruptRecordingError as error:
        return str(error)


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=40, deadline=None)
@given(most_events=st.integers(1, 600), cut=st.integers(0, 60), damage=st.integers(0, 2), data=st.data())
def test_windows_of_any_size_joined_are_what_decode_returns(name, most_events, cut, damage, data):
    file_format, sound = FILES[name]
    content = bytearray(sound[: len(sound) - cut])
    for _ in range(damage):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    parts = []

    def by_windows():
        for part in file_format.windows(np.frombuffer(content, np.uint8), most_events):
            parts.append(part)
        return joined(iter(parts))

    whole, pieces = decoded_or_error(lambda: file_format.decode(bytes(content))), decoded_or_error(by_windows)
    assert all(len(part) <= most_events for part in parts)
    if isinstance(whole, str):
        assert pieces == whole
    else:
        assert same(pieces, whole)
        assert [getattr(pieces, count) for count in COUNTS] == [getattr(whole, count) for count in COUNTS]


@pytest.mark.parametrize("name", FILES)
def test_windows_of_a_file_mapped_from_the_disk_are_read(name, tmp_path):
    file_format, content = FILES[name]
    (tmp_path / "a").write_bytes(content)
    parts = list(file_format.windows(np.memmap(tmp_path / "a", np.uint8, "r"), 64))
    assert same(joined(iter(parts)), file_format.decode(content))
    assert len(parts) > 7


@pytest.mark.parametrize("name", FILES)
def test_a_window_holds_at_least_one_event(name):
    file_format, content = FILES[name]
    with pytest.raises(ValueError, match="at least 1 event, got 0"):
        next(file_format.windows(np.frombuffer(content, np.uint8), 0))
