"""Frame cache -> the cache of a run on scratch, its place in memory, order of batches, loaders."""

import dataclasses
import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from src.command_line import UserError
from src.config import Config, DataLoader
from src.frame_cache import cache
from src.frame_cache.stacking import frame_numbers, joined
from src.helpers import LOG, format_size, one_line
from src.io_funcs import project_root, scratch_root

Batch = tuple[torch.Tensor, torch.Tensor]

MOST_OF_FREE_MEMORY = 0.25  # share of a GPU that frames may take; the rest is for the model and its activations
GATHER_BYTES = 1 << 20
COPY_BYTES = 1 << 26
PREPARE_AGAIN = "prepare the cache again with ./prepare_data.sh and data.reset_cache=true"
TORCH_DTYPES = {np.dtype(np.uint8): torch.uint8, np.dtype(np.int64): torch.int64}


@dataclass(frozen=True)
class FrameCache:
    """An opened, verified frame cache."""

    folder: Path
    frame_shape: tuple[int, int, int]  # (P, H, W); P counts the channels of all stacked frames
    frame_dtype: str  # binary: a bit per pixel; counts: a byte per pixel
    class_names: list[str]
    splits: dict[str, cache.Split]
    content: str = ""  # checksum, see `cache.content_of`
    sensor_size: tuple[int, int, int] | None = None  # (W, H, P) of the recordings, tonic's order


def open_cache(config: Config, check: Callable[[], None] = lambda: None) -> FrameCache:
    """Open the frame cache of the config's data section on scratch, copied there from project storage if need be.

    If scratch cannot take it, a warning says so, and the cache is read from project storage.

    Raises:
        MissingCacheError: if neither storage has it; the text says how to prepare it.
        UserError: if every copy is damaged.
    """
    relative = cache.fitting_cache(config.data)
    on_scratch, on_project = scratch_root() / relative, project_root() / relative
    has_copy = on_project.resolve() != on_scratch.resolve() and cache.read_manifest(on_project) is not None
    # A job that copies the cache again may have taken the manifest away since it was found.
    if manifest := cache.read_manifest(on_scratch):
        broken = _damages(on_scratch, manifest, check)
        if not broken:
            return _opened(on_scratch, manifest, config.data.stack)
        if not has_copy:
            raise UserError(f"{broken[0]}; {PREPARE_AGAIN}")
        LOG.warning("%s; taking the copy on project storage", broken[0])
    waiting = f"another process is bringing the frame cache to {on_scratch}; waiting for it"
    try:
        with cache.locked(on_scratch, waiting, check):
            manifest = cache.read_manifest(on_scratch)
            if manifest is None or _damages(on_scratch, manifest, check):  # else another job has copied it
                LOG.info("copying the frame cache to %s", on_scratch)
                manifest = cache.copy_cache(on_project, on_scratch, check)
        return _opened(on_scratch, manifest, config.data.stack)
    except (OSError, UserError) as error:
        return _opened_on_project(on_project, config.data.stack, error, check)


def _opened_on_project(folder: Path, stack: int, reason: Exception, check: Callable[[], None]) -> FrameCache:
    """Open a cache on project storage, verified, because scratch cannot take it for this reason."""
    manifest = cache.read_manifest(folder)
    broken = _damages(folder, manifest, check) if manifest else [f"{folder} holds no valid cache manifest"]
    if manifest is None or broken:
        raise UserError(f"cannot copy the frame cache to scratch: {broken[0]}; {PREPARE_AGAIN}") from reason
    LOG.warning(
        "reading the frame cache from project storage, since scratch cannot take it (see SCRATCH_STORAGE_DIR): %s",
        one_line(reason),
    )
    return _opened(folder, manifest, stack)


def _damages(folder: Path, manifest: cache.Manifest, check: Callable[[], None]) -> list[str]:
    """Return what `cache.damages` does; a file that cannot be read is damaged too."""
    try:
        return cache.damages(folder, manifest, check=check)
    except OSError as error:
        return [f"cannot read the frame cache: {error}"]


