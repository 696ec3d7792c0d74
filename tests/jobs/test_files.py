"""A job's files: checked values, or left out with one warning, whatever they hold."""

import copy
import json
import math
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.evaluation.metrics import write_metrics
from src.helpers import LOG
from src.io_funcs import write_json
from src.jobs.files import read_evaluation, read_hardware, read_job, read_luts, read_microcontroller
from src.jobs.folders import Job, hardware_path
from src.reports import compare, plots, report, status

TESTED = {"loss": 1.5, "frame_accuracy": 0.5, "recording_accuracy": 0.75, "vote_accuracy": 0.25}
UNIT = {
    "count": 3,
    "accuracy": 0.5,
    "classes": [{"name": "a", "precision": None, "recall": 0.5, "f1": 1.0, "support": 1}] * 2,
    "confusion": [[1, 0], [1, 1]],
}
MISTAKE = {"recording": 4, "label": 1, "predicted": 0, "share": 0.9, "file": "Test/1/4.bin"}
PART = {"loss": 0.5, "frames": UNIT, "recordings": {**UNIT, "misclassified": [MISTAKE], "vote_accuracy": 0.25}}
JSON = {
    "result.json": {"job_id": "j", "epochs": 2, "steps": 10, "best_epoch": 1, "train_seconds": 3.5, "test": TESTED},
    "runs.json": [
        {
            "started": "2026-01-01 00:00:00 +0000",
            "command": ["main.py", "a b.yaml"],
            "step": 0,
            "parameters": 100,
            "machine": "a machine",
            "versions": {"python": "3.11.2", "commit": None},
        }
    ],
    "evaluation_test.json": {
        "model": "best",
        "model_type": "difflogic",
        "step": 10,
        "cache": "NMNIST/frames",
        "split": "test",
        "class_names": ["a", "b"],
        **PART,
        "relaxed": PART,
    },
    "luts_ice40.json": {"luts": 12, "step": 10},
    "microcontroller.json": {"flash": 1000, "ram": 10, "step": 10},
    "hardware.json": {
        "step": 10,
        "results": [
            {
                "family": "ice40",
                "top": "j_registered",
                "what": "gates",
                "luts": 12,
                "registers": 9,
                "block_rams": 0,
                "cells": {"SB_LUT4": 12},
                "full": {"HX1K": 0.02},
                "fmax_mhz": 80.5,
            }
        ],
    },
    "config.yaml": {"data": {"name": "NMNIST"}, "model": {"model_type": "cnn"}, "train": {"epochs": 4}},
}
ROWS = [
    {"step": 5, "epoch": 1, "split": split, "loss": 2.0, "frame_accuracy": 0.5, "relaxed_frame_accuracy": 0.75}
    for split in ("train", "val")
]
NAMES = [*JSON, "metrics.csv"]


@pytest.fixture
def job(storages):
    """A job whose files are all sound, as are those of the job `other`."""
    for name in ("j", "other"):
        for file, value in JSON.items():
            write_json(Job(name).logs / file, value)
        write_metrics(Job(name).logs / "metrics.csv", ROWS)
    return Job("j")


@pytest.fixture
def warnings(monkeypatch):
    lines = []
    monkeypatch.setattr(LOG, "warning", lambda text, *values: lines.append(text % values))
    return lines


def read_all(job):
    files = read_job(job)
    return [
        *vars(files).values(),
        read_evaluation(job),
        read_luts(job, "ice40"),
        read_microcontroller(job),
        read_hardware(hardware_path(job)),
    ]


def test_sound_files_are_read_without_a_word(job, warnings):
    rows, result, config, starts, evaluation, luts, size, hardware = read_all(job)
    assert rows == ROWS
    assert (result["steps"], config.dataset, config.epochs, luts["luts"]) == (10, "NMNIST", 4, 12)
    assert starts == JSON["runs.json"]
    assert size == JSON["microcontroller.json"]
    assert hardware == JSON["hardware.json"]
    assert evaluation["recordings"]["misclassified"] == [MISTAKE]
    assert warnings == []


