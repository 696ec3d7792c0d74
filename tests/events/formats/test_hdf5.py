"""HDF5: the layouts of DSEC, M3ED, Metavision, v2e and MVSEC; what this machine cannot decompress is named."""

import io
import struct
import subprocess
import sys

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.events import Events
from src.events.formats import hdf5
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError
from tests.events.formats.tables import recordings, require_windows, some_events
from tests.recordings import real_sample, same
from tests.small_job import REPOSITORY

LAYOUTS = ["dsec", "m3ed", "metavision", "v2e", "mvsec"]
EVENTS = some_events()


def saved(attributes=(), **datasets):
    """A file of these datasets; a name may be a path with __ for the slashes."""
    target = io.BytesIO()
    with h5py.File(target, "w") as file:
        for path, values in datasets.items():
            file[path.replace("__", "/")] = values
        file.attrs.update(dict(attributes))
    return target.getvalue()


def columns(**changed):
    return {f"events__{name}": getattr(EVENTS, name) for name in "xytp"} | {
        f"events__{k}": v for k, v in changed.items()
    }


@settings(max_examples=30, deadline=None)
@given(recordings(least=1), st.sampled_from(LAYOUTS[:-1]), st.sampled_from([None, "gzip", "lzf"]), st.integers(1, 40))
def test_events_survive_encoding_and_windows(events, layout, compression, most_events):
    content = hdf5.encode(events, layout, compression)
    assert same(hdf5.decode(content), events)
    require_windows(hdf5, content, most_events)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_read_across_blocks(layout, monkeypatch):
    monkeypatch.setattr(hdf5, "BLOCK_EVENTS", 1000)
    events = some_events(40_000, step=3)
    content = hdf5.encode(events, layout)
    assert same(hdf5.decode(content), events)
    require_windows(hdf5, content, 7000)


def test_dsec_s_offset_is_added_to_its_timestamps():
    events = some_events(first=50_000_000_000)
    content = hdf5.encode(events, t_offset=49_999_000_000)
    with h5py.File(io.BytesIO(content)) as file:
        assert file["events/t"][-1] < 1_100_000
    assert same(hdf5.decode(content), events)


def test_an_offset_may_be_a_whole_floating_point_number():
    events = hdf5.decode(saved(t_offset=7.0, **columns()))
    assert np.array_equal(events.t, EVENTS.t + 7)


def test_coordinates_of_16_bit_floating_point_are_read():
    assert same(hdf5.decode(saved(**columns(x=EVENTS.x.astype(np.float16)))), EVENTS)


def test_the_real_file_is_read_as_its_datasets_are_named():
    content = real_sample("event.hdf5")
    events = hdf5.decode(content)
    with h5py.File(io.BytesIO(content)) as file:
        group = file["raw_events"]
        expected = Events(group["x"][:], group["y"][:], np.rint(group["t"][:] * 1e6), group["p"][:])
    assert same(events, expected)
    assert events.t[1] == 780


def test_of_two_cameras_the_left_one_is_read():
    left, right = some_events(seed=1), some_events(seed=2)
    datasets = {
        f"prophesee__{side}__{n}": getattr(e, n) for side, e in (("right", right), ("left", left)) for n in "xytp"
    }
    assert same(hdf5.decode(saved(**datasets)), left)
    datasets = {path.replace("left", "third"): values for path, values in datasets.items()}
    with pytest.raises(ForeignRecordingError, match="events of several recordings: prophesee/right, prophesee/third"):
        hdf5.decode(saved(**datasets))


