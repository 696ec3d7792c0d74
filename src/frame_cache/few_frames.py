"""A warning if frames are too large for most recordings: which setting it is, and a value that fits."""

from collections.abc import Sequence

import numpy as np

from src.events.datasets.dataset import Dataset, Recording
from src.events.event_filter import EventFilter
from src.events.formats.errors import CorruptRecordingError
from src.events.framing import Framing, size_options
from src.frame_cache.recording_windows import windows_of
from src.frame_modes import FRAME_MODES
from src.helpers import LOG

FRAMES_PER_RECORDING = 4  # that a suggested size gives
SAMPLED = 16  # recordings of one frame, which are read again


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
    num_events, num_kept, duration = np.median(found, axis=0)
    text = f"{len(single):,} of {len(counts):,} recordings give a single frame"
    if num_kept < num_events / 2:
        text += f"; {kept_text(num_events, num_kept, framing)}"
    size = duration if framing.mode == "time_window" else num_kept
    if size >= FRAMES_PER_RECORDING:
        option, value = mode.size, two_digits(size / FRAMES_PER_RECORDING)
        now = " and ".join(f"data.{name} = {given:g}" for name, given in size_options(framing).items())
        text += f"; {now} are too large: try data.{option}={value} data.overlap={value // 2}"
    LOG.warning("%s", text)


def _sizes(recording: Recording, dataset: Dataset, framing: Framing, most_events: int) -> tuple[int, int, int] | None:
    """Return a recording's events, those that denoising keeps, and microseconds; None if it cannot be read."""
    passed = EventFilter(framing, dataset.sensor_size)
    try:
        events = next(windows_of(recording, dataset, most_events))
        num_kept = sum(map(len, passed.push(events)))
    except (CorruptRecordingError, ValueError, OSError):  # told by the preparation
        return None
    return passed.num_events, num_kept, int(np.ptp(events.t)) if len(events) else 0


def kept_text(num_events: float, num_kept: float, framing: Framing) -> str:
    """Say how many events of a median recording become frames, and which options leave the others out."""
    options = [] if framing.crop is None else [f"data.crop = {list(framing.crop)}"]
    if framing.denoise_time:
        options.append(f"data.denoise_time = {framing.denoise_time} (0: no denoising)")
    by = f", by {' and '.join(options)}" if options else ""
    return f"{num_kept:,.0f} of their {num_events:,.0f} events become frames{by}"


def two_digits(value: float) -> int:
    """Return a number with all but its first two digits 0, at least 1."""
    step = 10 ** max(0, len(f"{value:.0f}") - 2)
    return max(1, round(value / step) * step)