def _opened(folder: Path, manifest: cache.Manifest, stack: int) -> FrameCache:
    channels, height, width = manifest["frame_shape"]
    splits = {split: stacked(cache.read_split(folder, split), stack, manifest) for split in cache.SPLITS}
    LOG.info(
        "frame cache %s: %s frames, %s",
        folder,
        " + ".join(f"{len(part):,} {split}" for split, part in splits.items()),
        format_size(cache.cache_size(manifest)),
    )
    shape = stack * channels, height, width
    columns, rows, polarities = manifest["sensor_size"]
    return FrameCache(
        folder,
        shape,
        manifest["frame_dtype"],
        manifest["class_names"],
        splits,
        cache.content_of(manifest),
        (columns, rows, polarities),
    )


def stacked(split: cache.Split, stack: int, manifest: cache.Manifest) -> cache.Split:
    """Return the split of this cache with `stack` frames per sample."""
    frame_bits = math.prod(manifest["frame_shape"]) * (8 if manifest["frame_dtype"] == "counts" else 1)
    return dataclasses.replace(split, stack=stack, frame_bits=frame_bits)


def train_order(num_frames: int, seed: int, epoch: int, shuffle: bool) -> NDArray[np.int64]:
    """Return the order of an epoch's training frames, a function of (seed, epoch) alone: a resumed run knows it."""
    if not shuffle:
        return np.arange(num_frames)
    return np.random.default_rng([seed, epoch]).permutation(num_frames)


@dataclass(frozen=True)
class ResidentSplit(cache.Split):
    """A split whose frames (uint8 [F, bytes]) and labels (int64 [F]) lie in the training device's memory too."""

    on_device: Batch = dataclasses.field(kw_only=True)


def place_splits(opened: FrameCache, options: DataLoader, device: torch.device) -> FrameCache:
    """Return the cache with its splits in the device's memory if `options.placement` says so, or is auto and they fit.

    Auto copies to GPUs only: the CPU's memory already holds the pages of the mapped files, which it can give up.

    Raises:
        UserError: if they have to be on the device and do not fit.
    """
    size = sum(split.frames.nbytes + split.labels.nbytes for split in opened.splits.values())
    if options.placement == "auto":
        fits = device.type == "cuda" and size <= MOST_OF_FREE_MEMORY * torch.cuda.mem_get_info(device)[0]
    else:
        fits = options.placement == "device"
    if not fits:
        level = logging.INFO if device.type == "cuda" else logging.DEBUG  # on a CPU that is how it always is
        LOG.log(level, "frames: %s, read from the mapped files", format_size(size))
        return opened
    try:
        splits: dict[str, cache.Split] = {name: _resident(split, device) for name, split in opened.splits.items()}
    except RuntimeError as error:  # what PyTorch raises if memory runs out
        raise UserError(
            f"the frames' {format_size(size)} do not fit into the memory of {device}: set "
            f"train.dataloader.placement to host ({str(error).splitlines()[0]})"
        ) from error
    LOG.info("frames: %s in the memory of %s", format_size(size), device)
    return dataclasses.replace(opened, splits=splits)


