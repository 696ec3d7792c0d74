"""Every way to frame beside tonic's: denoise and frame the same N-MNIST recordings on one core, in one run.

    python benchmarks/framing.py [FOLDER with Train/<digit>/*.bin] [--recordings N]

Without a folder the demo's simulated recordings are used. The events are in memory; every frame is compared.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("NUMBA_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from numpy.typing import NDArray
from tonic.transforms import Denoise, Downsample, MergePolarities, ToFrame

from benchmarks.machine import describe_machine
from src.events import Events, read_recording
from src.events.datasets.nmnist import find_recordings
from src.events.framing import Framing, frame_shape, frames_of
from src.events.simulation import digits
from src.helpers import format_table

SENSOR_SIZE = (34, 34, 2)
REPEATS = 7
FRAMINGS = {
    "1500 events, overlap 1000": Framing(),
    "the same, counts": Framing(dtype="counts"),
    "windows of 50 ms": Framing("time_window", 50_000, 0),
    "8 bins of time, overlap 0.1": Framing("n_time_bins", 8, 0.1),
    "8 bins of events, overlap 0.1": Framing("n_event_bins", 8, 0.1),
    "1500 events, downsampled to 17 x 17, merged": Framing(downsample=0.5, polarities="merged"),
}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--recordings", type=int, default=200)
    arguments = parser.parse_args()
    folder = arguments.folder
    if folder is None:
        folder = Path(tempfile.mkdtemp()) / "DEMO"
        digits.create(folder, seed=0)
    every = find_recordings(folder)
    chosen = np.random.default_rng(0).permutation(len(every))[: arguments.recordings]
    recordings = [read_recording(every[i].path) for i in chosen]
    num_events = sum(len(events) for events in recordings)
    rows = []
    for name, framing in FRAMINGS.items():
        began = time.perf_counter()
        expected = [_with_tonic(events, framing) for events in recordings]
        theirs = time.perf_counter() - began
        for events, frames in zip(recordings, expected, strict=True):
            assert np.array_equal(frames_of(events, SENSOR_SIZE, framing), _flat(frames, framing))
        seconds = []
        for _ in range(REPEATS):
            began = time.perf_counter()
            for events in recordings:
                frames_of(events, SENSOR_SIZE, framing)
            seconds.append(time.perf_counter() - began)
        ours = float(np.median(seconds))
        rows.append([name, *(f"{1e9 * value / num_events:.1f}" for value in (theirs, ours)), f"{theirs / ours:.0f}"])
    print(describe_machine())
    print(f"{len(recordings)} recordings of {folder.name}, {num_events:,} events, one core, equal in every byte")
    print(format_table(["", "tonic, ns per event", "ours, ns per event", "times tonic"], rows))


def _with_tonic(events: Events, framing: Framing) -> NDArray[np.int16]:
    """Return tonic's counts [F, P, H, W]."""
    array = Denoise(framing.denoise_time)(events.to_structured())
    if framing.downsample != 1:
        array = Downsample(spatial_factor=framing.downsample)(array)
    if framing.polarities == "merged":
        array = MergePolarities()(array)
    size = {framing.mode: framing.size}
    return ToFrame(frame_shape(framing, SENSOR_SIZE)[::-1], **size, overlap=framing.overlap)(array)


def _flat(counts: NDArray[np.int16], framing: Framing) -> NDArray[np.uint8]:
    flat = counts.reshape(len(counts), -1)
    if framing.dtype == "counts":
        return np.minimum(flat, 255).astype(np.uint8)
    return np.packbits(flat > 0, axis=1, bitorder="little")


if __name__ == "__main__":
    main()
