"""Evaluating, reporting and comparing jobs that the real commands have left."""

import csv
import dataclasses
import json
import os
import re
import shutil
import signal

import numpy as np
import pytest
import torch

from helper_scripts import browser
from src.checkpoint import save_model
from src.circuit.luts import circuit_size
from src.command_line import Stopped, StopSignals, UserError
from src.config import Config, Model
from src.evaluation.evaluate import evaluate_job
from src.evaluation.inference import load_model
from src.helpers import LOG
from src.io_funcs import write_json
from src.jobs.folders import Job
from src.model import create_model
from src.reports.compare import compare
from src.reports.report import try_to_write_report, write_report
from tests import small_job

SECTIONS = ["Training", "Test", "Misclassified recordings", "Circuit", "How it was made", "Config"]


@pytest.fixture(scope="module")
def folder(prepared):
    """A folder with recordings, their cache, and a finished job `logic`, too short to be without mistakes."""
    options = "train.report=true train.learning_rate=0.02"
    small_job.run(prepared, "main.py", "small.yaml", "--job_id=logic", "--override", options)
    return prepared


@pytest.fixture
def storages(folder, monkeypatch):
    """The folder, its storages being those of this process."""
    for name, value in small_job.environment(folder).items():
        monkeypatch.setitem(os.environ, name, value)
    return folder


@pytest.fixture
def copy(storages):
    """A copy of the job's logs and models, as job `copy`, to be changed."""
    for kind in ("logs", "models"):
        shutil.rmtree(storages / "project" / kind / "copy", ignore_errors=True)
        shutil.copytree(storages / "project" / kind / "logic", storages / "project" / kind / "copy")
    return Job("copy")


def logs(folder, name, job="logic"):
    return json.loads((folder / "project/logs" / job / name).read_text())


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def evaluate(folder, job_id="logic", split="test", model="best", overrides=()):
    evaluate_job(Config.from_yaml(folder / "small.yaml", overrides), job_id, split, model, StopSignals())


def assert_same(evaluation, accuracies):
    """An evaluation's file has the accuracies of a result.json or a row of metrics.csv."""
    for prefix, part in (("", evaluation), ("relaxed_", evaluation["relaxed"])):
        assert part["loss"] == pytest.approx(float(accuracies[f"{prefix}loss"]), rel=1e-6)
        assert part["frames"]["accuracy"] == pytest.approx(float(accuracies[f"{prefix}frame_accuracy"]))
        assert part["recordings"]["accuracy"] == pytest.approx(float(accuracies[f"{prefix}recording_accuracy"]))


def test_training_leaves_the_best_model_s_evaluation_on_test(folder):
    evaluation = logs(folder, "evaluation_test.json")
    assert evaluation["model"] == "best"
    best = logs(folder, "result.json")["best_test"]
    assert_same(evaluation, best)
    assert evaluation["recordings"]["vote_accuracy"] == best["vote_accuracy"]
    assert np.array(evaluation["recordings"]["confusion"]).sum(1).tolist() == [3] * 10  # recordings per class


def test_evaluate_prints_a_summary_and_writes_tables_and_json(folder):
    before = files(folder / "project") | files(folder / "scratch")
    words = ("--job_id=logic", "--evaluate", "--split=val", "--override", "model.difflogic.num_neurons=2000")
    output = small_job.run(folder, "main.py", "small.yaml", *words)
    path = folder / "project/logs/logic/evaluation_val.json"
    after = files(folder / "project") | files(folder / "scratch")
    evaluation = json.loads(after.pop(path))
    tables = after.pop(path.with_suffix(".txt")).decode()
    path.unlink()
    path.with_suffix(".txt").unlink()
    assert after == before
    summary = tables.partition(", by class")[0].rpartition("\n\n")[0]
    assert summary.startswith("best model of job logic")
    assert summary in output
    assert output.count("\n") < 20
    assert f"tables by class and confusions: {path.with_suffix('.txt')}" in output
    assert "by vote, %" in summary
    assert "frames, relaxed, by class" in tables
    assert "frames: true (down), predicted (across)" in tables
    assert "not taken: model.difflogic.num_neurons = 2000 (the job's is 1500)" in output
    best = logs(folder, "result.json")["best_epoch"]
    with (folder / "project/logs/logic/metrics.csv").open() as file:
        (row,) = [row for row in csv.DictReader(file) if (row["epoch"], row["split"]) == (str(best), "val")]
    assert_same(evaluation, row)


