"""The accuracies of docs/results.md follow from the raw output that has each fold and seed."""

import itertools
import math
import re
import statistics

import pytest

from tests.docs.pages import PAGES
from tests.small_job import REPOSITORY

RAW = REPOSITORY / "benchmarks" / "results" / "accuracy_folds.txt"
# One line has one or several seeds of a fold; a run's name may stand before it.
LINE = re.compile(r"(.*)fold(\d), seeds? (\d)(?: to \d)?: frames ([\d., ]+) %, recordings ([\d., ]+) %")


def runs():
    """Yield each run as {(fold, seed): (frames, recordings)}."""
    matches = [LINE.match(line) for line in RAW.read_text(encoding="utf-8").splitlines()]
    for name, block in itertools.groupby(matches, key=lambda match: match and match[1]):
        if name is not None:
            yield {
                (match[2], int(match[3]) + number): accuracies
                for match in block
                for number, accuracies in enumerate(zip(numbers(match[4]), numbers(match[5]), strict=True))
            }


def numbers(text):
    return [float(number) for number in text.split(", ")]


def error(values):
    """Return the standard error of the values' mean; 0 for one value."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def means(run, along, which):
    """Return frames (which = 0) or recordings (1) of each fold (along = 0) or seed (1)."""
    return [
        statistics.mean(accuracies[which] for key, accuracies in run.items() if key[along] == value)
        for value in sorted({key[along] for key in run})
    ]


def row(run):
    """Return frames and recordings, each with its error, the number of seeds, and the error over folds."""
    found = []
    for which in (0, 1):
        of_seeds = means(run, 1, which)
        found += [statistics.mean(of_seeds), error(of_seeds)] if len(of_seeds) > 1 else of_seeds
    return [*found, len(means(run, 1, 0)), error(means(run, 0, 0))]


def rows_with_folds():
    """Return the rows of the page that have an error over folds."""
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGES["docs/results.md"].splitlines()]
    return [cells for cells in lines if len(cells) == 6 and re.fullmatch(r"\d\.\d\d", cells[4])]


@pytest.mark.parametrize("cells", rows_with_folds(), ids=lambda cells: cells[0])
def test_a_row_follows_from_the_raw_output(cells):
    shown = [float(number) for cell in cells[1:5] for number in cell.split(" ±\xa0")]
    rounding = 0.0101  # of the page's numbers, and of the raw output's
    assert any(row(run) == pytest.approx(shown, abs=rounding) for run in runs() if len(row(run)) == len(shown))


def test_the_readme_has_the_numbers_of_the_page():
    text = PAGES["README.md"]
    for name in ("convolutional logic gates on counts", "CNN on the network's counts"):
        cells = next(cells for cells in rows_with_folds() if cells[0] == name)
        mean, spread = re.fullmatch(r"([\d.]+) ±\xa0([\d.]+)", cells[1]).groups()
        assert f"| {float(mean):.1f} % of frames | ± {spread} |" in text
