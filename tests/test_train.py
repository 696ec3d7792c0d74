"""What a run learns follows its optimisation options, and does not depend on where it was interrupted."""

import contextlib
import json
import logging
import re
import signal
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from src import compiling
from src.checkpoint import list_checkpoints, load_model_state, load_tree, save_tree
from src.command_line import Stopped, StopSignals, UserError
from src.config import Config
from src.evaluation.evaluate import warn_of_other_frames
from src.evaluation.inference import load_model
from src.evaluation.metrics import best_epoch
from src.frame_cache.prepare import prepare
from src.helpers import LOG
from src.jobs.files import debug_note, read_metrics
from src.jobs.folders import UNNOTED, Job, evaluation_path, restart_noted
from src.reports.compare import compare
from src.reports.outcome import outcome
from src.reports.status import job_status, status_table
from src.train import train
from src.training import state
from src.training.augmentation import augment
from src.training.setup import require_val_split
from tests import small_job

EVERY_OPTION = (
    "train.epochs=3 train.learning_rate=0.01 train.warmup_epochs=0.5 train.min_learning_rate=0.001 "
    "train.weight_decay=0.1 train.label_smoothing=0.1 train.clip_gradient_norm=0.1 train.accumulate_batches=2 "
    "train.ema_decay=0.8 train.best_metric=loss train.early_stopping_patience=2"
)
GATES = "model.model_type=difflogic train.epochs=2 train.dataloader.batch_size=48"  # three batches per epoch
EVERY_UPDATE = "train.checkpoint_interval_minutes=0 train.project_checkpoint_interval_minutes=1000"


class Killed(BaseException):
    """The process would be gone."""


class StopAt(StopSignals):
    """At the so-manieth time that the training loop asks, a signal is there, or without one the process is killed."""

    def __init__(self, times, number=None):
        self.left, self.number = times, number
        self.received_at = time.monotonic()

    @property
    def received(self):
        self.left -= 1
        if self.left > 0:
            return None
        if self.number is None:
            raise Killed
        return self.number

    def check(self):
        if self.left <= 0:
            raise Stopped("received a signal")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with few recordings, their config and their cache."""
    folder = tmp_path_factory.mktemp("jobs")
    with small_job.prepared_here(folder):
        yield folder


@pytest.fixture
def run(folder):
    """Run a job in this process; give its metrics."""

    def run(job_id, options, resume=False, stop=None, restart=False, debug=False):
        config = Config.from_yaml(folder / "small.yaml", ["model.model_type=mlp", options])
        handlers = list(LOG.handlers)
        try:
            with restart_noted(Job(job_id)) if restart else contextlib.nullcontext():
                train(config, job_id, stop or StopSignals(), resume, restart, debug)
        finally:
            LOG.handlers[:] = handlers  # the next run is another process's: it has no part in this one's train.log
        return read_metrics(folder / "project/logs" / job_id / "metrics.csv")

    return run


def result(folder, job_id):
    return json.loads((folder / "project/logs" / job_id / "result.json").read_text())


def weights(folder, job_id):
    """All weights of an MLP's final model, in one row."""
    state, _ = load_model_state(folder / "project/models" / job_id / "final.safetensors")
    return torch.cat([state[name].reshape(-1) for name in sorted(state)])


def newest_checkpoint(folder, job_id):
    path = list_checkpoints(folder / "scratch/checkpoints" / job_id)[0]
    return path, load_tree(path)


@pytest.mark.parametrize(
    ("model_type", "scheduler"),
    [
        ("mlp", "plateau"),
        pytest.param("difflogic", "cosine", marks=pytest.mark.slow),
        pytest.param("cnn", "step", marks=pytest.mark.slow),
    ],
)
def test_with_every_option_a_killed_and_resumed_run_equals_an_uninterrupted_one(folder, run, model_type, scheduler):
    options = f"{EVERY_OPTION} model.model_type={model_type} train.scheduler={scheduler}"
    options += {"step": " train.step_epochs=1", "plateau": " train.plateau_patience=0"}.get(scheduler, "")
    whole, killed = f"whole_{model_type}", f"killed_{model_type}"
    run(whole, options)
    for updates in (3, 4):  # each kill loses the last one
        with pytest.raises(Killed):
            run(killed, f"{options} {EVERY_UPDATE}", resume=True, stop=StopAt(updates))
    assert newest_checkpoint(folder, killed)[1]["progress"]["epoch"] == 1
    run(killed, options, resume=True)
    assert outcome(folder, killed) == outcome(folder, whole)


