"""A killed and resumed run ends exactly where an uninterrupted one does."""

import re
import signal

import pytest

from src.checkpoint import list_checkpoints
from src.reports.outcome import outcome
from tests import small_job
from tests.processes import wait_until

EVERY_BATCH = "train.checkpoint_interval_minutes=0"

CONVOLUTIONAL = "model.difflogic.architecture=convolutional model.difflogic.convolution.kernels=[4,8]"
VOTES = "model.difflogic.readout=votes model.difflogic.members=2"


def wait_for_step(folder, job_id, step):
    """Until the job has a checkpoint of this step or later."""

    def reached():
        newest = list_checkpoints(folder / "scratch" / "checkpoints" / job_id)[:1]
        return newest and int(newest[0].stem.removeprefix("step_")) >= step

    wait_until(reached)


@pytest.mark.parametrize(
    "model_type",
    [
        "difflogic",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("cnn", "mlp", "convolutional", "learned", "votes")),
    ],
)
def test_killed_after_1_4_epochs_and_resumed_equals_2_epochs_at_once(prepared, model_type):
    others = {
        "convolutional": CONVOLUTIONAL,
        "learned": "model.difflogic.connections=learned",
        "votes": f"{CONVOLUTIONAL} model.difflogic.num_layers=0 {VOTES}",
    }
    model = others.get(model_type, f"model.model_type={model_type}")
    augmentation = "train.augmentation.shift=2 train.augmentation.event_drop=0.3"
    options = ["--override", f"{model} {augmentation} {EVERY_BATCH}"]
    small_job.run(prepared, "main.py", "small.yaml", f"--job_id=whole_{model_type}", *options)
    steps = outcome(prepared, f"whole_{model_type}")[2]["steps"]

    killed = small_job.fork(prepared, "main.py", "small.yaml", f"--job_id=killed_{model_type}", *options)
    wait_for_step(prepared, f"killed_{model_type}", round(0.7 * steps))
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not (prepared / "project" / "logs" / f"killed_{model_type}" / "result.json").exists()
    options += ["--override", "train.dataloader.placement=device"]  # where frames lie may change, and changes no bit
    output = small_job.run(prepared, "main.py", "small.yaml", f"--job_id=killed_{model_type}", "--resume", *options)
    assert "of epoch 2" in output
    assert outcome(prepared, f"killed_{model_type}") == outcome(prepared, f"whole_{model_type}")


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [
        (signal.SIGTERM, 75),
        pytest.param(signal.SIGUSR1, 75, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
    ],
)
def test_a_signal_saves_a_checkpoint_and_the_resumed_run_equals_an_uninterrupted_one(prepared, number, exit_code):
    job = number.name
    many = ["--override", "train.epochs=6 model.difflogic.num_neurons=4000 train.dataloader.num_workers=2"]
    stopped = small_job.fork(prepared, "main.py", "small.yaml", f"--job_id={job}", *many, "--override", EVERY_BATCH)
    wait_for_step(prepared, job, 5)
    stopped.send_signal(number)
    output, _ = stopped.communicate(timeout=60)
    assert stopped.returncode == exit_code, output
    assert "stopped by a signal" in output
    assert re.search(r"saved [\d.]+ s after the signal", output)
    small_job.run(prepared, "main.py", "small.yaml", f"--job_id={job}", "--resume", *many)
    if not (prepared / "project" / "logs" / "uninterrupted").exists():
        small_job.run(prepared, "main.py", "small.yaml", "--job_id=uninterrupted", *many)
    assert outcome(prepared, job) == outcome(prepared, "uninterrupted")


@pytest.mark.slow
def test_resuming_a_finished_job_with_more_epochs_goes_on(prepared):
    small_job.run(prepared, "main.py", "small.yaml", "--job_id=longer")
    output = small_job.run(
        prepared, "main.py", "small.yaml", "--job_id=longer", "--resume", "--override", "train.epochs=4"
    )
    assert "resuming with train.epochs = 4, it was 2" in output
    assert "resuming after epoch 2" in output
    small_job.run(prepared, "main.py", "small.yaml", "--job_id=at_once", "--override", "train.epochs=4")
    assert outcome(prepared, "longer") == outcome(prepared, "at_once")


def test_resuming_a_finished_job_says_that_it_is_done_and_ends_with_the_same(prepared):
    small_job.run(prepared, "main.py", "small.yaml", "--job_id=done")
    before = outcome(prepared, "done")
    output = small_job.run(prepared, "main.py", "small.yaml", "--job_id=done", "--resume")
    assert "job done is done, after 2 epochs" in output
    assert outcome(prepared, "done") == before


def test_a_done_job_needs_neither_its_frames_nor_its_checkpoints_to_say_so(prepared):
    small_job.run(prepared, "main.py", "small.yaml", "--job_id=alone")
    for folder in ("scratch", "project/models/alone/checkpoints"):
        (prepared / folder).rename(prepared / "elsewhere")
        output = small_job.run(prepared, "main.py", "small.yaml", "--job_id=alone", "--resume")
        (prepared / "elsewhere").rename(prepared / folder)
        assert "job alone is done, after 2 epochs" in output


def test_a_done_job_makes_a_file_again_that_is_missing(prepared):
    options = ["--job_id=partly", "--override", "train.report=true"]
    small_job.run(prepared, "main.py", "small.yaml", *options)
    before = outcome(prepared, "partly")
    report = prepared / "project/logs/partly/report.html"
    report.unlink()
    output = small_job.run(prepared, "main.py", "small.yaml", *options, "--resume")
    assert "the training is done, after 2 epochs" in output
    assert report.exists()
    assert outcome(prepared, "partly") == before
