"""What has moved between two runs of a benchmark: numbers of the tables in their texts, compared cell by cell."""

import re
from collections.abc import Iterator
from typing import NamedTuple

_RULE = re.compile(r"-+(  -+)*")  # between a table's head and its rows, as `helpers.format_table` draws it
_NUMBER = re.compile(r"-?[\d,]*\.?\d+(e[+-]?\d+)?")


class Cell(NamedTuple):
    """Where a number stands: in which table of a text, in which row, in which column."""

    table: int
    row: str
    column: str


def moved(before: str, after: str, least: float) -> list[str]:
    """Return a line for each number that differs by more than a part `least` of what it was, in the order of the text.

    Cells that only one of the texts has are left out, and those that do not begin with a number.
    """
    then = dict(cells(before))
    lines = []
    for cell, now in cells(after):
        was = then.get(cell)
        if was and abs(now / was - 1) > least:
            lines.append(f"{cell.row}: {cell.column} {was:g} -> {now:g} ({100 * (now / was - 1):+.0f} %)")
    return lines


def cells(text: str) -> Iterator[tuple[Cell, float]]:
    """Yield the numbers of all tables; the first column names a row."""
    lines = text.splitlines()
    rules = [i for i, line in enumerate(lines) if i and _RULE.fullmatch(line.strip()) and "  " in line.strip()]
    for table, rule in enumerate(rules):
        spans = [match.span() for match in re.finditer("-+", lines[rule])]
        head = _cut(lines[rule - 1], spans)
        for line in lines[rule + 1 :]:
            if not line.strip():
                break
            row = _cut(line, spans)
            for column, content in list(zip(head, row, strict=True))[1:]:
                number = _NUMBER.match(content)
                if number:
                    yield Cell(table, row[0], column), float(number[0].replace(",", ""))


def _cut(line: str, spans: list[tuple[int, int]]) -> list[str]:
    return [line[begin:end].strip() for begin, end in spans]
