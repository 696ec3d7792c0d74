"""Work units of a preparation: the frames of a few recordings each, made in parallel, kept if it is interrupted.

A unit is two files in a folder of the preparation. `<split>-<number>.frames` holds the packed frames, one after the
other. `<split>-<number>.json` is written last: it describes them and holds their checksum. Without it there is no
unit. Neither file is synced, so that nothing waits for the disk; instead both are verified before they are used, and
made again if they are damaged.
"""

import contextlib
import errno
import functools
import hashlib
import itertools
import json
import math
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import BinaryIO

import numpy as np

from src.command_line import RunError, Stopped, UserError, ignore_stop_signals, stop_signals_blocked
from src.config import Data
from src.events.datasets.dataset import Dataset, Recording
from src.events.formats.errors import CorruptRecordingError, EmptyPartError, ForeignRecordingError, OtherSensorError
from src.events.framing import Framing, size_options
from src.events.kernels import MOST_BYTES
from src.events.recording_frames import RecordingFrames
from src.frame_cache.framing_options import framing_of
from src.frame_cache.recording_windows import windows_of
from src.helpers import format_size, keep_freed_memory
from src.io_funcs import CHUNK_BYTES, atomic_file, open_regular, read_text

# Bytes of recordings per unit: a second of work, which is all that an interruption costs. The cuts do not depend on
# the number of processes or shards, so that each can go on with what another began.
UNIT_BYTES = 1 << 25
SAMPLED = 32  # recordings, spread over all, from which the size of a cache is estimated
FEWER_FRAMES = "Choose values that give fewer frames per recording"
WORTH_PROCESSES = 1 << 26  # bytes of recordings; fewer are done before more processes have started


class DamagedUnitError(Exception):
    """A unit's frames do not have the checksum that was noted when they were written."""


@dataclass(frozen=True, eq=False)
class WorkUnit:
    """A few consecutive recordings of one split: `recordings` with their `numbers` in the dataset's sorted list."""

    split: str
    number: int
    numbers: tuple[int, ...]
    recordings: tuple[Recording, ...]

    def frames_file(self, folder: Path) -> Path:
        """Return where the frames lie."""
        return folder / f"{self.split}-{self.number:05d}.frames"

    def description_file(self, folder: Path) -> Path:
        """Return where the description lies, which is written last."""
        return folder / f"{self.split}-{self.number:05d}.json"


@dataclass(frozen=True)
class Faults:
    """What is wrong with recordings.

    Attributes:
        corrupt: a line for each corrupt recording.
        foreign: a line for each recording of an unknown format.
        other_sensor: a line for each recording with too many events outside the sensor.
        empty: a line for each part of a file that has no events there.
        unframed: a line for each recording whose frames would take too much space, see `kernels.most_frames`.
        cut_short: (path, bytes) of each recording whose end was not read.
        outside: (path, events) of each recording with events outside the sensor, which were left out.
        back: (path, events) of each recording with events whose time is before that of the event before them.
        blank: the path of each recording whose frames hold no events, since none become frames.
    """

    corrupt: list[str]
    foreign: list[str]
    other_sensor: list[str]
    empty: list[str]
    unframed: list[str]
    cut_short: list[tuple[str, int]]
    outside: list[tuple[str, int]]
    back: list[tuple[str, int]]
    blank: list[str]


@dataclass(frozen=True)
class MadeUnit(Faults):
    """What a finished work unit holds, and what is wrong with its recordings.

    Attributes:
        numbers: the unit's recordings, the corrupt ones too.
        kept, labels, counts: number, label and number of frames of each recording that has frames.
        num_events: events of the recordings that were kept.
        seconds: time of work on one core.
        size: bytes of the frames.
        sha256: checksum of the frames.
    """

    numbers: list[int]
    kept: list[int]
    labels: list[int]
    counts: list[int]
    num_events: int
    seconds: float
    size: int
    sha256: str

    @property
    def num_left_out(self) -> int:
        """Return the number of recordings that have no frames."""
        return len(self.numbers) - len(self.kept)


def plan_work_units(splits: dict[str, list[int]], recordings: list[Recording]) -> list[WorkUnit]:
    """Cut each split's recordings (numbers) into units, by the sizes of their files, never between a file's parts."""
    units = []
    for split, numbers in splits.items():
        begin = size = index = 0
        for end, number in enumerate(numbers, start=1):
            path = recordings[number].path
            if end == 1 or path != recordings[numbers[end - 2]].path:
                size += recordings[number].size
            if end == len(numbers) or (size >= UNIT_BYTES and path != recordings[numbers[end]].path):
                mine = tuple(numbers[begin:end])
                units.append(WorkUnit(split, index, mine, tuple(recordings[n] for n in mine)))
                begin, size, index = end, 0, index + 1
    return units