def test_names_and_types_of_event_utils_are_read():
    datasets = {f"events__{name}s": getattr(EVENTS, name) for name in "xy"}
    content = saved(events__ts=EVENTS.t / 1e6, events__ps=EVENTS.p.astype(bool), images__x=np.zeros(3), **datasets)
    assert same(hdf5.decode(content), EVENTS)


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (hdf5.encode(EVENTS, "metavision", sensor=(640, 480)), (640, 480)),
        (hdf5.encode(EVENTS, "m3ed", sensor=(640, 480)), (640, 480)),
        (saved({"sensor_resolution": [480, 640]}, **columns()), (640, 480)),
        (saved({"width": 640, "height": 480}, **columns()), (640, 480)),
        (saved({"width": [], "height": h5py.Empty("i4")}, **columns()), None),
        (saved({"geometry": "wide", "sensor_resolution": "?"}, **columns()), None),
        (hdf5.encode(EVENTS), None),
    ],
)
def test_the_sensor_s_size_is_found_if_the_file_says_it(content, size):
    assert hdf5.sensor_size(content) == size
    assert same(hdf5.decode(content), EVENTS)


def test_events_outside_of_the_sensor_are_counted_or_make_the_file_foreign():
    x = EVENTS.x.copy()
    x[9] = 700
    events = hdf5.decode(saved({"width": 640, "height": 480}, **columns(x=x)))
    assert (len(events), events.num_outside) == (len(EVENTS) - 1, 1)
    with pytest.raises(ForeignRecordingError, match="lie outside the sensor"):
        hdf5.decode(saved({"width": 34, "height": 34}, **columns()))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (saved(**columns(x=EVENTS.x[:-1])), "its columns differ in length: {'x': 49, 'y': 50, 't': 50, 'p': 50}"),
        (saved(**columns(p=np.full(50, 2))), "polarity of event 0 is 2"),
        (saved(**columns(x=np.array([b"a"] * 50))), "its column x is of type .S1, not of numbers"),
        (saved(images__raw=np.zeros(3)), r"no datasets x, y, t and p of shape \[N\] in .*: images, images/raw \[3\]$"),
        (saved(**columns(x=EVENTS.x[:, None])), r"no datasets x, y, t and p of shape \[N\] in .* events/x \[50, 1\]"),
        (saved(events=np.zeros((5, 4))), r"the columns of events, float64 \[5, 4\], have no names"),
        (saved(t_offset=7, **columns(t=EVENTS.t / 1e6)), "it has a t_offset, which is microseconds"),
        (saved(t_offset=0.5, **columns()), r"its t_offset is \[0.5\], not one whole number of microseconds"),
        (saved(t_offset=[1, 2], **columns()), r"its t_offset is \[1, 2\], not one"),
        (saved(t_offset=2**62, **columns()), r"its t_offset is \[4611686018427387904\], not one"),
        (saved(t_offset=np.uint64(2**64 - 5), **columns()), r"its t_offset is \[18446744073709551611\], not one"),
    ],
)
def test_what_is_wrong_is_said(content, message):
    with pytest.raises(CorruptRecordingError, match=message):
        hdf5.decode(content)


def test_every_cut_is_an_error_that_says_how_much_is_there():
    content = hdf5.encode(EVENTS)
    for length in range(100, len(content), 401):
        with pytest.raises(CorruptRecordingError):
            hdf5.decode(content[:length])
    with pytest.raises(
        CorruptRecordingError, match=f"it is cut short: it has {len(content) - 1} of {len(content)} bytes"
    ):
        hdf5.decode(content[:-1])


def test_chunks_that_were_never_written_are_no_events():
    target = io.BytesIO()
    with h5py.File(target, "w") as file:
        for name in "xytp":
            dataset = file.create_dataset(f"events/{name}", (50,), "u2", chunks=(10,))
            dataset[:30] = getattr(EVENTS, name)[:30]
    with pytest.raises(CorruptRecordingError, match="its dataset events/x has 3 of 5 chunks"):
        hdf5.decode(target.getvalue())


def test_a_dataset_that_claims_more_than_the_file_can_hold_is_refused():
    target = io.BytesIO()
    with h5py.File(target, "w") as file:
        for name in "xytp":
            file.create_dataset(f"events/{name}", (1 << 40,), "u2", chunks=(1 << 20,))
    with pytest.raises(CorruptRecordingError, match="it claims 1,099,511,627,776 events"):
        hdf5.decode(target.getvalue())


