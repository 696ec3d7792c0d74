"""NumPy's .npz: arrays x, y, t and p or one structured array; archives that unpack to too much are refused."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.events.formats import npy, npz
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError
from tests.events.formats.tables import recordings, require_windows, some_events
from tests.recordings import same

EVENTS = some_events()


def saved(**arrays):
    target = io.BytesIO()
    np.savez(target, **arrays)
    return target.getvalue()


@settings(max_examples=40, deadline=None)
@given(recordings(), st.booleans(), st.booleans(), st.integers(1, 40))
def test_events_survive_encoding_and_windows(events, is_structured, is_deflated, most_events):
    content = npz.encode(events, is_structured, is_deflated)
    assert npz.recognises(content)
    assert same(npz.decode(content), events)
    require_windows(npz, content, most_events)


def test_arrays_are_known_by_their_usual_names_and_others_ignored():
    content = saved(label=3, polarity=2 * EVENTS.p.astype(int) - 1, ts=EVENTS.t / 1e6, ys=EVENTS.y, xs=EVENTS.x)
    assert same(npz.decode(content), EVENTS)


def test_the_only_structured_array_counts_or_the_one_called_events():
    rows = EVENTS.to_structured()
    assert same(npz.decode(saved(arr_0=rows, label=1)), EVENTS)
    assert same(npz.decode(saved(a=rows[:5], events=rows)), EVENTS)
    with pytest.raises(ForeignRecordingError, match="it has the arrays a, b: several arrays of events"):
        npz.decode(saved(a=rows, b=rows))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": EVENTS.x, "y": EVENTS.y, "t": EVENTS.t}, r"the arrays x, y, t: no p. numpy.savez\(path, x=x"),
        ({"events": np.zeros((3, 4))}, "the arrays events: no x and y and t and p"),
        ({"x": EVENTS.x[:5], "y": EVENTS.y, "t": EVENTS.t, "p": EVENTS.p}, "its arrays differ in length: .*'x.npy': 5"),
        ({"x": EVENTS.x.astype("U5"), "y": EVENTS.y, "t": EVENTS.t, "p": EVENTS.p}, "its column x is of type <U5"),
    ],
)
def test_an_archive_without_events_is_refused(arrays, message):
    with pytest.raises(CorruptRecordingError, match=message):
        npz.decode(saved(**arrays))


def test_every_cut_is_an_error():
    content = npz.encode(EVENTS)
    for length in (*range(4, len(content), 37), len(content) - 1):
        with pytest.raises(CorruptRecordingError, match="cut short or damaged"):
            npz.decode(content[:length])


def test_a_damaged_byte_of_an_array_is_an_error():
    content = bytearray(npz.encode(EVENTS, is_deflated=False))
    content[content.index(EVENTS.t.tobytes()) + 7] ^= 1
    with pytest.raises(CorruptRecordingError, match="cut short or damaged: Bad CRC-32"):
        npz.decode(bytes(content))


def test_an_archive_that_unpacks_to_far_more_than_its_size_is_refused():
    rows = npy.encode(EVENTS)
    header = rows[: rows.index(b"\n") + 1].replace(b"(50,), }       ", b"(999999999,), }")
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("events.npy", header + bytes(1_000_000))
    with pytest.raises(CorruptRecordingError, match="it claims 999,999,999 events in"):
        npz.decode(target.getvalue())


@pytest.mark.parametrize(("num_rows", "message"), [(49, "has more than its 49 rows"), (51, "ends before its 51 rows")])
def test_an_array_of_another_length_than_its_header_says_is_an_error(num_rows, message):
    header = npy.encode(EVENTS).replace(b"(50,)", b"(%d,)" % num_rows)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("events.npy", header)
    with pytest.raises(CorruptRecordingError, match=message):
        npz.decode(target.getvalue())


def test_arrays_that_are_packed_by_something_else_are_refused():
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_LZMA) as archive:
        for name in "xytp":
            archive.writestr(f"{name}.npy", bytes(100))
    with pytest.raises(ForeignRecordingError, match=r"its array x\.npy is neither stored nor deflated"):
        npz.decode(target.getvalue())


def test_a_zip_archive_of_other_files_is_not_recognised():
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("a.txt", b"1")
    assert not npz.recognises(target.getvalue())


@settings(max_examples=150, deadline=None)
@given(st.integers(4, 900), st.binary(min_size=1, max_size=8))
def test_arbitrary_data_give_events_or_a_corrupt_recording(at, data):
    content = bytearray(npz.encode(EVENTS))
    content[at : at + len(data)] = data
    try:
        npz.decode(bytes(content))
    except CorruptRecordingError:
        return