def test_a_stop_waits_for_the_end_of_a_group_of_batches_and_the_run_resumes_exactly(folder, run):
    options = "train.epochs=1 train.accumulate_batches=3"
    with pytest.raises(Stopped):
        run("stopped", options, stop=StopAt(1, signal.SIGTERM))
    assert newest_checkpoint(folder, "stopped")[1]["progress"]["batch"] == 3
    run("stopped", options, resume=True)
    run("not_stopped", options)
    assert outcome(folder, "stopped") == outcome(folder, "not_stopped")


def is_killed(*_):
    raise Killed


@pytest.mark.parametrize("end", ["stopped in set-up", "killed before old files are removed", "killed while they are"])
def test_a_restart_that_ends_before_its_first_step_is_begun_again_by_resume(folder, run, monkeypatch, end):
    job_id, new = end.replace(" ", "_"), "train.epochs=1 base.seed=7"
    run(job_id, "train.epochs=1")
    stop = StopSignals()
    with monkeypatch.context() as patch:
        if end == "stopped in set-up":
            stop.note(signal.SIGUSR1)
        elif end == "killed before old files are removed":
            patch.setattr("src.train.update_weights", is_killed)
        else:
            patch.setattr("src.jobs.folders.sync_directory", is_killed)
        with pytest.raises((Killed, Stopped)):
            run(job_id, new, restart=True, stop=stop)
    run(job_id, new, resume=True)
    run(f"{job_id}_not", new)
    assert outcome(folder, job_id) == outcome(folder, f"{job_id}_not")
    assert not Job(job_id).restarting.exists()


def test_a_first_run_takes_back_the_note_of_a_restart_that_had_nothing_to_replace(run):
    stop = StopSignals()
    stop.note(signal.SIGTERM)
    with pytest.raises(Stopped):
        run("nothing", "train.epochs=1", restart=True, stop=stop)
    run("nothing", "train.epochs=1")
    assert not Job("nothing").restarting.exists()


def test_a_restart_of_a_job_that_has_left_nothing_trains(folder, run):
    assert run("never_begun", "train.epochs=1 train.save_model=false", restart=True)
    assert not Job("never_begun").restarting.exists()


def test_a_batch_larger_than_the_training_split_is_told(run, caplog):
    caplog.set_level("INFO", LOG.name)
    run("large_batch", "train.epochs=1 train.dataloader.batch_size=100000")
    assert "train.dataloader.batch_size = 100000 is more than the 101 training frames: each epoch is one" in caplog.text
    assert "1 batch of 101 frames per epoch" in caplog.text


def test_a_stopped_restart_tells_how_to_keep_the_old_run(folder, run, caplog):
    run("kept", "train.epochs=1")
    stop = StopSignals()
    stop.note(signal.SIGINT)
    with pytest.raises(Stopped):
        run("kept", "train.epochs=1", restart=True, stop=stop)
    assert f"move {Job('kept').restarting} elsewhere" in caplog.text
    assert job_status("kept").state == "restart pending"
    with pytest.raises(UserError, match="still to begin again by --restart"):
        run("kept", "train.epochs=1")
    Job("kept").restarting.rename(folder / "elsewhere")
    run("kept", "train.epochs=2", resume=True)
    assert result(folder, "kept")["epochs"] == 2


def test_a_batch_script_sees_when_a_restart_is_noted(folder, monkeypatch):
    unnoted = folder / "unnoted"
    unnoted.touch()
    monkeypatch.setenv(UNNOTED, str(unnoted))
    with restart_noted(Job("noted")):
        assert not unnoted.exists()


def test_a_restart_that_is_refused_leaves_the_old_run_to_be_resumed(folder, run):
    run("refused", "train.epochs=1")
    with pytest.raises(UserError, match="no frame cache"):
        run("refused", "train.epochs=1 data.overlap=49", restart=True)
    run("refused", "train.epochs=2", resume=True)
    run("not_refused", "train.epochs=2")
    assert outcome(folder, "refused") == outcome(folder, "not_refused")


def test_a_restart_whose_first_step_fails_leaves_every_file_of_the_old_run(folder, run, monkeypatch):
    run("failing", "train.epochs=1")
    job = Job("failing")

    def files():
        paths = [path for root in (job.logs, job.models, job.checkpoints) for path in root.rglob("*") if path.is_file()]
        return {path: path.read_bytes() for path in paths if path != job.restarting}

    before = files()
    monkeypatch.setattr("src.train.update_weights", is_killed)
    with pytest.raises(Killed):
        run("failing", "train.epochs=1 base.seed=7", restart=True)
    assert files() == before


