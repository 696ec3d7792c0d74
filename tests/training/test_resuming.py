"""Which configs may resume a checkpoint."""

from types import SimpleNamespace

import pytest
import torch

from src.command_line import UserError
from src.config import Config
from src.jobs.folders import Job
from src.options import with_option
from src.training.resuming import require_same_config, warn_of_other_machine
from src.training.state import environment


def resumed(job_id, debug=None):
    """A run of the default config, and the state of its checkpoint, of a run with or without --debug."""
    config = Config()
    state = {
        "config": config.to_dict(),
        "batches_an_epoch": 3,
        "progress": {"epoch": 0},
        "debug": debug,
        "teacher": None,
    }
    run = SimpleNamespace(config=config, job=Job(job_id), batches_per_epoch=3, debug_note=None, teacher_digest=None)
    return run, state


def test_a_checkpoint_from_before_an_option_was_there_is_one_of_its_default():
    run, state = resumed("old")
    del state["config"]["train"]["augmentation"]
    require_same_config(run, state)
    run.config = with_option(run.config, "train.augmentation.shift", 1)
    with pytest.raises(UserError, match=r"train.augmentation.shift was 0, is 1"):
        require_same_config(run, state)


def test_a_config_that_differs_is_refused_with_how_to_go_on(storages):
    run, state = resumed("a_job")
    run.config = with_option(run.config, "train.learning_rate", 0.5)
    with pytest.raises(UserError) as error:
        require_same_config(run, state)
    assert str(error.value) == (
        "job a_job cannot be resumed with this config: train.learning_rate was 0.01, is 0.5. Leave out what "
        f"changes it, or take the job's own config: ./train.sh {run.job.logs}/config.yaml a_job --resume. "
        "--restart begins the job again, another job id leaves it alone"
    )


def test_a_run_without_debug_of_one_with_it_is_not_told_of_overrides():
    run, state = resumed("a_job", debug="20 batches per epoch")
    with pytest.raises(UserError, match=r"give --debug\. --restart begins the job again"):
        require_same_config(run, state)


@pytest.mark.parametrize("key", ["the processor", "the number of CPU threads", "PyTorch's version"])
def test_a_checkpoint_of_another_machine_is_told_with_what_differs(key, caplog):
    run = SimpleNamespace(device=torch.device("cpu"))
    state = {"environment": {**environment(run), key: "another"}}
    warn_of_other_machine(run, state)
    (text,) = caplog.messages
    assert text.startswith(
        f"{key} was another and is {environment(run)[key]} now: the run goes on, but not bit for bit"
    )


def test_a_checkpoint_that_does_not_say_its_processor_is_not_told_of(caplog):
    run = SimpleNamespace(device=torch.device("cpu"))
    known = environment(run)
    del known["the processor"]
    warn_of_other_machine(run, {"environment": known})
    assert not caplog.messages
