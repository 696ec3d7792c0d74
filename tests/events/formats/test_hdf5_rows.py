"""Rows of HDF5 datasets: out of the file's bytes where they lie plainly, by h5py where they do not; both are equal."""

import io
import zlib

import h5py
import numpy as np
import pytest

from src.events.formats import hdf5
from src.events.formats.errors import CorruptRecordingError
from src.events.formats.hdf5_objects import opened
from src.events.formats.hdf5_rows import rows_of
from tests.events.formats.tables import some_events
from tests.recordings import same

ROWS = np.random.default_rng(0).integers(0, 300, 5000)
PAIRS = np.zeros(5000, [("t", "<i8"), ("p", "u1")])
PAIRS["t"] = ROWS


def read(values, **options):
    """Write a dataset; return all its rows as they are read piece by piece, and the name of their reader."""
    target = io.BytesIO()
    with h5py.File(target, "w") as file:
        file.create_dataset("values", data=values, **options)
    content = np.frombuffer(target.getvalue(), np.uint8)
    with opened(content) as file:
        rows = rows_of(file.member("values"), content)
        begin, parts = 0, []
        while begin < len(values):
            parts.append(rows.take(begin, rows.end(begin)))
            begin = rows.end(begin)
    return np.concatenate(parts), type(rows).__name__


@pytest.mark.parametrize("values", [ROWS.astype(kind) for kind in ("u1", "<u2", ">u4", "i8", "f8")] + [PAIRS])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (700,)},
        {"chunks": (700,), "compression": "gzip"},
        {"chunks": (700,), "compression": "lzf", "shuffle": True},
        {"chunks": (6000,), "maxshape": (None,), "compression": "gzip", "shuffle": True},
    ],
)
def test_plain_rows_come_out_of_the_file(values, options):
    rows, reader = read(values, **options)
    assert reader == "_FileRows"
    assert np.array_equal(rows[: len(values)], values)


@pytest.mark.parametrize(
    ("values", "options"),
    [
        (ROWS, {"fletcher32": True}),
        (ROWS, {"scaleoffset": 10}),
        (ROWS > 9, {}),
        (np.stack([ROWS] * 4, axis=1), {"chunks": (100, 2)}),
    ],
)
def test_other_rows_are_left_to_h5py(values, options):
    rows, reader = read(values, **options)
    assert reader == "_LibraryRows"
    assert np.array_equal(rows, values)


def test_a_chunk_that_its_filter_made_no_smaller_is_read():
    values = np.random.default_rng(0).integers(0, 256, 5000).astype(np.uint8)
    rows, reader = read(values, chunks=(500,), compression="lzf")
    assert reader == "_FileRows"
    assert np.array_equal(rows, values)


@pytest.mark.parametrize("compression", ["gzip", "lzf"])
def test_a_damaged_chunk_is_named(compression):
    events = some_events(20_000)
    content = bytearray(hdf5.encode(events, "dsec", compression))
    with h5py.File(io.BytesIO(content)) as file:
        chunk = file["events/t"].id.get_chunk_info(0)
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = b"\xff" * chunk.size
    with pytest.raises(CorruptRecordingError, match="its dataset events/t is damaged in the chunk at byte"):
        hdf5.decode(bytes(content))


def test_a_chunk_that_unpacks_to_fewer_rows_is_damaged():
    target = io.BytesIO()
    with h5py.File(target, "w") as file:
        for name in "xytp":
            dataset = file.create_dataset(f"events/{name}", (2000,), "u2", chunks=(1000,), compression="gzip")
            for begin in (0, 1000):
                dataset.id.write_direct_chunk((begin,), zlib.compress(bytes(900)))
    with pytest.raises(CorruptRecordingError, match="its dataset events/x is damaged in the chunk at byte"):
        hdf5.decode(target.getvalue())


def test_rows_at_odd_addresses_are_read():
    events = some_events()
    target = io.BytesIO()
    with h5py.File(target, "w") as file:
        file.create_dataset("odd", data=np.zeros(3, np.uint8))
        for name in "xytp":
            file.create_dataset(f"events/{name}", data=getattr(events, name))
            file.create_dataset(f"odd_{name}", data=np.zeros(1, np.uint8))
    assert same(hdf5.decode(target.getvalue()), events)


def test_chunks_of_a_few_bytes_are_read():
    rows, reader = read(np.zeros(300, np.uint8), chunks=(5,), compression="lzf")
    assert reader == "_FileRows"
    assert not rows.any()
    assert not read(np.zeros(300, np.uint8), chunks=(200,), compression="lzf")[0].any()