def _resident(split: cache.Split, device: torch.device) -> ResidentSplit:
    frames = torch.empty(split.frames.shape, dtype=torch.uint8, device=device)
    step = max(1, COPY_BYTES // split.frames.shape[1])
    for begin in range(0, len(split), step):  # in pieces: the whole may not fit into the host's memory
        frames[begin : begin + step].copy_(torch.from_numpy(split.frames[begin : begin + step].copy()))
    return ResidentSplit(**vars(split), on_device=(frames, torch.from_numpy(split.labels).to(device)))


def load_batches(
    split: cache.Split, order: NDArray[np.int64], options: DataLoader, device: torch.device, first: int = 0
) -> Iterator[Batch]:
    """Yield batches (packed frames uint8 [B, bytes], labels int64 [B]) on the device, in this order, from `first` on.

    One gather takes GATHER_BYTES of frames, or one batch if that is larger. The fixed cost of a call, of a thread's
    hand-over or of a copy is then small. Batches are slices of a gather.
    """
    size = options.batch_size
    samples_a_gather = size * max(1, GATHER_BYTES // (size * split.stack * split.frames.shape[1]))
    numbers = frame_numbers(split, order[first * size :])
    begins = range(0, len(numbers), samples_a_gather)
    if isinstance(split, ResidentSplit):
        moved = torch.from_numpy(numbers).to(device)
        gathered = _gather_on_device(split, (moved[begin : begin + samples_a_gather] for begin in begins))
    else:
        tasks = (numbers[begin : begin + samples_a_gather] for begin in begins)
        gathered = _gather_on_host(split, tasks, options, pin=options.pin_memory and device.type == "cuda")
        if device.type == "cuda":
            gathered = _copy_ahead(gathered, device)
    for frames, labels in gathered:
        yield from zip(frames.split(size), labels.split(size), strict=True)


def _gather_on_device(split: ResidentSplit, tasks: Iterable[torch.Tensor]) -> Iterator[Batch]:
    frames, labels = split.on_device
    for numbers in tasks:
        if frames.is_cuda:
            gathered = frames.index_select(0, numbers.flatten().clamp(min=0))
            yield joined(gathered, numbers, split.frame_bits), labels.index_select(0, numbers[:, -1])
        else:
            yield _gather(split, frames.numpy(), numbers.numpy())


def _gather(split: cache.Split, frames: NDArray[np.uint8], numbers: NDArray[np.int64], pin: bool = False) -> Batch:
    """Return samples and labels; `numbers` as by `frame_numbers`."""
    gathered = _rows(frames, numbers.reshape(-1), pin)
    samples = joined(gathered, torch.from_numpy(numbers), split.frame_bits)
    return samples, _rows(split.labels, numbers[:, -1], pin)


def read_samples(split: cache.Split, samples: NDArray[np.int64]) -> torch.Tensor:
    """Return these samples of a split, packed, uint8 [B, bytes], in the CPU's memory."""
    return _gather(split, split.frames, frame_numbers(split, samples))[0]


def _rows(array: NDArray[Any], numbers: NDArray[np.int64], pin: bool = False) -> torch.Tensor:
    """Return rows of an array as a new tensor. NumPy gathers narrow rows several times as fast."""
    rows = torch.empty((len(numbers), *array.shape[1:]), dtype=TORCH_DTYPES[array.dtype], pin_memory=pin)
    np.take(array, numbers, axis=0, out=rows.numpy(), mode="clip")  # clip: into `out` without a buffer, and -1 is 0
    return rows


def _gather_on_host(
    split: cache.Split, tasks: Iterable[NDArray[np.int64]], options: DataLoader, pin: bool
) -> Iterator[Batch]:
    """Gather ahead in threads: NumPy releases the interpreter while it gathers, and while it waits for a disk."""
    frames = np.asarray(split.frames)

    def gather(numbers: NDArray[np.int64]) -> Batch:
        return _gather(split, frames, numbers, pin)

    if options.num_workers == 0:
        yield from map(gather, tasks)
        return
    ahead: deque[Future[Batch]] = deque()
    with ThreadPoolExecutor(options.num_workers) as threads:
        for numbers in tasks:
            ahead.append(threads.submit(gather, numbers))
            if len(ahead) > options.num_workers * options.prefetch_factor:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _copy_ahead(gathered: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """Copy to the GPU on a stream of its own, one gather ahead: copies run beside the kernels of the step."""
    copies = torch.cuda.Stream(device)
    ahead: deque[tuple[Batch, torch.cuda.Event]] = deque()

    def finish() -> Batch:
        batch, copied = ahead.popleft()
        step = torch.cuda.current_stream(device)
        step.wait_event(copied)
        for tensor in batch:
            tensor.record_stream(step)  # its memory is not given to another copy before the step has read it
        return batch

    for frames, labels in gathered:
        with torch.cuda.stream(copies):
            batch = frames.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            ahead.append((batch, copies.record_event()))
        if len(ahead) > 1:
            yield finish()
    while ahead:
        yield finish()
