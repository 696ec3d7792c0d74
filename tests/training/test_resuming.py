"""Which configs may resume a checkpoint."""

from types import SimpleNamespace

import pytest

from src.command_line import UserError
from src.config import Config
from src.jobs.folders import Job
from src.options import with_option
from src.training.resuming import require_same_config


def test_a_checkpoint_from_before_an_option_was_there_is_one_of_its_default():
    config = Config()
    state = {
        "config": config.to_dict(),
        "batches_an_epoch": 3,
        "progress": {"epoch": 0},
        "debug": None,
        "teacher": None,
    }
    del state["config"]["train"]["augmentation"]
    run = SimpleNamespace(config=config, job=Job("old"), batches_per_epoch=3, debug_note=None, teacher_digest=None)
    require_same_config(run, state)
    run.config = with_option(config, "train.augmentation.shift", 1)
    with pytest.raises(UserError, match=r"train.augmentation.shift was 0, is 1"):
        require_same_config(run, state)
