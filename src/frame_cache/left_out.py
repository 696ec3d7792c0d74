"""Recordings that a preparation leaves out or reads in part: what is said of them, and how many are too many."""

from collections.abc import Iterable, Sequence

from src.command_line import UserError
from src.config import Data
from src.events.datasets.dataset import Dataset
from src.frame_cache.framing_options import blank_text, framing_of
from src.frame_cache.recordings import clocked_format
from src.frame_cache.work_units import FEWER_FRAMES, Faults, unframed_text
from src.helpers import LOG, first_of, format_size, printable
from src.registry import EVT3_CLOCKS

MOST_LEFT_OUT_FRACTION = 0.01
FEW_LEFT_OUT = 2  # are accepted however few recordings there are
MOST_CORRUPT_NAMED = 20
MOST_PARTLY_READ_NAMED = 5
_LEFT_OUT = {  # reason, as in `Faults`: what such recordings are, and what to do about them
    "corrupt": ("corrupt", "Fetch them again, or move them out of the folders of classes"),
    "empty": (
        "parts of a file without events there",
        "Correct their times in labels.csv: they must be the file's own timestamps (for EVT 3.0, see data.evt3_clock)",
    ),
    "foreign": ("of an unknown format", "Convert them, or name another folder of recordings by {folder}"),
    "other_sensor": ("of another sensor", "Name another folder of recordings by {folder}"),
}


def too_many(num_left_out: int, num_recordings: int) -> bool:
    """Return whether a preparation leaves out too many recordings to go on."""
    return num_left_out > max(FEW_LEFT_OUT, MOST_LEFT_OUT_FRACTION * num_recordings)


def report_left_out(made: Sequence[Faults], data: Data, dataset: Dataset, num_recordings: int, num_read: int) -> None:
    """Warn of recordings that were left out, partly read or without events in frames.

    Args:
        made: what was found.
        data: options.
        dataset: of the recordings.
        num_recordings: of the dataset.
        num_read: of them, which were tried.

    Raises:
        UserError: if too many were left out.
    """
    texts = {**_LEFT_OUT, "unframed": (unframed_text(framing_of(data)), FEWER_FRAMES)}
    left_out = {reason: [line for it in made for line in getattr(it, reason)] for reason in texts}
    total = sum(map(len, left_out.values()))
    worst = max(left_out, key=lambda reason: len(left_out[reason])) if too_many(total, num_recordings) else ""
    for reason, lines in left_out.items():
        named = lines[1:] if reason == worst else lines  # the error names its first
        for line in named[:MOST_CORRUPT_NAMED]:
            LOG.warning("recording left out: %s", printable(line))
        if len(named) > MOST_CORRUPT_NAMED:
            LOG.warning("and %d more", len(named) - MOST_CORRUPT_NAMED)
    if worst:
        are, what_to_do = texts[worst]
        if worst == "other_sensor" and data.sensor_size is not None:
            what_to_do = f"Correct data.sensor_size = {list(data.sensor_size)}"
        read = "" if num_read == num_recordings else f" ({num_read} were read)"
        raise UserError(
            f"{total} of {num_recordings} recordings cannot be used{read}, more than "
            f"{MOST_LEFT_OUT_FRACTION:.0%} and more than {FEW_LEFT_OUT}; {len(left_out[worst])} are {are}, the first: "
            f"{printable(left_out[worst][0])}. {what_to_do.format(folder=f'data.{dataset.folder_option}')}"
        )
    for reason, lines in left_out.items():
        if lines:
            LOG.warning("%d of %d recordings are %s and were left out", len(lines), num_recordings, texts[reason][0])
    if cut_short := [it for unit in made for it in unit.cut_short]:
        LOG.warning(
            "%d of %d recordings are cut short; what is whole was read, %s were left out or are missing: %s",
            len(cut_short),
            num_recordings,
            format_size(sum(size for _, size in cut_short)),
            first_of([f"{path} ({format_size(size)})" for path, size in cut_short], MOST_PARTLY_READ_NAMED),
        )
    if outside := [it for unit in made for it in unit.outside]:
        LOG.warning(
            "%d of %d recordings have events outside the sensor; %s events were left out: %s",
            len(outside),
            num_recordings,
            f"{sum(number for _, number in outside):,}",
            first_of([f"{path} ({number:,})" for path, number in outside], MOST_PARTLY_READ_NAMED),
        )
    if back := [it for unit in made for it in unit.back]:
        LOG.warning(
            "in %d of %d recordings time goes back; the %s events whose time is before that of the event before them "
            "stay where they are: %s",
            len(back),
            num_recordings,
            f"{sum(number for _, number in back):,}",
            first_of([f"{path} ({number:,})" for path, number in back], MOST_PARTLY_READ_NAMED)
            + (f"; {hint}" if (hint := _clock_hint([path for path, _ in back], data, dataset)) else ""),
        )
    blank = [it for unit in made for it in unit.blank]
    if blank and len(blank) == num_read - total:
        raise UserError(f"all {len(blank):,} recordings have {blank_text(framing_of(data))}; give another value")
    if blank:
        LOG.warning(
            "%d of %d recordings have %s: %s",
            len(blank),
            num_recordings,
            blank_text(framing_of(data)),
            first_of(blank, MOST_PARTLY_READ_NAMED),
        )


def _clock_hint(paths: Sequence[str], data: Data, dataset: Dataset) -> str:
    """Say that the user's own recordings may be of another clock, if their format has several; else nothing."""
    name = clocked_format(paths[0], dataset)
    if name is None:
        return ""
    others = " or ".join(f"data.evt3_clock={clock}" for clock in EVT3_CLOCKS if clock != data.evt3_clock)
    return f"{name} files that were written for another clock look so: try {others}"


def require_trained_classes(dataset: Dataset, labels: Iterable[int]) -> None:
    """Raise UserError if the user's own recordings leave a class without training.

    Args:
        dataset: of the recordings.
        labels: of the recordings in train that can be used.
    """
    kept = set(labels)
    lost = [name for label, name in enumerate(dataset.classes) if label not in kept]
    if dataset.of_options is not None and lost:
        raise UserError(
            f"class {lost[0]!r} has no recording left for training: those that train would hold were left out, as the "
            f"warnings say; mend them, move them out of its folder, or give it more recordings"
        )
