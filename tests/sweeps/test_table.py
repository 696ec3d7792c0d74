"""A sweep's table: mean and spread over seeds, sorted, of the jobs that are done."""

import csv
import json
import statistics

import pytest

from src.evaluation.metrics import write_metrics
from src.io_funcs import write_atomic, write_json
from src.jobs.folders import Job
from src.sweeps.specification import load_sweep
from src.sweeps.table import write_table

GRID = "grid: {train.learning_rate: [0.01, 0.02], train.epochs: [4]}\nseeds: 2"


@pytest.fixture
def load(storages):
    (storages / "base.yaml").write_text("model: {model_type: difflogic}")

    def load_text(text):
        (storages / "rates.yaml").write_text(f"config: {storages / 'base.yaml'}\n{text}")
        return load_sweep(storages / "rates.yaml")

    return load_text


def finish(job, best, relaxed=None, seconds=10.0):
    """What a job leaves whose best model, of epoch 2 of 4, has this accuracy; the final one has 0.1 less."""
    epochs = {1: best - 0.2, 2: best, 3: best - 0.3, 4: best - 0.1}
    more = {} if relaxed is None else {"relaxed_frame_accuracy": relaxed}
    logs = Job(job.job_id).logs
    write_atomic(logs / "config.yaml", job.config.to_yaml())
    write_metrics(
        logs / "metrics.csv",
        [{"step": epoch, "epoch": epoch, "split": "val", "frame_accuracy": value} for epoch, value in epochs.items()],
    )
    result = {"epochs": 4, "steps": 4, "best_epoch": 2, "train_seconds": seconds}
    for name, value in (("best_test", best), ("test", best - 0.1)):
        result[name] = {"frame_accuracy": value, "recording_accuracy": value, **more}
    write_json(logs / "result.json", result)


def lines(text):
    """The table's rows, as words, under its header."""
    rows = text.splitlines()
    begin = next(number for number, row in enumerate(rows) if row.startswith("---"))
    return [row.split() for row in rows[begin + 1 : rows.index("", begin) if "" in rows[begin:] else None]]


def csv_rows(sweep):
    with (sweep.folder / "sweep.csv").open() as file:
        return list(csv.DictReader(file))


def test_rows_are_sorted_by_the_metric_s_mean_with_the_sample_s_standard_deviation(load):
    sweep = load(GRID)
    for job, accuracy in zip(sweep.jobs, (0.7, 0.8, 0.72, 0.9), strict=True):
        finish(job, accuracy)
    table = lines(write_table(sweep, {}))
    assert [row[0] for row in table] == ["0.02", "0.01"]
    assert " ".join(table[1][:5]) == "0.01 2 71.00 ± 1.41"
    assert statistics.stdev((0.7, 0.72)) == pytest.approx(0.0141, abs=1e-4)
    (first, second) = csv_rows(sweep)
    assert float(first["test.frame_accuracy_mean"]) == pytest.approx(0.85)
    assert float(second["val.frame_accuracy_std"]) == statistics.stdev((0.7, 0.72))


def test_only_options_that_differ_have_a_column(load):
    sweep = load(GRID)
    header = next(line for line in write_table(sweep, {}).splitlines() if "seeds" in line and "learning_rate" in line)
    assert "epochs" not in header


def test_the_final_model_s_accuracies_are_those_of_the_last_epoch(load):
    sweep = load(f"{GRID}\nmodel: final\nmetric: test.frame_accuracy")
    finish(sweep.jobs[0], 0.7)
    write_table(sweep, {})
    row = csv_rows(sweep)[0]
    assert float(row["val.frame_accuracy_mean"]) == float(row["test.frame_accuracy_mean"]) == pytest.approx(0.6)


def test_the_discretisation_gap_is_the_relaxed_minus_the_discretised_accuracy(load):
    sweep = load("seeds: 1")
    finish(sweep.jobs[0], 0.7, relaxed=0.75)
    text = write_table(sweep, {})
    assert "gap %" in text
    assert float(csv_rows(sweep)[0]["test.gap_mean"]) == pytest.approx(0.05)