def test_links_out_of_the_file_are_not_followed(tmp_path):
    (tmp_path / "other.h5").write_bytes(hdf5.encode(EVENTS))
    target = io.BytesIO()
    with h5py.File(target, "w") as file:
        file["events"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/events")
        file["soft"] = h5py.SoftLink("/events")
    with pytest.raises(ForeignRecordingError, match=r"no datasets x, y, .*: events \(a link, not followed\), soft"):
        hdf5.decode(target.getvalue())


def test_a_dataset_in_another_file_is_not_read(tmp_path):
    target = io.BytesIO()
    with h5py.File(target, "w") as file:
        for name in "xytp":
            layout = h5py.VirtualLayout((50,), "u2")
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), name, (50,))
            file.create_virtual_dataset(f"events/{name}", layout)
    with pytest.raises(ForeignRecordingError, match="its dataset events/x lies in another file"):
        hdf5.decode(target.getvalue())


def test_a_text_that_the_library_would_never_end_to_read_is_read_without_it():
    content = bytearray(hdf5.encode(EVENTS, "metavision", sensor=(640, 480)))
    left = content.index(b"GCOL") + 16 + 16 + 8  # what is left of the heap, behind the object 640x480
    content[left + 8 : left + 16] = bytes(8)
    assert hdf5.sensor_size(bytes(content)) == (640, 480)
    damaged = bytes(content).replace(b"640x480", b"640y480")
    with pytest.raises(CorruptRecordingError, match="it is damaged where it has the text of its attribute geometry"):
        hdf5.decode(damaged)


def test_a_list_that_the_library_would_follow_in_a_circle_is_an_error():
    content = hdf5.encode(EVENTS, "mvsec")
    block = content.index(struct.pack("<QQ", 1, 72), content.index(b"left\0"))  # the last free block behind a name
    heap = content.rindex(b"HEAP\0", 0, block)
    damaged = bytearray(content)
    damaged[block : block + 8] = damaged[heap + 16 : heap + 24]
    with pytest.raises(CorruptRecordingError, match=f"its list of free blocks at byte {heap} has no end"):
        hdf5.decode(bytes(damaged))


def test_an_attribute_of_a_type_that_no_size_has_is_not_read():
    content = hdf5.encode(EVENTS, "metavision", sensor=(640, 480))
    name = content.index(b"geometry\0")
    damaged = content[: name + 17] + b"\xff" + content[name + 18 :]  # the kind of its type, text of any length
    assert hdf5.sensor_size(content) == (640, 480)
    assert hdf5.sensor_size(damaged) is None
    assert same(hdf5.decode(damaged), EVENTS)


def test_events_are_found_beside_thousands_of_images():
    datasets = {f"a_images__{number}": 0 for number in range(1100)}
    assert same(hdf5.decode(saved(**datasets, **columns())), EVENTS)


def filtered(number):
    """A file whose first dataset names another filter than the one that its chunks went through."""
    content = hdf5.encode(EVENTS, "metavision", "lzf")
    assert content.count(struct.pack("<H", 32000)) == 1
    return content.replace(struct.pack("<H", 32000), struct.pack("<H", number))


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (32001, r"CD/events is compressed by Blosc \(filter 32001\): `pip install hdf5plugin`"),
        (36559, "CD/events is compressed by Prophesee's ECF .* install Prophesee's hdf5_ecf and set HDF5_PLUGIN_PATH"),
        (32999, "CD/events is compressed by a filter that h5py lacks"),
    ],
)
def test_a_compression_that_is_not_there_is_named(monkeypatch, number, message):
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda number: number < 10)
    with pytest.raises(ForeignRecordingError, match=message):
        hdf5.decode(filtered(number))


def test_h5py_is_not_imported_before_a_file_needs_it():
    code = (
        "import sys; from src.events import read_recording; from src.registry import FILE_FORMATS\n"
        "for name in FILE_FORMATS: FILE_FORMATS.load(name)\n"
        "assert 'h5py' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)
