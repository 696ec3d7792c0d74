"""Frame cache -> the cache of a run on scratch, order of batches, loaders."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from src import cache
from src.config import Config, DataLoader
from src.events.datasets import get_dataset
from src.helpers import LOG, UserError, format_size, ignore_stop_signals
from src.io_funcs import file_lock, from_repository, project_root, scratch_root


class MissingCacheError(UserError):
    """Neither storage has the frame cache that a config asks for."""


Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class FrameCache:
    """An opened, verified frame cache."""

    folder: Path
    frame_shape: tuple[int, int, int]  # (P, H, W)
    frame_dtype: str  # binary: a bit a pixel; counts: a byte a pixel
    class_names: list[str]
    splits: dict[str, cache.Split]


def open_cache(config: Config, check: Callable[[], None] = lambda: None) -> FrameCache:
    """Open the frame cache of the config's data section on scratch, copied there from project storage if need be.

    Raises:
        MissingCacheError: if neither storage has it; the text says how to prepare it.
    """
    dataset = get_dataset(config.data.name)
    parameters = cache.cache_parameters(config.data, dataset)
    on_scratch = _choose(cache.find_caches(scratch_root(), parameters), config)
    on_project = _choose(cache.find_caches(project_root(), parameters), config)
    if on_scratch is None and on_project is None:
        raise MissingCacheError(
            f"no frame cache of {dataset.name} with this config's data section under "
            f"{scratch_root() / 'data'} or {project_root() / 'data'} (there: {_caches_there(dataset.name)}); "
            f"prepare it with ./prepare_data.sh, this config and the same overrides of data"
        )
    if on_scratch is not None:
        manifest = cache.read_manifest(on_scratch)
        assert manifest is not None
        broken = cache.damages(on_scratch, manifest, check=check)
        if not broken:
            return _opened(on_scratch, manifest)
        if on_project is None:
            raise UserError(f"{broken[0]}; prepare the cache again with ./prepare_data.sh and data.reset_cache=true")
        LOG.warning("%s; taking the copy on project storage", broken[0])
    assert on_project is not None
    target = scratch_root() / on_project.relative_to(project_root())
    waiting = f"another process is bringing the frame cache to {target}; waiting for it"
    try:
        with file_lock(cache.lock_path(target), waiting, check):
            if not _is_valid(target, check):  # another job may have brought it meanwhile
                LOG.info("copying the frame cache to %s", target)
                cache.copy_cache(on_project, target, check)
            manifest = cache.read_manifest(target)
    except OSError as error:
        raise UserError(
            f"cannot copy the frame cache to scratch: {error}; where a copy is damaged, prepare it again with "
            f"./prepare_data.sh and data.reset_cache=true"
        ) from error
    assert manifest is not None
    return _opened(target, manifest)


def _is_valid(folder: Path, check: Callable[[], None]) -> bool:
    manifest = cache.read_manifest(folder)
    return manifest is not None and not cache.damages(folder, manifest, check=check)


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
        f"set data.data_root to the recordings that you mean, or remove the others"
    )


def _opened(folder: Path, manifest: cache.Manifest) -> FrameCache:
    channels, height, width = manifest["frame_shape"]
    splits = {split: cache.read_split(folder, split) for split in cache.SPLITS}
    LOG.info(
        "frame cache %s: %s frames, %s",
        folder,
        " + ".join(f"{len(part):,} {split}" for split, part in splits.items()),
        format_size(cache.cache_size(manifest)),
    )
    return FrameCache(folder, (channels, height, width), manifest["frame_dtype"], manifest["class_names"], splits)


def train_order(num_frames: int, seed: int, epoch: int, shuffle: bool) -> NDArray[np.int64]:
    """The order of the training frames in an epoch: a function of (seed, epoch) alone, so a resumed run knows it."""
    if not shuffle:
        return np.arange(num_frames)
    return np.random.default_rng([seed, epoch]).permutation(num_frames)


class _FrameBatches(torch.utils.data.Dataset[Batch]):
    def __init__(self, split: cache.Split) -> None:
        self.split = split

    def __getitem__(self, frames: NDArray[np.int64]) -> Batch:
        # A whole batch by one gather of packed frames: nothing is done a frame.
        packed = np.asarray(self.split.frames[frames])
        return torch.from_numpy(packed), torch.from_numpy(self.split.labels[frames])


def load_batches(
    split: cache.Split, order: NDArray[np.int64], options: DataLoader, device: torch.device, first: int = 0
) -> Iterator[Batch]:
    """Batches (packed frames uint8 [B, bytes], labels int64 [B]) on the device, in this order, from `first` on."""
    size = options.batch_size
    pin = options.pin_memory and device.type == "cuda"
    loader = torch.utils.data.DataLoader(
        _FrameBatches(split),
        sampler=[order[begin : begin + size] for begin in range(first * size, len(order), size)],
        batch_size=None,  # the sampler gives whole batches
        num_workers=options.num_workers,
        prefetch_factor=options.prefetch_factor if options.num_workers else None,
        pin_memory=pin,
        worker_init_fn=_set_up_worker,
        generator=torch.Generator(),  # the loader draws a seed: not from the generator that training uses
    )
    for packed, labels in loader:
        yield packed.to(device, non_blocking=pin), labels.to(device, non_blocking=pin)


def _set_up_worker(number: int) -> None:
    ignore_stop_signals()
