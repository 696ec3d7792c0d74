"""Predictions as a table, as CSV and as lines of JSON."""

import csv
import io
import json

import numpy as np
import pytest

from src.evaluation.prediction import Prediction
from src.evaluation.prediction_text import Csv, JsonLines, Table

CLASSES = ("left", 'a, "b"\n')
PREDICTION = Prediction(
    CLASSES,
    1,
    np.array([0.25, 0.75]),
    1234,
    0,
    0,
    0,
    False,
    np.array([1, 0]),
    np.array([[0.1, 0.9], [0.6, 0.4]]),
    np.array([[-5, 10], [7, 20]]),
)


def text(kind, frames=False, names=("a.bin", "longer.bin")):
    it = kind(CLASSES, names, frames)
    return "".join(f"{line}\n" for line in (it.header(), *it.lines(names[0], PREDICTION)) if line)


def test_a_table_has_a_line_per_recording_with_the_share_of_its_class():
    assert text(Table).splitlines() == [
        "file        class       share, %  frames",
        "----------  ----------  --------  ------",
        "a.bin       'a, \"b\"\\n'      75.0       2",
    ]


def test_a_table_of_frames_has_their_times():
    _, _, first, second = text(Table, frames=True).splitlines()
    assert first.split() == ["a.bin", "0", "-5", "10", "'a,", '"b"\\n\'', "90.0"]
    assert second.split() == ["a.bin", "1", "7", "20", "left", "60.0"]


def test_columns_of_a_table_lie_below_each_other():
    title, _, *frames = text(Table, frames=True).splitlines()
    found = [line.index(word) for line, word in zip(frames, ("'a, ", "left"), strict=True)]
    assert set(found) == {title.index("class")}


def test_csv_has_a_column_per_class():
    (row,) = csv.DictReader(io.StringIO(text(Csv)))
    assert row == {
        "file": "a.bin",
        "class": CLASSES[1],
        "label": "1",
        "frames": "2",
        "events": "1234",
        "score_left": "0.25",
        f"score_{CLASSES[1]}": "0.75",
    }


def test_csv_of_frames_has_their_times():
    first, _ = csv.DictReader(io.StringIO(text(Csv, frames=True)))
    assert list(first)[:6] == ["file", "frame", "begin_us", "end_us", "class", "label"]
    assert (first["begin_us"], first["end_us"], first["score_left"]) == ("-5", "10", "0.1")


def test_json_has_an_object_per_recording():
    assert json.loads(text(JsonLines)) == {
        "file": "a.bin",
        "class": CLASSES[1],
        "label": 1,
        "frames": 2,
        "events": 1234,
        "scores": {"left": 0.25, CLASSES[1]: 0.75},
    }


def test_json_has_an_object_per_frame():
    _, second = map(json.loads, text(JsonLines, frames=True).splitlines())
    assert second == {
        "file": "a.bin",
        "frame": 1,
        "begin_us": 7,
        "end_us": 20,
        "class": "left",
        "label": 0,
        "scores": {"left": 0.6, CLASSES[1]: 0.4},
    }


@pytest.mark.parametrize("kind", [Table, Csv, JsonLines])
def test_a_stream_has_no_file(kind):
    it = kind(CLASSES, (), True)
    (first, _) = (it.frame_line(frame) for frame in PREDICTION.frames())
    assert "file" not in it.header() + first
    assert len(first.split(",")) > 1 or first.split()[0] == "0"


@pytest.mark.parametrize("name", ["two\nlines", "re\rturn", 'a "quote"', "a, comma"])
def test_csv_with_any_name_is_read_as_it_was(name):
    (row,) = csv.DictReader(io.StringIO(text(Csv, names=(name,)), newline=""))
    assert row["file"] == name