def test_the_final_model_can_be_evaluated(storages, copy):
    best = logs(storages, "evaluation_test.json", "copy")
    evaluate(storages, "copy", model="final")
    assert_same(logs(storages, "evaluation_test_final.json", "copy"), logs(storages, "result.json")["test"])
    assert logs(storages, "evaluation_test.json", "copy") == best  # the report's


def test_a_job_that_has_a_best_model_only_is_evaluated(storages, copy):
    shutil.rmtree(copy.logs)
    (copy.models / "final.safetensors").unlink()
    evaluate(storages, "copy")
    assert logs(storages, "evaluation_test.json", "copy")["job_id"] == "copy"
    with pytest.raises(UserError, match=r"job copy has no final model, .*\(there: best\)"):
        evaluate(storages, "copy", model="final")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"job_id": "none"}, "there is no job none"),
        ({"split": "all"}, "--split all: there is no such split; allowed: train, val, test"),
        ({"model": "last"}, "--model last: there is no such model; allowed: best, final"),
        ({"overrides": ["train.device=tpu"]}, "allowed: cuda, cuda:N or cpu"),
        ({"overrides": ["data.overlap=7"]}, "prepare it with ./prepare_data.sh"),
        ({"overrides": ["data.name=DEMO"]}, "job logic was trained on NMNIST, not on DEMO: give its config"),
    ],
)
def test_what_cannot_be_evaluated_is_said_in_one_line(storages, arguments, message):
    with pytest.raises(UserError) as error:
        evaluate(storages, **arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("shape", "classes", "message"),
    [
        ((2, 8, 8), 10, r"frames of shape \[2, 8, 8\] \[P, H, W\], .* frames of shape \[2, 34, 34\]"),
        ((2, 34, 34), 3, r"tells 3 classes \(0, 1, 2\) apart, .* has 10 classes \(0, 1, 2, 3"),
    ],
)
def test_a_model_of_another_shape_is_refused_with_both(storages, copy, shape, classes, message):
    config = dataclasses.replace(Config(), model=Model(model_type="mlp"))
    model = create_model(config.model, shape, classes)
    about = {"config": config.to_dict(), "class_names": list("0123456789")[:classes], "input_shape": shape, "step": 1}
    about |= {"temperature": 1.0, "frames": "", "debug": None}
    save_model(copy.models / "best.safetensors", model, about)
    with pytest.raises(UserError, match=message):
        evaluate(storages, "copy")


def test_a_signal_stops_an_evaluation_before_it_writes(storages, copy):
    stop = StopSignals()
    stop.received = signal.SIGTERM
    before = files(copy.logs)
    with pytest.raises(Stopped):
        evaluate_job(Config.from_yaml(storages / "small.yaml"), "copy", "test", "best", stop)
    assert files(copy.logs) == before


# The report


def test_training_leaves_a_report_with_a_picture_a_chart(folder):
    job = folder / "project/logs/logic"
    html = (job / "report.html").read_text()
    assert [part.split("<")[0] for part in html.split("<h2>")[1:]] == SECTIONS
    plots = {path.stem for path in (job / "plots").glob("*.png")}
    assert {
        "loss",
        "frame_accuracy",
        "recording_accuracy",
        "discretisation_gap",
        "learning_rate",
        "frames_per_second",
        "confusion_frames",
        "confusion_recordings",
        "learned_gates",
        "circuit_size",
    } <= plots
    assert any(name.startswith("misclassified_") for name in plots)
    assert "main.py small.yaml --job_id=logic --override" in html
    assert f"torch {torch.__version__}".split("+")[0] in html
    assert "num_neurons: 1500" in html


