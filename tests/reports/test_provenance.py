"""How a job's runs were started."""

import sys

import pytest
import torch

from src.jobs.files import read_starts
from src.jobs.folders import Job
from src.reports.provenance import record_start


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.setenv("PROJECT_STORAGE_DIR", str(tmp_path))
    return Job("job")


def test_a_start_holds_command_machine_and_versions(job, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["main.py", "my config.yaml"])
    record_start(job, 0, 100, torch.device("cpu"))
    (start,) = read_starts(job)
    assert start["command"] == ["python", "main.py", "my config.yaml"]
    assert start["parameters"] == 100
    assert start["versions"]["torch"] == torch.__version__
    assert "cores" in start["machine"]


def test_a_start_by_train_sh_holds_the_words_that_were_typed(job, monkeypatch):
    monkeypatch.setenv("DIFFLOGIC_TYPED", " './train.sh' 'it'\\''s mine.yaml' 'job'")
    record_start(job, 0, 100, torch.device("cpu"))
    assert read_starts(job)[0]["command"] == ["./train.sh", "it's mine.yaml", "job"]


def test_a_resume_adds_to_the_starts_and_a_beginning_replaces_them(job):
    for step in (0, 40, 90):
        record_start(job, step, 100, torch.device("cpu"))
    assert [start["step"] for start in read_starts(job)] == [0, 40, 90]
    record_start(job, 0, 100, torch.device("cpu"))
    assert [start["step"] for start in read_starts(job)] == [0]


@pytest.mark.parametrize("content", ["", "{", "{}"])
def test_a_damaged_file_has_no_starts(job, content):
    job.logs.mkdir(parents=True)
    (job.logs / "runs.json").write_text(content)
    assert read_starts(job) == []


def test_the_commit_is_the_code_s_even_in_a_hook_of_another_repository(job, monkeypatch, tmp_path):
    record_start(job, 0, 100, torch.device("cpu"))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other"))
    record_start(job, 1, 100, torch.device("cpu"))
    commits = [start["versions"]["commit"] for start in read_starts(job)]
    assert commits[0] == commits[1]
    assert commits[0] is not None
