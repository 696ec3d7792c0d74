"""A job that was trained with names in another spelling resumes, evaluates and teaches."""

import pytest
import torch

from src.command_line import StopSignals, UserError
from src.config import Config
from src.data import open_cache
from src.evaluation.evaluate import evaluate_job
from src.train import train
from src.training.teacher import load_teacher
from tests import small_job
from tests.configs import changed


def config_of(folder, options=""):
    return Config.from_yaml(folder / "small.yaml", [f"model.model_type=mlp train.epochs=1 {options}"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with recordings, their config and cache, and a job whose files hold names as they were typed."""
    folder = tmp_path_factory.mktemp("jobs")
    with small_job.prepared_here(folder):
        config = config_of(folder)
        config = changed(config, {"data.name": "nmnist", "train.scheduler": "Constant"})
        train(config, "old", StopSignals(), False, False, False)
        yield folder


def test_it_resumes_with_the_one_spelling_and_with_what_null_stands_for(folder, caplog):
    config = config_of(folder, "train.epochs=2 model.difflogic.final_temperature=1.0")
    train(config, "old", StopSignals(), resume=True, restart=False, debug=False)
    assert config.data.name == "NMNIST"


def test_it_evaluates_whatever_the_case_of_split_and_model(folder, capsys):
    evaluate_job(config_of(folder, "data.name=Nmnist"), "old", "TEST", "Best", StopSignals())
    assert "best model of job old (mlp" in capsys.readouterr().out
    assert (folder / "project/logs/old/evaluation_test.json").exists()
    with pytest.raises(UserError, match="--split tset: there is no such split; allowed: train, val, test"):
        evaluate_job(config_of(folder), "old", "tset", "best", StopSignals())


def test_it_teaches(folder):
    config = config_of(folder, "train.teacher.model=old")
    assert load_teacher(config, open_cache(config, lambda: None), torch.device("cpu")) is not None
