"""Readers of recordings beside tonic's, on one core: simulated recordings of CIFAR10-DVS and of the demo, in one run.

    python benchmarks/readers.py

Prints CPU time per recording; every event is compared.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import aedat
import numpy as np
from tonic import datasets
from tonic.io import read_aedat4, read_mnist_file

from benchmarks.machine import describe_machine
from src.events import Events, read_recording
from src.events.datasets.cifar10dvs import CIFAR10DVS
from src.events.datasets.nmnist import find_recordings
from src.events.formats import aedat2, aedat4
from src.events.simulation import digits
from src.helpers import format_table

REPEATS = 15


def main() -> None:
    """Run the benchmark."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        digits.create_cifar10dvs(folder / "CIFAR10DVS", recordings_per_class=1, seed=0)
        digits.create(folder / "DEMO", seed=0)
        lz4 = [recording.path for recording in CIFAR10DVS.find_recordings(folder / "CIFAR10DVS")]
        files = {
            "AEDAT 4, LZ4": (lz4, by_tonic),
            "AEDAT 4, ZSTD": (converted(lz4, ".zstd", lambda e: aedat4.encode(e, (128, 128), aedat4.ZSTD)), by_tonic),
            "AEDAT 4, not compressed": (
                converted(lz4, ".none", lambda e: aedat4.encode(e, (128, 128), aedat4.NONE)),
                by_tonic,
            ),
            "AEDAT 2.0": (converted(lz4, ".aedat2", aedat2.encode), None),
            "N-MNIST": ([r.path for r in find_recordings(folder / "DEMO")[:200]], mnist_by_tonic),
        }
        rows = [row(name, paths, theirs) for name, (paths, theirs) in files.items()]
    print(describe_machine())
    print("CPU time of one core, medians; equal event by event")
    header = ["format", "events", "ours, ms", "million events/s", "tonic, ms", "times tonic", "aedat alone, ms"]
    print(format_table(header, rows))


def converted(paths: list[str], suffix: str, encode: Callable[[Events], bytes]) -> list[str]:
    """Write the same recordings in another format beside them, and return their paths."""
    for path in paths:
        Path(path + suffix).write_bytes(encode(read_recording(path)))
    return [path + suffix for path in paths]


def by_tonic(path: str) -> Events:
    """Return the events of an AEDAT 4 file, by tonic's reader."""
    events = read_aedat4(path)
    return Events(events["x"], events["y"], events["t"].view(np.int64), events["on"].view(np.uint8))


def mnist_by_tonic(path: str) -> Events:
    """Return the events of an N-MNIST file, by tonic's reader."""
    return Events.from_structured(read_mnist_file(path, datasets.NMNIST.dtype))


def row(name: str, paths: list[str], theirs: Callable[[str], Events] | None) -> list[str]:
    """Print the times of one format, with the readers in turns."""
    readers: dict[str, Callable[[str], object]] = {"ours": read_recording}
    if theirs:
        for path in paths:
            ours, expected = read_recording(path), theirs(path)
            assert all(np.array_equal(getattr(ours, field), getattr(expected, field)) for field in "xytp")
        readers["tonic"] = theirs
    if theirs is by_tonic:
        readers["aedat"] = lambda path: [packet["events"] for packet in aedat.Decoder(path)]
    times: dict[str, list[float]] = {reader: [] for reader in readers}
    for _ in range(REPEATS):
        for reader, read in readers.items():
            began = time.process_time()
            for path in paths:
                read(path)
            times[reader].append(1e3 * (time.process_time() - began) / len(paths))
    median = {reader: statistics.median(values) for reader, values in times.items()}
    num_events = np.mean([len(read_recording(path)) for path in paths])
    return [
        name,
        f"{num_events:,.0f}",
        f"{median['ours']:.2f}",
        f"{num_events / median['ours'] / 1e3:.0f}",
        f"{median['tonic']:.2f}" if "tonic" in median else "",
        f"{median['tonic'] / median['ours']:.1f}" if "tonic" in median else "",
        f"{median['aedat']:.2f}" if "aedat" in median else "",
    ]


if __name__ == "__main__":
    main()
