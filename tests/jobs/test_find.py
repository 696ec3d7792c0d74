"""A job, or a model's file, that is not there: one line, the same from every command, with what may be meant."""

from pathlib import Path

import pytest

from src.command_line import EXIT_USER_ERROR, StopSignals, UserError, run_command_line
from src.config import Config
from src.evaluation.evaluate import evaluate_job
from src.evaluation.inference import find_model
from src.jobs.find import MOST_NAMED, require_jobs, require_model_file
from src.jobs.folders import Job
from src.reports.compare import compare
from src.reports.report import write_report
from src.reports.status import status_table

COMMANDS = {
    "status": lambda job_id: status_table([job_id]),
    "report": lambda job_id: write_report(Job(job_id)),
    "compare": lambda job_id: compare([job_id]),
    "export": find_model,
    "evaluate": lambda job_id: evaluate_job(Config(), job_id, "test", "best", StopSignals()),
}


@pytest.fixture(autouse=True)
def _storages(storages):
    """All tests have storages of their own."""


def make(*job_ids):
    for job_id in job_ids:
        Job(job_id).logs.mkdir(parents=True)


def message(call, *arguments):
    with pytest.raises(UserError) as error:
        call(*arguments)
    return str(error.value)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_the_same_of_a_job_that_is_not_there(name):
    make("demo_1", "other")
    assert message(COMMANDS[name], "demo1") == "there is no job demo1; did you mean demo_1?"


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "status"])
def test_a_job_that_is_there_without_what_the_command_needs_is_not_called_missing(name):
    make("demo_1")
    told = message(COMMANDS[name], "demo_1")
    assert "demo_1" in told
    assert "there is no job" not in told


def test_jobs_that_are_there_pass():
    make("a", "b")
    require_jobs(["a", "b"])


def test_all_jobs_that_are_not_there_are_named_in_one_line():
    make("logic", "gates")
    assert message(require_jobs, ["lgic", "logic", "gtes"]) == (
        "there is no job lgic or gtes; did you mean logic and gates?"
    )


def test_without_a_near_name_the_jobs_that_are_there_are_named():
    make("b", "a")
    assert message(require_jobs, ["xyz"]) == "there is no job xyz; there are a, b"


def test_only_a_few_of_many_jobs_are_named():
    make(*(f"job_{number:02d}" for number in range(MOST_NAMED + 1)))
    assert message(require_jobs, ["xyz"]).endswith("job_08, job_09, …")


def test_without_any_job_the_folders_and_their_settings_are_named(storages):
    told = message(require_jobs, ["xyz"])
    for place in ("project/logs", "project/models", "scratch/checkpoints"):
        assert str(storages / place) in told
    assert "check PROJECT_STORAGE_DIR and SCRATCH_STORAGE_DIR" in told


def test_a_name_that_no_job_can_have_is_said_to_be_none():
    assert "job id 'a\\nb' is not allowed" in message(require_jobs, ["a\nb"])


def model(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_of_a_mistyped_model_file_the_nearest_in_its_folder_is_named(tmp_path):
    path = model(tmp_path / "best.safetensors").with_name("bets.safetensors")
    assert message(require_model_file, path) == f"{path}: there is no such file; did you mean best.safetensors?"


def test_of_a_model_file_in_a_mistyped_folder_the_nearest_folder_that_has_it_is_named(tmp_path):
    model(tmp_path / "demo_1/best.safetensors")
    told = message(require_model_file, tmp_path / "demo1/best.safetensors")
    assert told.endswith("there is no such file; did you mean demo_1/best.safetensors?")


@pytest.mark.parametrize("path", ["logs/demo_1", "demo1/best.safetensors", "demo_1.safetensors"])
def test_of_a_path_that_names_a_job_the_job_is_named(path):
    make("demo_1")
    assert message(require_model_file, Path(path)).endswith("there is no such file; did you mean the job demo_1?")


def test_of_a_job_s_folder_the_job_is_named(storages):
    make("demo_1")
    assert message(find_model, Job("demo_1").logs).endswith("it is not a file; did you mean the job demo_1?")


def test_of_a_path_that_is_like_nothing_it_is_said_what_to_give():
    assert message(find_model, "a/b") == (
        "a/b: there is no such file; give a model's .safetensors file, a circuit's .json file or a job id"
    )


def test_export_refuses_a_path_that_is_not_there_in_one_line(capfd, monkeypatch):
    from src.cli import export

    make("demo_1")
    words = ["logs/demo_1", "--to", "json"]
    code = run_command_line("job.sh export", export.__doc__, export.add_arguments, export.run, words)
    lines = capfd.readouterr().err.splitlines()
    assert code == EXIT_USER_ERROR
    assert len(lines) == 1
    assert "logs/demo_1: there is no such file; did you mean the job demo_1?" in lines[0]
