"""Jobs with loggers: refused before anything is written, or whole and unchanged after a kill."""

import signal

import pytest

from src.reports.outcome import outcome
from tests import small_job
from tests.system.test_resume import EVERY_BATCH, wait_for_step
from tests.training.test_loggers import tensorboard_values, wandb_runs

BOTH = ["--override", "base.wandb=offline train.tensorboard=true train.log_interval=4"]
TIMES = {"train/frames_per_second", "train/train_seconds"}


@pytest.fixture
def patient_wandb(monkeypatch):
    """Weights & Biases waits for its own process as long as a busy machine needs; after 30 s it would only warn.

    Each job starts one of its own, not that which another test has started in this process.
    """
    monkeypatch.setenv("WANDB_X_SERVICE_WAIT", "300")
    monkeypatch.delenv("WANDB_SERVICE", raising=False)


def logged(folder, job_id):
    """What both loggers hold of a job, but for times; and the run's id."""
    logs = folder / "project" / "logs" / job_id
    curves = {tag: points for tag, points in tensorboard_values(logs).items() if tag not in TIMES}
    [(run_id, history)] = wandb_runs(logs)
    history = {step: {k: v for k, v in values.items() if k not in TIMES} for step, values in history.items()}
    return curves, history, run_id


@pytest.mark.slow
def test_a_logger_whose_package_is_missing_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    package = tmp_path / "path" / "wandb.py"
    package.parent.mkdir()
    package.write_text("raise ModuleNotFoundError(\"No module named 'wandb'\")")
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    (tmp_path / "small.yaml").write_text("base: {wandb: offline}")
    process = small_job.start(tmp_path, "main.py", "small.yaml", "--job_id=job")
    output, _ = process.communicate()
    assert process.returncode == 2, output
    assert "base.wandb asks for Weights & Biases, but its package cannot be imported" in output
    assert len(output.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["path", "small.yaml"]


@pytest.mark.slow
def test_a_killed_a_stopped_and_resumed_job_logs_what_an_uninterrupted_one_does(prepared, patient_wandb):
    def run(job_id, *options):
        small_job.run(prepared, "main.py", "small.yaml", f"--job_id={job_id}", *options)

    run("plain")
    run("whole", *BOTH)
    assert outcome(prepared, "whole") == outcome(prepared, "plain")  # the loggers change nothing

    options = [*BOTH, "--override", EVERY_BATCH]
    steps = outcome(prepared, "whole")[2]["steps"]
    ids = set()
    for fraction, number in ((0.3, signal.SIGKILL), (0.7, signal.SIGTERM)):
        process = small_job.fork(prepared, "main.py", "small.yaml", "--job_id=broken", "--resume", *options)
        wait_for_step(prepared, "broken", round(fraction * steps))
        process.send_signal(number)
        process.communicate(timeout=60)
        ids.add((prepared / "project/logs/broken/wandb_run_id").read_text().strip())
    run("broken", "--resume", *options)
    assert outcome(prepared, "broken") == outcome(prepared, "plain")
    curves, history, _ = logged(prepared, "whole")
    assert {"running/loss", "train/relaxed_loss", "val/frame_accuracy", "test/frame_accuracy"} <= set(curves)
    assert logged(prepared, "broken") == (curves, history, *ids)

    run("broken", "--resume", *options)  # a finished job tests again; that gives no second row
    assert logged(prepared, "broken") == (curves, history, *ids)
    run("broken", "--restart", *BOTH)
    assert logged(prepared, "broken")[:2] == (curves, history)
    assert logged(prepared, "broken")[2] not in ids


@pytest.mark.slow
def test_loggers_that_are_turned_on_in_the_middle_get_what_was_before(prepared, patient_wandb):
    interval = ["--override", "train.log_interval=4"]
    small_job.run(prepared, "main.py", "small.yaml", "--job_id=late", *interval)
    assert not (prepared / "project/logs/late/tensorboard").exists()
    small_job.run(prepared, "main.py", "small.yaml", "--job_id=late", "--resume", *BOTH, "--override", "train.epochs=3")
    small_job.run(prepared, "main.py", "small.yaml", "--job_id=on", *BOTH, "--override", "train.epochs=3")
    assert logged(prepared, "late")[:2] == logged(prepared, "on")[:2]