def test_a_run_is_not_resumed_on_other_frames(run, monkeypatch):
    run("frames", "train.epochs=1")
    monkeypatch.setattr("src.frame_cache.cache.content_of", lambda manifest: "other")
    with pytest.raises(UserError, match=r"the frames of .* are not those that it has learned"):
        run("frames", "train.epochs=2", resume=True)


@pytest.mark.parametrize(("frames", "warned"), [("these", True), ("those", False)])
def test_a_model_that_has_learned_other_frames_is_used_with_a_warning(caplog, frames, warned):
    warn_of_other_frames("the teacher", {"frames": frames}, SimpleNamespace(content="those", folder="cache"))
    assert ("the teacher was trained on other frames than those of cache" in caplog.text) == warned


def test_a_debug_run_says_so_wherever_its_results_are_shown(folder, run, monkeypatch, caplog, capsys):
    monkeypatch.setattr("src.training.setup.DEBUG_BATCHES", 2)
    note = r"debug: 2 of \d+ batches per epoch"
    rows = run("debug", "train.epochs=1 train.report=true", debug=True)
    capsys.readouterr()
    assert re.search(f"{note}: what this run measures is no result", caplog.text)
    assert re.fullmatch(note, result(folder, "debug")["debug"])
    assert re.fullmatch(note, debug_note(rows))
    assert re.search(note, status_table(["debug"]))
    assert re.fullmatch(note, json.loads(evaluation_path(Job("debug"), "test").read_text())["debug"])
    assert re.fullmatch(note, load_model("debug")[1]["debug"])
    compare(["debug"])
    assert re.search(note, capsys.readouterr().out)
    assert "No result" in (folder / "project/logs/debug/report.html").read_text()
    (folder / "project/logs/debug/metrics.csv").unlink()
    assert re.search(note, status_table(["debug"]))  # read from the checkpoint


def test_what_kernels_take_to_compile_is_no_time_of_training(run, monkeypatch):
    def compile_and_augment(*arguments):
        time.sleep(0.02)
        compiling.count(0.02)  # as if the batch had compiled a kernel
        return augment(*arguments)

    monkeypatch.setattr("src.train.augment", compile_and_augment)
    began = time.perf_counter()
    rows = run("compiling", "train.epochs=1 train.dataloader.batch_size=4")
    batches = max(row["step"] for row in rows)
    seconds = max(row.get("train_seconds", 0.0) for row in rows)
    assert seconds < time.perf_counter() - began - 0.02 * batches


@pytest.mark.parametrize("seconds", [0.0, 60.0])
def test_progress_within_an_epoch_is_told_when_a_minute_has_passed(run, monkeypatch, caplog, seconds):
    monkeypatch.setattr("src.training.records.SECONDS_BETWEEN_LINES", seconds)
    caplog.set_level(logging.INFO, logger=LOG.name)
    rows = run(f"progress_{seconds}", "train.epochs=1 train.log_interval=1 train.dataloader.batch_size=48")
    told = [record for record in caplog.records if record.levelno == logging.INFO and ", batch " in record.getMessage()]
    assert len(told) == (rows[0]["step"] if seconds == 0 else 0)


def test_a_debug_run_is_resumed_with_debug_alone_and_no_other_is(run, monkeypatch):
    monkeypatch.setattr("src.training.setup.DEBUG_BATCHES", 2)
    run("debug_1", "train.epochs=1", debug=True)
    with pytest.raises(UserError, match=r"it was run with --debug \(debug: 2 of .*\): give --debug"):
        run("debug_1", "train.epochs=2", resume=True)
    run("debug_1", "train.epochs=2", resume=True, debug=True)
    run("whole_1", "train.epochs=1")
    with pytest.raises(UserError, match="it was run without --debug: leave out --debug"):
        run("whole_1", "train.epochs=2", resume=True, debug=True)


def test_two_batches_of_8_accumulated_are_one_of_16_to_rounding(folder, run):
    one = run("of_16", "train.learning_rate=0.001")
    two = run("of_8", "train.learning_rate=0.001 train.dataloader.batch_size=8 train.accumulate_batches=2")
    torch.testing.assert_close(weights(folder, "of_8"), weights(folder, "of_16"), atol=1e-4, rtol=0)
    assert [row["loss"] for row in two] == pytest.approx([row["loss"] for row in one], rel=1e-4)


def test_gradients_in_half_precision_are_clipped_by_their_norm_without_the_scale(folder, run):
    run("unclipped", "train.dtype=float16 train.epochs=1")
    run("never_clipped", "train.dtype=float16 train.epochs=1 train.clip_gradient_norm=500")  # times the scale it would
    assert weights(folder, "never_clipped").equal(weights(folder, "unclipped"))


