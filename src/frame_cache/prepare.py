"""Prepare a frame cache: recordings -> splits -> work units -> cache, in processes on any number of machines."""

import contextlib
import itertools
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from src.command_line import StopSignals, UserError
from src.config import Config, Data
from src.events.datasets.dataset import Dataset
from src.events.framing import frame_bytes, frame_shape
from src.frame_cache import cache
from src.frame_cache.few_frames import warn_of_few_frames
from src.frame_cache.left_out import report_left_out, require_trained_classes, too_many
from src.frame_cache.plan import Preparation, plan_preparation, units_folder
from src.frame_cache.preview import write_preview
from src.frame_cache.splits import warn_of_lost_classes
from src.frame_cache.work_units import (
    DamagedUnitError,
    MadeUnit,
    WorkUnit,
    frames_of_unit,
    frames_per_recording,
    make_units,
    read_unit,
    remove_unit,
)
from src.helpers import LOG, available_cores, format_duration, format_size, format_table
from src.io_funcs import (
    DISK_IS_FULL,
    NoSpaceError,
    device_of,
    file_lock,
    no_empty_folders,
    remove_if_empty,
    remove_leftovers,
    require_free_space,
    setting_of,
)

SURE_FRACTION = 0.9  # the share of an estimate of space that is needed in any case


def prepare(config: Config, stop: StopSignals, preview: bool = False) -> Path:
    """Bring the config's frame cache to scratch and project storage; return its folder on scratch.

    Work units that an interrupted preparation or shards have made are used. A new cache gets a picture, see
    `write_preview`; with `preview`, a cache that was there gets a new one.

    Raises:
        UserError: there are no recordings, too many are corrupt, or there is no space.
        Stopped: after a signal; the work units that are made stay.
    """
    with no_empty_folders():
        return _prepare(plan_preparation(config, stop), config, stop, preview)


def _prepare(plan: Preparation, config: Config, stop: StopSignals, preview: bool) -> Path:
    waiting = f"another process is preparing {plan.relative}; waiting for it"
    with _told_when_full(plan), cache.both_locked(plan.relative, waiting, stop.check):
        is_there = cache.is_whole(plan.scratch, fast=True) or cache.is_whole(plan.project, fast=True)
        if config.data.reset_cache or is_there:
            for folder in (plan.scratch, plan.project):
                shutil.rmtree(units_folder(folder), ignore_errors=True)
        was_there = is_there and not config.data.reset_cache
        if was_there:
            LOG.info(
                "frame cache %s is already there (check_and_sync_data.sh verifies it); data.reset_cache=true prepares "
                "it again",
                plan.relative,
            )
        else:
            _build(plan, config.data, stop)
            if plan.project.resolve() != plan.scratch.resolve():  # a reset has left the old copy there until now
                (plan.project / cache.MANIFEST).unlink(missing_ok=True)
        for source, target in ((plan.scratch, plan.project), (plan.project, plan.scratch)):
            if cache.is_whole(source, fast=True) and not cache.is_whole(target, fast=True):
                cache.copy_cache(source, target, stop.check)
                LOG.info("copied the cache to %s", target)
        if preview or not was_there:
            write_preview(plan.scratch, plan.dataset, plan.recordings)
    return plan.scratch


def _make_missing(
    missing: list[WorkUnit], dataset: Dataset, data: Data, folder: Path, num_recordings: int, stop: StopSignals
) -> dict[WorkUnit, MadeUnit]:
    """Make these work units in the folder, with a progress bar over all recordings; stop if too many are corrupt."""
    found: dict[WorkUnit, MadeUnit] = {}
    num_corrupt = 0
    with tqdm(
        total=num_recordings,
        initial=num_recordings - sum(len(unit.numbers) for unit in missing),
        desc=f"preparing {dataset.name}",
        unit="rec",
        disable=None,
    ) as progress:
        processes = data.num_threads or available_cores()
        for unit, made in make_units(missing, dataset, data, folder, processes, stop.check):
            found[unit] = made
            progress.update(len(unit.numbers))
            num_corrupt += made.num_left_out
            if too_many(num_corrupt, num_recordings):
                break
    return found


def prepare_shard(config: Config, shard: int, shards: int, stop: StopSignals) -> None:
    """Make every `shards`-th work unit of the frame cache on project storage, beginning with number `shard`, from 1.

    Shards may run at the same time, on any number of machines. After all of them, `prepare` puts the units together.

    Raises:
        As `prepare`; work units that are made stay. UserError for data.reset_cache: other shards may have begun.
    """
    with no_empty_folders():
        _prepare_shard(plan_preparation(config, stop), config, shard, shards, stop)


