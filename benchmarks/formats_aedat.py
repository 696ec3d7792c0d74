"""Readers of AEDAT, N-MNIST and Event Stream files beside the fastest independent ones, on one core, in one run.

    pip install aedat dv-processing event_stream faery tonic
    python benchmarks/formats_aedat.py [real N-Caltech101 recording]

Readers that are not installed are left out. The files are written from one random recording per sensor; every event is
compared. Times include reading the file, which the system has in memory. A reader's arrays are what it gives: ours are
x, y, t and p; theirs are structured, or packets that would still have to be joined.
"""

import importlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from tonic import datasets, io

from benchmarks.machine import describe_machine
from src.events import Events, read_recording
from src.events.formats import aedat2, aedat3, aedat4, event_stream, nmnist_bin
from src.helpers import format_table
from src.registry import FILE_FORMATS

REPEATS = 11
NUM_EVENTS = 1_000_000
WINDOW = 100_000  # events
DAVIS346 = "eu.seebetter.ini.chips.davis.Davis346red"

Reader = Callable[[Path], Any]


def main() -> None:
    """Run the benchmark."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as temporary:
        rows = [row(name, path, *readers) for name, path, *readers in files(Path(temporary))]
    print(describe_machine())
    print(f"million events per second of one core, median (min to max) of {REPEATS}; windows of {WINDOW:,} events")
    header = ["format", "independent reader", "events equal", "ours", "theirs", "times theirs", "ours in windows"]
    print(format_table(header, rows))


def files(folder: Path) -> list[tuple[Any, ...]]:
    """Return (format, path, reader's name, reader, what turns its result into Events) of each file."""
    dvs, davis, slow = recording(128, 128), recording(346, 260), recording(240, 180, microseconds=2**23 - 1)
    written = {
        "AEDAT 4, LZ4": (aedat4.encode(davis, (346, 260)), "a.aedat4", [aedat_package, dv_processing, faery_aedat]),
        "AEDAT 4, ZSTD": (aedat4.encode(davis, (346, 260), aedat4.ZSTD), "b.aedat4", [aedat_package, dv_processing]),
        "AEDAT 3.1": (aedat3.encode(dvs), "a3.aedat", [tonic_aedat3]),
        "AEDAT 2.0, DVS128": (aedat2.encode(dvs), "a2.aedat", [tonic_dvs128]),
        "AEDAT 2.0, DAVIS346": (aedat2.encode(davis, DAVIS346), "b2.aedat", [tonic_davis346]),
        "N-MNIST's .bin": (nmnist_bin.encode(slow), "a.bin", [tonic_bin]),
        "Event Stream, DVS": (event_stream.encode(dvs, (128, 128)), "a.es", [event_stream_package, faery_es]),
        "Event Stream, ATIS": (
            event_stream.encode(dvs, (128, 128), event_stream.ATIS),
            "b.es",
            [event_stream_package, faery_es],
        ),
    }
    if len(sys.argv) > 1:
        written["N-Caltech101, real"] = (Path(sys.argv[1]).read_bytes(), "real.bin", [tonic_bin])
    found = []
    for name, (content, file_name, makers) in written.items():
        (folder / file_name).write_bytes(content)
        for make in makers:
            try:
                found.append((name, folder / file_name, *make()))
            except ImportError as error:
                print(f"left out: {error.name}")
    return found


def recording(width: int, height: int, microseconds: int = 10**7) -> Events:
    """Return random events in the order of time."""
    rng = np.random.default_rng(0)
    return Events(
        rng.integers(0, width, NUM_EVENTS).astype(np.uint16),
        rng.integers(0, height, NUM_EVENTS).astype(np.uint16),
        np.sort(rng.integers(0, microseconds, NUM_EVENTS)),
        rng.integers(0, 2, NUM_EVENTS).astype(np.uint8),
    )


def events_of(x: Any, y: Any, t: Any, p: Any) -> Events:
    """Return Events of arrays of any integer types."""
    x, y, t, p = (np.asarray(values).astype(np.int64) for values in (x, y, t, p))
    return Events(x, y, t, p)


def aedat_package() -> tuple[str, Reader, Callable[[Any], Events]]:
    """The aedat package, which tonic uses."""
    aedat = importlib.import_module("aedat")

    def to_events(packets: list[Any]) -> Events:
        events = np.concatenate(packets)
        return events_of(events["x"], events["y"], events["t"], events["on"])

    return "aedat", lambda path: [packet["events"] for packet in aedat.Decoder(path)], to_events


def dv_processing() -> tuple[str, Reader, Callable[[Any], Events]]:
    """iniVation's own library."""
    dv = importlib.import_module("dv_processing")

    def read(path: Path) -> list[Any]:
        recording = dv.io.MonoCameraRecording(str(path))
        packets = []
        while (events := recording.getNextEventBatch()) is not None:
            packets.append(events.numpy())
        return packets

    def to_events(packets: list[Any]) -> Events:
        events = np.concatenate(packets)
        return events_of(events["x"], events["y"], events["timestamp"], events["polarity"])

    return "dv-processing", read, to_events


def faery_aedat() -> tuple[str, Reader, Callable[[Any], Events]]:
    """faery's stream of events."""
    faery = importlib.import_module("faery")
    return (
        "faery",
        lambda path: faery.events_stream_from_file(path).to_array(),
        lambda events: events_of(events["x"], events["y"], events["t"], events["on"]),
    )


faery_es = faery_aedat


def event_stream_package() -> tuple[str, Reader, Callable[[Any], Events]]:
    """The event_stream package, of the format's author; y is counted from the bottom."""
    package = importlib.import_module("event_stream")

    def read(path: Path) -> tuple[int, list[Any]]:
        with package.Decoder(str(path)) as decoder:
            return decoder.height, list(decoder)

    def to_events(result: tuple[int, list[Any]]) -> Events:
        height, packets = result
        events = np.concatenate(packets)
        return events_of(events["x"], height - 1 - events["y"].astype(np.int64), events["t"], events["p"])

    return "event_stream", read, to_events


def tonic_words(path: Path) -> Any:
    """Return addresses and timestamps of an AEDAT 2.0 or 3.1 file by tonic."""
    version, begin, _ = io.read_aedat_header_from_file(str(path))
    return io.get_aer_events_from_file(str(path), version, begin)


def tonic_aedat3() -> tuple[str, Reader, Callable[[Any], Events]]:
    """What `tonic.io.read_dvs_ibm` does; as it is, it fails, because it expects fewer values of the header's reader."""

    def read(path: Path) -> Any:
        words = tonic_words(path)
        address = words["address"]
        x, y, p = address >> 17 & 0x1FFF, address >> 2 & 0x1FFF, address >> 1 & 1
        return io.make_structured_array(x, y, words["timeStamp"], p)

    return "tonic", read, Events.from_structured


def tonic_dvs128() -> tuple[str, Reader, Callable[[Any], Events]]:
    """What `tonic.io.read_dvs_128` does; as it is, it fails. It turns and inverts nothing."""

    def read(path: Path) -> Any:
        words = tonic_words(path)
        address = words["address"]
        x, y, p = address >> 8 & 0x7F, address >> 1 & 0x7F, address & 1
        return io.make_structured_array(x, y, words["timeStamp"], p)

    def to_events(events: Any) -> Events:
        return events_of(127 - events["x"], 127 - events["y"], events["t"], 1 - events["p"].astype(np.int64))

    return "tonic", read, to_events


def tonic_davis346() -> tuple[str, Reader, Callable[[Any], Events]]:
    """What `tonic.io.read_davis_346` does."""

    def read(path: Path) -> Any:
        words = tonic_words(path)
        address = words["address"]
        x, y = 345 - ((address & 4190208) >> 12), 259 - ((address & 2143289344) >> 22)
        return io.make_structured_array(x, y, words["timeStamp"], (address & 2048) >> 11)

    return "tonic", read, Events.from_structured


def tonic_bin() -> tuple[str, Reader, Callable[[Any], Events]]:
    """`tonic.io.read_mnist_file`."""
    return "tonic", lambda path: io.read_mnist_file(path, datasets.NMNIST.dtype), Events.from_structured


def in_windows(path: Path) -> int:
    """Read a file in windows, and return its number of events."""
    content = np.memmap(path, np.uint8, "r")
    file_format = next(
        found for found in map(FILE_FORMATS.load, FILE_FORMATS) if found.knows(content[:64].tobytes(), path.suffix)
    )
    return sum(map(len, file_format.windows(content, WINDOW)))


def row(name: str, path: Path, reader: str, read: Reader, to_events: Callable[[Any], Events]) -> list[str]:
    """Compare the events, then time the readers in turns."""
    ours, theirs = read_recording(path), to_events(read(path))
    assert len(ours) == in_windows(path)
    is_equal = all(np.array_equal(getattr(ours, field), getattr(theirs, field)) for field in "xytp")
    rates: dict[str, list[float]] = {"ours": [], "theirs": [], "windows": []}
    for _ in range(REPEATS):
        for who, call in (("ours", read_recording), ("theirs", read), ("windows", in_windows)):
            began = time.perf_counter()
            call(path)
            rates[who].append(len(ours) / (time.perf_counter() - began) / 1e6)
    cells = {k: f"{statistics.median(v):.0f} ({min(v):.0f} to {max(v):.0f})" for k, v in rates.items()}
    times = f"{statistics.median(rates['ours']) / statistics.median(rates['theirs']):.1f}"
    equal = f"all {len(ours):,}" if is_equal else "NO"
    return [name, reader, equal, cells["ours"], cells["theirs"], times, cells["windows"]]


if __name__ == "__main__":
    main()
