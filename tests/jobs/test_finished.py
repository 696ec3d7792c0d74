"""A job is done if what its config would end with is there; a start with --resume then does nothing."""

import dataclasses
import os

import pytest
import yaml

from src.config import Config
from src.io_funcs import write_atomic, write_json
from src.jobs.finished import complete_result, finished_result
from src.jobs.folders import Job
from src.options import with_option

RESULT = {"epochs": 3, "steps": 9, "test": {"frame_accuracy": 0.5, "recording_accuracy": 0.5}}
METRICS = "step,epoch,split,loss,frame_accuracy\n9,3,test,1.0,0.5\n"


@pytest.fixture
def config(tmp_path, monkeypatch):
    """The config of a job that has ended, with its files."""
    monkeypatch.setenv("PROJECT_STORAGE_DIR", str(tmp_path / "project"))
    monkeypatch.setenv("SCRATCH_STORAGE_DIR", str(tmp_path / "scratch"))
    config = with_option(Config(), "base.job_id", "ended")
    write_atomic(Job("ended").logs / "config.yaml", config.to_yaml())
    write_json(Job("ended").logs / "result.json", RESULT)
    write_atomic(Job("ended").logs / "metrics.csv", METRICS)
    for name in ("report.html", "evaluation_test.json"):
        write_atomic(Job("ended").logs / name, "")
    for name in ("final", "best"):
        write_atomic(Job("ended").models / f"{name}.safetensors", "")
    return config


def test_a_job_is_done_when_its_result_is_there(config):
    assert finished_result(config) == RESULT
    (Job("ended").logs / "result.json").unlink()
    assert finished_result(config) is None


def test_a_result_of_another_config_does_not_count(config):
    assert finished_result(with_option(config, "train.epochs", 5)) is None


def test_a_result_from_before_the_job_was_started_again_does_not_count(config):
    write_atomic(Job("ended").logs / "config.yaml", config.to_yaml())
    assert finished_result(config) is None


@pytest.mark.parametrize("name", ["result.json", "config.yaml"])
def test_a_damaged_file_means_that_the_job_is_not_done(config, name):
    path = Job("ended").logs / name
    path.write_text(yaml.safe_dump([1]) if name == "config.yaml" else "{")
    os.utime(Job("ended").logs / "result.json")  # newer than the config
    assert finished_result(config) is None


def test_a_done_job_with_all_its_files_has_nothing_left_to_do(config):
    assert complete_result(config, debug=False) == RESULT
    assert (
        complete_result(dataclasses.replace(config, base=dataclasses.replace(config.base, job_id="new")), False) is None
    )


@pytest.mark.parametrize("name", ["logs/report.html", "logs/evaluation_test.json", "models/best.safetensors"])
def test_a_file_that_is_missing_is_to_be_made(config, name):
    folder, file = name.split("/")
    (getattr(Job("ended"), folder) / file).unlink()
    assert complete_result(config, debug=False) is None


def test_metrics_that_are_damaged_are_to_be_written_again(config):
    write_atomic(Job("ended").logs / "metrics.csv", METRICS.replace("9,3", "nine,3"))
    assert complete_result(config, debug=False) is None


def test_a_restart_that_has_not_begun_is_still_to_be_done(config):
    write_atomic(Job("ended").restarting, "")
    assert complete_result(config, debug=False) is None


def test_a_run_with_debug_does_not_do_for_one_without(config):
    assert complete_result(config, debug=True) is None
    write_json(Job("ended").logs / "result.json", RESULT | {"debug": "20 batches per epoch"})
    assert complete_result(config, debug=True) is not None
    assert complete_result(config, debug=False) is None
