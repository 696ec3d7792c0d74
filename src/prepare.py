"""A dataset's recordings -> splits by recording -> frame cache, in parallel and in bounded memory."""

import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from src import cache
from src.config import Config, Data
from src.events.dataset import CorruptRecordingError, Dataset, Recording
from src.events.datasets import get_dataset
from src.events.frames import to_packed_frames
from src.helpers import (
    LOG,
    StopSignals,
    UserError,
    available_cores,
    format_duration,
    format_size,
    format_table,
)
from src.io_funcs import file_lock, from_repository, project_root, remove_leftovers, require_storages, scratch_root

RECORDINGS_A_TASK = 32
MOST_CORRUPT_FRACTION = 0.01
MOST_CORRUPT_NAMED = 20


def prepare(config: Config, stop: StopSignals) -> Path:
    """Bring the config's frame cache to scratch and project storage; return its folder on scratch.

    Raises:
        UserError: no recordings can be had, too many are corrupt, or there is no space.
        Stopped: after a signal; nothing is left half there.
    """
    dataset = get_dataset(config.data.name)
    require_storages()
    if dataset.note:
        LOG.info("%s", dataset.note)
    root, recordings = obtain_recordings(config.data, dataset, stop.check)
    parameters = cache.cache_parameters(config.data, dataset)
    fingerprint = cache.source_fingerprint(recordings, root)
    relative = Path("data", dataset.name, cache.cache_identity(parameters, fingerprint))
    scratch, project = scratch_root() / relative, project_root() / relative

    waiting = f"another process is preparing {relative}; waiting for it"
    with file_lock(project.with_name(f".{project.name}.lock"), waiting, stop.check):
        if config.data.reset_cache:
            for folder in (scratch, project):
                (folder / cache.MANIFEST).unlink(missing_ok=True)
        if _is_there(scratch) or _is_there(project):
            LOG.info(
                "frame cache %s is already there (check_and_sync_data.sh verifies it); data.reset_cache=true prepares "
                "it again",
                relative,
            )
        else:
            _build(config.data, dataset, recordings, parameters, fingerprint, scratch, stop)
        for source, target in ((scratch, project), (project, scratch)):
            if _is_there(source) and not _is_there(target):
                cache.copy_cache(source, target, stop.check)
                LOG.info("copied the cache to %s", target)
    return scratch


def obtain_recordings(
    data: Data, dataset: Dataset, check: Callable[[], None] = lambda: None
) -> tuple[Path, list[Recording]]:
    """The folder of the recordings and the recordings in it; downloaded or simulated first if there are none."""
    root = from_repository(data.data_root) / dataset.folder
    recordings = dataset.find_recordings(root)
    if not recordings or not dataset.is_current(root, data.seed):
        try:
            with file_lock(
                root.with_name(f".{root.name}.lock"), f"another process brings {root}; waiting for it", check
            ):
                if not dataset.find_recordings(root) or not dataset.is_current(root, data.seed):
                    dataset.obtain(root, data.seed)
        except OSError as error:
            raise UserError(f"cannot bring the recordings of {dataset.name} to {root}: {error}") from error
        recordings = dataset.find_recordings(root)
    if not recordings:
        raise UserError(f"no recordings of {dataset.name} under {root}; is data.data_root right?")
    if len(recordings) < dataset.full_size:
        LOG.warning(
            "%s: %d of %d recordings found under %s; using those",
            dataset.name,
            len(recordings),
            dataset.full_size,
            root,
        )
    return root, recordings


def assign_splits(recordings: list[Recording], data: Data, own_test_split: bool) -> dict[str, list[int]]:
    """Numbers of the recordings of train, val and test: whole recordings, stratified by class, from the seed."""
    labels = np.array([recording.label for recording in recordings])
    is_test = np.array([recording.is_test for recording in recordings])
    if not own_test_split:
        is_test = _stratified(labels, np.ones(len(labels), bool), data.test_split, [data.seed, 0])
    is_val = _stratified(labels, ~is_test, data.val_split, [data.seed, 1])
    members = {"train": ~is_test & ~is_val, "val": is_val, "test": is_test}
    return {split: np.flatnonzero(members[split]).tolist() for split in cache.SPLITS}


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


@dataclass
class _Part:
    """What a task makes of a few consecutive recordings."""

    frames: NDArray[np.uint8]
    labels: NDArray[np.int64]
    recordings: NDArray[np.int64]
    num_recordings: int
    num_events: int
    corrupt: list[str]


def _frames_of(numbers: list[int], recordings: list[Recording], dataset: Dataset, data: Data) -> _Part:
    parts, counts, kept, corrupt, num_events = [], [], [], [], 0
    for number in numbers:
        path = recordings[number].path
        try:
            events = dataset.read(path)
            frames = to_packed_frames(
                events, dataset.sensor_size, data.events_per_frame, data.overlap, data.denoise_time
            )
        except (CorruptRecordingError, ValueError) as error:
            corrupt.append(f"{path}: {error}")
            continue
        except OSError as error:
            raise UserError(f"{path}: cannot read the recording: {error.strerror}") from error
        parts.append(frames)
        counts.append(len(frames))
        kept.append(number)
        num_events += len(events)
    return _Part(
        np.concatenate([np.empty((0, _frame_bytes(dataset)), np.uint8), *parts]),
        np.repeat(np.array([recordings[number].label for number in kept], np.int64), counts),
        np.repeat(np.array(kept, np.int64), counts),
        len(numbers),
        num_events,
        corrupt,
    )


