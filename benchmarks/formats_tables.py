"""Readers of HDF5, NumPy and text files beside independent ones, on one core, in one run.

    pip install h5py pandas faery
    python benchmarks/formats_tables.py

Readers that are not installed are left out. Each file holds a random recording; every event is compared. It has
a million events. HDF5 files that are not compressed also have ten million, since finding the datasets takes a few
milliseconds. Times are CPU times and include reading the file, which the system has in memory. A reader's result is
what it gives: ours are x, y, t in microseconds and p; theirs may be a table of floating-point numbers in seconds, or
what lies in the file ("datasets", "rows"). Ours also checks every event.
"""

import importlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import h5py
import numpy as np

from benchmarks.machine import describe_machine
from src.events import Events, read_recording
from src.events.formats import hdf5, npy, npz, text
from src.helpers import format_table
from src.registry import FILE_FORMATS

REPEATS = 7
NUM_EVENTS, MANY_EVENTS = 1_000_000, 10_000_000
DSEC_OFFSET = 49_599_300_523  # microseconds, as in a file of DSEC
WINDOW = 100_000  # events
LARGEST_BEGINNING = 1 << 16  # bytes that tell the format

Reader = Callable[[Path], Any]
Readers = dict[str, tuple[Reader, Callable[[Any], Events]]]


def main() -> None:
    """Run the benchmark."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as temporary:
        rows = [
            row(name, path, reader, *functions)
            for name, path, readers in files(Path(temporary))
            for reader, functions in readers.items()
        ]
    print(describe_machine())
    print(f"million events per second of CPU time, one core, median (min to max) of {REPEATS}")
    header = ["format", "independent reader", "events equal", "ours", "theirs", "times theirs", "ours in windows"]
    print(format_table(header, rows))


def files(folder: Path) -> Iterator[tuple[str, Path, Readers]]:
    """Write the recording in each format, and return what reads it."""
    events, many = recording(NUM_EVENTS), recording(MANY_EVENTS)
    for some, compression in ((events, None), (events, "gzip"), (events, "lzf"), (many, None)):
        later = replace(some, t=some.t + DSEC_OFFSET)
        path = written(folder, hdf5.encode(later, "dsec", compression, t_offset=DSEC_OFFSET))
        yield f"HDF5 of DSEC, {compression or 'not compressed'}", path, dsec_readers()
    path = written(folder, hdf5.encode(events, "m3ed", "gzip", (640, 480)))
    yield "HDF5 of M3ED, gzip", path, {"h5py": (m3ed, lambda arrays: Events(*arrays))}
    for some in (events, many):
        path = written(folder, hdf5.encode(some, "metavision", None, (640, 480)))
        yield "HDF5 of Metavision, not compressed", path, rows_readers("h5py", metavision)
    path = written(folder, hdf5.encode(events, "v2e", "gzip"))
    yield "HDF5 of v2e, gzip", path, {"h5py": (v2e, lambda rows: events_of(*rows.T))}
    path = written(folder, npy.encode(events))
    yield ".npy of Metavision's type", path, rows_readers("numpy.load", np.load)
    path = written(folder, npy.encode(events, [(name, np.int64) for name in "xytp"]))
    yield ".npy of tonic's type", path, rows_readers("numpy.load", np.load)
    for is_deflated in (False, True):
        path = written(folder, npz.encode(events, is_deflated=is_deflated))
        readers: Readers = {"numpy.load": (load_npz, lambda arrays: Events(*arrays))}
        yield ".npz, deflated" if is_deflated else ".npz, stored", path, readers
    yield "text, seconds", written(folder, text.encode(events)), text_readers(" ", 1e6, has_header=False)
    content = text.encode(events, separator=",", unit="us", header="t,x,y,p\n")
    yield "CSV, microseconds", written(folder, content, ".csv"), text_readers(",", 1, has_header=True)


def recording(num_events: int) -> Events:
    """Return random events in the order of time."""
    rng = np.random.default_rng(0)
    return Events(
        rng.integers(0, 640, num_events).astype(np.uint16),
        rng.integers(0, 480, num_events).astype(np.uint16),
        np.sort(rng.integers(0, 10**7, num_events)),
        rng.integers(0, 2, num_events).astype(np.uint8),
    )


def written(folder: Path, content: bytes, suffix: str = "") -> Path:
    """Write a file, and return its path."""
    path = folder / f"{len(list(folder.iterdir()))}{suffix}"
    path.write_bytes(content)
    return path


def dsec_readers() -> Readers:
    """h5py's datasets as they lie in a file of DSEC, and with timestamps as DSEC's tools and tonic make them."""

    def datasets(path: Path) -> list[Any]:
        with h5py.File(path) as file:
            return [file[f"events/{name}"][:] for name in "xytp"]

    def microseconds(path: Path) -> list[Any]:
        with h5py.File(path) as file:
            x, y, t, p = (file[f"events/{name}"][:] for name in "xytp")
            return [x, y, np.add(t, file["t_offset"][()], dtype=np.int64), p]

    return {
        "h5py, datasets": (
            datasets,
            lambda arrays: Events(arrays[0], arrays[1], arrays[2] + np.int64(DSEC_OFFSET), arrays[3]),
        ),
        "h5py, microseconds": (microseconds, lambda arrays: Events(*arrays)),
    }


def m3ed(path: Path) -> list[Any]:
    """Return the datasets of M3ED's left camera, whose timestamps are microseconds."""
    with h5py.File(path) as file:
        return [file[f"prophesee/left/{name}"][:] for name in "xytp"]