@pytest.mark.skipif(browser.CHROMIUM is None, reason="Chromium is not installed")
def test_a_browser_shows_the_report_whole_in_light_dark_and_on_a_phone(folder, tmp_path):
    looks = {}
    with browser.page(tmp_path) as page:
        for width, scheme in ((1280, "light"), (1280, "dark"), (390, "light")):
            page.open(folder / "project/logs/logic/report.html", width=width, scheme=scheme)
            assert page.complaints() == []
            assert page.evaluate("[...document.querySelectorAll('h2')].map(h => h.textContent)") == SECTIONS
            sizes = page.evaluate(
                "[...document.querySelectorAll('svg, img')].map(e => e.getBoundingClientRect())"
                ".map(r => [r.width, r.height])"
            )
            assert len(sizes) > 10
            assert min(min(size) for size in sizes) > 20
            assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            looks[width, scheme] = page.evaluate(
                "[getComputedStyle(document.body).backgroundColor, "
                "getComputedStyle(document.querySelector('svg text')).fill]"
            )
            assert page.screenshot().startswith(b"\x89PNG")
    assert looks[1280, "light"] == looks[390, "light"]
    background, text = looks[1280, "dark"]
    assert brightness(background) < 40
    assert brightness(text) > 150
    background, text = looks[1280, "light"]
    assert brightness(background) > 220
    assert brightness(text) < 110


def brightness(colour):
    return sum(int(number) for number in colour.removeprefix("rgb(").removesuffix(")").split(",")) / 3


def test_a_job_that_is_not_done_has_a_report(copy):
    for path in (copy.logs / "result.json", copy.logs / "evaluation_test.json", *copy.models.glob("*.safetensors")):
        path.unlink()
    html = write_report(copy).read_text()
    assert "running or stopped" in html
    assert "<h2>Training</h2>" in html
    assert {path.stem for path in copy.logs.glob("plots/*.png")} == {  # those of what is not there any more are gone
        "loss",
        "frame_accuracy",
        "recording_accuracy",
        "discretisation_gap",
        "learning_rate",
        "frames_per_second",
    }


def test_a_damaged_result_is_left_out_of_the_report_with_a_warning(copy, caplog):
    (copy.logs / "result.json").write_text("{")
    assert "running or stopped" in write_report(copy).read_text()
    assert f"{copy.logs / 'result.json'} is left out: Expecting" in caplog.text


def test_what_a_user_wrote_stays_text(copy):
    (copy.logs / "config.yaml").write_text("a: </pre><script>alert(1)</script>")
    html = write_report(copy).read_text()
    assert "<script" not in html
    assert "&lt;script&gt;" in html


@pytest.mark.slow
def test_a_large_circuit_is_not_simplified_when_a_run_ends(copy):
    html = write_report(copy, most_gates=2999).read_text()
    assert "./job.sh report copy works out the size after simplification" in html
    assert "learned_gates" in {path.stem for path in copy.logs.glob("plots/*.png")}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("yosys") is None, reason="needs yosys")
def test_an_estimate_of_luts_stands_in_the_report(folder, copy):
    small_job.run(folder, "src/cli", "export", "copy", "--to", "verilog", "--estimate", "ice40")
    luts = logs(folder, "luts_ice40.json", "copy")["luts"]
    assert f">{luts:,}<" in write_report(copy).read_text()
    (copy.logs / "luts_ice40.json").write_text(json.dumps({"luts": luts, "step": 0}))
    assert "(yosys)" not in write_report(copy).read_text()  # those of an older model


@pytest.mark.slow
def test_the_size_on_a_microcontroller_stands_in_the_report(copy):
    step = load_model(copy.models / "best.safetensors")[1]["step"]
    size = {"flash": 12_345, "ram": 6_789}
    (copy.logs / "microcontroller.json").write_text(json.dumps({**size, "step": step}))
    html = write_report(copy).read_text()
    assert ">12,345<" in html
    assert ">6,789<" in html
    (copy.logs / "microcontroller.json").write_text(json.dumps({**size, "step": step + 1}))
    assert "Cortex-M4" not in write_report(copy).read_text()  # that of another model


def test_training_leaves_the_size_of_the_circuits(folder):
    result = logs(folder, "result.json")
    model, _ = load_model(folder / "project/models/logic/best.safetensors")
    assert result["best_circuit"] == circuit_size(model.circuit().simplified())._asdict()
    assert result["circuit"].keys() == {"gates", "luts", "depth"}


def test_the_report_shows_the_size_and_the_jobs_on_the_same_dataset(folder, copy):
    size = logs(folder, "result.json")["best_circuit"]
    html = write_report(copy).read_text()
    assert f">{size['luts']:,}<" in html
    assert "<h2>Size and accuracy</h2>" in html
    (copy.logs / "result.json").unlink()
    assert "<h2>Size and accuracy</h2>" not in write_report(copy).read_text()


