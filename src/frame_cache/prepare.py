"""A dataset's recordings -> splits by recording -> parts -> frame cache, in processes, on any number of machines."""

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from src.command_line import StopSignals, UserError
from src.config import Config, Data
from src.events.datasets import get_dataset
from src.events.datasets.description import Dataset, Recording, broken_links
from src.events.download.archives import fetch, strange_folders
from src.events.framing import Framing, frame_bytes, frame_shape
from src.frame_cache import cache
from src.frame_cache.framing_options import framing_of
from src.frame_cache.preview import write_preview
from src.frame_cache.work_units import (
    FEWER_FRAMES,
    DamagedPartError,
    Made,
    Part,
    frames_of_part,
    frames_per_recording,
    make_parts,
    plan_parts,
    read_part,
    remove_part,
    unframed_text,
)
from src.helpers import LOG, available_cores, format_duration, format_size, format_table
from src.io_funcs import (
    DISK_IS_FULL,
    NoSpaceError,
    device_of,
    file_lock,
    from_repository,
    project_root,
    remove_leftovers,
    require_free_space,
    require_storages,
    scratch_root,
    setting_of,
)

MOST_LEFT_OUT_FRACTION = 0.01
FEW_LEFT_OUT = 2  # however few recordings there are
MOST_CORRUPT_NAMED = 20
MOST_PARTLY_READ_NAMED = 5
SURE_FRACTION = 0.9  # of an estimate of space: what is surely needed
_LEFT_OUT = {  # why, in `Made`: what such recordings are, and what to do about them
    "corrupt": ("corrupt", "Fetch the dataset again, or move them out of its folders"),
    "foreign": (
        "of an unknown format or another sensor",
        "Convert them, or name another folder of recordings by data.data_root",
    ),
}


@dataclass(frozen=True)
class _Job:
    """What is to be prepared, and where."""

    dataset: Dataset
    framing: Framing
    recordings: list[Recording]
    names: list[str]  # of the recordings' files, relative to the dataset's folder
    parameters: dict[str, Any]
    fingerprint: str
    parts: list[Part]
    relative: Path  # of the cache's folder, under both storage roots

    @property
    def scratch(self) -> Path:
        return scratch_root() / self.relative

    @property
    def project(self) -> Path:
        return project_root() / self.relative


def _plan(config: Config, stop: StopSignals) -> _Job:
    dataset = get_dataset(config.data.name)
    require_storages()
    if dataset.note:
        LOG.info("%s", dataset.note)
    root, recordings = obtain_recordings(config.data, dataset, stop.check)
    parameters = cache.cache_parameters(config.data, dataset)
    fingerprint = cache.source_fingerprint(recordings, root)
    splits = assign_splits(recordings, config.data, dataset.own_test_split)
    _warn_of_missing_classes(splits, recordings, dataset.classes)
    parts = plan_parts(splits, recordings)
    relative = Path("data", dataset.name, cache.cache_identity(parameters, fingerprint))
    names = cache.relative_names(recordings, root)
    return _Job(dataset, framing_of(config.data), recordings, names, parameters, fingerprint, parts, relative)


def prepare(config: Config, stop: StopSignals, preview: bool = False) -> Path:
    """Bring the config's frame cache to scratch and project storage; return its folder on scratch.

    What an interrupted preparation, or shards, have made of it is used. A cache that is made is drawn, see
    `write_preview`; with `preview`, one that was there is drawn again.

    Raises:
        UserError: no recordings can be had, too many are corrupt, or there is no space.
        Stopped: after a signal; the parts that are made stay.
    """
    job = _plan(config, stop)
    waiting = f"another process is preparing {job.relative}; waiting for it"
    with _told_when_full(job), cache.both_locked(job.relative, waiting, stop.check):
        is_there = cache.is_whole(job.scratch, fast=True) or cache.is_whole(job.project, fast=True)
        if config.data.reset_cache or is_there:
            for folder in (job.scratch, job.project):
                shutil.rmtree(_parts_folder(folder), ignore_errors=True)
        was_there = is_there and not config.data.reset_cache
        if was_there:
            LOG.info(
                "frame cache %s is already there (check_and_sync_data.sh verifies it); data.reset_cache=true prepares "
                "it again",
                job.relative,
            )
        else:
            _build(job, config.data, stop)
            if job.project.resolve() != job.scratch.resolve():  # what a reset has left there until now is copied anew
                (job.project / cache.MANIFEST).unlink(missing_ok=True)
        for source, target in ((job.scratch, job.project), (job.project, job.scratch)):
            if cache.is_whole(source, fast=True) and not cache.is_whole(target, fast=True):
                cache.copy_cache(source, target, stop.check)
                LOG.info("copied the cache to %s", target)
        if preview or not was_there:
            write_preview(job.scratch, job.dataset, job.recordings)
    return job.scratch


