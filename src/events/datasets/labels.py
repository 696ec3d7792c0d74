"""labels.csv: a table that names the user's own recordings, their classes, and optionally splits, groups and times."""

import csv
import difflib
import io
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from src.command_line import UserError
from src.helpers import LOG, printable
from src.io_funcs import read_bytes, require_regular

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
TIME_COLUMNS = {f"{bound}_{unit}" for bound in ("start", "end") for unit in TIMES}
MOST_SHOWN = 100  # characters of a cell of labels.csv


@dataclass(frozen=True)
class Sample:
    """A labelled recording, or a part of one, as a folder or a line of labels.csv names it."""

    path: str
    label: str
    split: str | None = None
    group: str | None = None
    begin: int | None = None
    end: int | None = None
    where: str = ""


def read_labels(table: Path, warn: bool = False) -> list[Sample]:
    """Return what a labels.csv lists: in UTF-8, its columns divided by commas, semicolons or tabs.

    Args:
        table: the file.
        warn: whether to name the columns that are not used.

    Raises:
        UserError: with the line, for whatever is wrong.
    """
    name = printable(str(table))
    try:
        text = read_bytes(table).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: not a UTF-8 text file; save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"{name}: cannot be read: {error.strerror}") from error
    if "\0" in text:
        raise UserError(f"{name}: not a text file")
    lines = list(io.StringIO(text, newline=""))
    first = lines[0] if lines else ""
    rows = _numbered(name, lines, max(",;\t", key=first.count))
    _, header = next(rows, (1, []))
    place = _columns(name, header)
    if warn:
        _warn_of_unused(name, header, place)
    samples = list(_rows(table, rows, place, len(header)))
    if not samples:
        raise UserError(f"{name}: it names no recordings; write a line for each")
    _refuse_overlaps(samples)
    return samples