def test_the_jobs_that_no_smaller_one_beats_are_named_and_drawn(folder, copy, capsys):
    result = logs(folder, "result.json")
    result["best_circuit"]["luts"] += 1
    result["best_test"]["vote_accuracy"] = 0.001
    write_json(copy.logs / "result.json", result)
    paths = compare(["logic", "copy"], hardware=True)
    assert paths[2].name == "compare_logic_copy_hardware.png"
    assert paths[2].read_bytes().startswith(b"\x89PNG")
    named = capsys.readouterr().out.partition("accuracy by vote that no smaller network reaches:")[2]
    assert "logic: " in named
    assert "copy: " not in named


def test_a_frontier_of_jobs_without_a_size_is_refused(folder, copy):
    result = logs(folder, "result.json")
    write_json(copy.logs / "result.json", {key: value for key, value in result.items() if "circuit" not in key})
    with pytest.raises(UserError, match="--hardware needs jobs that are done"):
        compare(["copy"], hardware=True)


@pytest.mark.slow
def test_the_hardware_of_the_job_s_model_stands_in_the_report_and_in_comparisons(storages, copy):
    result = {
        **{"family": "ecp5", "top": "copy_registered", "what": "", "luts": 4321, "registers": 99, "block_rams": 0},
        **{"cells": {}, "full": {"LFE5U-12F": 0.36, "LFE5U-25F": 0.18}, "device": "LFE5U-12F", "fmax_mhz": 56.7},
    }
    step = logs(storages, "evaluation_test.json", "copy")["step"]
    write_json(copy.logs / "hardware.json", {"step": step, "results": [result]})
    html = write_report(copy).read_text()
    assert ">4,321<" in html
    assert ">LFE5U-12F 36 %, LFE5U-25F 18 %<" in html
    paths = compare(["logic", "copy"])
    with paths[0].open() as file:
        first, second = csv.DictReader(file)
    assert (first["ecp5_luts"], second["ecp5_luts"], second["ecp5_fmax_mhz"]) == ("", "4321", "56.7")
    write_json(copy.logs / "hardware.json", {"step": step + 1, "results": [result]})
    assert "<h2>Hardware</h2>" not in write_report(copy).read_text()  # another model's


def test_a_report_that_fails_is_a_warning(copy, monkeypatch):
    warnings = []
    monkeypatch.setattr(LOG, "warning", lambda text, *values: warnings.append(text % values))
    shutil.rmtree(copy.logs / "plots")
    (copy.logs / "plots").write_text("a file where a folder is to be")
    try_to_write_report(copy)
    (line,) = warnings
    assert line.startswith("cannot write the report of job copy: ")


def test_the_report_of_no_job_is_refused(storages):
    with pytest.raises(UserError, match="there is no job none"):
        write_report(Job("none"))


# Comparing