def obtain_recordings(
    data: Data, dataset: Dataset, check: Callable[[], None] = lambda: None
) -> tuple[Path, list[Recording]]:
    """The folder of the recordings and the recordings in it; downloaded or simulated first if there are none."""
    root = from_repository(data.data_root) / dataset.folder
    try:
        recordings = dataset.find_recordings(root)
    except OSError as error:
        raise UserError(f"cannot list the recordings of {dataset.name} under {root}: {error}") from error
    if links := broken_links(root):
        some = f"links that lead nowhere: {len(links):,}, such as {links[0]} -> {Path(links[0]).readlink()}"
        what_to_do = "Bring the files that they name (git annex get, dvc pull), or mount their disk"
        if not recordings:
            raise UserError(f"no recordings of {dataset.name} under {root}, only {some}. {what_to_do}")
        LOG.warning("recordings of %s are left out, %s. %s", dataset.name, some, what_to_do)
    if not recordings or not dataset.is_current(root, data.seed):
        try:
            _bring_recordings(data, dataset, root, check)
        except OSError as error:
            raise UserError(f"cannot bring the recordings of {dataset.name} to {root}: {error}") from error
        recordings = dataset.find_recordings(root)
    if not recordings:
        raise UserError(f"no recordings of {dataset.name} under {root}; is data.data_root right?")
    if dataset.archives and (strangers := strange_folders(dataset.archives, root)):
        LOG.warning("nothing is taken from %s in %s: not a folder of %s", ", ".join(strangers), root, dataset.name)
    if len(recordings) < dataset.full_size:
        LOG.warning(
            "%s: %d of %d recordings found under %s; using those",
            dataset.name,
            len(recordings),
            dataset.full_size,
            root,
        )
    return root, recordings


def _bring_recordings(data: Data, dataset: Dataset, root: Path, check: Callable[[], None]) -> None:
    """Download or simulate; a failed download leaves nothing but what the next one goes on with."""
    made_data_root = not root.parent.exists()
    if dataset.archives and made_data_root and root.parent != from_repository(Data().data_root):
        size = format_size(sum(archive.size for archive in dataset.archives))
        raise UserError(
            f"data.data_root = {data.data_root}: there is no such folder; correct it, or make the folder if "
            f"{dataset.name} ({size}) is to be downloaded to it"
        )
    if dataset.archives and dataset.find_recordings(root.parent):
        raise UserError(
            f"data.data_root = {data.data_root} is itself the folder of the recordings of {dataset.name}: name it "
            f"{dataset.folder}, if it is not, and give the folder that it lies in"
        )
    lock, waiting = root.with_name(f".{root.name}.lock"), f"another process brings {root}; waiting for it"
    try:
        with file_lock(lock, waiting, check, remove=True):
            if dataset.find_recordings(root) and dataset.is_current(root, data.seed):
                return
            if dataset.archives:
                fetch(dataset.archives, root, data.url, check)
            elif dataset.obtain:
                dataset.obtain(root, data.seed)
    finally:
        if made_data_root:
            _remove_if_empty(root.parent)


def assign_splits(recordings: list[Recording], data: Data, own_test_split: bool) -> dict[str, list[int]]:
    """Numbers of the recordings of train, val and test: whole recordings, stratified by class, from the seed."""
    labels = np.array([recording.label for recording in recordings])
    is_test = np.array([recording.is_test for recording in recordings])
    if not own_test_split:
        is_test = _stratified(labels, np.ones(len(labels), bool), data.test_split, [data.seed, 0])
    is_val = _stratified(labels, ~is_test, data.val_split, [data.seed, 1])
    members = {"train": ~is_test & ~is_val, "val": is_val, "test": is_test}
    return {split: np.flatnonzero(members[split]).tolist() for split in cache.SPLITS}