def _numbered(table: str, lines: Sequence[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each row after the number of the line on which it begins; a cell in quotes may hold line breaks."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise UserError(
                f"{table}, line {number}: a quote that opens there is not closed as it should be ({error}); a cell in "
                f'quotes ends with one, and holds a quote as two of them: ""'
            ) from error
        if cells is None:
            return
        yield number, cells


def _columns(table: str, header: list[str]) -> dict[str, int]:
    """Return the place of each known column; times have keys such as start_us."""
    names = [name.strip().casefold() for name in header]
    place = {
        column: names.index(alias) for column, aliases in COLUMNS.items() for alias in aliases[::-1] if alias in names
    }
    for name in (*place, *sorted(TIME_COLUMNS)):
        if names.count(name) > 1:
            raise UserError(f"{table}: it has {names.count(name)} columns {name!r}; keep one of them")
    for unit in TIMES:
        found = [f"{bound}_{unit}" for bound in ("start", "end") if f"{bound}_{unit}" in names]
        if len(found) == 1:
            raise UserError(f"{table}: it has a column {found[0]}, but not both start_{unit} and end_{unit}")
        place |= {name: names.index(name) for name in found}
    for column in ("file", "label"):
        if column not in place:
            names_of = " or ".join(map(repr, COLUMNS[column]))
            raise UserError(
                f"{table}: it has no column {names_of}; its first line must name the columns, such as 'file,label', "
                f"but is {','.join(header)[:MOST_SHOWN]!r}"
            )
    if unclear := {"start", "end"} & set(names):
        raise UserError(f"{table}: column {min(unclear)!r} has no unit; name it {min(unclear)}_us or {min(unclear)}_s")
    if unknown := sorted(name for name in set(names) - TIME_COLUMNS if re.match("(start|end)([_ (\\[]|$)", name)):
        raise UserError(
            f"{table}: column {unknown[0]!r}: times are in columns start_us and end_us, or start_s and end_s"
        )
    if len(TIMES) * 2 == sum(name.startswith(("start_", "end_")) for name in place):
        raise UserError(f"{table}: times stand there in both microseconds and seconds; keep one of them")
    return place


def _warn_of_unused(table: str, header: list[str], place: dict[str, int]) -> None:
    """Warn of columns that are not used; if the name of a missing one is near, ask whether that is meant."""
    missing = {alias for column, aliases in COLUMNS.items() if column not in place for alias in aliases}
    missing |= set() if TIME_COLUMNS & set(place) else TIME_COLUMNS
    told = []
    for name in (header[i].strip() for i in range(len(header)) if i not in place.values() and header[i].strip()):
        word = name.casefold().replace("stop", "end").replace("begin", "start")
        near = difflib.get_close_matches(word, sorted(missing), n=1)
        told.append(f"{name[:MOST_SHOWN]!r}" + (f" (did you mean {near[0]}?)" if near else ""))
    if told:
        LOG.warning("%s: not used: column%s %s", table, "s" if len(told) > 1 else "", ", ".join(told))


def _rows(
    table: Path, rows: Iterable[tuple[int, list[str]]], place: dict[str, int], num_columns: int
) -> Iterator[Sample]:
    unit = next((unit for unit in TIMES if f"start_{unit}" in place), None)
    names: dict[tuple[int, int], str] = {}  # a file may be spelled in two ways, and links may lead to it
    for number, cells in rows:
        where = f"{printable(str(table))}, line {number}"
        if not any(cell.strip() for cell in cells):
            continue
        if any(cell.strip() for cell in cells[num_columns:]):
            raise UserError(
                f"{where}: it has {len(cells)} cells, but the first line names {num_columns} columns; put cells with "
                f"commas in quotes, and write decimals with a point"
            )
        row = {column: cells[i].strip() if i < len(cells) else "" for column, i in place.items()}
        for column in ("file", "label"):
            if not row[column]:
                raise UserError(f"{where}: it names no {column}")
        found = _found(where, table.parent, row["file"])
        path = names.setdefault((found.st_dev, found.st_ino), str(table.parent / row["file"]))
        split = None
        if row.get("split"):
            split = SPLIT_NAMES.get(row["split"].casefold())
            if split is None:
                raise UserError(f"{where}: split {row['split'][:MOST_SHOWN]!r}: give train, val or test")
        begin = end = None
        if unit is not None:
            begin, end = (_time(where, f"{bound}_{unit}", row, unit) for bound in ("start", "end"))
            if begin is not None and end is not None and begin >= end:
                empty = f"start_{unit} and end_{unit} are the same, which leaves no events"
                raise UserError(f"{where}: {empty if begin == end else 'it ends before it begins'}")
        yield Sample(path, row["label"], split, row.get("group") or None, begin, end, where)


def _found(where: str, folder: Path, name: str) -> os.stat_result:
    """Return what the system says of a file; UserError if there is none."""
    path = folder / name
    try:
        require_regular(path)
        return path.stat()
    except FileNotFoundError as error:
        raise UserError(f"{where}: {name[:MOST_SHOWN]!r}: there is no such file{_near(path, name)}") from error
    except OSError as error:
        raise UserError(f"{where}: {name[:MOST_SHOWN]!r}: {error.strerror}") from error


def _near(path: Path, name: str) -> str:
    if "\\" in name:
        return "; write / between folders"
    try:
        names = [other.name for other in path.parent.iterdir()]
    except OSError:
        return ""
    stems = {  # another number is another recording, not a slip
        Path(other).stem.casefold(): other for other in names if _numbers(other) == _numbers(path.name)
    }
    near = difflib.get_close_matches(path.stem.casefold(), stems, n=1)
    return f"; did you mean {str(Path(name).with_name(stems[near[0]]))!r}?" if near else ""


def _numbers(name: str) -> list[str]:
    return re.findall(r"[0-9]+", Path(name).stem)


def _time(where: str, column: str, row: dict[str, str], unit: str) -> int | None:
    text = row[column]
    if not text:
        return None
    match = re.fullmatch(r"(-?)([0-9]{0,15})(?:\.([0-9]*))?", text)
    digits = (match[3] or "") if match else ""
    if match is None or not (match[2] or digits) or (unit == "us" and digits.strip("0")):
        example = "whole microseconds, such as 1500000" if unit == "us" else "seconds, such as 1.5"
        raise UserError(f"{where}: {column} = {text[:MOST_SHOWN]!r}: give {example}")
    microseconds = int(match[2] or 0) * TIMES[unit] + (int(digits[:6].ljust(6, "0")) if unit == "s" else 0)
    return -microseconds if match[1] else microseconds


def _refuse_overlaps(samples: Sequence[Sample]) -> None:
    by_path: dict[str, list[Sample]] = {}
    for sample in samples:
        by_path.setdefault(sample.path, []).append(sample)
    for path, parts in by_path.items():
        least, most = -(1 << 62), 1 << 62
        ordered = sorted(parts, key=lambda part: least if part.begin is None else part.begin)
        for before, after in itertools.pairwise(ordered):
            if (most if before.end is None else before.end) > (least if after.begin is None else after.begin):
                raise UserError(
                    f"{before.where}: it shares events of {path!r} with line {_line(after)}; one row for each event: "
                    f"leave one out, or correct where they start and end"
                )


def _line(sample: Sample) -> str:
    return sample.where.rpartition(" ")[2]
