"""What lies beside a folder's recordings without being one, and the warnings that name it."""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path

from src.events.datasets.labels import LABELS, Sample
from src.events.datasets.listing import entries_of
from src.events.formats.errors import CorruptRecordingError, refuse_pointer
from src.events.formats.reading import format_of
from src.helpers import LOG, first_of, printable
from src.io_funcs import read_bytes

UNKNOWN = "unknown format; docs/own_recordings.md lists those that are read"
POINTER_BYTES = 200  # more than the beginning of a pointer to a recording
MOST_NAMED = 3  # paths in a warning


def without_side_files(samples: list[Sample], warn: bool = False) -> list[Sample]:
    """Return the samples without files that programs put beside recordings, such as .bias and .txt.

    They are those of a suffix of which no file is in a known format, if there are others. A table's files all count.
    """
    by_suffix: dict[str, list[str]] = {}
    for sample in samples:
        if not sample.where:
            by_suffix.setdefault(os.path.splitext(sample.path)[1].casefold(), []).append(sample.path)  # noqa: PTH122
    strange = {suffix: paths for suffix, paths in by_suffix.items() if all(map(_is_strange, paths))}
    if len(strange) == len(by_suffix):
        return samples
    if warn:
        for paths in strange.values():
            _warn_of_side_files(paths)
    dropped = {path for paths in strange.values() for path in paths}
    return [sample for sample in samples if sample.path not in dropped]


def _is_strange(path: str) -> bool:
    """Return whether a file is in no known format, and no empty one or pointer to a recording either."""
    try:
        return reason_unreadable(path) == UNKNOWN
    except OSError:  # told when it is read
        return False


def _warn_of_side_files(paths: Sequence[str]) -> None:
    suffix = os.path.splitext(paths[0])[1]  # noqa: PTH122
    LOG.warning(
        "no file %s is in a known format; left out: %s",
        f"with the suffix {suffix}" if suffix else "without a suffix",
        first_of(paths, 1),
    )


def warn_of_left_out(folder: Path, splits: Sequence[str], has_recordings: bool) -> None:
    """Warn of what lies in a dataset's folder without counting.

    Args:
        folder: of the dataset.
        splits: names of the folders of splits in it; [""] if it holds the folders of classes itself.
        has_recordings: if there are none, an error follows, and only a table of another name is worth a warning.
    """
    listed = {folder / name: entries_of(folder / name) for name in dict.fromkeys(("", *splits))}
    for place, entries in listed.items():
        tables = difflib.get_close_matches(LABELS, entries["file"], cutoff=0.7)
        for name in tables:
            LOG.warning("not read: %s; a table of recordings is named %s", printable(str(place / name)), LABELS)
        if has_recordings:
            _warn_of_loose_recordings(place, [name for name in entries["file"] if name not in tables])
            _warn_of_others(place, entries["other"])
    if not has_recordings:
        return
    for place in [folder / name for name in splits]:
        for name in listed[place]["folder"]:
            entries = listed[place / name] = entries_of(place / name)
            _warn_of_others(place / name, entries["folder"] + entries["other"])
    if empty := [str(place) for place, entries in listed.items() if not any(entries.values())]:
        LOG.warning("left out, since nothing lies in them: %s", first_of(empty, MOST_NAMED))


def _warn_of_loose_recordings(folder: Path, names: Sequence[str]) -> None:
    recordings = [name for name in names if not _is_strange(str(folder / name))]
    if not recordings:
        return
    LOG.warning(
        "left out, since they lie in %s, in no class's folder: %s; move each into the folder of its class, or list "
        "all recordings in a %s",
        printable(str(folder)),
        first_of(recordings, MOST_NAMED),
        LABELS,
    )


def _warn_of_others(folder: Path, names: Sequence[str]) -> None:
    if names:
        more = f" and {len(names) - 1:,} more there" if len(names) > 1 else ""
        LOG.warning("left out, since only files count as recordings: %s%s", printable(str(folder / names[0])), more)


def reason_unreadable(path: str) -> str:
    """Return why a file holds nothing in a known format; empty if it does."""
    begin = read_bytes(Path(path), POINTER_BYTES)
    try:
        refuse_pointer(begin)
    except CorruptRecordingError as error:
        return str(error)
    if not begin:
        return "it is empty"
    return "" if format_of(path) is not None else UNKNOWN
