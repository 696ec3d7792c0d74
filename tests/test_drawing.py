"""What is drawn does not depend on the user's settings of matplotlib; polarities have their colours."""

import os
import subprocess
import sys

import numpy as np

from src import drawing
from tests.small_job import REPOSITORY

DRAW = """
import hashlib, numpy as np
from src.reports import plots
chart = plots.line_chart("a", "Loss", "%", [plots.Line("x", [(1, 2.0), (2, 1.0)])], "alt")
frames = np.arange(2 * 2 * 5 * 5, dtype=np.uint8).reshape(2, 2, 5, 5) % 3
for content in (chart.png(), chart.svg().encode(), plots.frames_png(frames)):
    print(hashlib.sha256(content).hexdigest())
"""


def drawn(folder, **variables):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MPL", "MATPLOTLIB"))}
    environment |= {"PYTHONPATH": str(REPOSITORY), **variables}
    command = [sys.executable, "-W", "error", "-c", DRAW]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout


def test_a_notebook_s_backend_and_the_user_s_matplotlibrc_change_nothing(tmp_path):
    plain = drawn(tmp_path)
    (tmp_path / "matplotlibrc").write_text(
        "text.usetex: True\nimage.origin: lower\nlines.linewidth: 9\nbackend: TkAgg\n"
    )
    theirs = {"MATPLOTLIBRC": str(tmp_path), "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    assert drawn(tmp_path, **theirs) == plain


def test_polarities_have_their_colours():
    from matplotlib.colors import to_hex

    frame = np.array([[[0, 1, 0, 1]], [[0, 0, 1, 1]]], np.uint8)  # [P, H, W]: none, OFF, ON, both
    colours = drawing.coloured(frame)[0]
    assert [to_hex(colour).upper() for colour in colours] == [drawing.EMPTY, drawing.OFF, drawing.ON, drawing.BOTH]


def test_a_label_is_one_line_that_keeps_the_beginning_and_the_end_of_a_name():
    assert drawing.label("ünïcode") == "ünïcode"
    assert drawing.label("line\nbreak") == r"'line\nbreak'"
    assert drawing.label("a very long name of a class 1") == "a very long …class 1"


def test_fonts_are_found_for_what_there_is_and_the_rest_is_named():
    with drawing.drawing({}):
        assert drawing.fonts_for(["walking", "été"]) == ([drawing.FONT], set())
        assert drawing.fonts_for(["\x1b", "\udcff"]) == ([drawing.FONT], {"\x1b", "\udcff"})
