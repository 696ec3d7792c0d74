"""What lies in a dataset's folder, before anything is made of it: formats, sensor, events per class, and what fits."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from src.command_line import UserError
from src.config import Config
from src.events.datasets.dataset import Dataset, Recording
from src.events.event_filter import EventFilter
from src.events.formats.errors import CorruptRecordingError
from src.events.formats.reading import format_of
from src.events.framing import Framing, frame_shape
from src.frame_cache.few_frames import FRAMES_PER_RECORDING, kept_text, two_digits
from src.frame_cache.framing_options import dataset_of, framing_of, require_crop_on_sensor
from src.frame_cache.recording_windows import windows_of
from src.frame_cache.recordings import clock_advice, obtain_recordings
from src.frame_cache.splits import assign_splits, require_learnable
from src.helpers import format_table, printable

MOST_READ = 20  # recordings per class
MOST_UNREAD_NAMED = 10
FRAME_MILLISECONDS = 50.0  # what a suggested frame covers at the median rate of events
UNKNOWN = "unknown"


@dataclass(frozen=True)
class _Facts:
    """What a recording holds: duration in seconds, events, those with polarity 1, and those that become frames."""

    duration: float
    events: int
    on: int
    kept: int


def inspect(config: Config, check: Callable[[], None] = lambda: None) -> str:
    """Return a table of the recordings that the config's data section names, and what it suggests, as text.

    Of each class, MOST_READ recordings are read; nothing is written.

    Raises:
        UserError: if there are no recordings, or they do not fit together.
        Whatever `check`, called for each recording, raises.
    """
    data = config.data
    dataset = dataset_of(data)
    root, dataset, recordings = obtain_recordings(data, dataset, check)
    require_crop_on_sensor(data, dataset)
    require_learnable(assign_splits(recordings, data, dataset.own_test_split), recordings, dataset)
    framing = framing_of(data)
    lines, facts, unread = _by_class(recordings, dataset, framing, data.window_events, check)
    if not facts:
        path, reason = unread[0]
        raise UserError(f"none of {len(unread):,} recordings can be read, the first: {path}: {reason}")
    width, height, _ = dataset.sensor_size
    parts = [
        f"{len(recordings):,} recordings in {printable(str(root))}, sensor {width} x {height}",
        format_table(["class", "recordings", "format", "seconds", "events", "events/s", "ON, %", "kept, %"], lines),
    ]
    if len(facts) < len(recordings):
        parts.append(f"Medians of {len(facts):,} recordings, at most {MOST_READ} per class.")
    parts += [f"{path}: {reason}" for path, reason in unread[:MOST_UNREAD_NAMED]]
    if len(unread) > MOST_UNREAD_NAMED:
        parts.append(f"and {len(unread) - MOST_UNREAD_NAMED:,} more cannot be read")
    if advice := clock_advice(recordings, dataset, data):
        parts.append(advice)
    parts.append(_suggestion(facts, framing))
    parts.append(_size(config, framing, dataset.sensor_size))
    return "\n".join(parts)


def _by_class(
    recordings: list[Recording], dataset: Dataset, framing: Framing, most_events: int, check: Callable[[], None]
) -> tuple[list[list[str]], list[_Facts], list[tuple[str, str]]]:
    """Return a table's row for each class, the facts of the recordings that were read, and what could not be read."""
    rows, every, unread = [], [], []
    for label, name in enumerate(dataset.classes):
        mine = [recording for recording in recordings if recording.label == label]
        formats: Counter[str] = Counter()
        facts = []
        for place in np.unique(np.linspace(0, len(mine) - 1, min(len(mine), MOST_READ)).astype(int)):
            check()
            recording = mine[place]
            try:
                formats[format_of(recording.path) or UNKNOWN] += 1
                facts.append(_facts(recording, dataset, framing, most_events, check))
            except (CorruptRecordingError, ValueError, OSError) as error:
                unread.append((printable(recording.path), str(error)))
        every += facts
        rows.append([printable(name), f"{len(mine):,}", " and ".join(formats), *_medians(facts)])
    return rows, every, unread


def _facts(
    recording: Recording, dataset: Dataset, framing: Framing, most_events: int, check: Callable[[], None]
) -> _Facts:
    passed = EventFilter(framing, dataset.sensor_size)
    first, last, num_on, num_kept = np.iinfo(np.int64).max, np.iinfo(np.int64).min, 0, 0
    for events in windows_of(recording, dataset, most_events):
        check()
        if len(events):
            first, last = min(first, int(events.t.min())), max(last, int(events.t.max()))
        num_on += int(np.count_nonzero(events.p))
        num_kept += sum(map(len, passed.push(events)))
    passed.check_outside()
    return _Facts((last - first) / 1e6, passed.num_events, num_on, num_kept)


def _medians(facts: list[_Facts]) -> list[str]:
    if not facts:
        return ["-"] * 5
    num_events = max(1, sum(it.events for it in facts))
    return [
        f"{np.median([it.duration for it in facts]):.2f}",
        f"{np.median([it.events for it in facts]):,.0f}",
        f"{np.median([it.events / max(it.duration, 1e-6) for it in facts]):,.0f}",
        f"{100 * sum(it.on for it in facts) / num_events:.0f}",
        f"{100 * sum(it.kept for it in facts) / num_events:.0f}",
    ]


def _suggestion(facts: list[_Facts], framing: Framing) -> str:
    """Return the size of a frame that covers FRAME_MILLISECONDS at the median rate, or less if recordings are short.

    Only events that become frames count: those in data.crop that denoising leaves.
    """
    num_events, num_kept = np.median([(it.events, it.kept) for it in facts], axis=0)
    what_is_left = kept_text(num_events, num_kept, framing)
    if num_kept < FRAMES_PER_RECORDING:
        return f"Recordings have too few events for frames: {what_is_left}"
    rate = float(np.median([it.kept / max(it.duration, 1e-6) for it in facts]))
    size = two_digits(min(rate * FRAME_MILLISECONDS / 1000, num_kept / FRAMES_PER_RECORDING))
    reason = f"; {what_is_left}" if num_kept < num_events / 2 else ""
    return f"Suggested: data.events_per_frame={size} data.overlap={size // 2}{reason}"


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