def _warn_of_missing_classes(
    splits: dict[str, list[int]], recordings: list[Recording], classes: tuple[str, ...]
) -> None:
    for split in ("train", "test"):
        present = {recordings[number].label for number in splits[split]}
        missing = [name for label, name in enumerate(classes) if label not in present]
        if present and missing:
            LOG.warning("no recording of class %s is in %s: is a folder missing?", ", ".join(missing), split)


def _stratified(
    labels: NDArray[np.int64], candidates: NDArray[np.bool_], fraction: float, seed: list[int]
) -> NDArray[np.bool_]:
    """Mark `fraction` of each class's candidates, rounded, at random."""
    marked = np.zeros(len(labels), dtype=bool)
    rng = np.random.default_rng(seed)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(candidates & (labels == label)))
        marked[members[: round(fraction * len(members))]] = True
    return marked


def _parts_folder(folder: Path) -> Path:
    """Beside a cache's folder; hidden, so that it is not taken for a cache."""
    return folder.with_name(f".{folder.name}.parts")


def _make_missing(
    missing: list[Part], dataset: Dataset, data: Data, folder: Path, num_recordings: int, stop: StopSignals
) -> dict[Part, Made]:
    """Make these parts in the folder, with a progress bar over all recordings; corrupt ones are named as they come."""
    found: dict[Part, Made] = {}
    num_corrupt = 0
    with tqdm(
        total=num_recordings,
        initial=num_recordings - sum(len(part.numbers) for part in missing),
        desc=f"preparing {dataset.name}",
        unit="rec",
        disable=None,
    ) as progress:
        processes = data.num_threads or available_cores()
        for part, made in make_parts(missing, dataset, data, folder, processes, stop.check):
            found[part] = made
            progress.update(len(part.numbers))
            num_corrupt += made.num_left_out
            if _too_many(num_corrupt, num_recordings):
                break
    return found


def prepare_shard(config: Config, shard: int, shards: int, stop: StopSignals) -> None:
    """Make every `shards`-th part of the config's frame cache on project storage, from the `shard`-th (1 is the first).

    Processes on any number of machines do so at the same time; when all are done, `prepare` puts the parts together.

    Raises:
        As `prepare`; parts that are made stay. UserError for data.reset_cache: other shards may have begun.
    """
    job = _plan(config, stop)
    folder = _parts_folder(job.project)
    if config.data.reset_cache:
        raise UserError(
            f"data.reset_cache = true with --shard would undo what other shards have made; move {job.project}, "
            f"{job.scratch} and {folder} aside, where they are there, and leave it out"
        )
    if cache.is_whole(job.project, fast=True):
        LOG.info("frame cache %s is already there", job.relative)
        return
    mine = job.parts[shard - 1 :: shards]
    if not mine:
        LOG.info("nothing to do for shard %d of %d: there are %d parts only", shard, shards, len(job.parts))
        return
    lock = folder / f".shard-{shard}-of-{shards}.lock"
    with _told_when_full(job), file_lock(lock, "another process makes this shard; waiting", stop.check):
        missing = [part for part in mine if read_part(folder, part) is None]
        if missing:
            require_free_space(folder, _estimate(job).of(missing))
        made = _make_missing(missing, job.dataset, config.data, folder, len(job.recordings), stop)
        if len(made) == len(missing):
            (folder / f".shard-{shard}-of-{shards}.done").touch()  # for people, see `sync.unfinished`
    LOG.info(
        "shard %d of %d: %d parts are made (%d of them now); when all shards are, prepare without --shard",
        shard,
        shards,
        len(mine),
        len(missing),
    )


@dataclass(frozen=True)
class _Estimate:
    """What a preparation surely takes on a disk, estimated from a sample of recordings."""

    frames: float  # per recording
    frame_bytes: int

    def of(self, parts: list[Part]) -> int:
        """Return the bytes of these parts."""
        return round(self.frames * self.frame_bytes * sum(len(part.numbers) for part in parts))

    def of_cache(self, num_recordings: int) -> int:
        """Return the bytes of a cache of so many recordings."""
        return cache.split_bytes(self.frames * num_recordings, self.frame_bytes)


def _estimate(job: _Job) -> _Estimate:
    frames = frames_per_recording(job.recordings, job.dataset, job.framing)
    return _Estimate(SURE_FRACTION * frames, frame_bytes(job.framing, job.dataset.sensor_size))