def _prepare_shard(plan: Preparation, config: Config, shard: int, shards: int, stop: StopSignals) -> None:
    folder = units_folder(plan.project)
    if config.data.reset_cache:
        raise UserError(
            f"data.reset_cache = true with --shard would undo what other shards have made; move {plan.project}, "
            f"{plan.scratch} and {folder} aside, where they are there, and leave it out"
        )
    if cache.is_whole(plan.project, fast=True):
        LOG.info("frame cache %s is already there", plan.relative)
        return
    mine = plan.units[shard - 1 :: shards]
    if not mine:
        LOG.info("nothing to do for shard %d of %d: there are only %d parts", shard, shards, len(plan.units))
        return
    lock = folder / f".shard-{shard}-of-{shards}.lock"
    with (
        _told_when_full(plan),
        _no_lock_alone(lock),
        file_lock(lock, "another process makes this shard; waiting", stop.check),
    ):
        missing = [unit for unit in mine if read_unit(folder, unit) is None]
        if missing:
            require_free_space(folder, _estimate(plan, config.data).units_bytes(missing))
        made = _make_missing(missing, plan.dataset, config.data, folder, len(plan.recordings), stop)
        if len(made) == len(missing):
            (folder / f".shard-{shard}-of-{shards}.done").touch()  # for people, see `sync.unfinished`
    LOG.info(
        "shard %d of %d: %d parts are made (%d of them now); when all shards are, prepare without --shard",
        shard,
        shards,
        len(mine),
        len(missing),
    )


@contextlib.contextmanager
def _no_lock_alone(lock: Path) -> Iterator[None]:
    """Remove a shard's lock if the block fails and no work unit is there; else it says that the shard was stopped."""
    try:
        yield
    except BaseException:
        if not any(lock.parent.glob("*.json")):
            lock.unlink(missing_ok=True)
        raise


@dataclass(frozen=True)
class _Estimate:
    """What a preparation surely takes on a disk, estimated from a sample of recordings."""

    frames: float  # per recording
    frame_bytes: int

    def units_bytes(self, units: list[WorkUnit]) -> int:
        """Return the bytes of these units."""
        return round(self.frames * self.frame_bytes * sum(len(unit.numbers) for unit in units))

    def cache_bytes(self, num_recordings: int) -> int:
        """Return the bytes of a cache of this number of recordings."""
        return cache.split_bytes(self.frames * num_recordings, self.frame_bytes)


def _estimate(plan: Preparation, data: Data) -> _Estimate:
    frames = frames_per_recording(plan.recordings, plan.dataset, data)
    return _Estimate(SURE_FRACTION * frames, frame_bytes(plan.framing, plan.dataset.sensor_size))


def _require_space(
    plan: Preparation, data: Data, missing: list[WorkUnit], made: dict[WorkUnit, tuple[Path, MadeUnit]]
) -> None:
    """Raise NoSpaceError if the missing units and the cache cannot fit: on scratch, or the cache on project storage."""
    estimate = _estimate(plan, data)
    whole = estimate.cache_bytes(len(plan.recordings))
    require_free_space(plan.scratch, estimate.units_bytes(missing) + whole)
    if plan.project.resolve() == plan.scratch.resolve():
        return
    # The work units are gone by the time of the copy.
    disk = device_of(plan.project)
    freed = sum(it.size for folder, it in made.values() if device_of(folder) == disk)
    require_free_space(plan.project, whole * (2 if device_of(plan.scratch) == disk else 1) - freed)


@contextlib.contextmanager
def _told_when_full(plan: Preparation) -> Iterator[None]:
    """Raise NoSpaceError if a disk is too full; say which, and what the preparation leaves there."""
    try:
        yield
    except (NoSpaceError, OSError) as error:
        text = str(error)
        if isinstance(error, OSError):
            if error.errno not in DISK_IS_FULL:
                raise
            path = Path(error.filename or plan.scratch)
            text = f"{path}: {error.strerror}; see {setting_of(path)}"
        folders = {units_folder(folder): None for folder in (plan.scratch, plan.project)}
        sizes = {folder: sum(path.stat().st_size for path in folder.glob("*")) for folder in folders}
        if stays := [f"{folder} ({format_size(size)})" for folder, size in sizes.items() if size]:
            text += f". What is made stays in {' and '.join(stays)}: the same command goes on from there"
        raise NoSpaceError(text) from error


