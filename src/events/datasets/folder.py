"""FOLDER: the user's own recordings, in a folder per class or listed by a labels.csv."""

import functools
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from src.command_line import UserError
from src.events.datasets.beside_recordings import reason_unreadable, warn_of_left_out, without_side_files
from src.events.datasets.dataset import Dataset, OwnRecordings, Recording
from src.events.datasets.labels import LABELS, SPLIT_NAMES, Sample, read_labels
from src.events.datasets.listing import entries_of, natural_order
from src.events.formats.reading import read_recording, read_windows, sensor_size_of
from src.helpers import LOG, printable


def find_recordings(folder: Path, own: OwnRecordings) -> list[Recording]:
    """Return the folder's recordings, in an order that depends on names only; none if there is no such folder.

    Raises:
        UserError: if labels.csv or data.group_by does not fit the files.
    """
    return _recordings(folder, own, without_side_files(_samples(folder)))


def _recordings(folder: Path, own: OwnRecordings, samples: Sequence[Sample]) -> list[Recording]:
    labels = {name: label for label, name in enumerate(_classes(samples))}
    group_of = _grouping(folder, own.group_by, samples)
    recordings = [
        Recording(
            sample.path,
            labels[sample.label],
            Path(sample.path).stat().st_size,
            sample.split == "test",
            sample.split == "val",
            group_of(sample),
            sample.begin,
            sample.end,
        )
        for sample in samples
    ]
    _refuse_divided_groups(recordings, samples)
    return recordings


def complete(folder: Path, own: OwnRecordings, dataset: Dataset) -> tuple[Dataset, list[Recording]]:
    """Return the dataset with what the folder says, and its recordings, of which there may be none.

    The folder says its classes, its sensor, and whether it has a test split.

    Raises:
        UserError: as `find_recordings`; if there are too few recordings, or their sensors differ or are not known.
    """
    samples = without_side_files(_samples(folder, warn=True), warn=True)
    classes = _classes(samples)
    if not samples:
        return dataset, []
    if len(classes) == 1:
        raise UserError(f"{printable(str(folder))} has one class only, {classes[0]!r}; at least two are needed")
    if len({sample.path for sample in samples}) == 1:
        raise UserError(
            f"all recordings are parts of one file, {samples[0].path!r}, and parts of one file stay in one split; add "
            f"other files, or cut this one into several by the camera's software"
        )
    has_test = any(sample.split == "test" for sample in samples)
    for name in classes:
        paths = [sample.path for sample in samples if sample.label == name]
        if len(paths) == 1 and not has_test:
            raise UserError(f"class {name!r} has one recording only, {paths[0]!r}; one more is needed for the test")
    _warn_of_groups(own, samples)
    if alike := _alike(classes):
        LOG.warning("classes %r and %r differ in case only, and count as two", *alike)
    recordings = _recordings(folder, own, samples)
    paths = sorted({sample.path for sample in samples})
    _require_known_format(paths)
    width, height = _sensor_size(paths, own.sensor_size)
    return replace(dataset, classes=classes, sensor_size=(width, height, 2), own_test_split=has_test), recordings


def _samples(folder: Path, warn: bool = False) -> list[Sample]:
    """Return what labels.csv lists, else the files in train|val|test/<class>/ or in <class>/.

    With `warn`, warnings name what is left out.
    """
    table = folder / LABELS
    if os.path.lexists(table):
        return read_labels(table, warn)
    entries = entries_of(folder)
    if misnamed := [name for name in entries["file"] if name.casefold() == LABELS]:
        raise UserError(f"{printable(str(folder / misnamed[0]))}: name it {LABELS}, in small letters")
    subfolders = entries["folder"]
    split_of = {name: SPLIT_NAMES.get(name.casefold()) for name in subfolders}
    named = {split: name for name, split in split_of.items() if split}
    if {"train", "test"} <= set(named) and not all(split_of.values()):
        stranger = next(name for name, split in split_of.items() if not split)
        raise UserError(
            f"{printable(str(folder))} holds {named['train']} and {named['test']}, which are splits, and {stranger!r}, "
            f"which is none; move it elsewhere, or list the recordings in a {LABELS}"
        )
    splits = split_of if subfolders and all(split_of.values()) else {"": None}
    if named and splits == split_of and "train" not in named:
        raise UserError(
            f"{printable(str(folder))} holds {' and '.join(named.values())}, but no folder train; put the recordings "
            f"to learn from there, in a folder per class"
        )
    samples, deeper = [], []
    for name, split in splits.items():
        for label in entries_of(folder / name)["folder"]:
            entries = entries_of(folder / name / label)
            samples += [Sample(str(folder / name / label / file), label, split) for file in entries["file"]]
            deeper += [str(Path(name, label, subfolder)) for subfolder in entries["folder"]]
    if deeper and not samples:
        if named and splits != split_of:
            stranger = next(name for name, split in split_of.items() if not split)
            raise UserError(
                f"{printable(str(folder))} holds {' and '.join(named.values())}, and {stranger!r}, which is no split: "
                f"name it train, val or test"
            )
        raise UserError(
            f"no recordings in {printable(str(folder))}: files must lie directly in the folder of their class, not in "
            f"folders there such as {printable(deeper[0])}; move them up, or list them in a {LABELS}"
        )
    if warn:
        warn_of_left_out(folder, list(splits), bool(samples))
    return samples


def _classes(samples: Sequence[Sample]) -> tuple[str, ...]:
    return tuple(sorted({sample.label for sample in samples}, key=natural_order))


