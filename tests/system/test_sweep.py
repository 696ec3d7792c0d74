"""Sweeps run by the real command: resumable after any end, signals passed on, failed jobs beside others."""

import csv
import os
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests import small_job
from tests.processes import wait_until
from tests.system.test_resume import wait_for_step

pytestmark = pytest.mark.slow

SWEEP = """
config: {folder}/small.yaml
name: {name}
seeds: 2
overrides: {{train.checkpoint_interval_minutes: 0, train.epochs: {epochs}}}
grid: {{train.learning_rate: [0.05, 0.01]}}
"""


@pytest.fixture(scope="module")
def folder(prepared):
    return prepared


def write(folder, name, epochs=2, more=""):
    (folder / f"{name}.yaml").write_text(SWEEP.format(folder=folder, name=name, epochs=epochs) + more)
    return f"{name}.yaml"


def start(folder, *words):
    """In a process group of its own, as a shell starts it."""
    return subprocess.Popen(
        small_job.command("src/cli", "sweep", *words),
        cwd=folder,
        env=small_job.environment(folder),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def table(folder, name):
    """What of a sweep's CSV an interruption may not change."""
    with (folder / "project/logs" / name / "sweep.csv").open() as file:
        return [{k: v for k, v in row.items() if not k.startswith("train_seconds")} for row in csv.DictReader(file)]


def result_path(folder, job_id):
    return folder / "project/logs" / job_id / "result.json"


def test_a_sweep_that_is_killed_and_run_again_ends_in_the_table_of_an_uninterrupted_one(folder):
    output = small_job.run(folder, "src/cli", "sweep", write(folder, "whole"), "--parallel=2")
    assert "4 jobs, 0 of them done" in output
    assert "val frames %" in output

    killed = start(folder, write(folder, "killed"))
    wait_until(result_path(folder, "killed_learning_rate-0.05_s0").exists)
    wait_for_step(folder, "killed_learning_rate-0.01_s0", 5)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    output = small_job.run(folder, "src/cli", "sweep", "killed.yaml")
    assert "4 jobs, 1 of them done" in output
    assert "resuming after" in (folder / "project/logs/killed/killed_learning_rate-0.01_s0.out").read_text()
    assert table(folder, "killed") == table(folder, "whole")

    before = result_path(folder, "killed_learning_rate-0.05_s0").stat().st_mtime_ns
    assert "4 jobs, 4 of them done" in small_job.run(folder, "src/cli", "sweep", "killed.yaml")
    assert result_path(folder, "killed_learning_rate-0.05_s0").stat().st_mtime_ns == before


def test_a_job_of_a_sweep_ends_with_the_bits_of_one_that_runs_alone(folder):
    small_job.run(folder, "src/cli", "sweep", write(folder, "bits"), "--parallel=2")
    options = "train.checkpoint_interval_minutes=0 train.epochs=2 train.learning_rate=0.01 base.seed=1"
    small_job.run(folder, "main.py", "small.yaml", "--job_id=alone", "--override", options)
    models = folder / "project/models"
    job, alone = (load_file(models / name / "final.safetensors") for name in ("bits_learning_rate-0.01_s1", "alone"))
    assert job.keys() == alone.keys()
    assert all(torch.equal(job[name], alone[name]) for name in job)


def test_jobs_outlive_a_sweep_that_is_killed_and_the_next_one_waits_for_them(folder):
    sweep = start(folder, write(folder, "orphan", epochs=20))
    job = "orphan_learning_rate-0.05_s0"
    wait_for_step(folder, job, 5)
    sweep.kill()
    sweep.wait()
    (folder / "orphan.yaml").write_text((folder / "orphan.yaml").read_text().replace("[0.05, 0.01]", "[0.05]"))
    text = (folder / "orphan.yaml").read_text().replace("seeds: 2", "seeds: 1")
    (folder / "orphan.yaml").write_text(text)
    output = small_job.run(folder, "src/cli", "sweep", "orphan.yaml")
    assert f"job {job} runs in another process; waiting for it" in output
    assert f"job {job} begins" not in output
    assert [row["seeds_done"] for row in table(folder, "orphan")] == ["1"]


def test_a_job_that_is_killed_is_told_with_the_signal_and_the_others_go_on(folder):
    sweep = start(folder, write(folder, "shot"))
    wait_for_step(folder, "shot_learning_rate-0.05_s0", 5)
    children = Path(f"/proc/{sweep.pid}/task/{sweep.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    output, _ = sweep.communicate(timeout=120)
    assert sweep.returncode == 1
    assert "shot_learning_rate-0.05_s0 failed: ended by SIGKILL after: " in output
    assert sorted(row["seeds_done"] for row in table(folder, "shot")) == ["1", "2"]


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGUSR1, 75), (signal.SIGINT, 130)])
def test_a_signal_is_passed_on_to_the_jobs_which_save_checkpoints(folder, number, exit_code):
    name = number.name.lower()
    sweep = start(folder, write(folder, name, epochs=1000), "--parallel=2")
    jobs = [f"{name}_learning_rate-{rate}_s0" for rate in (0.05, 0.01)]
    for job in jobs:
        wait_for_step(folder, job, 2)
    sweep.send_signal(number)
    output, _ = sweep.communicate(timeout=60)
    assert sweep.returncode == exit_code, output
    assert "the same command goes on" in output
    for job in jobs:
        assert "stopped by a signal after batch" in (folder / "project/logs" / job / "train.log").read_text()
        assert list((folder / "project/models" / job / "checkpoints").glob("step_*"))


def test_a_job_that_fails_stands_in_the_table_and_the_others_go_on(folder):
    more = "variants: {odd: {model.difflogic.num_neurons: 1501}, even: {model.difflogic.num_neurons: 1500}}\n"
    path = write(folder, "fails", more=more)
    (folder / path).write_text((folder / path).read_text().replace("seeds: 2", "seeds: 1"))
    output = small_job.run(folder, "src/cli", "sweep", path, expect=1)
    reason = "must be a multiple of the 10 classes"
    assert [reason in line for line in output.splitlines() if "_s0: failed: " in line] == [True, True]
    assert [(row["variant"], row["seeds_done"]) for row in table(folder, "fails")] == [
        ("even", "1"),
        ("even", "1"),
        ("odd", "0"),
        ("odd", "0"),
    ]
    assert reason in small_job.run(folder, "src/cli", "sweep", path, "--table")
    assert "fails" not in small_job.run(folder, "src/cli", "status").split()  # the sweep's folder is no job's