def test_gradients_clipped_far_below_adams_epsilon_hardly_move_the_weights(run):
    losses = [row["loss"] for row in run("clipped", "train.clip_gradient_norm=1e-12") if row["split"] == "val"]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_averaging_weights_changes_what_is_evaluated_and_saved_but_not_what_is_learned(folder, run):
    plain, averaged = run("plain", "train.ema_decay=0"), run("averaged", "train.ema_decay=0.9")
    for a, b in zip(plain, averaged, strict=True):
        assert (a["loss"] == b["loss"]) == (a["split"] == "train")
    states = [newest_checkpoint(folder, job_id)[1]["model"] for job_id in ("plain", "averaged")]
    assert all(states[0][name].equal(states[1][name]) for name in states[0])
    assert not weights(folder, "averaged").equal(weights(folder, "plain"))


def test_the_learning_rate_in_metrics_csv_is_that_of_the_epochs_last_step(run):
    rows = run("rates", "train.epochs=3 train.learning_rate=0.01 train.scheduler=step train.step_epochs=1")
    assert [row["learning_rate"] for row in rows] == pytest.approx([0.01, 0.01, 1e-3, 1e-3, 1e-4, 1e-4, 1e-4])


@pytest.mark.parametrize("metric", ["recording_accuracy", "loss"])
def test_the_best_model_is_best_by_the_named_metric(folder, run, metric):
    rows = run(f"best_{metric}", f"train.best_metric={metric} train.epochs=3 train.learning_rate=0.02")
    assert result(folder, f"best_{metric}")["best_epoch"] == best_epoch(rows, metric)


def test_epochs_of_a_few_batches_are_not_enough_to_stop_early(folder, run):
    run("few", "train.epochs=3 train.learning_rate=1e-12 train.early_stopping_patience=1")
    assert result(folder, "few")["epochs"] == 3
    assert "stopped_early" not in result(folder, "few")


def test_a_run_that_does_not_get_better_stops_early_until_patience_is_raised(folder, run, monkeypatch):
    monkeypatch.setattr(state, "LEAST_PATIENCE", 1)
    still = "train.epochs=9 train.learning_rate=1e-12 train.early_stopping_patience"
    run("early", f"{still}=1")
    assert result(folder, "early")["epochs"] == 2
    assert result(folder, "early")["stopped_early"] == (
        "after epoch 2 of 9: frame_accuracy of val has not been better than after epoch 1, and "
        "train.early_stopping_patience = 1"
    )
    run("early", f"{still}=1", resume=True)
    assert result(folder, "early")["epochs"] == 2
    run("early", f"{still}=2", resume=True)
    run("at_once", f"{still}=2")
    assert result(folder, "early")["epochs"] == 3
    assert outcome(folder, "early") == outcome(folder, "at_once")


def test_a_cosine_schedule_is_not_resumed_with_other_epochs(run):
    run("cosine", "train.epochs=1 train.scheduler=cosine")
    with pytest.raises(
        UserError, match=r"train\.epochs was 1, is 3, but train\.scheduler = cosine has followed a fall"
    ):
        run("cosine", "train.epochs=3 train.scheduler=cosine", resume=True)


def test_a_checkpoint_of_before_these_options_is_resumed_with_their_defaults(folder, run):
    run("old", "train.epochs=1")
    path, state = newest_checkpoint(folder, "old")
    known = ("epochs", "learning_rate", "device", "checkpoint_interval_minutes", "report", "dataloader")
    state["config"]["train"] = {name: state["config"]["train"][name] for name in known}
    save_tree(path, state)
    run("old", "train.epochs=2", resume=True)
    run("new", "train.epochs=2")
    assert outcome(folder, "old") == outcome(folder, "new")


def test_what_goes_by_the_val_split_is_refused_where_that_is_empty(folder, run):
    prepare(Config.from_yaml(folder / "small.yaml", ["data.val_split=0 data.num_threads=1"]), StopSignals())
    for option in ("train.scheduler=plateau", "train.early_stopping_patience=3", "train.best_metric=loss"):
        with pytest.raises(UserError, match=rf"{option.replace('=', ' = ')} cannot be without a val split") as error:
            run("no_val", f"data.val_split=0 {option}")
        assert "prepare with data.val_split above 0, or train without it: train." in str(error.value)


def test_a_class_without_validation_is_told_before_the_training(caplog):
    val = SimpleNamespace(labels=np.array([0, 0, 2]))
    require_val_split(Config(), SimpleNamespace(splits={"val": val}, class_names=["led", "arm", "leg"]))
    assert caplog.messages == ["no frame of class arm is in val: the best epoch is chosen without it"]


