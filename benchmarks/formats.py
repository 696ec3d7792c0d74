"""Readers of file formats beside the fastest independent readers, on one core: the same file, in turns, in one run.

    pip install evlib  # the only independent reader of EVT 2.1; the others are among the packages of the tests
    python benchmarks/formats.py [folder of sample files]

Prints CPU time as million events per second, the best of the repeats and their range; every event is compared. Files
are encoded by this project; with a folder that holds them, a camera's and N-CARS's files are read too. "Mapped" is a
format's `windows` over the file mapped from the disk, in one part; `read_recording` copies the file first.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import expelliarmus
import faery

try:
    import evlib
except ImportError:
    evlib = None
import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe_machine
from src.events import Events, read_recording
from src.events.formats import dat, evt2, evt3, evt21
from src.events.formats.file_bytes import read_bytes
from src.events.formats.prophesee import parse_header
from src.helpers import format_table
from src.reports.provenance import package_versions

REPEATS = 7
NUM_EVENTS = 20_000_000
SMALL = 1_000_000  # events; files with fewer are read ten times as often
SENSOR = (1280, 720)


@dataclass(frozen=True)
class Reader:
    """A reader of files.

    Attributes:
        name: what the table calls it.
        read: a file's path -> its events as the reader returns them; this is what is timed.
        to_events: these events -> Events, to be compared.
    """

    name: str
    read: Callable[[str], Any]
    to_events: Callable[[Any], Events]


@dataclass(frozen=True)
class Entry:
    """A row of the table for each independent reader of a file; a file without readers has a row of ours alone.

    Attributes:
        name: the format, and what file it is.
        suffix: of the file's name.
        content: makes the file's bytes.
        others: the independent readers.
        ours: how this project reads the file from its path: name -> function; the first one is compared.
    """

    name: str
    suffix: str
    content: Callable[[], bytes]
    others: list[Reader]
    ours: dict[str, Callable[[str], Events]]


def ways(windows: Callable[[NDArray[np.uint8], int], Iterator[Events]]) -> dict[str, Callable[[str], Events]]:
    """Return both ways in which a format with `windows` is read."""
    mapped = {"mapped": lambda path: next(windows(np.memmap(path, np.uint8, mode="r"), NUM_EVENTS + 1))}
    return {**mapped, "read_recording": read_recording}


def by_expelliarmus(encoding: str) -> Reader:
    """Return expelliarmus, with the buffer size that is fastest here."""
    return Reader(
        "expelliarmus",
        lambda path: expelliarmus.Wizard(encoding=encoding, buff_size=1 << 16).read(path),
        Events.from_structured,
    )


FAERY = Reader(
    "faery",
    lambda path: faery.events_stream_from_file(path).to_array(),
    lambda array: Events(array["x"], array["y"], array["t"].astype(np.int64), array["on"].astype(np.uint8)),
)


def evlib_events(frame: Any) -> Events:
    """Return the events of evlib's data frame."""
    x, y, t, p = (frame[name].to_numpy() for name in ("x", "y", "t", "polarity"))
    return Events(x.astype(np.uint16), y.astype(np.uint16), t.astype(np.int64), (p > 0).astype(np.uint8))


EVLIB = [Reader("evlib", lambda path: evlib.load_events(path).collect(), evlib_events)] if evlib else []


def entries(samples: Path | None) -> Iterator[Entry]:
    """Yield what is measured, one after the other."""
    events = simulated(NUM_EVENTS)
    evt3_readers, evt3_ways = [by_expelliarmus("evt3"), FAERY], ways(evt3.windows)
    yield Entry("EVT 3.0", ".raw", lambda: evt3.encode(events, SENSOR), evt3_readers, evt3_ways)
    metavision = ways(partial(evt3.windows, clock=evt3.METAVISION))
    metavision["read_recording"] = lambda path: evt3.decode(read_bytes(path), evt3.METAVISION)
    name = "EVT 3.0, Metavision's clock"
    yield Entry(name, ".raw", lambda: evt3.encode(events, SENSOR, evt3.METAVISION), [FAERY, *EVLIB], metavision)
    yield Entry("EVT 2.1", ".raw", lambda: evt21.encode(events, SENSOR), EVLIB, ways(evt21.windows))
    evt2_readers = [by_expelliarmus("evt2"), FAERY]
    yield Entry("EVT 2.0", ".raw", lambda: evt2.encode(events, SENSOR), evt2_readers, ways(evt2.windows))
    dat_readers, dat_ways = [by_expelliarmus("dat"), FAERY], ways(dat.windows)
    yield Entry("DAT", ".dat", lambda: dat.encode(events, SENSOR), dat_readers, dat_ways)
    if samples:
        camera, ncars = (samples / "evt3_sample.raw").read_bytes(), (samples / "ncars.dat").read_bytes()
        yield Entry("EVT 3.0, a camera's file", ".raw", lambda: camera, evt3_readers, evt3_ways)
        name = "EVT 3.0, a camera's file, Metavision's clock"
        yield Entry(name, ".raw", lambda: camera, [FAERY, *EVLIB], metavision)
        yield Entry("EVT 3.0, its words 90 times", ".raw", lambda: repeated(camera, 90), evt3_readers, evt3_ways)
        yield Entry("DAT, a file of N-CARS", ".dat", lambda: ncars, dat_readers[:1], dat_ways)


