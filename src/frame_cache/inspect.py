"""What lies in a dataset's folder, before anything is made of it: formats, sensor, events per class, and what fits."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from src.config import Config
from src.events.datasets.dataset import Dataset, Recording
from src.events.formats.errors import CorruptRecordingError
from src.events.formats.reading import format_of
from src.events.framing import frame_shape
from src.frame_cache.framing_options import dataset_of, framing_of, require_crop_on_sensor
from src.frame_cache.recordings import clock_advice, obtain_recordings
from src.frame_cache.work_units import windows_of
from src.helpers import format_table
from src.io_funcs import from_repository

MOST_READ = 20  # recordings per class
FRAME_MILLISECONDS = 50.0  # what a suggested frame covers at the median rate of events
UNKNOWN = "unknown"


@dataclass(frozen=True)
class _Facts:
    """What a recording holds: duration in seconds, events, events with polarity 1."""

    duration: float
    events: int
    on: int


def inspect(config: Config, check: Callable[[], None] = lambda: None) -> str:
    """Return a table of the recordings that the config's data section names, and what it suggests, as text.

    Of each class, MOST_READ recordings are read; nothing is written.

    Raises:
        UserError: if there are no recordings, or they do not fit together.
        Whatever `check`, called for each recording, raises.
    """
    data = config.data
    dataset = dataset_of(data)
    if dataset.complete is None:
        root, recordings = obtain_recordings(data, dataset, check)
    else:
        root = from_repository(data.data_root) / dataset.folder
        dataset = dataset.complete(root)
        recordings = dataset.find_recordings(root)
    require_crop_on_sensor(data, dataset)
    lines, facts, unread = _by_class(recordings, dataset, data.window_events, check)
    width, height, _ = dataset.sensor_size
    parts = [
        f"{len(recordings):,} recordings in {root}, sensor {width} x {height}",
        format_table(["class", "recordings", "format", "seconds", "events", "events/s", "ON, %"], lines),
    ]
    if len(facts) < len(recordings):
        parts.append(f"Medians of {len(facts):,} recordings, at most {MOST_READ} per class.")
    parts += [f"{path}: {reason}" for path, reason in unread]
    if advice := clock_advice(recordings, dataset, data):
        parts.append(advice)
    if suggestion := _suggestion(facts):
        parts.append(suggestion)
    parts.append(_size(config, dataset.sensor_size))
    return "\n".join(parts)


def _by_class(
    recordings: list[Recording], dataset: Dataset, most_events: int, check: Callable[[], None]
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
                facts.append(_facts(recording, dataset, most_events, check))
            except (CorruptRecordingError, OSError) as error:
                unread.append((recording.path, str(error)))
        every += facts
        rows.append([_one_line(name), f"{len(mine):,}", " and ".join(formats), *_medians(facts)])
    return rows, every, unread


def _one_line(name: str) -> str:
    return name if name.isprintable() else repr(name)


def _facts(recording: Recording, dataset: Dataset, most_events: int, check: Callable[[], None]) -> _Facts:
    first, last, num_events, num_on = np.iinfo(np.int64).max, np.iinfo(np.int64).min, 0, 0
    for events in windows_of(recording, dataset, most_events):
        check()
        if len(events):
            first, last = min(first, int(events.t.min())), max(last, int(events.t.max()))
        num_events, num_on = num_events + len(events), num_on + int(np.count_nonzero(events.p))
    return _Facts((last - first) / 1e6, num_events, num_on)


def _medians(facts: list[_Facts]) -> list[str]:
    if not facts:
        return ["-"] * 4
    return [
        f"{np.median([it.duration for it in facts]):.2f}",
        f"{np.median([it.events for it in facts]):,.0f}",
        f"{_rate(facts):,.0f}",
        f"{100 * sum(it.on for it in facts) / sum(it.events for it in facts):.0f}",
    ]


def _rate(facts: list[_Facts]) -> float:
    """Return the median of events per second."""
    return float(np.median([it.events / max(it.duration, 1e-6) for it in facts]))


def _suggestion(facts: list[_Facts]) -> str:
    """Return the size of a frame that covers FRAME_MILLISECONDS at the median rate, or less to have four frames."""
    if not facts:
        return ""
    events = min(_rate(facts) * FRAME_MILLISECONDS / 1000, float(np.median([it.events for it in facts])) / 4)
    digits = 10 ** max(0, len(f"{events:.0f}") - 2)
    size = max(1, round(events / digits) * digits)
    return f"Suggested: data.events_per_frame={size} data.overlap={size // 2}"


def _size(config: Config, sensor_size: tuple[int, int, int]) -> str:
    """Return how large a frame is, and the ways out if it is too large for the config's dense layers."""
    polarities, height, width = frame_shape(framing_of(config.data), sensor_size)
    pixels = polarities * height * width
    text = f"A frame has {width} x {height} pixels and {polarities} polarities: {pixels:,} bits"
    if pixels <= 2 * config.model.difflogic.num_neurons:
        return text
    return (
        f"{text}. A dense layer of {config.model.difflogic.num_neurons:,} gates cannot use all of them: make frames "
        f"smaller by data.downsample or data.crop, or set model.difflogic.architecture=convolutional"
    )
