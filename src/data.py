"""Frame cache -> the cache of a run on scratch, its place in memory, order of batches, loaders."""

import dataclasses
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

from src import cache
from src.config import Config, Data, DataLoader
from src.events.datasets import get_dataset
from src.helpers import LOG, UserError, format_size
from src.io_funcs import file_lock, from_repository, project_root, scratch_root
from src.stacking import frame_numbers, joined


class MissingCacheError(UserError):
    """Neither storage has the frame cache that a config asks for."""


Batch = tuple[torch.Tensor, torch.Tensor]

MOST_OF_FREE_MEMORY = 0.25  # that frames take of a GPU: the rest is for the model and its activations
GATHER_BYTES = 1 << 20
COPY_BYTES = 1 << 26
PREPARE_AGAIN = "prepare the cache again with ./prepare_data.sh and data.reset_cache=true"
TORCH_DTYPES = {np.dtype(np.uint8): torch.uint8, np.dtype(np.int64): torch.int64}


@dataclass(frozen=True)
class FrameCache:
    """An opened, verified frame cache."""

    folder: Path
    frame_shape: tuple[int, int, int]  # (P, H, W); of stacked frames, the channels of all
    frame_dtype: str  # binary: a bit a pixel; counts: a byte a pixel
    class_names: list[str]
    splits: dict[str, cache.Split]


def open_cache(config: Config, check: Callable[[], None] = lambda: None) -> FrameCache:
    """Open the frame cache of the config's data section on scratch, copied there from project storage if need be.

    Raises:
        MissingCacheError: if neither storage has it; the text says how to prepare it.
    """
    dataset = get_dataset(config.data.name)
    data_root = config.data.data_root
    if data_root != Data().data_root and not from_repository(data_root).is_dir():
        LOG.warning("data.data_root = %s: no such folder; any cache that fits the config is taken", data_root)
    parameters = cache.cache_parameters(config.data, dataset)
    on_scratch = _choose(cache.find_caches(scratch_root(), parameters), config)
    on_project = _choose(cache.find_caches(project_root(), parameters), config)
    # A job that copies the cache again may have taken the manifest away since it was found.
    manifest = cache.read_manifest(on_scratch) if on_scratch else None
    if on_scratch and manifest:
        broken = cache.damages(on_scratch, manifest, check=check)
        if not broken:
            return _opened(on_scratch, manifest, config.data.stack)
        if on_project is None:
            raise UserError(f"{broken[0]}; {PREPARE_AGAIN}")
        LOG.warning("%s; taking the copy on project storage", broken[0])
    if on_project is None:
        raise MissingCacheError(
            f"no frame cache of {dataset.name} with this config's data section under "
            f"{scratch_root() / 'data'} or {project_root() / 'data'} (there: {_caches_there(dataset.name)}); "
            f"prepare it with ./prepare_data.sh, this config and the same overrides of data"
        )
    target = scratch_root() / on_project.relative_to(project_root())
    waiting = f"another process is bringing the frame cache to {target}; waiting for it"
    try:
        with file_lock(cache.lock_path(target), waiting, check):
            manifest = cache.read_manifest(target)
            if manifest is None or cache.damages(target, manifest, check=check):  # else another job has brought it
                LOG.info("copying the frame cache to %s", target)
                manifest = cache.copy_cache(on_project, target, check)
    except OSError as error:
        raise UserError(
            f"cannot copy the frame cache to scratch: {error}; "
            + ("see SCRATCH_STORAGE_DIR and PROJECT_STORAGE_DIR" if error.errno else PREPARE_AGAIN)
        ) from error
    return _opened(target, manifest, config.data.stack)


def _caches_there(name: str) -> str:
    paths = [path for root in (scratch_root(), project_root()) for path in root.glob(f"data/{name}/*/{cache.MANIFEST}")]
    return ", ".join(sorted({path.parent.name for path in paths})) or "none"


def _choose(folders: list[Path], config: Config) -> Path | None:
    """The one cache; of several that differ in their recordings only, the one of those under data_root."""
    if len(folders) <= 1:
        return folders[0] if folders else None
    dataset = get_dataset(config.data.name)
    root = from_repository(config.data.data_root) / dataset.folder
    fingerprint = cache.source_fingerprint(dataset.find_recordings(root), root)
    identity = cache.cache_identity(cache.cache_parameters(config.data, dataset), fingerprint)
    for folder in folders:
        if folder.name == identity:
            return folder
    raise UserError(
        f"several caches fit this config, made from different recordings: {', '.join(map(str, folders))}; "
        f"set data.data_root to the recordings that you mean"
    )


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
    return FrameCache(folder, shape, manifest["frame_dtype"], manifest["class_names"], splits)