def simulated(n: int) -> Events:
    """Return events in the order of time: short runs side by side in a row, two microseconds apart on average."""
    rng = np.random.default_rng(0)
    starts = rng.random(n) < 0.6
    run = np.cumsum(starts)
    place = np.arange(n) - np.flatnonzero(np.concatenate([[True], starts[1:]]))[run - run[0]]
    return Events(
        (rng.integers(0, SENSOR[0] - 64, n + 1)[run] + np.minimum(place, 63)).astype(np.uint16),
        rng.integers(0, SENSOR[1], n + 1)[run].astype(np.uint16),
        np.cumsum(np.where(starts, rng.integers(0, 5, n), 0)),
        rng.integers(0, 2, n + 1)[run].astype(np.uint8),
    )


def repeated(content: bytes, times: int) -> bytes:
    """Return a RAW file whose words come several times."""
    end = parse_header(content).end
    return content[:end] + content[end:] * times


def rows(entry: Entry, path: str) -> list[list[str]]:
    """Compare and time the readers of a file in turns; return a row for each independent reader."""
    ours = [read(path) for read in entry.ours.values()]
    assert all(not differing(ours[0], events) for events in ours)
    equal = []
    for reader in entry.others:
        equal.append(comparison(ours[0], reader.to_events(reader.read(path))))
    num_events = len(ours[0])
    del ours
    reads = {**entry.ours, **{reader.name: reader.read for reader in entry.others}}
    times: dict[str, list[float]] = {name: [] for name in reads}
    for _ in range(REPEATS if num_events > SMALL else 10 * REPEATS):
        for name, read in reads.items():
            began = time.process_time()
            read(path)
            times[name].append(time.process_time() - began)
    rates = {name: [num_events / seconds / 1e6 for seconds in spent] for name, spent in times.items()}
    cells = {name: f"{max(r):.0f} ({min(r):.0f}, {statistics.median(r):.0f})" for name, r in rates.items()}
    first = [entry.name, f"{num_events:,}", f"{Path(path).stat().st_size / num_events:.1f}"]
    first += [cells.get(name, "") for name in ("mapped", "read_recording")]
    best = max(max(rates[name]) for name in entry.ours)
    return [
        [*first, name, cells[name], f"{best / max(rates[name]):.1f}", is_equal]
        for name, is_equal in zip((reader.name for reader in entry.others), equal, strict=True)
    ] or [[*first, "", "", "", ""]]


def differing(a: Events, b: Events) -> list[str]:
    """Return the fields in which two recordings differ."""
    return [field for field in "xytp" if not np.array_equal(getattr(a, field), getattr(b, field))]


def comparison(a: Events, b: Events) -> str:
    """Say whether two recordings are equal; a reader may have sorted events of one time."""
    fields = differing(a, b)
    if not fields:
        return "yes"
    keys = [np.sort((e.t << 25) + (e.y.astype(np.int64) << 13) + (e.x.astype(np.int64) << 1) + e.p) for e in (a, b)]
    return "yes, in another order" if np.array_equal(keys[0], keys[1]) else f"all but {', '.join(fields)}"


def main() -> None:
    """Run the benchmark."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    samples = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    table = []
    for entry in entries(samples):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"recording{entry.suffix}")
            path.write_bytes(entry.content())
            table += rows(entry, str(path))
    versions = package_versions(("expelliarmus", "faery", "evlib"))
    print(f"{describe_machine()}, {', '.join(f'{name} {number}' for name, number in versions.items())}")
    print(
        f"Million events per second of CPU time: best (worst, median) of {REPEATS} repeats, small files {10 * REPEATS}"
    )
    header = ["format", "events", "bytes per event", "ours, mapped", "ours, read_recording", "independent reader"]
    header += ["theirs", "times", "events equal"]
    print(format_table(header, table))


if __name__ == "__main__":
    main()
