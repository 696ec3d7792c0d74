"""Events to frames beside tonic's: the same recordings, in one run.

    python benchmarks/prepare.py [FOLDER with Train/<digit>/*.bin] [--recordings N] [--scale]

First decode, denoise and frame, on one core; every frame is compared bit by bit. Without a folder the demo's simulated
recordings are used. With --scale then whole preparations, from listing files to a verified cache on both storages, on
one core and with two processes: the folder's recordings repeated to N-MNIST's 70,000, and 200 simulated ones of
CIFAR10-DVS. tonic only reads, denoises and frames a part of them. The seconds of the whole command, with its start and
its picture, stand beside those of the preparation alone, which the ratio is taken from.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("NUMBA_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from tonic import datasets
from tonic.io import read_aedat4, read_mnist_file
from tonic.transforms import Denoise, ToFrame

from benchmarks.machine import describe_machine
from src.command_line import StopSignals
from src.config import Config
from src.events import denoise, read_recording, to_frames
from src.events.datasets import get_dataset
from src.events.datasets.nmnist import find_recordings
from src.events.formats import nmnist_bin
from src.events.framing import Framing, frames_of
from src.events.simulation import digits
from src.frame_cache.framing_options import framing_of
from src.helpers import format_size, format_table

REPOSITORY = Path(__file__).resolve().parents[1]
SENSOR_SIZE = (34, 34, 2)
EVENTS_PER_FRAME, OVERLAP, DENOISE_TIME = 1500, 1000, 1200
FRAMING = Framing("event_count", EVENTS_PER_FRAME, OVERLAP, denoise_time=DENOISE_TIME)
REPEATS = 7


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--recordings", type=int, default=200)
    parser.add_argument("--scale", action="store_true", help="whole preparations too")
    arguments = parser.parse_args()
    folder = arguments.folder
    if folder is None:
        folder = Path(tempfile.mkdtemp()) / "DEMO"
        digits.create(folder, seed=0)
    every = find_recordings(folder)
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
        return [frames_of(read_recording(path), SENSOR_SIZE, FRAMING) for path in paths]

    raw = [np.frombuffer(Path(path).read_bytes(), np.uint8) for path in paths]

    def from_memory() -> list[np.ndarray]:
        return [frames_of(nmnist_bin.decode(content), SENSOR_SIZE, FRAMING) for content in raw]

    expected = with_tonic()
    for ours, packed, theirs in zip(with_functions(), fused(), expected, strict=True):
        assert np.array_equal(ours, theirs)
        assert np.array_equal(packed, np.packbits(theirs.reshape(len(theirs), -1), axis=1, bitorder="little"))

    seconds = _interleaved({"tonic": with_tonic, "functions": with_functions, "fused": fused, "memory": from_memory})
    names = {
        "tonic": "tonic: read_mnist_file, Denoise, ToFrame",
        "functions": "read_recording, denoise, to_frames",
        "fused": "read_recording, frames_of (as prepare does)",
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
    print(format_table(["", "million events/s", "ns per event", "spread", "times tonic"], rows))
    if arguments.scale:
        with tempfile.TemporaryDirectory() as scratch:
            _scale(folder, Path(scratch))


def _scale(nmnist_folder: Path, scratch: Path) -> None:
    print(f"\nfrom files to a cache, {describe_machine()}")
    print("repeating the N-MNIST recordings and simulating CIFAR10-DVS", file=sys.stderr)
    _repeat(nmnist_folder, scratch / "recordings" / "NMNIST")
    digits.create_cifar10dvs(scratch / "recordings" / "CIFAR10DVS", recordings_per_class=20, seed=0)
    rows = []
    for config, parts, read in (
        ("prepare_nmnist", 200, lambda path: read_mnist_file(path, datasets.NMNIST.dtype)),
        ("prepare_cifar10dvs", 6, _read_as_tonic_s_dataset),
    ):
        data = Config.from_yaml(REPOSITORY / "configs" / f"{config}.yaml").data
        dataset = get_dataset(data.name)
        recordings = dataset.find_recordings(scratch / "recordings" / dataset.folder)
        num_events = _count_events([recording.path for recording in recordings])
        chosen = [recordings[i].path for i in np.random.default_rng(0).permutation(len(recordings))[:parts]]
        tonic_denoise = Denoise(data.denoise_time)
        framing = framing_of(data)
        tonic_frame = ToFrame(dataset.sensor_size, event_count=framing.size, overlap=int(framing.overlap))
        began = time.perf_counter()
        for path in chosen:
            tonic_frame(tonic_denoise(read(path)))
        tonic_speed = sum(len(read_recording(path)) for path in chosen) / (time.perf_counter() - began)
        rows.append([f"{dataset.name}: tonic, {parts} recordings", "", "", f"{tonic_speed / 1e6:.2f}", "", "1"])
        for processes in (1, 2):
            command, seconds, memory = _prepare(config, scratch, processes)
            speed = num_events / seconds
            name = (
                f"{dataset.name}: {len(recordings):,} recordings, {num_events / 1e6:.0f} million events, {processes} "
            )
            name += "process" if processes == 1 else "processes"
            rows.append(
                [
                    name,
                    f"{command:.1f}",
                    f"{seconds:.2f}",
                    f"{speed / 1e6:.2f}",
                    format_size(memory),
                    f"{speed / tonic_speed:.0f}",
                ]
            )
    print(format_table(["", "command s", "preparation s", "million events/s", "peak memory", "times tonic"], rows))


def _read_as_tonic_s_dataset(path: str) -> np.ndarray:
    """Read a recording as tonic.datasets.CIFAR10DVS does."""
    events = read_aedat4(path)
    events.dtype.names = ["t", "x", "y", "p"]
    return events


def _repeat(source: Path, target: Path) -> None:
    """Make 60,000 and 10,000 hard links to copies of the recordings."""
    for split, total in (("Train", 60_000), ("Test", 10_000)):
        copies = []
        for path in sorted((source / split).glob("*/*.bin")):
            copies.append(target.parent / "copies" / split / path.parent.name / path.name)
            copies[-1].parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copies[-1])
        for number in range(total):
            copy = copies[number % len(copies)]
            link = target / split / copy.parent.name / f"{number:05d}.bin"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.hardlink_to(copy)


def _count_events(paths: list[str]) -> int:
    counts: dict[int, int] = {}
    total = 0
    for path in paths:
        inode = os.stat(path).st_ino  # noqa: PTH116 - a Path for each of 70,000 takes seconds
        if inode not in counts:
            counts[inode] = len(read_recording(path))
        total += counts[inode]
    return total


def _prepare(config: str, scratch: Path, processes: int) -> tuple[float, float, int]:
    """Return the seconds of the command, the median of a preparation alone, and its processes' peak bytes together."""
    variables = {
        **os.environ,
        "PROJECT_STORAGE_DIR": str(scratch / "project"),
        "SCRATCH_STORAGE_DIR": str(scratch / "fast"),
    }
    overrides = f"data.data_root={scratch / 'recordings'} data.num_threads={processes} data.reset_cache=true"
    on_cores = ["taskset", "-c", str(max(os.sched_getaffinity(0)))] if processes == 1 else []
    found = []
    most = 0
    for arguments in (
        ["prepare_data.py", f"configs/{config}.yaml", "--override", overrides],
        ["-c", f"from benchmarks.prepare import time_prepare; time_prepare({config!r}, {overrides!r})"],
    ):
        began = time.perf_counter()
        process = subprocess.Popen(
            [*on_cores, sys.executable, *arguments],
            cwd=REPOSITORY,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while process.poll() is None:
            most = max(most, _memory_of(process.pid))
            time.sleep(0.02)
        seconds = time.perf_counter() - began
        output, errors = process.communicate()
        if process.returncode:
            sys.exit(errors)
        found.append(float(output) if output else seconds)
    return found[0], found[1], most


def time_prepare(config: str, overrides: str) -> None:
    """Print the seconds from listing the recordings to a cache on both storages: no start of Python, no picture."""
    from src.frame_cache import prepare

    prepare.write_preview = lambda *arguments, **options: None
    seconds = []
    for _ in range(4):
        began = time.perf_counter()
        prepare.prepare(Config.from_yaml(REPOSITORY / "configs" / f"{config}.yaml", [overrides]), StopSignals())
        seconds.append(time.perf_counter() - began)
    print(statistics.median(seconds[1:]))  # the first loads compiled kernels


def _memory_of(pid: int) -> int:
    """Return the bytes of a process and its descendants on Linux; shared pages count once."""
    total = 0
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total = 1024 * int(line.split()[1])
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            total += _memory_of(int(child))
    except OSError:
        pass  # it has just ended
    return total


def _interleaved(functions: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Return each function's seconds, the median first; they run in turns so that a slow spell hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(REPEATS):
        for name, function in functions.items():
            began = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - began)
    return {name: [statistics.median(values), *values] for name, values in times.items()}


if __name__ == "__main__":
    main()
