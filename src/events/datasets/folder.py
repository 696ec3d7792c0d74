"""FOLDER: the user's own recordings, in a folder per class or listed by a labels.csv."""

import csv
import difflib
import functools
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from src.command_line import UserError
from src.events.datasets.dataset import Dataset, OwnRecordings, Recording, is_hidden
from src.events.formats.reading import read_recording, read_windows, sensor_size_of

LABELS = "labels.csv"
SPLIT_NAMES = {  # in lower case
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
COLUMNS = {  # of labels.csv, in lower case
    "file": ("file", "path", "filename"),
    "label": ("label", "class"),
    "split": ("split",),
    "group": ("group",),
}
TIMES = {"us": 1, "s": 1_000_000}  # units of the columns start_UNIT and end_UNIT, in microseconds
MOST_SHOWN = 3


@dataclass(frozen=True)
class _Sample:
    """A labelled recording, or a part of one, as a folder or a line of labels.csv names it."""

    path: str
    label: str
    split: str | None = None
    group: str | None = None
    begin: int | None = None
    end: int | None = None
    where: str = ""


def find_recordings(folder: Path, own: OwnRecordings) -> list[Recording]:
    """Return the folder's recordings, in an order that depends on names only; none if there is no such folder.

    Raises:
        UserError: if labels.csv or data.group_by does not fit the files.
    """
    samples = _samples(folder)
    labels = {name: label for label, name in enumerate(_classes(samples))}
    group_of = _grouping(folder, own.group_by)
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


def complete(folder: Path, own: OwnRecordings, dataset: Dataset) -> Dataset:
    """Return the dataset with what the folder says: its classes, its sensor, and whether it has a test split.

    Raises:
        UserError: if there are too few recordings, or their sensors differ or are not known.
    """
    samples = _samples(folder)
    classes = _classes(samples)
    if not samples:
        raise UserError(f"{folder}: no recordings; put those of each class into a folder of its own, or write {LABELS}")
    if len(classes) == 1:
        raise UserError(f"{folder} has one class only, {classes[0]!r}; at least two are needed")
    has_test = any(sample.split == "test" for sample in samples)
    for name in classes:
        paths = [sample.path for sample in samples if sample.label == name]
        if len(paths) == 1 and not has_test:
            raise UserError(f"class {name!r} has one recording only, {paths[0]!r}; one more is needed for the test")
    width, height = _sensor_size(sorted({sample.path for sample in samples}), own.sensor_size)
    return replace(dataset, classes=classes, sensor_size=(width, height, 2), own_test_split=has_test)


def _samples(folder: Path) -> list[_Sample]:
    """Return what labels.csv lists, else the files in train|val|test/<class>/ or in <class>/."""
    table = folder / LABELS
    if os.path.lexists(table):
        return _read_labels(table)
    subfolders = _entries(folder, is_folder=True)
    split_of = {name: SPLIT_NAMES.get(name.casefold()) for name in subfolders}
    if subfolders and all(split_of.values()):
        return [sample for name in subfolders for sample in _class_folders(folder / name, split_of[name])]
    return _class_folders(folder, None)


def _class_folders(folder: Path, split: str | None) -> list[_Sample]:
    return [
        _Sample(str(folder / name / file), name, split)
        for name in _entries(folder, is_folder=True)
        for file in _entries(folder / name, is_folder=False)
    ]


def _entries(folder: Path, is_folder: bool) -> list[str]:
    """Return the names of the folders or files in a folder that are not hidden, sorted naturally."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if not is_hidden(entry.name) and _is(entry, is_folder)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UserError(f"{folder}: cannot list this folder: {error.strerror}") from error
    return sorted(names, key=natural_order)


def _is(entry: "os.DirEntry[str]", is_folder: bool) -> bool:
    try:
        return entry.is_dir() if is_folder else entry.is_file()
    except OSError:  # a link to itself
        return False


def natural_order(name: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts "class 2" before "class 10"."""
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part.casefold()) for part in parts if part] + [
        (2, 0, name)
    ]


def _classes(samples: Sequence[_Sample]) -> tuple[str, ...]:
    return tuple(sorted({sample.label for sample in samples}, key=natural_order))


def _read_labels(table: Path) -> list[_Sample]:
    try:
        text = table.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{table}: not a UTF-8 text file; save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"{table}: cannot be read: {error.strerror}") from error
    if "\0" in text:
        raise UserError(f"{table}: not a text file")
    lines = text.splitlines(keepends=True)
    first = lines[0] if lines else ""
    reader = csv.reader(lines, delimiter=max(",;\t", key=first.count))
    try:
        header = next(reader, [])
        place = _columns(table, header)
        samples = list(_rows(table, ((reader.line_num, cells) for cells in reader), place))
    except csv.Error as error:
        raise UserError(f"{table}, line {reader.line_num}: {error}") from error
    _refuse_overlaps(table, samples)
    return samples