def test_files_that_are_missing_are_left_out_without_a_word(job, warnings):
    assert [bool(value) for value in read_all(Job("none"))] == [False, False, True, False, False, False, False, False]
    assert warnings == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "content",
    [b"", b"[]x", b"3", b'"text"', b"\xff\xfe", b"[" * 100_000, b'{"epochs": 1e999}', b"a,b\n1,2\n", b"\x00" * 9],
    ids=["empty", "cut", "number", "text", "not_utf8", "deep", "infinite", "other_columns", "zeros"],
)
def test_a_file_of_another_form_is_left_out_with_one_warning(job, warnings, name, content):
    sound = read_all(job)
    (job.logs / name).write_bytes(content)
    now = read_all(job)
    assert sum(then != value for then, value in zip(sound, now, strict=True)) == 1
    if (name, content) != ("config.yaml", b'{"epochs": 1e999}'):  # a key that nobody asks for
        (line,) = warnings
        assert line.startswith(f"{job.logs / name} is left out: ")
        assert line.endswith(" writes it again")
        assert "\n" not in line
        assert len(line.removeprefix(str(job.logs))) < 300


@pytest.mark.parametrize(
    ("name", "old", "new", "reason"),
    [
        ("evaluation_test.json", '"f1": 1.0', '"f1": "1"', "frames.classes[0].f1: '1' is not a number from 0 to 1"),
        ("evaluation_test.json", '"label": 1', '"label": 2', "misclassified[0].label: 2 is not a whole number from 0"),
        ("evaluation_test.json", '"b"', '"b", "c"', "frames.classes: [{"),
        ("evaluation_test.json", "NMNIST/frames", "../../etc", "cache: '../../etc' is not the name of a frame cache"),
        ("result.json", '"steps": 10', '"steps": -1', "steps: -1 is not a whole number from 0"),
        ("result.json", '"frame_accuracy": 0.5', '"frame_accuracy": NaN', "test.frame_accuracy: nan is not a number"),
        ("result.json", '"steps"', '"stairs"', "steps is missing"),
        ("runs.json", '"main.py"', "1", "[0].command[0]: 1 is not a text"),
        ("config.yaml", '{\n    "epochs": 4\n  }', "[1]", "train: [1] is not a mapping"),
        ("config.yaml", '"epochs": 4', '"epochs": true', "train.epochs: True is not a whole number"),
        ("metrics.csv", "step,", "stop,", "line 2.step is missing"),
        ("metrics.csv", "1,train", "x,train", "line 2.epoch: 'x' is not a whole number"),
        ("metrics.csv", ",,,,,\n", "\n", "line 2 does not have as many cells as the first one"),
    ],
)
def test_the_warning_says_what_is_wrong_and_where(job, warnings, name, old, new, reason):
    text = (job.logs / name).read_text()
    assert old in text
    (job.logs / name).write_text(text.replace(old, new, 1))
    read_all(job)
    (line,) = warnings
    assert reason in line


def test_a_csv_that_is_cut_off_is_not_read_as_shorter_numbers(job, warnings):
    path = job.logs / "metrics.csv"
    path.write_text(path.read_text()[:-1])
    assert read_job(job).metrics == []
    assert "its last line is cut off" in warnings[0]


def link_to_nowhere(path):
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, link_to_nowhere], ids=["pipe", "folder", "link"])
def test_a_pipe_a_folder_or_a_broken_link_in_a_file_s_place_is_left_out_at_once(job, warnings, make):
    for name in NAMES:
        (job.logs / name).unlink()
        make(job.logs / name)
    read_all(job)
    assert len(warnings) == len(NAMES)


def test_a_config_that_is_older_than_best_metric_was_best_by_its_default(job):
    assert read_job(job).config.best_metric == "frame_accuracy"
    write_json(job.logs / "config.yaml", {"train": {"best_metric": "loss"}})
    assert read_job(job).config.best_metric == "loss"


