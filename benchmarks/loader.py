"""Frames per second of the loader alone beside PyTorch's DataLoader and tonic's DiskCachedDataset, in one run.

    python benchmarks/loader.py [--device cpu|cuda] [--rounds N] [--threads N] [--datasets FRAMESxPxHxW ...]

An epoch is one shuffled pass over random frames; drawing its order, and starting threads or workers, is part of it.
`packed` is what our loader hands to the model. `float32` is what every loader needs until a float32 [B, P, H, W] batch
is on the device: ours unpacks there, as the CNN and the MLP do (logic layers unpack in a kernel of their own). The
TensorDataset holds all frames unpacked, as float32 or as uint8 that are converted per batch. An epoch draws PEER_FRAMES
of them, and its workers stay from epoch to epoch. tonic's cache holds one frame per sample, int16 as its ToFrame makes
them, FRAMES_FOR_TONIC of them, read after they have been written.

PyTorch has one thread: batches are small, and threads that wait for each other on a busy machine would be what is
measured. The floor is an epoch's packed bytes, read and written once, at the bandwidth of copying a large tensor; with
placement host on CUDA, moved once at the bandwidth of copying pinned memory to the device. Contestants run in turns;
medians.
"""

import argparse
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import tonic
import torch
from torch.utils.data import RandomSampler, TensorDataset

from benchmarks.logic import copy_bandwidth
from benchmarks.machine import describe_machine
from src.config import DataLoader
from src.data import FrameCache, load_batches, place_splits, train_order
from src.frame_cache.cache import Split
from src.helpers import format_size, format_table, keep_freed_memory
from src.model import unpack_frames

PEER_FRAMES = 20_000
FRAMES_FOR_TONIC = 2000
BATCH_SIZES = (128, 1024)
WORKERS = (0, 2)

Epoch = Callable[[], int]  # runs an epoch and returns its frames


def synthetic_split(path: Path, num_frames: int, frame_bytes: int) -> Split:
    """Return random packed frames in a mapped file, like those of a cache."""
    rng = np.random.default_rng(0)
    rng.integers(0, 256, (num_frames, frame_bytes), dtype=np.uint8).tofile(path)
    frames = np.memmap(path, dtype=np.uint8, mode="r", shape=(num_frames, frame_bytes))
    return Split(frames, rng.integers(0, 10, num_frames), np.arange(num_frames))


def ours(
    opened: FrameCache, placement: str, num_workers: int, batch_size: int, device: torch.device, unpack: bool
) -> Epoch:
    """Return an epoch of our loader; the split is placed here, as a run does once."""
    options = DataLoader(batch_size=batch_size, placement=placement, num_workers=num_workers)
    split = place_splits(opened, options, device).splits["train"]

    def epoch() -> int:
        order = train_order(len(split), 0, 0, shuffle=True)
        for packed, _ in load_batches(split, order, options, device):
            if unpack:
                unpack_frames(packed, opened.frame_shape, torch.float32)
        return len(split)

    return epoch


def theirs(
    dataset: torch.utils.data.Dataset[tuple[torch.Tensor, ...]],
    num_frames: int,
    num_workers: int,
    batch_size: int,
    device: torch.device,
) -> Epoch:
    """Return an epoch of PyTorch's DataLoader: `num_frames` of the unpacked frames, at random."""
    loader: Iterable[list[torch.Tensor]] = torch.utils.data.DataLoader(
        dataset,
        batch_size,
        sampler=RandomSampler(dataset, num_samples=num_frames),  # type: ignore[arg-type] # it has a length
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=device.type == "cuda",
    )

    def epoch() -> int:
        for frames, labels in loader:
            frames.to(device, non_blocking=True).float()
            labels.to(device, non_blocking=True)
        return num_frames

    return epoch


class _Samples:
    """What tonic caches: per sample, one frame int16 [P, H, W] and its label."""

    def __init__(self, frames: torch.Tensor, labels: torch.Tensor) -> None:
        self.frames, self.labels = frames.numpy().astype(np.int16), labels.numpy()

    def __getitem__(self, number: int) -> tuple[np.ndarray, int]:
        return self.frames[number], int(self.labels[number])

    def __len__(self) -> int:
        return len(self.labels)


def contestants(
    opened: FrameCache, batch_size: int, device: torch.device, folder: Path
) -> dict[tuple[str, str], Epoch]:
    """Return epochs by (what is loaded, by what)."""
    split = opened.splits["train"]
    found: dict[tuple[str, str], Epoch] = {}
    for what, unpack in (("packed", False), ("float32", True)):
        for placement, num_workers in (("device", 0), ("host", 0), ("host", 2)):
            name = f"ours, {placement}" + (f", {num_workers} threads" if num_workers else "")
            found[what, name] = ours(opened, placement, num_workers, batch_size, device, unpack)
    labels = torch.from_numpy(split.labels)
    unpacked = [
        unpack_frames(torch.from_numpy(split.frames[begin : begin + 1000].copy()), opened.frame_shape, torch.uint8)
        for begin in range(0, len(split), 1000)
    ]
    bits = torch.cat(unpacked)
    samples = tonic.DiskCachedDataset(
        _Samples(bits[:FRAMES_FOR_TONIC], labels[:FRAMES_FOR_TONIC]), cache_path=str(folder / "tonic")
    )
    for name, dataset, num_frames in (
        ("TensorDataset float32", TensorDataset(bits.float(), labels), min(PEER_FRAMES, len(split))),
        ("TensorDataset uint8", TensorDataset(bits, labels), min(PEER_FRAMES, len(split))),
        ("tonic DiskCachedDataset", samples, len(labels[:FRAMES_FOR_TONIC])),
    ):
        for num_workers in WORKERS:
            label = f"{name}, {num_workers} workers" if num_workers else name
            found["float32", label] = theirs(dataset, num_frames, num_workers, batch_size, device)
    return found