def read_unit(folder: Path, unit: WorkUnit) -> MadeUnit | None:
    """Return what the folder holds of the unit; None if it is not made, or incomplete."""
    try:
        made = MadeUnit(**json.loads(read_text(unit.description_file(folder))))
        whole = made.numbers == list(unit.numbers) and unit.frames_file(folder).stat().st_size == made.size
    except (OSError, ValueError, TypeError):
        return None
    return made if whole else None


def remove_unit(folder: Path, unit: WorkUnit) -> None:
    """Forget a unit, so that it is made again."""
    unit.description_file(folder).unlink(missing_ok=True)


def frames_of_unit(folder: Path, unit: WorkUnit, made: MadeUnit) -> Iterator[bytes]:
    """Yield the unit's frames, a few MiB at a time; DamagedUnitError at the end if they are not what was written."""
    digest = hashlib.sha256()
    with open_regular(unit.frames_file(folder)) as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            yield chunk
    if digest.hexdigest() != made.sha256:
        raise DamagedUnitError(f"{unit.frames_file(folder)} is damaged")


def frames_per_recording(recordings: list[Recording], dataset: Dataset, data: Data) -> float:
    """Return the mean number of frames of a sample of recordings; 0 if none of them can be framed.

    Of a long recording only the first window counts, so it may have more.

    Raises:
        UserError: if the frames of most of them would take too much space: it is the options, not the data.
    """
    framing = framing_of(data)
    counts, num_unframed = [], 0
    sample = np.linspace(0, len(recordings) - 1, min(SAMPLED, len(recordings))).astype(int)
    for number in sample:
        try:
            first = next(windows_of(recordings[number], dataset, data.window_events))
            frames = RecordingFrames(functools.partial(iter, [first]), dataset.sensor_size, framing)
            counts.append(sum(map(len, frames)))
        except (CorruptRecordingError, OSError):  # reported when its unit is made
            continue
        except ValueError:
            num_unframed += 1
    if 2 * num_unframed > len(sample):
        raise UserError(
            f"{num_unframed} of {len(sample)} recordings that were tried are {unframed_text(framing)}. {FEWER_FRAMES}"
        )
    return float(np.mean(counts)) if counts else 0.0


def unframed_text(framing: Framing) -> str:
    """Say what recordings are whose frames would take too much space, and by which options."""
    options = " and ".join(f"data.{option} = {value}" for option, value in size_options(framing).items())
    return f"of more than {format_size(MOST_BYTES)} of frames each, by {options}"


def make_unit(unit: WorkUnit, dataset: Dataset, data: Data, folder: Path, check: Callable[[], None]) -> MadeUnit:
    """Read, denoise, frame and pack the unit's recordings into the folder; `data.window_events` bounds the memory.

    Raises:
        UserError: a recording cannot be read from the disk, or has changed since it was listed.
        Whatever `check`, called for each window of a recording, raises.
    """
    began = time.perf_counter()
    kept: list[_Kept] = []
    left_out: dict[str, list[str]] = {reason: [] for reason in REASONS.values()}
    framing = framing_of(data)
    digest = hashlib.sha256()
    order = _reading_order(unit.recordings)
    with contextlib.ExitStack() as stack:
        result = stack.enter_context(atomic_file(unit.frames_file(folder), durable=False))
        in_order = order == sorted(order)
        file = result if in_order else stack.enter_context(tempfile.TemporaryFile(dir=folder))
        for place in order:
            recording = unit.recordings[place]
            windows = functools.partial(windows_of, recording, dataset, data.window_events)
            frames = RecordingFrames(windows, dataset.sensor_size, framing, check=check)
            begin, its_digest = file.tell(), digest.copy()
            try:
                for part in frames:
                    content = part.frames.data if part.frames.flags.c_contiguous else part.frames.tobytes()
                    file.write(content)
                    its_digest.update(content)
                _require_unchanged(recording)
            except tuple(REASONS) as error:
                left_out[reason_of(error)].append(f"{recording.path}: {error}")
                file.seek(begin)  # what was written of it
                file.truncate()
                continue
            except OSError as error:
                raise unreadable(recording, error) from error
            digest = its_digest
            kept.append(_Kept(place, begin, file.tell(), frames))
        kept.sort(key=lambda it: it.place)
        if not in_order:
            digest = _copy_in_order(file, kept, result)
        size = result.tell()
    losses = {
        name: [(unit.recordings[it.place].path, value) for it in kept if (value := getattr(it.frames, name))]
        for name in ("num_unread", "num_outside", "num_back")
    }
    made = MadeUnit(
        numbers=list(unit.numbers),
        kept=[unit.numbers[it.place] for it in kept],
        labels=[unit.recordings[it.place].label for it in kept],
        counts=[it.frames.num_frames for it in kept],
        **left_out,
        cut_short=losses["num_unread"],
        outside=losses["num_outside"],
        back=losses["num_back"],
        blank=[unit.recordings[it.place].path for it in kept if it.frames.is_blank],
        num_events=sum(it.frames.num_events for it in kept),
        seconds=time.perf_counter() - began,
        size=size,
        sha256=digest.hexdigest(),
    )
    with atomic_file(unit.description_file(folder), durable=False) as file:
        file.write(json.dumps(vars(made)).encode())
    return made


