"""What a report shows of the gates that a network has learned."""

import numpy as np
import pytest

from src.reports.contents import _gates_chart
from src.reports.frontier import best_of_their_size


def percents(chart):
    """The numbers in a chart of one layer, by column."""
    return {round(text.get_position()[0]): text.get_text() for axes in chart.figure.axes for text in axes.texts}


def test_gates_of_two_inputs_are_counted_by_kind():
    tables = np.array([[0, 0, 0, 1]] * 3 + [[0, 1, 1, 0]], bool)  # AND and XOR
    chart = _gates_chart([tables])
    assert percents(chart) == {1: "75", 6: "25"}


@pytest.mark.parametrize("fan_in", [4, 6])
def test_gates_of_more_inputs_are_counted_by_the_inputs_that_matter(fan_in):
    corners = np.arange(2**fan_in)
    digits = corners >> np.arange(fan_in)[:, None] & 1
    tables = np.stack([0 * corners, digits[1], digits[0] & digits[2], digits.sum(0) & 1]).astype(bool)
    assert percents(_gates_chart([tables])) == {0: "25", 1: "25", 2: "25", fan_in: "25"}


def test_the_best_of_their_size_are_those_that_no_smaller_or_equal_one_beats():
    points = {"a": (100, 0.8), "b": (100, 0.9), "c": (200, 0.85), "d": (300, 0.95), "e": (300, 0.95)}
    assert best_of_their_size(points) == ["b", "d"]