def check(opened: FrameCache, batch_size: int, device: torch.device) -> None:
    """Check that every placement gives the cache's frames and labels in the order of the epoch."""
    split = opened.splits["train"]
    order = train_order(len(split), 0, 0, shuffle=True)
    for placement, num_workers in (("device", 0), ("host", 0), ("host", 2)):
        options = DataLoader(batch_size=batch_size, placement=placement, num_workers=num_workers)
        placed = place_splits(opened, options, device).splits["train"]
        batches = [(f.cpu().clone(), n.cpu().clone()) for f, n in load_batches(placed, order, options, device)]
        assert {len(labels) for _, labels in batches[:-1]} <= {batch_size}
        assert np.array_equal(torch.cat([frames for frames, _ in batches]), split.frames[order])
        assert np.array_equal(torch.cat([labels for _, labels in batches]), split.labels[order])


def measure(
    epochs: dict[tuple[str, str], Epoch], rounds: int, device: torch.device
) -> dict[tuple[str, str], list[float]]:
    """Return the frames per second of each, in turns; the first round, which fills tonic's cache, is not counted."""
    speeds: dict[tuple[str, str], list[float]] = {key: [] for key in epochs}
    for round_number in range(rounds + 1):
        for key, epoch in epochs.items():
            began = time.perf_counter()
            num_frames = epoch()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if round_number:
                speeds[key].append(num_frames / (time.perf_counter() - began))
    return speeds


def pinned_bandwidth(device: torch.device) -> float:
    """Return the bytes per second of copying pinned host memory to a CUDA device."""
    source = torch.empty(1 << 28, dtype=torch.uint8, pin_memory=True)
    seconds = []
    for _ in range(7):
        torch.cuda.synchronize()
        began = time.perf_counter()
        source.to(device)
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return source.nbytes / statistics.median(seconds)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--datasets", nargs="+", default=["200000x2x34x34", "20000x2x128x128"], metavar="FRAMESxPxHxW")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    keep_freed_memory()  # as training does; the peers gain by it too
    print(describe_machine())
    if device.type == "cuda":
        print(torch.cuda.get_device_name())
    bandwidth = copy_bandwidth(device)
    load = os.getloadavg()[0]
    print(f"{arguments.threads} PyTorch thread(s), copying {bandwidth / 1e9:.1f} GB/s; load average before {load:.1f}")
    for dataset in arguments.datasets:
        num_frames, *shape = map(int, dataset.split("x"))
        frame_bytes = -(-math.prod(shape) // 8)
        floors = {"device": bandwidth / (2 * frame_bytes), "host": bandwidth / (2 * frame_bytes)}
        if device.type == "cuda":
            floors["host"] = pinned_bandwidth(device) / frame_bytes
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            split = synthetic_split(folder / "frames", num_frames, frame_bytes)
            opened = FrameCache(folder, (shape[0], shape[1], shape[2]), "binary", list("0123456789"), {"train": split})
            for batch_size in BATCH_SIZES:
                check(opened, batch_size, device)
                speeds = measure(contestants(opened, batch_size, device, folder), arguments.rounds, device)
                size = format_size(num_frames * frame_bytes)
                print(
                    f"\n{num_frames:,} frames {shape} of {frame_bytes:,} bytes ({size}), batch {batch_size}; floor ",
                    end="",
                )
                print(", ".join(f"{place} {1e-6 * floor:.1f} million frames/s" for place, floor in floors.items()))
                print(table(speeds, floors))
    print(f"\nload average after {os.getloadavg()[0]:.1f}")


def table(speeds: dict[tuple[str, str], list[float]], floors: dict[str, float]) -> str:
    """Return medians and spread: against the floor for packed frames, against the first TensorDataset for all."""
    medians = {key: statistics.median(values) for key, values in speeds.items()}
    reference = medians["float32", "TensorDataset float32"]
    rows = []
    for (what, name), median in medians.items():
        values = speeds[what, name]
        floor = next((floor for place, floor in floors.items() if name.startswith(f"ours, {place}")), None)
        rows.append(
            [
                f"{name}: {what}",
                f"{1e-6 * median:.4f}",
                f"{min(values) / median:.2f} to {max(values) / median:.2f}",
                f"{100 * median / floor:.0f} %" if what == "packed" and floor else "",
                f"{median / reference:.2f}",
            ]
        )
    return format_table(["", "million frames/s", "spread", "of the floor", "times TensorDataset float32"], rows)


if __name__ == "__main__":
    main()