@dataclass(frozen=True)
class _Kept:
    """A recording with frames: its place in the unit, where its frames lie in a file, and what was counted."""

    place: int
    begin: int
    end: int
    frames: RecordingFrames


def _reading_order(recordings: Sequence[Recording]) -> list[int]:
    """Return the places of recordings in the order in which they are read: parts of a file by time, one by one."""
    first: dict[str, int] = {}
    for place, recording in enumerate(recordings):
        first.setdefault(recording.path, place)
    begins = [-math.inf if recording.begin is None else recording.begin for recording in recordings]
    return sorted(range(len(recordings)), key=lambda place: (first[recordings[place].path], begins[place]))


def _copy_in_order(source: BinaryIO, kept: list[_Kept], target: BinaryIO) -> "hashlib._Hash":
    """Copy the frames of recordings in this order; return their checksum."""
    digest = hashlib.sha256()
    for it in kept:
        source.seek(it.begin)
        for begin in range(it.begin, it.end, CHUNK_BYTES):
            chunk = source.read(min(CHUNK_BYTES, it.end - begin))
            digest.update(chunk)
            target.write(chunk)
    return digest


def _require_unchanged(recording: Recording) -> None:
    """Raise OSError if the recording's file has another size than it had when it was listed."""
    size = os.stat(recording.path).st_size  # noqa: PTH116 - a Path takes longer to make
    if size != recording.size:
        raise OSError(
            errno.EIO, f"its size has changed from {recording.size:,} to {size:,} bytes; wait until it is written"
        )


REASONS = {  # why a recording is left out, the first that fits: its name in `Faults`
    EmptyPartError: "empty",
    OtherSensorError: "other_sensor",
    ForeignRecordingError: "foreign",
    CorruptRecordingError: "corrupt",
    ValueError: "unframed",
}


def reason_of(error: Exception) -> str:
    """Return the name in `Faults` of the reason why a recording is left out."""
    return next(name for kind, name in REASONS.items() if isinstance(error, kind))


def unreadable(recording: Recording, error: OSError) -> UserError:
    """Return the error for a recording that cannot be read from the disk."""
    return UserError(f"{recording.path}: cannot read the recording: {error.strerror}")


def make_units(
    units: list[WorkUnit], dataset: Dataset, data: Data, folder: Path, processes: int, check: Callable[[], None]
) -> Iterator[tuple[WorkUnit, MadeUnit]]:
    """Make the units in any order, in several processes if that is worthwhile; yield each as soon as it is made.

    Raises:
        RunError: a process was killed.
        Whatever `make_unit` and `check` raise; units that are made stay.
    """
    processes = min(processes, len(units))
    keep_freed_memory()  # each recording's arrays are freed
    if processes < 2 or sum(recording.size for unit in units for recording in unit.recordings) < WORTH_PROCESSES:
        for unit in units:
            yield unit, make_unit(unit, dataset, data, folder, check)
        return
    # Spawned, not forked: the caller may have threads (progress bar, PyTorch) that a fork would leave half there.
    context = multiprocessing.get_context("spawn")
    stopping = context.Event()  # starts the resource tracker too, see `stop_signals_blocked`
    with ProcessPoolExecutor(processes, context, _start_worker, (stopping,)) as pool:
        waiting = iter(units)
        running: dict[Future[MadeUnit], WorkUnit] = {}
        try:
            while True:
                for unit in itertools.islice(waiting, 2 * processes - len(running)):
                    with stop_signals_blocked():  # a worker that starts cannot ignore them yet
                        running[pool.submit(_work, unit, dataset, data, folder)] = unit
                if not running:
                    return
                done, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
                check()
                for future in done:
                    yield running.pop(future), future.result()
        except BrokenProcessPool as error:
            raise RunError(
                "a process of the preparation was killed, perhaps for its memory; run the same command again, with a "
                "lower data.num_threads: it goes on from the parts that are done"
            ) from error
        finally:
            stopping.set()
            pool.shutdown(wait=True, cancel_futures=True)


_stopping: Event


def _start_worker(stopping: Event) -> None:
    """Set up a process of the pool, which ends when it is asked to, or with the process that started it."""
    global _stopping
    _stopping = stopping
    keep_freed_memory()
    ignore_stop_signals()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


def _work(unit: WorkUnit, dataset: Dataset, data: Data, folder: Path) -> MadeUnit:
    def check() -> None:
        if _stopping.is_set():
            raise Stopped("the preparation is stopping")

    return make_unit(unit, dataset, data, folder, check)
