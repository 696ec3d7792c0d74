"""NumPy's .npy: structured arrays of any types and order; plain arrays are refused, cut ones counted."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.events import Events
from src.events.formats import npy
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError
from tests.events.formats.tables import recordings, require_windows, some_events
from tests.recordings import real_sample, same

TONIC = np.dtype([(name, np.int64) for name in "xytp"])
OTHER_ORDER = np.dtype([("t", ">u4"), ("id", "i4"), ("p", "?"), ("y", "i2"), ("x", "<u2")])


def saved(array):
    target = io.BytesIO()
    np.save(target, array)
    return target.getvalue()


@settings(max_examples=60, deadline=None)
@given(recordings(), st.sampled_from([npy.METAVISION, TONIC]), st.integers(1, 40))
def test_events_survive_encoding_and_windows(events, dtype, most_events):
    content = npy.encode(events, dtype)
    assert same(npy.decode(content), events)
    require_windows(npy, content, most_events)


def test_fields_may_come_in_any_order_and_type_with_others_between():
    events = some_events()
    rows = np.zeros(len(events), OTHER_ORDER)
    for name in "xytp":
        rows[name] = getattr(events, name)
    assert same(npy.decode(saved(rows)), events)


def test_a_real_file_is_what_numpy_loads():
    content = real_sample("evt3_sample.npy")
    rows = np.load(io.BytesIO(content))
    assert same(npy.decode(content), Events.from_structured(rows))


def test_a_file_that_was_cut_short_gives_its_whole_rows():
    events = some_events(20)
    content = npy.encode(events)
    for cut in (1, 16, 50):
        decoded = npy.decode(content[:-cut])
        num_whole = 20 - -(-cut // 16)
        assert same(decoded, Events(*(getattr(events, name)[:num_whole] for name in "xytp")))
        assert decoded.num_unread == 16 * (20 - num_whole)
        require_windows(npy, content[:-cut], 7)
    assert npy.decode(content + b"abc").num_unread == 3


def test_a_file_without_a_whole_row_says_how_much_is_missing():
    content = npy.encode(some_events(1))[:-1]
    assert (len(npy.decode(content)), npy.decode(content).num_unread) == (0, 16)
    require_windows(npy, content, 5)


@pytest.mark.parametrize("array", [np.zeros((5, 4)), np.zeros((4, 5), np.int64), np.float64(3)])
def test_a_plain_array_is_refused_with_how_to_name_its_columns(array):
    with pytest.raises(ForeignRecordingError, match=r'does not name its columns; numpy\.save\(path, .*names="x,y,t,p"'):
        npy.decode(saved(array))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3), "its rows have only float64, but no x and y and t and p"),
        (np.zeros(3, [("x", int), ("y", int), ("t", int)]), "its rows have x, y, t, but no p"),
        (np.zeros(3, [("x", "U3"), ("y", int), ("t", int), ("p", int)]), "its column x is of type <U3"),
        (np.zeros(3, [("x", int, 2), ("y", int), ("t", int), ("p", int)]), "its column x is of type"),
        (np.array([None]), "it holds pickled objects"),
    ],
)
def test_an_array_without_events_is_refused(array, message):
    with pytest.raises(ForeignRecordingError, match=message):
        npy.decode(saved(array))


@pytest.mark.parametrize("content", [npy.MAGIC, npy.MAGIC + b"\x07\x00", npy.encode(some_events(3))[:40]])
def test_a_damaged_header_is_an_error(content):
    with pytest.raises(CorruptRecordingError, match="its header is damaged"):
        npy.decode(content)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 130), st.binary(max_size=30))
def test_arbitrary_data_give_events_or_a_corrupt_recording(at, data):
    content = bytearray(npy.encode(some_events(3)))
    content[at : at + len(data)] = data
    try:
        npy.decode(npy.MAGIC + bytes(content[len(npy.MAGIC) :]))
    except CorruptRecordingError:
        return