def test_jobs_are_compared_in_a_table_a_csv_and_a_picture(folder, copy):
    (copy.logs / "result.json").unlink()  # not done
    output = small_job.run(folder, "src/cli", "compare", "logic", "copy", "logic")
    rows = [line.split() for line in output.splitlines() if line.startswith(("logic ", "copy "))]
    best = logs(folder, "result.json")["best_test"]
    assert [row[0] for row in rows] == ["logic", "copy"]
    assert [row[1:4] for row in rows] == [["NMNIST", "difflogic", "48,000"]] * 2
    size = logs(folder, "result.json")["best_circuit"]
    assert rows[0][4:6] == [f"{size['gates']:,}", f"{size['luts']:,}"]
    assert rows[0][9] == f"{100 * best['frame_accuracy']:.2f}"
    assert rows[0][11] == f"{100 * best['vote_accuracy']:.2f}"
    assert rows[1][9] == "-"
    with (folder / "project/logs/compare_logic_copy.csv").open() as file:
        first, second = csv.DictReader(file)
    assert float(first["test_relaxed_frame_accuracy"]) == best["relaxed_frame_accuracy"]
    assert second["test_frame_accuracy"] == ""
    assert float(first["val_frame_accuracy"]) == float(second["val_frame_accuracy"]) > 0
    assert (folder / "project/logs/compare_logic_copy.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_job_of_a_version_without_votes_is_compared_and_reported(copy, capsys):
    result = logs(copy.logs.parents[2], "result.json", "copy")
    evaluation = logs(copy.logs.parents[2], "evaluation_test.json", "copy")
    for tested in (result["test"], result["best_test"], evaluation["recordings"]):
        del tested["vote_accuracy"]
    del evaluation["recordings"]["by_vote"]
    write_json(copy.logs / "result.json", result)
    write_json(copy.logs / "evaluation_test.json", evaluation)
    compare(["copy"])
    cells = capsys.readouterr().out.splitlines()[-1].split()
    assert cells[11] == "-"
    assert cells[10] == f"{100 * result['best_test']['recording_accuracy']:.2f}"
    html = write_report(copy).read_text()
    assert re.search(r"Test accuracy, by vote</\w+>\s*<[^>]*>-<", html)


@pytest.mark.parametrize(
    ("config", "cache", "told"),
    [
        ("data: {name: DEMO}\nmodel: {model_type: mlp}", "NMNIST/frames", "different datasets, "),
        (None, "NMNIST/others", "different frame caches, "),
    ],
)
def test_jobs_that_cannot_be_compared_are_told_apart(copy, capsys, config, cache, told):
    if config is not None:
        (copy.logs / "config.yaml").write_text(config)
    evaluation = logs(copy.logs.parents[2], "evaluation_test.json", "copy")
    write_json(copy.logs / "evaluation_test.json", evaluation | {"cache": cache})
    compare(["logic", "copy"])
    *_, remark = capsys.readouterr().out.splitlines()
    assert remark.startswith(told)
    assert "logic" in remark
    assert "copy" in remark


def test_jobs_of_one_cache_are_compared_without_a_remark(copy, capsys):
    compare(["logic", "copy"])
    assert capsys.readouterr().out.splitlines()[-1].startswith("copy ")


def test_a_job_whose_files_are_damaged_is_compared_by_what_is_sound(copy, caplog):
    for name in ("result.json", "config.yaml"):
        (copy.logs / name).write_text("[")
    compare(["copy", "logic"])
    with (copy.logs.parent / "compare_copy_logic.csv").open() as file:
        damaged, sound = csv.DictReader(file)
    assert (damaged["dataset"], damaged["test_frame_accuracy"]) == ("", "")
    assert damaged["val_frame_accuracy"] == sound["val_frame_accuracy"]
    assert caplog.text.count("is left out") == 2


@pytest.mark.slow
def test_a_report_goes_on_without_a_model_that_cannot_be_read(copy, caplog):
    for path in copy.models.glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:100])
    assert "<h2>Circuit</h2>" not in write_report(copy).read_text()
    assert "the report is without a circuit" in caplog.text


def test_a_misclassified_recording_is_named_by_its_file(copy):
    evaluation = logs(copy.logs.parents[2], "evaluation_test.json")
    for part in (evaluation, evaluation["relaxed"]):
        for entry in part["recordings"]["misclassified"]:
            assert entry["file"].startswith(f"Test/{entry['label']}/")
    assert evaluation["recordings"]["misclassified"][0]["file"] in write_report(copy).read_text()


def test_every_job_that_is_missing_is_named_in_one_line(storages):
    with pytest.raises(UserError, match=r"^there is no job x or y; [^\n]*$"):
        compare(["x", "logic", "y"])


@pytest.mark.slow
@pytest.mark.parametrize("model_type", ["cnn", "mlp"])
def test_other_models_are_evaluated_and_reported(storages, model_type):
    options = f"train.report=true model.model_type={model_type}"
    small_job.run(storages, "main.py", "small.yaml", f"--job_id={model_type}", "--override", options)
    small_job.run(storages, "main.py", "small.yaml", f"--job_id={model_type}", "--evaluate", "--override", options)
    evaluation = logs(storages, "evaluation_test.json", model_type)
    assert "relaxed" not in evaluation
    accuracy = logs(storages, "result.json", model_type)["best_test"]["frame_accuracy"]
    assert evaluation["frames"]["accuracy"] == pytest.approx(accuracy)
    html = (Job(model_type).logs / "report.html").read_text()
    assert "<h2>Circuit</h2>" not in html
    assert "Parameters" in html
