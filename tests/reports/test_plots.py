"""Charts as PNG and SVG, and pictures of frames."""

import io
import itertools
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from src import drawing
from src.reports import plots
from src.reports.plots import Line
from tests.small_job import REPOSITORY

NAMES = [f"class {c}" for c in range(40)]
CHARTS = {
    "lines": lambda: plots.line_chart("a", "Loss", "%", [Line("x", [(1, 2.0), (2, 1.0)]), Line("y", [(1, 0.5)])], "l"),
    "one point": lambda: plots.line_chart("a", "Loss", "%", [Line("x", [(1, 2.0)])], "alt", zero=True),
    "no points": lambda: plots.line_chart("a", "Loss", "%", [Line("x", [])], "alt"),
    "confusion": lambda: plots.confusion_chart("a", "Confusion", [[3, 1], [0, 0]], ["a < b & c", "$x$"]),
    "many classes": lambda: plots.confusion_chart("a", "Confusion", np.eye(40, dtype=int) * 7, NAMES),
    "gates": lambda: plots.gates_chart("a", "Gates", np.full((2, 3), 1 / 3), ["layer 1", "layer 2"], ["a", "b", "c"]),
    "frontier": lambda: plots.frontier_chart("a", "T", "x", "%", {"p": (9, 1.0), "q": (90, 3.0)}, ["p", "q"], "q"),
    "bars": lambda: plots.bars_chart("a", "Size", ["and", "or"], {"before": [4, 2], "after": [1, 0]}),
}


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_a_png_on_white_and_an_svg_in_the_page_s_colours(name):
    chart = CHARTS[name]()
    picture = imread(io.BytesIO(chart.png()))
    assert picture[0, 0].tolist() == [1, 1, 1, 1]
    assert picture.std() > 0
    svg = chart.svg()
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    assert not {"width", "height"} & set(root.attrib)
    assert set(re.findall(r"#[0-9a-f]{6}", svg)) <= {"#000000"}  # what matplotlib defines and does not show
    assert set(re.findall(r"var\(--([a-z-]+)\)", svg)) <= set(plots.ROLES)


def test_a_chart_is_the_same_bytes_each_time():
    first, second = (CHARTS["lines"]() for _ in range(2))
    assert first.svg() == second.svg()
    assert first.png() == second.png()


def test_the_report_s_style_sheet_sets_every_role_for_light_and_dark():
    css = (REPOSITORY / "src/reports/report.css").read_text()
    for role in plots.ROLES:
        assert css.count(f"--{role}: #") == 2, role


def test_names_of_points_that_lie_close_are_all_there_and_none_is_on_another():
    points = {f"job_{i}": (900.0 + 5 * i, 80.0 + 0.3 * i) for i in range(4)} | {"far": (20_000.0, 90.0)}
    figure = plots.frontier_chart("a", "T", "x", "%", points, ["job_0", "far"]).figure
    figure.draw_without_rendering()
    names = figure.axes[0].texts
    assert {each.get_text() for each in names} == set(points)
    boxes = [each.get_window_extent() for each in names]
    assert not any(one.overlaps(two) for one, two in itertools.combinations(boxes, 2))


@pytest.mark.parametrize("size", [1, 1300, 90_000])
def test_an_axis_of_sizes_has_a_number_even_for_a_single_point(size):
    figure = plots.frontier_chart("a", "T", "x", "%", {"p": (size, 50.0)}, ["p"]).figure
    (axes,) = figure.axes
    figure.draw_without_rendering()
    left, right = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if left <= tick <= right]


def test_the_best_of_many_points_have_their_names():
    points = {f"job_{i}": (100.0 * 1.5**i, 50.0 + i) for i in range(30)}
    figure = plots.frontier_chart("a", "T", "x", "%", points, ["job_0", "job_29"], own="job_15").figure
    assert {each.get_text() for each in figure.axes[0].texts} == {"job_0", "job_29", "job_15"}


def test_lines_of_many_jobs_differ_in_colour_or_style():
    lines = plots.distinct_lines({f"job {i}": [(1, 0.5)] for i in range(24)})
    assert len({(line.role, line.style) for line in lines}) == 24


def test_pixels_of_a_frame_show_their_polarity():
    frame = np.zeros((1, 2, 2, 2), np.uint8)
    frame[0, 0, 0, 0] = 1  # OFF
    frame[0, 1, 0, 1] = 1  # ON
    frame[0, :, 1, 0] = 1  # both
    picture = imread(io.BytesIO(plots.frames_png(frame)))
    expected = [[drawing.OFF, drawing.ON], [drawing.BOTH, drawing.EMPTY]]
    np.testing.assert_allclose(picture[..., :3], [[to_rgb(c) for c in row] for row in expected], atol=1 / 255)


def test_frames_lie_beside_each_other_with_a_gap():
    picture = imread(io.BytesIO(plots.frames_png(np.ones((3, 1, 4, 5), np.uint8), scale=2)))
    assert picture.shape == (8, 2 * (3 * 5 + 2), 4)
    assert picture[0, 10, 3] == 0