def _columns(table: Path, header: list[str]) -> dict[str, int]:
    """Return the place of each known column; times have keys such as start_us."""
    names = [name.strip().casefold() for name in header]
    place = {
        column: names.index(alias) for column, aliases in COLUMNS.items() for alias in aliases[::-1] if alias in names
    }
    for unit in TIMES:
        found = [f"{bound}_{unit}" for bound in ("start", "end") if f"{bound}_{unit}" in names]
        if len(found) == 1:
            raise UserError(f"{table}: it has a column {found[0]}, but not both start_{unit} and end_{unit}")
        place |= {name: names.index(name) for name in found}
    for column in ("file", "label"):
        if column not in place:
            raise UserError(f"{table}: it has no column {column!r}; its first line is {','.join(header)!r}")
    if unclear := {"start", "end"} & set(names):
        raise UserError(f"{table}: column {min(unclear)!r} has no unit; name it {min(unclear)}_us or {min(unclear)}_s")
    if len(TIMES) * 2 == sum(name.startswith(("start_", "end_")) for name in place):
        raise UserError(f"{table}: times stand there in both microseconds and seconds; keep one of them")
    return place


def _rows(table: Path, reader: Iterable[tuple[int, list[str]]], place: dict[str, int]) -> Iterator[_Sample]:
    unit = next((unit for unit in TIMES if f"start_{unit}" in place), None)
    for number, cells in reader:
        where = f"{table}, line {number}"
        if not any(cell.strip() for cell in cells):
            continue
        row = {column: cells[i].strip() if i < len(cells) else "" for column, i in place.items()}
        for column in ("file", "label"):
            if not row[column]:
                raise UserError(f"{where}: it names no {column}")
        path = table.parent / row["file"]
        if not path.is_file():
            kind = "a folder, not a file" if path.is_dir() else "there is no such file"
            raise UserError(f"{where}: {row['file']!r}: {kind}{_near(path)}")
        split = None
        if row.get("split"):
            split = SPLIT_NAMES.get(row["split"].casefold())
            if split is None:
                raise UserError(f"{where}: split {row['split']!r}: give train, val or test")
        begin = end = None
        if unit is not None:
            begin, end = (_time(where, f"{bound}_{unit}", row, unit) for bound in ("start", "end"))
            if begin is not None and end is not None and begin >= end:
                raise UserError(f"{where}: it ends before it begins")
        yield _Sample(str(path), row["label"], split, row.get("group") or None, begin, end, where)


def _near(path: Path) -> str:
    try:
        names = [other.name for other in path.parent.iterdir()]
    except OSError:
        return ""
    near = difflib.get_close_matches(path.name, names, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _time(where: str, column: str, row: dict[str, str], unit: str) -> int | None:
    text = row[column]
    if not text:
        return None
    match = re.fullmatch(r"(-?)([0-9]{1,15})(?:\.([0-9]*))?", text)
    digits = (match[3] or "") if match else ""
    if match is None or (unit == "us" and digits.strip("0")):
        raise UserError(f"{where}: {column} = {text!r}: give a number{' without decimals' if unit == 'us' else ''}")
    microseconds = int(match[2]) * TIMES[unit] + (int(digits[:6].ljust(6, "0")) if unit == "s" else 0)
    return -microseconds if match[1] else microseconds


def _refuse_overlaps(table: Path, samples: Sequence[_Sample]) -> None:
    by_path: dict[str, list[_Sample]] = {}
    for sample in samples:
        by_path.setdefault(sample.path, []).append(sample)
    for path, parts in by_path.items():
        least, most = -(1 << 62), 1 << 62
        ordered = sorted(parts, key=lambda part: least if part.begin is None else part.begin)
        for before, after in itertools.pairwise(ordered):
            if (most if before.end is None else before.end) > (least if after.begin is None else after.begin):
                raise UserError(f"{before.where}: it shares events of {Path(path).name!r} with line {_line(after)}")


def _line(sample: _Sample) -> str:
    return sample.where.rpartition(" ")[2]


def _grouping(folder: Path, pattern: str | None) -> Callable[[_Sample], str]:
    """Return a function sample -> the name of its group: by labels.csv, else by data.group_by, else its file."""
    try:
        compiled = re.compile(pattern) if pattern is not None else None
    except re.error as error:
        raise UserError(f"data.group_by = {pattern!r}: no regular expression: {error}") from error
    beginning = f"{folder}{os.sep}"

    def group_of(sample: _Sample) -> str:
        name = sample.path.removeprefix(beginning)
        if compiled is None:
            return sample.group or name
        match = compiled.search(name)
        if match is None:
            raise UserError(f"data.group_by = {pattern!r} does not match {name!r}; every recording needs a group")
        return "\0".join(part or "" for part in match.groups()) if match.groups() else match[0]

    return group_of


def _refuse_divided_groups(recordings: Sequence[Recording], samples: Sequence[_Sample]) -> None:
    split_of: dict[str, tuple[str | None, str]] = {}
    for recording, sample in zip(recordings, samples, strict=True):
        split, path = split_of.setdefault(recording.group, (sample.split, sample.path))
        if (split == "test") != (sample.split == "test") or (split == "val") != (sample.split == "val"):
            raise UserError(
                f"group {recording.group!r} is in {split or 'train'} ({path!r}) and in {sample.split or 'train'} "
                f"({sample.path!r}); a group belongs into one split"
            )


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
            f"data.sensor_size = {list(given)}: {by_size[sizes[0]]!r} is of a sensor of {_times(sizes[0])} pixels"
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
