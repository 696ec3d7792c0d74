"""What lies in a dataset's folder, before anything is made of it: formats, sensor, events per class, and what fits."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from src.config import Config, Data
from src.events.datasets.dataset import Dataset, Recording
from src.events.event_filter import EventFilter
from src.events.formats.errors import CorruptRecordingError
from src.events.formats.reading import format_of
from src.events.framing import Framing, frame_shape
from src.frame_cache.few_frames import FRAMES_PER_RECORDING, Sizes, kept_text, suggested_size
from src.frame_cache.framing_options import dataset_of, framing_of, require_crop_on_sensor
from src.frame_cache.left_out import report_left_out, require_trained_classes
from src.frame_cache.recording_windows import windows_of
from src.frame_cache.recordings import clock_advice, obtain_recordings
from src.frame_cache.splits import assign_splits, require_learnable, warn_of_gaps, warn_of_lost_classes
from src.frame_cache.work_units import REASONS, Faults, frames_per_recording, reason_of, unreadable
from src.helpers import format_table, printable

MOST_READ = 20  # recordings per class
UNKNOWN = "unknown"


@dataclass(frozen=True)
class _Facts(Sizes):
    """What a recording holds: how large it is, its first time in microseconds, and its events that are ON."""

    first: int
    on: int


def inspect(config: Config, show: Callable[[str], object], check: Callable[[], None] = lambda: None) -> None:
    """Show a table of the recordings that the config's data section names, and what it suggests, as text.

    Of each class, MOST_READ recordings are read; nothing is written. Warnings behind the table say what is wrong.

    Raises:
        UserError: before the table, if there are no recordings or they do not fit together; after it, if a preparation
            would refuse them.
        Whatever `check`, called for each recording, raises.
    """
    data = config.data
    dataset = dataset_of(data)
    root, dataset, recordings = obtain_recordings(data, dataset, check)
    require_crop_on_sensor(data, dataset)
    splits = assign_splits(recordings, data, dataset.own_test_split)
    require_learnable(splits, recordings, dataset)
    found = _Found(data, dataset)
    lines = [
        found.row_of_class(name, [it for it in recordings if it.label == label], check)
        for label, name in enumerate(dataset.classes)
    ]
    width, height, _ = dataset.sensor_size
    parts = [
        f"{len(recordings):,} recordings in {printable(str(root))}, sensor {width} x {height}",
        format_table(["class", "recordings", "format", "seconds", "events", "events/s", "ON, %", "kept, %"], lines),
    ]
    if len(found.facts) < len(recordings):
        parts.append(f"Medians of {len(found.facts):,} recordings, at most {MOST_READ} per class.")
    parts += _splits(splits, recordings)
    if found.facts:
        parts.append(_first_times(found.facts))
    if advice := clock_advice(recordings, dataset, data):
        parts.append(advice)
    if found.facts and (suggestion := _suggestion(found.facts, found.framing)):
        parts.append(suggestion)
    parts.append(_size(config, found.framing, dataset.sensor_size))
    show("\n".join(parts))
    warn_of_gaps(splits, recordings, dataset, config)
    report_left_out([found.faults], data, dataset, len(recordings), len(found.facts) + len(found.left_out))
    left_out = {number for number, recording in enumerate(recordings) if recording in found.left_out}
    warn_of_lost_classes(splits, recordings, dataset, left_out)
    usable = (recordings[number] for number in splits["train"] if number not in left_out)
    require_trained_classes(dataset, (it.label for it in usable))
    frames_per_recording(recordings, dataset, data)  # an error if they take too much space


class _Found:
    """What the recordings that are read hold, and what is wrong with them."""

    def __init__(self, data: Data, dataset: Dataset) -> None:
        self.framing, self._dataset, self._most_events = framing_of(data), dataset, data.window_events
        self.facts: list[_Facts] = []
        self.left_out: set[Recording] = set()
        self.faults = Faults(**{it.name: [] for it in fields(Faults)})

    def row_of_class(self, name: str, recordings: list[Recording], check: Callable[[], None]) -> list[str]:
        """Read some of a class's recordings; return its row of the table."""
        formats: Counter[str] = Counter()
        facts = []
        for place in np.unique(np.linspace(0, len(recordings) - 1, min(len(recordings), MOST_READ)).astype(int)):
            check()
            recording = recordings[place]
            try:
                formats[format_of(recording.path) or UNKNOWN] += 1
                facts.append(self._facts(recording, check))
            except tuple(REASONS) as error:
                getattr(self.faults, reason_of(error)).append(f"{recording.path}: {error}")
                self.left_out.add(recording)
            except OSError as error:
                raise unreadable(recording, error) from error
        self.facts += facts
        return [printable(name), f"{len(recordings):,}", " and ".join(formats), *_medians(facts)]

    def _facts(self, recording: Recording, check: Callable[[], None]) -> _Facts:
        passed = EventFilter(self.framing, self._dataset.sensor_size)
        first, last = np.iinfo(np.int64).max, np.iinfo(np.int64).min
        num_on = num_kept = 0
        losses = {"cut_short": 0, "outside": 0, "back": 0}
        for events in windows_of(recording, self._dataset, self._most_events):
            check()
            if len(events):
                first, last = min(first, int(events.t.min())), max(last, int(events.t.max()))
            num_on += int(np.count_nonzero(events.p))
            num_kept += sum(map(len, passed.push(events)))
            losses["cut_short"] += events.num_unread
            losses["outside"] += events.num_outside
            losses["back"] += events.num_back
        if first > last:
            raise CorruptRecordingError("it holds no events")
        passed.check_outside()
        losses["outside"] += passed.num_outside
        for name, number in losses.items():
            if number:
                getattr(self.faults, name).append((recording.path, number))
        if num_kept == 0:
            self.faults.blank.append(recording.path)
        return _Facts(passed.num_events, num_kept, last - first, first, num_on)