def test_the_accuracy_by_vote_has_a_column_if_a_job_has_it(load):
    sweep = load("seeds: 1")
    finish(sweep.jobs[0], 0.7)
    assert "by vote" not in write_table(sweep, {})  # the job is of an older version
    path = Job(sweep.jobs[0].job_id).logs / "result.json"
    result = json.loads(path.read_text())
    result["best_test"]["vote_accuracy"] = 0.65
    write_json(path, result)
    assert "by vote %" in write_table(sweep, {})
    assert float(csv_rows(sweep)[0]["test.vote_accuracy_mean"]) == 0.65


def test_a_model_without_relaxation_has_no_gap(load):
    sweep = load("seeds: 1")
    finish(sweep.jobs[0], 0.7)
    assert "gap" not in write_table(sweep, {})


def test_one_seed_has_no_spread(load):
    sweep = load("seeds: 1")
    finish(sweep.jobs[0], 0.7)
    (row,) = lines(write_table(sweep, {}))
    assert "±" not in row
    assert csv_rows(sweep)[0]["val.frame_accuracy_std"] == ""


def test_jobs_that_are_not_done_are_named_and_configurations_without_any_come_last(load):
    sweep = load(GRID)
    finish(sweep.jobs[1], 0.6)
    failed, unfinished = sweep.jobs[0], sweep.jobs[3]
    text = write_table(sweep, {failed.job_id: "RuntimeError: the loss is nan"})
    assert [row[:4] for row in lines(text)] == [["0.02", "1", "of", "2"], ["0.01", "0", "of", "2"]]
    assert f"{failed.job_id}: failed: RuntimeError: the loss is nan" in text
    assert f"{unfinished.job_id}: not begun" in text
    assert [(row["seeds_done"], row["seeds"]) for row in csv_rows(sweep)] == [("1", "2"), ("0", "2")]


def test_variants_stand_by_their_names_beside_what_the_grid_varies(load):
    sweep = load("variants: {plain: {}, deep: {model.difflogic.num_layers: 8}}\ngrid: {model.difflogic.tau: [5, 20]}")
    text = write_table(sweep, {})
    assert [row[:2] for row in lines(text)] == [["plain", "5"], ["plain", "20"], ["deep", "5"], ["deep", "20"]]
    assert "num_layers" not in text
    assert [row["model.difflogic.num_layers"] for row in csv_rows(sweep)] == ["4", "4", "8", "8"]


def test_the_heading_has_what_all_jobs_were_given(load):
    text = "overrides: {train.epochs: 5, train.report: false}\nvariants: {plain: {}, long: {train.epochs: 9}}"
    assert "all with train.report=false\n" in write_table(load(text), {})


def test_the_text_that_is_printed_is_the_one_that_is_written(load):
    sweep = load(GRID)
    assert (sweep.folder / "sweep.txt").exists() is False
    text = write_table(sweep, {})
    assert (sweep.folder / "sweep.txt").read_text() == text


def test_a_job_that_debug_has_cut_short_is_named(load):
    sweep = load("seeds: 2")
    for job in sweep.jobs:
        finish(job, 0.7)
    path = Job(sweep.jobs[0].job_id).logs / "result.json"
    write_json(path, {**json.loads(path.read_text()), "debug": "debug: 20 of 69 batches per epoch"})
    text = write_table(sweep, {})
    assert text.count("debug: 20 of 69 batches per epoch") == 1
    assert f"{sweep.jobs[0].job_id}: debug: 20" in text


@pytest.mark.parametrize("name", ["metrics.csv", "result.json", "runs.json"])
def test_a_damaged_file_of_a_job_does_not_end_the_table(load, name):
    sweep = load(GRID)
    for job in sweep.jobs:
        finish(job, 0.7)
    (Job(sweep.jobs[0].job_id).logs / name).write_text("[[")
    assert len(lines(write_table(sweep, {}))) == 2