@pytest.mark.parametrize(
    ("parametrisation", "sampling"),
    [("walsh", "gumbel_hard"), pytest.param("softmax", "gumbel_soft", marks=pytest.mark.slow)],
)
def test_a_run_with_noise_and_a_falling_temperature_resumes_exactly(folder, run, parametrisation, sampling):
    whole, stopped = f"whole_{sampling}", f"stopped_{sampling}"
    options = f"{GATES} model.difflogic.parametrisation={parametrisation} model.difflogic.forward_sampling={sampling}"
    options += " model.difflogic.final_temperature=0.25"
    run(whole, options)
    with pytest.raises(Stopped):
        run(stopped, options, stop=StopAt(4, signal.SIGTERM))
    middle, about = load_model(newest_checkpoint(folder, stopped)[0])
    assert newest_checkpoint(folder, stopped)[1]["progress"]["batch"] > 0  # not at an epoch's end
    assert about["temperature"] == middle.logic_layers()[0].gates.temperature == 0.25
    run(stopped, options, resume=True)
    assert outcome(folder, stopped) == outcome(folder, whole)
    assert load_model(whole)[1]["temperature"] == (1.0 if result(folder, whole)["best_epoch"] == 1 else 0.25)
    with pytest.raises(UserError, match="has followed a fall over 2"):
        run(whole, f"{options} train.epochs=3", resume=True)


TABLES = "model.difflogic.num_neurons=600 model.difflogic.num_layers=2 model.difflogic.parametrisation=light"


@pytest.mark.parametrize(
    "options",
    [
        "fan_in=6 model.difflogic.connections=learned train.hardware_cost=1",
        pytest.param("fan_in=4 model.difflogic.forward_sampling=cage", marks=pytest.mark.slow),
    ],
    ids=["six inputs", "four inputs"],
)
def test_a_network_of_truth_tables_that_is_killed_and_resumed_equals_an_uninterrupted_one(
    folder, run, request, options
):
    job_id = request.node.callspec.id.replace(" ", "_")
    options = f"{GATES} {TABLES} model.difflogic.{options}"
    run(f"whole_{job_id}", options)
    with pytest.raises(Killed):
        run(f"killed_{job_id}", f"{options} {EVERY_UPDATE}", stop=StopAt(4))
    run(f"killed_{job_id}", options, resume=True)
    assert outcome(folder, f"killed_{job_id}") == outcome(folder, f"whole_{job_id}")


def test_a_price_makes_the_circuit_smaller(folder, run):
    options = f"{GATES} {TABLES} model.difflogic.fan_in=4 train.epochs=8 train.learning_rate=0.1"
    for job_id, price in (("free", 0), ("priced", 20)):
        run(job_id, f"{options} train.hardware_cost={price}")
    free, priced = (result(folder, job_id)["circuit"] for job_id in ("free", "priced"))
    assert priced["gates"] < 0.7 * free["gates"]
    assert priced["luts"] < free["luts"]


def test_a_price_leaves_a_model_without_gates_as_it_is(folder, run):
    run("mlp", "train.epochs=1")
    run("mlp_priced", "train.epochs=1 train.hardware_cost=5")
    assert torch.equal(weights(folder, "mlp"), weights(folder, "mlp_priced"))


def test_a_run_that_stops_early_keeps_the_temperature_of_its_last_epoch(folder, run, monkeypatch):
    monkeypatch.setattr(state, "LEAST_PATIENCE", 1)
    options = "train.epochs=5 train.learning_rate=1e-9 train.early_stopping_patience=1"
    run("cooling", f"{GATES} {options} model.difflogic.final_temperature=0.0625")
    assert result(folder, "cooling")["epochs"] == 2
    assert load_model(folder / "project/models/cooling/final.safetensors")[1]["temperature"] == 0.5


def test_the_gap_of_straight_through_training_is_reported_and_that_of_the_relaxed_network(run, caplog):
    caplog.set_level("INFO", LOG.name)
    train_row, val, _ = run("hard", f"{GATES} model.difflogic.forward_sampling=hard train.epochs=1")
    assert "frame_accuracy" in train_row  # with discretised gates
    assert "relaxed_frame_accuracy" not in train_row
    assert val["relaxed_loss"] != val["loss"]
    assert val["discretisation_gap"] == val["relaxed_frame_accuracy"] - val["frame_accuracy"]
    (line,) = [record.getMessage() for record in caplog.records if record.getMessage().startswith("epoch 1/1")]
    assert f"gap {100 * val['discretisation_gap']:6.2f} %" in line
    assert len(f"00:00:00 INFO    {line}") <= 100