def rows_readers(name: str, read: Reader) -> Readers:
    """A reader that gives a structured array, alone and with what makes four arrays of it, as ours are."""
    return {
        f"{name}, rows": (read, Events.from_structured),
        f"{name}, columns": (lambda path: Events.from_structured(read(path)), lambda events: events),
    }


def metavision(path: Path) -> Any:
    """Return the rows of Metavision's dataset."""
    with h5py.File(path) as file:
        return file["CD/events"][:]


def v2e(path: Path) -> Any:
    """Return the rows of v2e's dataset."""
    with h5py.File(path) as file:
        return file["events"][:]


def load_npz(path: Path) -> list[Any]:
    """Return the arrays of an archive."""
    with np.load(path) as arrays:
        return [arrays[name] for name in "xytp"]


def text_readers(separator: str, scale: float, has_header: bool) -> Readers:
    """numpy.loadtxt, pandas and faery, as far as they are installed and read the file."""

    def to_events(rows: Any) -> Events:
        return events_of(np.rint(rows[:, 0] * scale), *rows[:, 1:].T)

    readers: Readers = {
        "numpy.loadtxt": (lambda path: np.loadtxt(path, delimiter=separator, skiprows=int(has_header)), to_events)
    }
    try:
        pandas = importlib.import_module("pandas")
        readers["pandas.read_csv"] = (
            lambda path: pandas.read_csv(path, sep=separator, header=0 if has_header else None),
            lambda frame: to_events(frame.to_numpy()),
        )
    except ImportError:
        print("left out: pandas")
    try:
        faery = importlib.import_module("faery")
    except ImportError:
        print("left out: faery")
        return readers
    if has_header:  # it takes timestamps for integers
        readers["faery"] = (
            lambda path: faery.events_stream_from_file(path, dimensions_fallback=(640, 480)).to_array(),
            lambda rows: events_of(rows["t"], rows["x"], rows["y"], rows["on"]),
        )
    return readers


def events_of(t: Any, x: Any, y: Any, p: Any) -> Events:
    """Return Events of arrays of any types."""
    t, x, y, p = (np.asarray(values).astype(np.int64) for values in (t, x, y, p))
    return Events(x, y, t, p)


def in_windows(path: Path) -> int:
    """Read a file in windows, and return its number of events."""
    content = np.memmap(path, np.uint8, "r")
    beginning = content[:LARGEST_BEGINNING].tobytes()
    found = (entry for entry in map(FILE_FORMATS.load, FILE_FORMATS) if entry.knows(beginning, path.suffix))
    return sum(map(len, next(found).windows(content, WINDOW)))


def row(name: str, path: Path, reader: str, read: Reader, to_events: Callable[[Any], Events]) -> list[str]:
    """Compare the events, then time the readers in turns."""
    ours, theirs = read_recording(path), to_events(read(path))
    assert len(ours) == in_windows(path)
    is_equal = all(np.array_equal(getattr(ours, field), getattr(theirs, field)) for field in "xytp")
    rates: dict[str, list[float]] = {"ours": [], "theirs": [], "windows": []}
    for _ in range(REPEATS):
        for who, call in (("ours", read_recording), ("theirs", read), ("windows", in_windows)):
            began = time.process_time()
            call(path)
            rates[who].append(len(ours) / (time.process_time() - began) / 1e6)
    cells = {who: f"{statistics.median(r):.1f} ({min(r):.1f} to {max(r):.1f})" for who, r in rates.items()}
    times = f"{statistics.median(rates['ours']) / statistics.median(rates['theirs']):.1f}"
    equal = f"all {len(ours):,}" if is_equal else "NO"
    return [name, reader, equal, cells["ours"], cells["theirs"], times, cells["windows"]]


if __name__ == "__main__":
    main()
