"""A warning if frames are too large for most recordings: which setting it is, and a value that fits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from src.events.datasets.dataset import Dataset, Recording
from src.events.event_filter import EventFilter
from src.events.formats.errors import CorruptRecordingError
from src.events.framing import Framing, size_options
from src.frame_cache.framing_options import filters_of
from src.frame_cache.recording_windows import windows_of
from src.frame_modes import FRAME_MODES
from src.helpers import LOG

FRAMES_PER_RECORDING = 4  # that a suggested size gives
FRAME_MILLISECONDS = 50.0  # that a frame of a suggested size covers at the median rate of events
SAMPLED = 16  # recordings of one frame, which are read again


@dataclass(frozen=True)
class Sizes:
    """How large a recording is: its events, those that become frames, and its duration in microseconds."""

    events: int
    kept: int
    duration: int


def warn_of_few_frames(
    counts: dict[int, int], recordings: Sequence[Recording], dataset: Dataset, framing: Framing, most_events: int
) -> None:
    """Warn if more than half of the recordings give a single frame, by the size of a frame or by denoising.

    Args:
        counts: number of a recording -> its frames.
        recordings: of the dataset.
        dataset: how they are read.
        framing: how they were cut.
        most_events: of a recording that are looked at.
    """
    mode = FRAME_MODES[framing.mode]
    single = [number for number, count in counts.items() if count <= 1]
    if mode.in_bins or 2 * len(single) <= len(counts):
        return
    sample = [single[place] for place in np.unique(np.linspace(0, len(single) - 1, SAMPLED).astype(int))]
    found = [sizes for number in sample if (sizes := _sizes(recordings[number], dataset, framing, most_events))]
    if not found:
        return
    num_events, num_kept = np.median([(it.events, it.kept) for it in found], axis=0)
    text = f"{len(single):,} of {len(counts):,} recordings give a single frame"
    if num_kept < num_events / 2:
        text += f"; {kept_text(num_events, num_kept, framing)}"
    if suggestion := suggested_size(found, framing):
        now = " and ".join(f"data.{name} = {given:g}" for name, given in size_options(framing).items())
        text += f"; {now} are too large: try {suggestion}"
    LOG.warning("%s", text)


def suggested_size(found: Sequence[Sizes], framing: Framing) -> str:
    """Return overrides for frames that cover FRAME_MILLISECONDS, or less if recordings are short; empty for bins.

    Only events that become frames count, so it is empty too if there are too few of them.
    """
    num_kept = float(np.median([it.kept for it in found]))
    mode = FRAME_MODES[framing.mode]
    if mode.in_bins or num_kept < FRAMES_PER_RECORDING:
        return ""
    if framing.mode == "time_window":
        covered, whole = 1000 * FRAME_MILLISECONDS, float(np.median([it.duration for it in found]))
    else:
        rate = float(np.median([it.kept / max(it.duration, 1) for it in found]))
        covered, whole = 1000 * FRAME_MILLISECONDS * rate, num_kept
    size = two_digits(min(covered, whole / FRAMES_PER_RECORDING))
    return f"data.{mode.size}={size} data.overlap={size // 2}"


def _sizes(recording: Recording, dataset: Dataset, framing: Framing, most_events: int) -> Sizes | None:
    """Return how large the first window of a recording is; None if it cannot be read."""
    passed = EventFilter(framing, dataset.sensor_size)
    try:
        events = next(windows_of(recording, dataset, most_events))
        num_kept = sum(map(len, passed.push(events)))
    except (CorruptRecordingError, ValueError, OSError):  # told by the preparation
        return None
    return Sizes(passed.num_events, num_kept, int(np.ptp(events.t)) if len(events) else 0)


def kept_text(num_events: float, num_kept: float, framing: Framing) -> str:
    """Say how many events of a median recording become frames, and which options leave the others out."""
    options = filters_of(framing)
    by = f", by {' and '.join(options)}" if options else ""
    return f"{num_kept:,.0f} of their {num_events:,.0f} events become frames{by}"


def two_digits(value: float) -> int:
    """Return a number with all but its first two digits 0, at least 1."""
    step = 10 ** max(0, len(f"{value:.0f}") - 2)
    return max(1, round(value / step) * step)
