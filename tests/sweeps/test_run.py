"""What a sweep checks and writes without training: frame caches, the script of a SLURM array."""

import logging
import shlex
import subprocess
import threading

import pytest

from src.command_line import StopSignals, UserError
from src.helpers import LOG
from src.io_funcs import file_lock, write_atomic, write_json
from src.jobs.find import find_jobs
from src.jobs.finished import finished_result
from src.jobs.folders import Job
from src.sweeps.run import run_sweep, write_slurm_array
from src.sweeps.specification import load_sweep
from src.sweeps.table import write_table
from tests import small_job


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Loads a sweep called rates of two jobs, with storages that are empty; its jobs would prepare their frames."""
    for variable in ("PROJECT_STORAGE_DIR", "SCRATCH_STORAGE_DIR"):
        monkeypatch.setenv(variable, small_job.environment(tmp_path)[variable])
    (tmp_path / "base.yaml").write_text("data: {prepare_if_missing: configs/prepare_nmnist.yaml}")

    def load_text(text="grid: {train.learning_rate: [0.05, 0.01]}"):
        (tmp_path / "rates.yaml").write_text(f"config: {tmp_path / 'base.yaml'}\n{text}\n")
        return load_sweep(tmp_path / "rates.yaml")

    return load_text


def finish(job):
    """What of a job says that it is done."""
    write_atomic(Job(job.job_id).logs / "config.yaml", job.config.to_yaml())
    write_json(Job(job.job_id).logs / "result.json", {"epochs": 1, "steps": 1})


def submitted(script, *options):
    """The words of the sbatch command that a script would run, from any folder."""
    output = subprocess.check_output([script, "--dry-run", *options], cwd="/", text=True)
    return shlex.split(output.split("\n\n#!")[0])


def test_the_slurm_script_submits_a_task_a_job_that_resumes(load, tmp_path):
    sweep = load()
    words = submitted(write_slurm_array(sweep), "--time=1:00:00")
    assert {"--array=1-2", "--time=1:00:00", "--job-name=rates"} <= set(words)
    first = words.index("train.sh")
    config, job_id, *options = words[first + 1 : first + int(words[first - 1])]
    assert (config, job_id) == (str(tmp_path / "base.yaml"), "rates_learning_rate-0.05_s0")
    assert options == ["--resume", "--override", sweep.jobs[0].override]


def test_the_slurm_script_leaves_out_jobs_that_are_done(load):
    sweep = load()
    for job, tasks in zip(sweep.jobs, ("--array=1-1", None), strict=True):
        finish(job)
        script = write_slurm_array(sweep)
        assert script is None if tasks is None else tasks in submitted(script)


def test_a_sweep_s_folder_is_not_taken_for_a_job(load):
    write_slurm_array(load())
    assert find_jobs() == []


def test_nor_is_that_of_a_sweep_of_which_there_is_a_table_only(load):
    write_table(load(), {})
    assert find_jobs() == []


def test_frame_caches_that_nobody_prepares_are_told_with_commands_before_any_job_starts(load, tmp_path):
    sweep = load("overrides: {data.prepare_if_missing: null}\ngrid: {data.overlap: [10, 20], train.epochs: [1, 2]}")
    with pytest.raises(UserError) as error:
        run_sweep(sweep, 1, StopSignals())
    told, *commands = str(error.value).split("\n")
    assert told == "frame caches are missing; prepare them first:"
    prepare = f"./prepare_data.sh {tmp_path / 'base.yaml'} --override"
    assert commands == [f"{prepare} 'data.prepare_if_missing=null data.overlap={overlap}'" for overlap in (10, 20)]
    assert not list(sweep.folder.glob("*.out"))


def test_a_job_that_another_process_runs_is_waited_for_and_not_run_again(load, monkeypatch, caplog):
    sweep = load("seeds: 1")
    job, locked, waited_for = sweep.jobs[0], threading.Event(), threading.Event()

    class Listener(logging.Handler):
        def emit(self, record):
            if "runs in another process" in record.getMessage():
                waited_for.set()

    def run_elsewhere():
        with file_lock(Job(job.job_id).lock):
            locked.set()
            waited_for.wait(60)
            finish(job)

    caplog.set_level(logging.INFO, LOG.name)
    monkeypatch.setattr(LOG, "handlers", [Listener()])
    thread = threading.Thread(target=run_elsewhere)
    thread.start()
    locked.wait()
    run_sweep(sweep, 1, StopSignals())
    thread.join()
    assert waited_for.is_set()
    assert finished_result(job.config) == {"epochs": 1, "steps": 1}
    assert not list(sweep.folder.glob("*.out"))


def test_a_sweep_that_is_running_is_refused(load):
    sweep = load()
    with file_lock(sweep.folder / ".sweep.lock"), pytest.raises(UserError, match="sweep rates is running already"):
        run_sweep(sweep, 1, StopSignals())


def test_a_sweep_named_like_a_job_is_refused(load):
    sweep = load()
    write_atomic(Job("rates").logs / "config.yaml", "")
    with pytest.raises(UserError, match="is a job's folder; choose another name"):
        write_slurm_array(sweep)
    with pytest.raises(UserError, match="is a job's folder; choose another name"):
        write_table(sweep, {})


@pytest.mark.slow
def test_a_sweep_that_is_wrong_ends_with_exit_code_2_and_writes_nothing(load, tmp_path):
    load()
    (tmp_path / "wrong.yaml").write_text(f"config: {tmp_path / 'base.yaml'}\noverrides: {{train.epoch: 3}}")
    output = small_job.run(tmp_path, "src/cli", "sweep", "wrong.yaml", expect=2)
    assert "wrong.yaml: unknown key train.epoch; did you mean train.epochs?" in output
    assert "Traceback" not in output
    assert not (tmp_path / "project").exists()