def test_a_loss_that_is_not_finite_is_sound(job, warnings):
    write_metrics(job.logs / "metrics.csv", [{**ROWS[0], "loss": float("nan")}, {**ROWS[1], "loss": float("inf")}])
    assert len(read_job(job).metrics) == 2
    assert warnings == []


def test_text_that_would_steer_a_terminal_is_escaped(job):
    write_json(job.logs / "config.yaml", {"data": {"name": "a\x1b[2J\n\udcff"}})
    assert read_job(job).config.dataset == r"a\x1b[2J\n\udcff"


class _Picture:
    """Takes the place of matplotlib, which is slow."""

    name = alt = "picture"
    is_wide = False

    def svg(self):
        return '<svg role="img"></svg>'

    def png(self):
        return b""


ODD = st.sampled_from(
    [None, True, [], {}, [[]], {"a": {}}, "3", "", "x" * 300, "../..", "\x00", -1, 3, 0.5, 1e308, 10**400, math.nan]
)


def places(value, found):
    """All (container, key) of a JSON value."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        found.append((value, key))
        places(inner, found)
    return found


@st.composite
def damaged(draw, name, content):
    """A file's bytes with random damage, or its JSON with another value, or none, in a random place."""
    kind = draw(st.sampled_from(["sound", "bytes", "cut", "value", "missing", "odd"]))
    if kind == "bytes":
        at, byte = draw(st.integers(0, len(content) - 1)), draw(st.integers(0, 255))
        return content[:at] + bytes([byte]) + content[at + 1 :]
    if kind == "cut":
        return content[: draw(st.integers(0, len(content)))]
    if kind == "odd":
        return json.dumps(draw(ODD)).encode()
    if name in JSON and kind in ("value", "missing"):
        value = copy.deepcopy(JSON[name])
        container, key = draw(st.sampled_from(places(value, [])))
        if kind == "value":
            container[key] = draw(ODD)
        else:
            del container[key]
        return json.dumps(value).encode()
    return content


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_damage_breaks_report_compare_or_status(job, monkeypatch, data):
    for chart in ("line_chart", "confusion_chart"):
        monkeypatch.setattr(plots, chart, lambda *args, **kwargs: _Picture())
    for name in NAMES:
        sound = (Job("other").logs / name).read_bytes()
        (job.logs / name).write_bytes(data.draw(damaged(name, sound)))
    compare.compare(["j", "other"])
    status.status_table([])
    assert "<h1>j</h1>" in report.write_report(job).read_text(encoding="utf-8")


def test_jobs_of_two_folders_of_own_recordings_are_not_compared_as_one_dataset(job, capsys):
    for name, folder in (("j", "mine"), ("other", "yours")):
        (Job(name).logs / "config.yaml").write_text(f"data: {{name: FOLDER, folder: {folder}}}")
    compare.compare(["j", "other"])
    assert "different datasets, whose accuracies cannot be compared: FOLDER mine: j; FOLDER yours: other" in (
        capsys.readouterr().out
    )


def test_extreme_but_sound_values_can_be_drawn(job):
    steep = [
        {"step": 10**15, "epoch": epoch, "split": "val", "loss": loss, "frame_accuracy": 0.0, "learning_rate": 1e15}
        for epoch, loss in ((0, 1e100), (10**15, -1e100), (10**15, float("nan")))
    ]
    write_metrics(job.logs / "metrics.csv", steep)
    evaluation = copy.deepcopy(JSON["evaluation_test.json"])
    evaluation["class_names"] = [r"$\frac{", "\x00" + "long" * 50]
    evaluation["frames"]["confusion"] = [[10**15, 0], [10**15, 10**15]]
    write_json(job.logs / "evaluation_test.json", evaluation)
    report.write_report(job)
    compare.compare(["j", "other"])