def _build(plan: Preparation, data: Data, stop: StopSignals) -> None:
    """Make the missing work units and put all of them together on scratch."""
    began = time.perf_counter()
    own, of_shards = units_folder(plan.scratch), units_folder(plan.project)
    with contextlib.ExitStack() as stack:
        stack.callback(remove_if_empty, plan.scratch)
        remove_leftovers(plan.scratch)
        remove_leftovers(own)
        while True:
            made = {
                unit: (folder, it) for folder in (of_shards, own) for unit, it in _made_in(folder, plan.units).items()
            }
            if made:
                LOG.info("going on with %d of %d parts that are there already", len(made), len(plan.units))
            missing = [unit for unit in plan.units if unit not in made]
            if missing:
                _require_space(plan, data, missing, made)
            new = _make_missing(missing, plan.dataset, data, own, len(plan.recordings), stop)
            made |= {unit: (own, it) for unit, it in new.items()}
            try:
                num_read = sum(len(it.numbers) for _, it in made.values())
                report_left_out([it for _, it in made.values()], data, plan.dataset, len(plan.recordings), num_read)
                trained = (it.labels for unit, (_, it) in made.items() if unit.split == "train")
                require_trained_classes(plan.dataset, itertools.chain.from_iterable(trained))
                # Only now: a reset that is stopped keeps the old cache.
                (plan.scratch / cache.MANIFEST).unlink(missing_ok=True)
                entries = _put_together(plan, made, stop.check)
                break
            except DamagedUnitError as error:
                LOG.warning("%s: making it again", error)
            except NoSpaceError:
                raise
            except UserError:  # units that are of no use
                shutil.rmtree(own, ignore_errors=True)
                shutil.rmtree(of_shards, ignore_errors=True)
                raise
    num_corrupt = sum(it.num_left_out for _, it in made.values())
    manifest: cache.Manifest = {
        "format_version": cache.FORMAT_VERSION,
        "parameters": plan.parameters,
        "sources": {"recordings": len(plan.recordings), "fingerprint": plan.fingerprint, "corrupt": num_corrupt},
        "class_names": list(plan.dataset.classes),
        "sensor_size": list(plan.dataset.sensor_size),
        "frame_shape": list(frame_shape(plan.framing, plan.dataset.sensor_size)),
        "frame_dtype": plan.framing.dtype,
        "note": plan.dataset.note,
        "splits": entries,
        "recording_names": plan.names,
    }
    cache.write_manifest(plan.scratch, manifest)
    for folder in (own, of_shards):
        shutil.rmtree(folder, ignore_errors=True)
    speeds = {}
    for split in cache.SPLITS:
        of_split = [it for unit, (_, it) in made.items() if unit.split == split]
        speeds[split] = sum(it.num_events for it in of_split) / max(sum(it.seconds for it in of_split), 1e-9)
    LOG.info(
        "prepared %s in %s\n%s", plan.scratch, format_duration(time.perf_counter() - began), _table(entries, speeds)
    )
    splits = {split: [n for unit in plan.units if unit.split == split for n in unit.numbers] for split in cache.SPLITS}
    counts = {number: n for _, it in made.values() for number, n in zip(it.kept, it.counts, strict=True)}
    warn_of_lost_classes(splits, plan.recordings, plan.dataset, set(range(len(plan.recordings))) - set(counts))
    warn_of_few_frames(counts, plan.recordings, plan.dataset, plan.framing, data.window_events)


def _made_in(folder: Path, units: list[WorkUnit]) -> dict[WorkUnit, MadeUnit]:
    if not folder.is_dir():
        return {}
    return {unit: made for unit in units if (made := read_unit(folder, unit)) is not None}


def _put_together(
    plan: Preparation, made: dict[WorkUnit, tuple[Path, MadeUnit]], check: Callable[[], None]
) -> dict[str, dict[str, Any]]:
    """Write the splits on scratch. Forget a damaged work unit and raise DamagedUnitError."""
    bytes_per_frame = frame_bytes(plan.framing, plan.dataset.sensor_size)
    num_frames = sum(sum(it.counts) for _, it in made.values())
    require_free_space(plan.scratch, cache.split_bytes(num_frames, bytes_per_frame))
    entries = {}
    for split in cache.SPLITS:
        units = [unit for unit in plan.units if unit.split == split]

        def frames(units: list[WorkUnit] = units) -> Iterator[bytes]:
            for unit in units:
                folder, it = made[unit]
                try:
                    for piece in frames_of_unit(folder, unit, it):
                        check()
                        yield piece
                except DamagedUnitError:
                    remove_unit(folder, unit)
                    raise

        labels, numbers, counts = (
            np.array([value for unit in units for value in getattr(made[unit][1], name)], np.int64)
            for name in ("labels", "kept", "counts")
        )
        if counts.sum() == 0:
            if split == "train":
                raise UserError(
                    f"no training frames: {len(plan.recordings)} recordings of {plan.dataset.name} leave none"
                )
            if units:  # else told before
                LOG.warning("there are no %s frames: all of its recordings were left out", split)
        path = plan.scratch / f"{split}.safetensors"
        entries[split] = cache.write_split(path, bytes_per_frame, labels, numbers, counts, frames())
        entries[split]["recordings_a_class"] = np.bincount(labels, minlength=len(plan.dataset.classes)).tolist()
    return entries


def _table(entries: dict[str, Any], speeds: dict[str, float]) -> str:
    header = [
        "split",
        "recordings",
        "frames",
        "frames per recording",
        "recordings per class",
        "on disk",
        "events/s per core",
    ]
    rows = []
    for split, entry in entries.items():
        least, median, most = entry["frames_a_recording"]
        classes = entry["recordings_a_class"]
        rows.append(
            [
                split,
                f"{entry['recordings']:,}",
                f"{entry['frames']:,}",
                f"{least} / {median:g} / {most}",
                f"{min(classes):,} to {max(classes):,}",
                format_size(entry["size"]),
                f"{speeds[split] / 1e6:.1f} million",
            ]
        )
    return format_table(header, rows)