def _warn_of_groups(own: OwnRecordings, samples: Sequence[Sample]) -> None:
    """Warn of groups in labels.csv that do not count, and of rows without one beside others."""
    if own.group_by is not None:
        if any(sample.group for sample in samples):
            LOG.warning("the groups of labels.csv do not count, since data.group_by = %s finds others", own.group_by)
        return
    by_path = _groups_of_files(samples)
    alone = {sample.path for sample in samples} - set(by_path)
    if by_path and alone:
        LOG.warning("labels.csv names no group for %d files: each of them is one, such as %r", len(alone), min(alone))


def _alike(classes: Sequence[str]) -> tuple[str, str] | None:
    """Return two classes whose names differ in case only, if there are such."""
    first: dict[str, str] = {}
    for name in classes:
        if (other := first.setdefault(name.casefold(), name)) != name:
            return other, name
    return None


def _grouping(folder: Path, pattern: str | None, samples: Sequence[Sample]) -> Callable[[Sample], str]:
    """Return a function sample -> the name of its group: by data.group_by, else by labels.csv, else its file.

    Raises:
        UserError: if the pattern is none, or if labels.csv gives parts of one file different groups.
    """
    beginning = f"{folder}{os.sep}"
    if pattern is None:
        by_path = _groups_of_files(samples)
        return lambda sample: by_path.get(sample.path) or sample.path.removeprefix(beginning)
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(f"data.group_by = {pattern!r}: no regular expression: {error}") from error

    def group_of(sample: Sample) -> str:
        name = sample.path.removeprefix(beginning)
        match = compiled.search(name)
        parts = (match.groups("") or (match[0],)) if match is not None else ()
        if not any(parts):
            raise UserError(f"data.group_by = {pattern!r} finds no group in {name!r}; every recording needs one")
        return "\0".join(parts)

    return group_of


def _groups_of_files(samples: Sequence[Sample]) -> dict[str, str]:
    """Return the group that labels.csv names for each file, if it names one for any of its parts."""
    by_path: dict[str, str] = {}
    for sample in samples:
        if sample.group and (group := by_path.setdefault(sample.path, sample.group)) != sample.group:
            raise UserError(
                f"{sample.where}: parts of {sample.path!r} are in groups {group!r} and {sample.group!r}; parts of one "
                f"file stay in one split: give them one group"
            )
    return by_path


def _refuse_divided_groups(recordings: Sequence[Recording], samples: Sequence[Sample]) -> None:
    split_of: dict[str, tuple[str | None, str]] = {}
    for recording, sample in zip(recordings, samples, strict=True):
        split, path = split_of.setdefault(recording.group, (sample.split, sample.path))
        if (split == "test") != (sample.split == "test") or (split == "val") != (sample.split == "val"):
            names = split or "train", sample.split or "train"
            where = f"{sample.where}: " if sample.where else ""
            if path == sample.path:
                raise UserError(
                    f"{where}parts of {path!r} are in {names[0]} and in {names[1]}; a file belongs to one split"
                )
            raise UserError(
                f"{where}group {recording.group!r} is in {names[0]} ({path!r}) and in {names[1]} ({sample.path!r}); a "
                "group belongs to one split"
            )


def _require_known_format(paths: Sequence[str]) -> None:
    """Raise UserError if not one of the files holds anything in a known format."""
    reasons = []
    for path in paths:
        try:
            reason = reason_unreadable(path)
        except OSError as error:
            raise UserError(f"{path!r}: cannot be read: {error.strerror}") from error
        if not reason:
            return
        reasons.append(f"{path!r}: {reason}")
    raise UserError(f"none of {len(paths):,} recordings can be read, the first: {reasons[0]}")


def _sensor_size(paths: Sequence[str], given: tuple[int, int] | None) -> tuple[int, int]:
    """Return the sensor's (width, height), which all headers and data.sensor_size agree on."""
    by_size: dict[tuple[int, int], str] = {}
    for path in paths:
        try:
            size = sensor_size_of(path)
        except OSError as error:
            raise UserError(f"{path!r}: cannot be read: {error.strerror}") from error
        if size is not None:
            by_size.setdefault(size, path)
    sizes = list(by_size)
    if len(sizes) > 1:
        (one, first), (other, second) = list(by_size.items())[:2]
        raise UserError(
            f"{first!r} is of a sensor of {_times(one)} pixels, {second!r} of {_times(other)}; put the recordings of "
            f"each sensor into a folder of its own"
        )
    if given is None and not sizes:
        raise UserError(
            "data.sensor_size = null: the recordings do not say how large their sensor is; give [width, height]"
        )
    if given is not None and sizes and sizes[0] != given:
        raise UserError(
            f"data.sensor_size = {list(given)}: {by_size[sizes[0]]!r} is of a sensor of {_times(sizes[0])} pixels; "
            f"leave the option out: the file says how large its sensor is"
        )
    return given or sizes[0]


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def of_options(own: OwnRecordings) -> Dataset:
    """Return the dataset of a folder; `complete` finds out its classes and its sensor."""
    if own.folder is None:
        raise UserError("data.folder = null: data.name = FOLDER needs the folder of your recordings")
    dataset = replace(
        FOLDER,
        folder=own.folder,
        find_recordings=functools.partial(find_recordings, own=own),
        read=functools.partial(read_recording, evt3_clock=own.evt3_clock),
        windows=functools.partial(read_windows, evt3_clock=own.evt3_clock),
    )
    return replace(dataset, complete=functools.partial(complete, own=own, dataset=dataset))


FOLDER = Dataset(
    name="FOLDER",
    folder="",
    sensor_size=(0, 0, 2),
    classes=(),
    full_size=0,
    own_test_split=False,
    find_recordings=functools.partial(find_recordings, own=OwnRecordings()),
    read=read_recording,
    windows=read_windows,
    mirrored_keeps_class=True,
    of_options=of_options,
)