def _require_space(job: _Job, missing: list[Part], made: dict[Part, tuple[Path, Made]]) -> None:
    """Raise NoSpaceError if the missing parts and the cache cannot fit: on scratch, or the cache on project storage."""
    estimate = _estimate(job)
    whole = estimate.of_cache(len(job.recordings))
    require_free_space(job.scratch, estimate.of(missing) + whole)
    if job.project.resolve() == job.scratch.resolve():
        return
    # By the time of the copy, the parts are gone.
    disk = device_of(job.project)
    freed = sum(it.size for folder, it in made.values() if device_of(folder) == disk)
    require_free_space(job.project, whole * (2 if device_of(job.scratch) == disk else 1) - freed)


@contextlib.contextmanager
def _told_when_full(job: _Job) -> Iterator[None]:
    """Where a disk is too full, say which, and what the preparation leaves there."""
    try:
        yield
    except (NoSpaceError, OSError) as error:
        text = str(error)
        if isinstance(error, OSError):
            if error.errno not in DISK_IS_FULL:
                raise
            path = Path(error.filename or job.scratch)
            text = f"{path}: {error.strerror}; see {setting_of(path)}"
        folders = {_parts_folder(folder): None for folder in (job.scratch, job.project)}
        sizes = {folder: sum(path.stat().st_size for path in folder.glob("*")) for folder in folders}
        if stays := [f"{folder} ({format_size(size)})" for folder, size in sizes.items() if size]:
            text += f". What is made stays in {' and '.join(stays)}: the same command goes on from there"
        raise NoSpaceError(text) from error


def _build(job: _Job, data: Data, stop: StopSignals) -> None:
    """Make what parts are missing and put them together, on scratch."""
    began = time.perf_counter()
    own, of_shards = _parts_folder(job.scratch), _parts_folder(job.project)
    with contextlib.ExitStack() as stack:
        stack.callback(_remove_if_empty, job.scratch)
        remove_leftovers(job.scratch)
        remove_leftovers(own)
        while True:
            made = {
                part: (folder, it) for folder in (of_shards, own) for part, it in _made_in(folder, job.parts).items()
            }
            if made:
                LOG.info("going on with %d of %d parts that are there already", len(made), len(job.parts))
            missing = [part for part in job.parts if part not in made]
            if missing:
                _require_space(job, missing, made)
            new = _make_missing(missing, job.dataset, data, own, len(job.recordings), stop)
            made |= {part: (own, it) for part, it in new.items()}
            try:
                _report_left_out([it for _, it in made.values()], job)
            except UserError:
                shutil.rmtree(own, ignore_errors=True)
                shutil.rmtree(of_shards, ignore_errors=True)
                raise
            (job.scratch / cache.MANIFEST).unlink(missing_ok=True)  # only now: a reset that stops leaves what was there
            try:
                entries = _put_together(job, made, stop.check)
                break
            except DamagedPartError as error:
                LOG.warning("%s: making it again", error)
    num_corrupt = sum(it.num_left_out for _, it in made.values())
    manifest: cache.Manifest = {
        "format_version": cache.FORMAT_VERSION,
        "parameters": job.parameters,
        "sources": {"recordings": len(job.recordings), "fingerprint": job.fingerprint, "corrupt": num_corrupt},
        "class_names": list(job.dataset.classes),
        "sensor_size": list(job.dataset.sensor_size),
        "frame_shape": list(frame_shape(job.framing, job.dataset.sensor_size)),
        "frame_dtype": job.framing.dtype,
        "note": job.dataset.note,
        "splits": entries,
        "recording_names": job.names,
    }
    cache.write_manifest(job.scratch, manifest)
    for folder in (own, of_shards):
        shutil.rmtree(folder, ignore_errors=True)
    speeds = {}
    for split in cache.SPLITS:
        of_split = [it for part, (_, it) in made.items() if part.split == split]
        speeds[split] = sum(it.num_events for it in of_split) / max(sum(it.seconds for it in of_split), 1e-9)
    LOG.info(
        "prepared %s in %s\n%s", job.scratch, format_duration(time.perf_counter() - began), _table(entries, speeds)
    )


def _made_in(folder: Path, parts: list[Part]) -> dict[Part, Made]:
    if not folder.is_dir():
        return {}
    return {part: made for part in parts if (made := read_part(folder, part)) is not None}