def _medians(facts: list[_Facts]) -> list[str]:
    if not facts:
        return ["-"] * 5
    num_events = sum(it.events for it in facts)
    return [
        f"{np.median([it.duration for it in facts]) / 1e6:.2f}",
        f"{np.median([it.events for it in facts]):,.0f}",
        f"{1e6 * np.median([it.events / max(it.duration, 1) for it in facts]):,.0f}",
        f"{100 * sum(it.on for it in facts) / num_events:.0f}",
        f"{100 * sum(it.kept for it in facts) / num_events:.0f}",
    ]


def _splits(splits: dict[str, list[int]], recordings: list[Recording]) -> list[str]:
    """Return a line that says how many recordings each split has, if the recordings name splits themselves."""
    given = {
        "train": True,
        "val": any(recording.is_val for recording in recordings),
        "test": any(recording.is_test for recording in recordings),
    }
    if not (given["val"] or given["test"]):
        return []
    sizes = [f"{len(of)} {name}{'' if given[name] else ' (drawn)'}" for name, of in splits.items()]
    return [f"Recordings of each split: {', '.join(sizes)}"]


def _first_times(facts: list[_Facts]) -> str:
    """Return a line that says when recordings begin, since labels.csv must give times of the files."""
    least, most = (f"{bound(it.first for it in facts) / 1e6:.6f}".rstrip("0").rstrip(".") for bound in (min, max))
    begin = f"{least} s" if least == most else f"{least} to {most} s"
    return f"First timestamps: {begin}; start and end in a labels.csv count as these do"


def _suggestion(facts: list[_Facts], framing: Framing) -> str:
    """Return what to say of the size of a frame; empty if there is nothing to say."""
    num_events, num_kept = np.median([(it.events, it.kept) for it in facts], axis=0)
    what_is_left = kept_text(num_events, num_kept, framing)
    if num_kept < FRAMES_PER_RECORDING:
        return f"Recordings have too few events for frames: {what_is_left}"
    loses_most = num_kept < num_events / 2
    if suggestion := suggested_size(facts, framing):
        return f"Suggested: {suggestion}{f'; {what_is_left}' if loses_most else ''}"
    return f"Recordings lose most events: {what_is_left}" if loses_most else ""


def _size(config: Config, framing: Framing, sensor_size: tuple[int, int, int]) -> str:
    """Return how large a frame is, and the ways out if it is too large for the config's dense layers."""
    polarities, height, width = frame_shape(framing, sensor_size)
    pixels = polarities * height * width
    text = f"A frame has {width} x {height} pixels and {polarities} polarities: {pixels:,} bits"
    is_dense = config.model.model_type == "difflogic" and config.model.difflogic.architecture == "dense"
    if not is_dense or pixels <= 2 * config.model.difflogic.num_neurons:
        return text
    return (
        f"{text}. A dense layer of {config.model.difflogic.num_neurons:,} gates cannot use all of them: make frames "
        f"smaller by data.downsample or data.crop, or set model.difflogic.architecture=convolutional"
    )