def _frame_bytes(dataset: Dataset) -> int:
    width, height, polarities = dataset.sensor_size
    return -(-polarities * height * width // 8)


def _in_order(
    pool: ThreadPoolExecutor,
    tasks_ahead: int,
    numbers: list[int],
    recordings: list[Recording],
    dataset: Dataset,
    data: Data,
) -> Iterator[_Part]:
    """The parts of the recordings in their order, with only a few tasks ahead of the reader: memory stays bounded."""
    ahead: deque[Future[_Part]] = deque()
    for begin in range(0, len(numbers), RECORDINGS_A_TASK):
        task = numbers[begin : begin + RECORDINGS_A_TASK]
        ahead.append(pool.submit(_frames_of, task, recordings, dataset, data))
        if len(ahead) > tasks_ahead:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()


def _build(
    data: Data,
    dataset: Dataset,
    recordings: list[Recording],
    parameters: dict[str, Any],
    fingerprint: str,
    folder: Path,
    stop: StopSignals,
) -> None:
    began = time.perf_counter()
    corrupt: list[str] = []
    entries: dict[str, Any] = {}
    speeds: dict[str, float] = {}
    num_threads = data.num_threads or available_cores()
    splits = assign_splits(recordings, data, dataset.own_test_split)
    with contextlib.ExitStack() as stack:
        stack.callback(_remove_if_empty, folder)
        remove_leftovers(folder)
        pool = stack.enter_context(ThreadPoolExecutor(num_threads))
        stack.callback(pool.shutdown, cancel_futures=True)
        progress = stack.enter_context(
            tqdm(total=len(recordings), desc=f"preparing {dataset.name}", unit="rec", disable=None)
        )
        writers = {
            split: stack.enter_context(cache.split_writer(folder, split, _frame_bytes(dataset))) for split in splits
        }
        for split, numbers in splits.items():
            split_began = time.perf_counter()
            num_events = 0
            for part in _in_order(pool, 2 * num_threads, numbers, recordings, dataset, data):
                stop.check()
                writers[split].add(part.frames, part.labels, part.recordings)
                corrupt += part.corrupt
                num_events += part.num_events
                progress.update(part.num_recordings)
            speeds[split] = num_events / max(time.perf_counter() - split_began, 1e-9)
        _report_corrupt(corrupt, len(recordings))
        if not any(len(labels) for labels in writers["train"].labels):
            raise UserError(f"no training frames: {len(recordings)} recordings of {dataset.name} leave none for train")
        for split, writer in writers.items():
            if not any(len(labels) for labels in writer.labels) and (split != "val" or data.val_split > 0):
                LOG.warning("there are no %s frames: too few recordings", split)
            entries[split] = writer.write_safetensors(folder / f"{split}.safetensors")
            entries[split]["recordings_a_class"] = _recordings_a_class(writer, dataset)
    width, height, polarities = dataset.sensor_size
    manifest: cache.Manifest = {
        "format_version": cache.FORMAT_VERSION,
        "parameters": parameters,
        "sources": {"recordings": len(recordings), "fingerprint": fingerprint, "corrupt": len(corrupt)},
        "class_names": list(dataset.classes),
        "sensor_size": list(dataset.sensor_size),
        "frame_shape": [polarities, height, width],
        "note": dataset.note,
        "splits": entries,
    }
    cache.write_manifest(folder, manifest)
    LOG.info("prepared %s in %s\n%s", folder, format_duration(time.perf_counter() - began), _table(entries, speeds))


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def _recordings_a_class(writer: cache.SplitWriter, dataset: Dataset) -> list[int]:
    pairs = Counter[int]()
    for labels, recordings in zip(writer.labels, writer.recordings, strict=True):
        first = np.unique(recordings, return_index=True)[1]
        pairs.update(labels[first].tolist())
    return [pairs[label] for label in range(len(dataset.classes))]


def _report_corrupt(corrupt: list[str], num_recordings: int) -> None:
    if not corrupt:
        return
    for line in corrupt[:MOST_CORRUPT_NAMED]:
        LOG.warning("corrupt recording left out: %s", line)
    if len(corrupt) > MOST_CORRUPT_NAMED:
        LOG.warning("and %d more corrupt recordings", len(corrupt) - MOST_CORRUPT_NAMED)
    if len(corrupt) > MOST_CORRUPT_FRACTION * num_recordings:
        raise UserError(
            f"{len(corrupt)} of {num_recordings} recordings are corrupt, more than "
            f"{MOST_CORRUPT_FRACTION:.0%}; the first: {corrupt[0]}. Fetch the dataset again or remove them"
        )
    LOG.warning("%d of %d recordings are corrupt and were left out", len(corrupt), num_recordings)


def _table(entries: dict[str, Any], speeds: dict[str, float]) -> str:
    header = [
        "split",
        "recordings",
        "frames",
        "frames a recording",
        "recordings a class",
        "on disk",
        "events/s",
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


def _is_there(folder: Path) -> bool:
    manifest = cache.read_manifest(folder)
    return manifest is not None and not cache.damages(folder, manifest, fast=True)