def _put_together(
    job: _Job, made: dict[Part, tuple[Path, Made]], check: Callable[[], None]
) -> dict[str, dict[str, Any]]:
    """Write the splits on scratch; a damaged part is forgotten and DamagedPartError raised."""
    bytes_a_frame = frame_bytes(job.framing, job.dataset.sensor_size)
    num_frames = sum(sum(it.counts) for _, it in made.values())
    require_free_space(job.scratch, cache.split_bytes(num_frames, bytes_a_frame))
    entries = {}
    for split in cache.SPLITS:
        parts = [part for part in job.parts if part.split == split]

        def frames(parts: list[Part] = parts) -> Iterator[bytes]:
            for part in parts:
                folder, it = made[part]
                try:
                    for piece in frames_of_part(folder, part, it):
                        check()
                        yield piece
                except DamagedPartError:
                    remove_part(folder, part)
                    raise

        labels, numbers, counts = (
            np.array([value for part in parts for value in getattr(made[part][1], name)], np.int64)
            for name in ("labels", "kept", "counts")
        )
        if counts.sum() == 0:
            if split == "train":
                raise UserError(
                    f"no training frames: {len(job.recordings)} recordings of {job.dataset.name} leave none"
                )
            if split == "test" or job.parameters["val_split"] > 0:
                LOG.warning("there are no %s frames: too few recordings", split)
        path = job.scratch / f"{split}.safetensors"
        entries[split] = cache.write_split(path, bytes_a_frame, labels, numbers, counts, frames())
        entries[split]["recordings_a_class"] = np.bincount(labels, minlength=len(job.dataset.classes)).tolist()
    return entries


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def _too_many(num_left_out: int, num_recordings: int) -> bool:
    return num_left_out > max(FEW_LEFT_OUT, MOST_LEFT_OUT_FRACTION * num_recordings)


def _report_left_out(made: list[Made], job: _Job) -> None:
    """Warn of recordings that were left out or partly read; UserError if too many were left out."""
    num_recordings = len(job.recordings)
    texts = {**_LEFT_OUT, "unframed": (unframed_text(job.framing), FEWER_FRAMES)}
    left_out = {reason: [line for it in made for line in getattr(it, reason)] for reason in texts}
    for lines in left_out.values():
        for line in lines[:MOST_CORRUPT_NAMED]:
            LOG.warning("recording left out: %s", line)
        if len(lines) > MOST_CORRUPT_NAMED:
            LOG.warning("and %d more", len(lines) - MOST_CORRUPT_NAMED)
    total = sum(map(len, left_out.values()))
    if _too_many(total, num_recordings):
        reason, lines = max(left_out.items(), key=lambda item: len(item[1]))
        are, what_to_do = texts[reason]
        raise UserError(
            f"{total} of {num_recordings} recordings cannot be used, more than {MOST_LEFT_OUT_FRACTION:.0%} and more "
            f"than {FEW_LEFT_OUT}; {len(lines)} are {are}, the first: {lines[0]}. {what_to_do}"
        )
    for reason, lines in left_out.items():
        if lines:
            LOG.warning("%d of %d recordings are %s and were left out", len(lines), num_recordings, texts[reason][0])
    if cut_short := [it for part in made for it in part.cut_short]:
        LOG.warning(
            "%d of %d recordings are cut short; what is whole was read, %s were left out or are missing: %s",
            len(cut_short),
            num_recordings,
            format_size(sum(size for _, size in cut_short)),
            _named([f"{path} ({format_size(size)})" for path, size in cut_short]),
        )
    if outside := [it for part in made for it in part.outside]:
        LOG.warning(
            "%d of %d recordings have events outside the sensor; %s events were left out: %s",
            len(outside),
            num_recordings,
            f"{sum(number for _, number in outside):,}",
            _named([f"{path} ({number:,})" for path, number in outside]),
        )


def _named(names: list[str]) -> str:
    more = len(names) - MOST_PARTLY_READ_NAMED
    return ", ".join(names[:MOST_PARTLY_READ_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _table(entries: dict[str, Any], speeds: dict[str, float]) -> str:
    header = [
        "split",
        "recordings",
        "frames",
        "frames a recording",
        "recordings a class",
        "on disk",
        "events/s, a core",
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
