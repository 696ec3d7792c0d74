"""Events to frames beside tonic's: decode, denoise and frame the same N-MNIST recordings on one core, in one run.

    python benchmarks/prepare.py [FOLDER with Train/<digit>/*.bin] [--recordings N]

Without a folder the demo's simulated recordings are used. Prints a table; every frame is compared bit by bit.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("NUMBA_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from tonic import datasets
from tonic.io import read_mnist_file
from tonic.transforms import Denoise, ToFrame

from benchmarks.machine import describe_machine
from src.events import demo, denoise, nmnist, read_recording, to_frames
from src.events.frames import to_packed_frames
from src.helpers import format_table

SENSOR_SIZE = (34, 34, 2)
EVENTS_PER_FRAME, OVERLAP, DENOISE_TIME = 1500, 1000, 1200
REPEATS = 7


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--recordings", type=int, default=200)
    arguments = parser.parse_args()
    folder = arguments.folder
    if folder is None:
        folder = Path(tempfile.mkdtemp()) / "DEMO"
        demo.create(folder, seed=0)
    every = nmnist.find_recordings(folder)
    chosen = np.random.default_rng(0).permutation(len(every))[: arguments.recordings]
    paths = [every[i].path for i in chosen]
    num_events = sum(len(read_recording(path)) for path in paths)

    tonic_denoise = Denoise(DENOISE_TIME)
    tonic_frame = ToFrame(SENSOR_SIZE, event_count=EVENTS_PER_FRAME, overlap=OVERLAP)

    def with_tonic() -> list[np.ndarray]:
        return [tonic_frame(tonic_denoise(read_mnist_file(str(path), datasets.NMNIST.dtype))) > 0 for path in paths]

    def with_functions() -> list[np.ndarray]:
        return [
            to_frames(denoise(read_recording(path), DENOISE_TIME), SENSOR_SIZE, EVENTS_PER_FRAME, OVERLAP)
            for path in paths
        ]

    def fused() -> list[np.ndarray]:
        return [
            to_packed_frames(read_recording(path), SENSOR_SIZE, EVENTS_PER_FRAME, OVERLAP, DENOISE_TIME)
            for path in paths
        ]

    raw = [np.frombuffer(path.read_bytes(), np.uint8) for path in paths]

    def from_memory() -> list[np.ndarray]:
        return [
            to_packed_frames(nmnist.decode(content), SENSOR_SIZE, EVENTS_PER_FRAME, OVERLAP, DENOISE_TIME)
            for content in raw
        ]

    expected = with_tonic()
    for ours, packed, theirs in zip(with_functions(), fused(), expected, strict=True):
        assert np.array_equal(ours, theirs)
        assert np.array_equal(packed, np.packbits(theirs.reshape(len(theirs), -1), axis=1, bitorder="little"))

    seconds = _interleaved({"tonic": with_tonic, "functions": with_functions, "fused": fused, "memory": from_memory})
    names = {
        "tonic": "tonic: read_mnist_file, Denoise, ToFrame",
        "functions": "read_recording, denoise, to_frames",
        "fused": "read_recording, to_packed_frames (as prepare does)",
        "memory": "the same, files already in memory",
    }
    rows = [
        [
            names[key],
            f"{num_events / times[0] / 1e6:.2f}",
            f"{1e9 * times[0] / num_events:.2f}",
            f"{min(times) / times[0]:.2f} to {max(times) / times[0]:.2f}",
            f"{seconds['tonic'][0] / times[0]:.0f}",
        ]
        for key, times in seconds.items()
    ]
    print(describe_machine())
    print(f"{len(paths)} recordings of {folder.name}, {num_events:,} events, one core, equal bit by bit")
    print(format_table(["", "million events/s", "ns an event", "spread", "times tonic"], rows))


def _interleaved(functions: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Seconds of each function: the median first, then all; run in turns so that a slow spell hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(REPEATS):
        for name, function in functions.items():
            began = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - began)
    return {name: [statistics.median(values), *values] for name, values in times.items()}


if __name__ == "__main__":
    main()
