"""A recording of a billion events, from its file to a verified frame cache: time and memory.

    python benchmarks/long_recording.py [--events N] [--folder FOLDER]

Writes a Prophesee EVT 3.0 file of 1280 x 720 pixels into a new folder: a block of 16.8 s, as long as the camera's clock
takes to begin again, over and over. Prepares it by `prepare_data.py` beside a short recording, for each way to cut
frames, and prints the most memory that the process held, in two numbers: all of its memory as the system counts it, and
that without what belongs to files. Frames that lie within a block are compared with those that `frames_of` makes of the
block alone. FOLDER must have room for 6 bytes per event; it is removed at the end.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("NUMBA_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import yaml

from benchmarks.machine import describe_machine
from src.events import Events
from src.events.formats import evt3, prophesee
from src.events.framing import Framing, frames_of
from src.frame_cache.cache import read_split
from src.helpers import format_size, format_table

REPOSITORY = Path(__file__).resolve().parents[1]
SENSOR = (1280, 720)
BLOCK_TIME = 1 << 24  # microseconds
BLOCK_EVENTS = 20_000_000
FRAME_EVENTS = 50_000
COMMON = {"denoise_time": 0, "downsample": 0.0625, "val_split": 0.0, "num_threads": 1}
WAYS: dict[str, dict[str, Any]] = {
    "event_count": {"events_per_frame": FRAME_EVENTS, "overlap": 0},
    "event_count, denoised": {"events_per_frame": FRAME_EVENTS, "overlap": FRAME_EVENTS // 2, "denoise_time": 1000},
    "time_window": {"frame_mode": "time_window", "time_window": 16_384},
    "n_event_bins": {"frame_mode": "n_event_bins", "n_event_bins": 1000},
}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000_000)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    num_blocks = -(-arguments.events // BLOCK_EVENTS)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as text:
        folder = Path(text)
        block, size = write_recordings(folder / "recordings", num_blocks)
        print(f"{num_blocks * BLOCK_EVENTS:,} events in a file of {format_size(size)}")
        rows = []
        for name, options in WAYS.items():
            seconds, whole, own, frames = prepare(folder, options)
            equal = "-"
            if options.get("overlap") == 0:
                framing = Framing(size=FRAME_EVENTS, overlap=0, denoise_time=0, downsample=COMMON["downsample"])
                expected = np.tile(frames_of(block, (*SENSOR, 2), framing), (num_blocks, 1))
                equal = "all" if np.array_equal(frames, expected) else "NO"
            rate = f"{num_blocks * BLOCK_EVENTS / seconds / 1e6:.1f}"
            rows.append([name, f"{seconds:.0f}", rate, f"{len(frames):,}", format_size(whole), format_size(own), equal])
        header = [
            "frames",
            "seconds",
            "million events/s",
            "number",
            "most memory",
            "without files'",
            "equal to frames_of",
        ]
        print(format_table(header, rows))
        print(describe_machine())


def write_recordings(folder: Path, num_blocks: int) -> tuple[Events, int]:
    """Write a long recording of one class and short ones of another; return a block's events and the file's bytes."""
    rng = np.random.default_rng(0)
    t = np.sort(rng.integers(0, BLOCK_TIME, BLOCK_EVENTS))
    angle = 2 * np.pi * t / BLOCK_TIME
    x = 640 + 400 * np.cos(angle) + rng.normal(0, 20, len(t))
    y = 360 + 200 * np.sin(angle) + rng.normal(0, 20, len(t))
    t[0], t[-1] = 0, BLOCK_TIME - 1
    p = rng.integers(0, 2, len(t), np.uint8)
    block = Events(x.clip(0, 1279).astype(np.uint16), y.clip(0, 719).astype(np.uint16), t.astype(np.int64), p)
    content = evt3.encode(block, SENSOR, evt3.CLOCK)
    begin = prophesee.raw_header(content[:4096], evt3.ENCODING).end
    for name in ("long", "short"):
        (folder / name).mkdir(parents=True)
    long = folder / "long" / "long.raw"
    with long.open("wb") as file:
        file.write(content[:begin])
        for _ in range(num_blocks):
            file.write(content[begin:])
    few = Events(block.x[:200_000], block.y[:200_000], block.t[:200_000], block.p[:200_000])
    for number in range(5):
        (folder / "short" / f"{number}.raw").write_bytes(evt3.encode(few, SENSOR))
        (folder / "long" / f"{number}.raw").write_bytes(evt3.encode(few, SENSOR))
    return block, long.stat().st_size


def prepare(folder: Path, options: dict[str, Any]) -> tuple[float, int, int, np.ndarray]:
    """Run prepare_data.py; return seconds, the most bytes in memory in two numbers, and the long recording's frames."""
    storage = folder / "storage"
    shutil.rmtree(storage, ignore_errors=True)
    config = folder / "long.yaml"
    section = {"name": "FOLDER", "folder": str(folder / "recordings"), **COMMON, **options}
    config.write_text(yaml.safe_dump({"data": section}))
    environment = {**os.environ, "SCRATCH_STORAGE_DIR": str(storage), "PROJECT_STORAGE_DIR": str(storage)}
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "prepare_data.py", str(config)], cwd=REPOSITORY, env=environment)
    whole = own = 0
    while process.poll() is None:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        sizes = {line.split()[0]: int(line.split()[1]) << 10 for line in lines if line.startswith("Rss")}
        whole, own = max(whole, sum(sizes.values())), max(own, sizes.get("RssAnon:", 0))
        time.sleep(0.02)
    seconds = time.perf_counter() - began
    if process.returncode:
        sys.exit("prepare_data.py has failed")
    splits = [read_split(path.parent, path.stem) for path in (storage / "data").rglob("*.safetensors")]
    largest = max(splits, key=len)
    numbers = np.asarray(largest.recordings)
    return seconds, whole, own, np.asarray(largest.frames)[numbers == np.bincount(numbers).argmax()]


if __name__ == "__main__":
    main()