def stacked(split: cache.Split, stack: int, manifest: cache.Manifest) -> cache.Split:
    """The split of this cache with `stack` frames a sample."""
    frame_bits = math.prod(manifest["frame_shape"]) * (8 if manifest["frame_dtype"] == "counts" else 1)
    return dataclasses.replace(split, stack=stack, frame_bits=frame_bits)


def train_order(num_frames: int, seed: int, epoch: int, shuffle: bool) -> NDArray[np.int64]:
    """The order of the training frames in an epoch: a function of (seed, epoch) alone, so a resumed run knows it."""
    if not shuffle:
        return np.arange(num_frames)
    return np.random.default_rng([seed, epoch]).permutation(num_frames)


@dataclass(frozen=True)
class ResidentSplit(cache.Split):
    """A split whose frames (uint8 [F, bytes]) and labels (int64 [F]) lie in the training device's memory too."""

    on_device: Batch = dataclasses.field(kw_only=True)


def place_splits(opened: FrameCache, options: DataLoader, device: torch.device) -> FrameCache:
    """The cache with its splits in the device's memory, if `options.placement` says so, or is auto and they fit.

    Auto copies to GPUs only: in the CPU's memory lie the pages of the mapped files already, and those can be given up.

    Raises:
        UserError: if they have to be on the device and do not fit.
    """
    size = sum(split.frames.nbytes + split.labels.nbytes for split in opened.splits.values())
    if options.placement == "auto":
        fits = device.type == "cuda" and size <= MOST_OF_FREE_MEMORY * torch.cuda.mem_get_info(device)[0]
    else:
        fits = options.placement == "device"
    if not fits:
        LOG.info("frames: %s, read from the mapped files", format_size(size))
        return opened
    try:
        splits: dict[str, cache.Split] = {name: _resident(split, device) for name, split in opened.splits.items()}
    except RuntimeError as error:  # PyTorch's way to say that memory is out
        raise UserError(
            f"the frames' {format_size(size)} do not fit into the memory of {device}: set "
            f"train.dataloader.placement to host ({str(error).splitlines()[0]})"
        ) from error
    LOG.info("frames: %s in the memory of %s", format_size(size), device)
    return dataclasses.replace(opened, splits=splits)


def _resident(split: cache.Split, device: torch.device) -> ResidentSplit:
    frames = torch.empty(split.frames.shape, dtype=torch.uint8, device=device)
    step = max(1, COPY_BYTES // split.frames.shape[1])
    for begin in range(0, len(split), step):  # by parts: the whole may not fit into the host's memory
        frames[begin : begin + step].copy_(torch.from_numpy(split.frames[begin : begin + step].copy()))
    return ResidentSplit(**vars(split), on_device=(frames, torch.from_numpy(split.labels).to(device)))


def load_batches(
    split: cache.Split, order: NDArray[np.int64], options: DataLoader, device: torch.device, first: int = 0
) -> Iterator[Batch]:
    """Batches (packed frames uint8 [B, bytes], labels int64 [B]) on the device, in this order, from `first` on.

    Frames are gathered for several batches at once, GATHER_BYTES if a batch is smaller: what a call, a thread's
    hand-over or a copy costs beside its bytes is then small. Batches are slices of what was gathered.
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
    """Samples and labels; `numbers` as by `frame_numbers`."""
    gathered = _rows(frames, numbers.reshape(-1), pin)
    samples = joined(gathered, torch.from_numpy(numbers), split.frame_bits)
    return samples, _rows(split.labels, numbers[:, -1], pin)


def read_samples(split: cache.Split, samples: NDArray[np.int64]) -> torch.Tensor:
    """These samples of a split, packed, uint8 [B, bytes], in the CPU's memory."""
    return _gather(split, split.frames, frame_numbers(split, samples))[0]


def _rows(array: NDArray[Any], numbers: NDArray[np.int64], pin: bool = False) -> torch.Tensor:
    """Rows of an array, as a new tensor. On the CPU NumPy gathers narrow rows several times as fast as PyTorch."""
    rows = torch.empty((len(numbers), *array.shape[1:]), dtype=TORCH_DTYPES[array.dtype], pin_memory=pin)
    np.take(array, numbers, axis=0, out=rows.numpy(), mode="clip")  # clip: into `out` without a buffer, and -1 is 0
    return rows


def _gather_on_host(
    split: cache.Split, tasks: Iterable[NDArray[np.int64]], options: DataLoader, pin: bool
) -> Iterator[Batch]:
    """Threads gather ahead: NumPy releases the interpreter while it does, and while it waits for a disk."""
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
