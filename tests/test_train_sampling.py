"""Training, in this process: gates that are sampled, their temperature, and the discretisation gap that is reported."""

import contextlib
import itertools
import json
import signal
import time

import pytest
from torch.optim.optimizer import register_optimizer_step_post_hook

from benchmarks.crash import outcome
from src.checkpoint import list_checkpoints
from src.config import Config
from src.helpers import LOG, Stopped, StopSignals
from src.inference import load_model
from src.metrics import read_metrics
from src.prepare import prepare
from src.train import train
from tests import small_job

OPTIONS = "data.num_threads=1 train.epochs=2 train.dataloader.batch_size=64"


@contextlib.contextmanager
def a_signal_in_batch(number):
    """Stop signals of which one comes while this batch is trained on."""
    stop, batches = StopSignals(), itertools.count(1)

    def note(*_):
        if next(batches) == number:
            stop.received, stop.received_at = signal.SIGTERM, time.monotonic()

    hook = register_optimizer_step_post_hook(note)
    yield stop
    hook.remove()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A prepared cache of a few recordings, and storages of this test's own."""
    folder = tmp_path_factory.mktemp("jobs")
    small_job.write_recordings(folder / "recordings", train=4, test=1)
    (folder / "small.yaml").write_text(small_job.CONFIG.format(data_root=folder / "recordings"))
    handlers = list(LOG.handlers)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PROJECT", "SCRATCH"):
            patch.setenv(f"{name}_STORAGE_DIR", str(folder / name.lower()))
        prepare(config(folder), StopSignals())
        yield folder
    for handler in [handler for handler in LOG.handlers if handler not in handlers]:
        LOG.removeHandler(handler)
        handler.close()


def config(folder, options=""):
    return Config.from_yaml(folder / "small.yaml", [OPTIONS, options] if options else [OPTIONS])


def run(folder, job, options, stop=None, resume=False):
    train(config(folder, options), job, stop or StopSignals(), resume=resume, restart=False, debug=False)


@pytest.mark.parametrize(
    ("parametrisation", "sampling"),
    [("walsh", "gumbel_hard"), pytest.param("softmax", "gumbel_soft", marks=pytest.mark.slow)],
)
def test_a_run_with_noise_and_a_falling_temperature_resumes_exactly(folder, parametrisation, sampling):
    options = f"model.difflogic.parametrisation={parametrisation} model.difflogic.forward_sampling={sampling}"
    options += " model.difflogic.final_temperature=0.25"
    run(folder, f"whole_{sampling}", options)
    with a_signal_in_batch(5) as stop, pytest.raises(Stopped):
        run(folder, f"stopped_{sampling}", options, stop)
    (newest, *_) = list_checkpoints(folder / "scratch" / "checkpoints" / f"stopped_{sampling}")
    middle, about = load_model(newest)  # in the second epoch
    assert about["step"] == 5
    assert about["temperature"] == middle.logic_layers()[0].gates.temperature == 0.25
    run(folder, f"stopped_{sampling}", options, resume=True)
    assert outcome(folder, f"stopped_{sampling}") == outcome(folder, f"whole_{sampling}")
    result = json.loads((folder / f"project/logs/whole_{sampling}/result.json").read_text())
    best = load_model(f"whole_{sampling}")[1]
    assert best["temperature"] == (1.0 if result["best_epoch"] == 1 else 0.25)


def test_the_gap_of_straight_through_training_is_reported_and_that_of_the_relaxed_network(folder, caplog):
    caplog.set_level("INFO", LOG.name)
    run(folder, "hard", "model.difflogic.forward_sampling=hard train.epochs=1")
    train_row, val, _ = read_metrics(folder / "project/logs/hard/metrics.csv")
    assert "frame_accuracy" in train_row  # of discretised gates
    assert "relaxed_frame_accuracy" not in train_row
    assert val["relaxed_loss"] != val["loss"]
    assert val["discretisation_gap"] == val["relaxed_frame_accuracy"] - val["frame_accuracy"]
    (line,) = [record.getMessage() for record in caplog.records if record.getMessage().startswith("epoch 1/1")]
    assert f"gap {100 * val['discretisation_gap']:.2f} %" in line
