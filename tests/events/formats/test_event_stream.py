"""Event Stream: DVS events and ATIS changes equal to faery's; other events, damage and foreign sensors are named."""

import importlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.events import Events
from src.events.formats import event_stream
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError
from tests.recordings import real_sample, same

SIZE = (304, 240)


def header_of(kind, size=SIZE, version=(2, 0, 0)):
    return event_stream.MAGIC + bytes([*version, kind]) + b"".join(side.to_bytes(2, "little") for side in size)


def some_events(n, seed=0, step=200):
    rng = np.random.default_rng(seed)
    return Events(
        rng.integers(0, SIZE[0], n).astype(np.uint16),
        rng.integers(0, SIZE[1], n).astype(np.uint16),
        np.cumsum(rng.integers(0, step, n)),
        rng.integers(0, 2, n).astype(np.uint8),
    )


def by_faery(content, folder):
    faery = importlib.import_module("faery")
    (folder / "a.es").write_bytes(content)
    events = faery.events_stream_from_file(folder / "a.es").to_array()
    return Events(events["x"], events["y"], events["t"].astype(np.int64), events["on"].astype(np.uint8))


@settings(deadline=None)
@given(
    st.integers(0, 200), st.integers(0, 2**32 - 1), st.sampled_from([2, 130, 5000]), st.sampled_from(["DVS", "ATIS"])
)
def test_decoding_is_the_inverse_of_encoding(n, seed, step, kind):
    events = some_events(n, seed, step)
    assert same(event_stream.decode(event_stream.encode(events, SIZE, getattr(event_stream, kind))), events)


@pytest.mark.parametrize("kind", [event_stream.DVS, event_stream.ATIS])
@pytest.mark.parametrize("step", [2, 130, 5000])
def test_events_are_faery_s(kind, step, tmp_path):
    pytest.importorskip("faery")
    content = event_stream.encode(some_events(2000, step=step), SIZE, kind)
    assert same(event_stream.decode(content), by_faery(content, tmp_path))


@pytest.mark.parametrize("kind", ["dvs", "atis"])
def test_a_file_of_faery_is_read_as_faery_reads_it(kind, tmp_path):
    faery = pytest.importorskip("faery")
    events = some_events(500)
    dtype = [("t", "<u8"), ("x", "<u2"), ("y", "<u2"), (("exposure", "e"), "?"), (("polarity", "p"), "?")]
    array = np.zeros(len(events), dtype if kind == "atis" else [*dtype[:3], (("p", "on"), "?")])
    for name in "txyp":
        array[name] = getattr(events, name)
    if kind == "atis":
        array["exposure"] = np.arange(len(events)) % 3 == 0
    with faery.es.Encoder(tmp_path / "b.es", kind, False, SIZE) as encoder:
        encoder.write(array)
    content = (tmp_path / "b.es").read_bytes()
    decoded = event_stream.decode(content)
    assert same(decoded, by_faery(content, tmp_path))
    assert len(decoded) == (500 if kind == "dvs" else 333)


def test_the_bytes_of_dvs_events_are_read():
    body = bytes([0xFF, 0xFE, 5 << 1 | 1, 3, 1, 7, 0]) + bytes([126 << 1, 4, 0, 239, 0])
    events = event_stream.decode(header_of(event_stream.DVS) + body)
    assert [events.x.tolist(), events.y.tolist()] == [[259, 4], [232, 0]]
    assert [events.t.tolist(), events.p.tolist()] == [[132, 258], [1, 0]]


def test_exposure_measurements_of_atis_are_left_out_but_their_time_counts():
    body = b"".join(bytes([10 << 2 | code, code, 0, 0, 0]) for code in (0, 1, 2, 3, 0))
    events = event_stream.decode(header_of(event_stream.ATIS) + b"\xfe" + body)
    assert [events.t.tolist(), events.p.tolist()] == [[136, 156, 176], [0, 1, 0]]
    assert events.num_outside == 0


def test_an_event_that_the_file_ends_within_is_left_out():
    content = event_stream.encode(some_events(3, step=100), SIZE)
    assert [(len(e := event_stream.decode(content[: len(content) - cut])), e.num_unread) for cut in range(6)] == [
        (3, 0),
        (2, 4),
        (2, 3),
        (2, 2),
        (2, 1),
        (2, 0),
    ]


def test_events_outside_the_sensor_are_left_out_and_counted():
    events = some_events(300)
    content = bytearray(event_stream.encode(events, SIZE))
    content[-4:] = b"\xff\xff\0\0"
    decoded = event_stream.decode(bytes(content))
    assert (len(decoded), decoded.num_outside) == (299, 1)


def test_a_file_whose_header_has_another_sensor_is_foreign():
    content = event_stream.encode(some_events(300), SIZE)
    small = content.replace(header_of(event_stream.DVS), header_of(event_stream.DVS, (30, 20)))
    with pytest.raises(ForeignRecordingError, match=r"of its 300 events lie outside the sensor \(30 x 20 pixels; the"):
        event_stream.decode(small)


def test_the_sensor_is_the_header_s():
    assert event_stream.sensor_size(event_stream.encode(some_events(3), SIZE)) == SIZE


def test_a_real_file_of_generic_events_is_foreign():
    with pytest.raises(ForeignRecordingError, match="its events are generic; of Event Stream, only DVS and ATIS"):
        event_stream.decode(real_sample("generic.es"))


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"Event Strea", CorruptRecordingError, "does not begin as an Event Stream"),
        (header_of(event_stream.DVS)[:15], CorruptRecordingError, "ends within its header"),
        (header_of(event_stream.DVS)[:19], CorruptRecordingError, "ends within its header"),
        (header_of(event_stream.DVS, version=(1, 2, 3)), ForeignRecordingError, r"is Event Stream 1\.2\.3; only"),
        (header_of(event_stream.COLOUR), ForeignRecordingError, "its events are colour"),
        (header_of(9), ForeignRecordingError, r"its events are unknown \(9\)"),
    ],
)
def test_what_is_wrong_is_said(content, error, message):
    with pytest.raises(error, match=message):
        event_stream.decode(content)


@given(st.sampled_from([event_stream.DVS, event_stream.ATIS]), st.binary(max_size=200))
def test_arbitrary_data_give_events_or_a_corrupt_recording(kind, data):
    try:
        events = event_stream.decode(header_of(kind, (60_000, 60_000)) + data)
    except CorruptRecordingError:
        return
    assert np.all(np.diff(events.t) >= 0)


@pytest.mark.parametrize(("x", "y", "t", "p"), [(304, 0, 0, 0), (0, 240, 0, 0), (0, 0, -1, 0), (0, 0, 0, 2)])
def test_what_does_not_fit_is_not_encoded(x, y, t, p):
    event = Events(np.array([x], np.uint16), np.array([y], np.uint16), np.array([t]), np.array([p], np.uint8))
    with pytest.raises(ValueError, match="must lie on the sensor"):
        event_stream.encode(event, SIZE)
