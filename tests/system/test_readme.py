"""Every command of the README runs, in the README's order, in a fresh copy of the repository."""

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import check_and_sync_data
from helper_scripts import check_jobs
from src.command_line import read_command_line
from tests import small_job
from tests.small_job import REPOSITORY

README = (REPOSITORY / "README.md").read_text()
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
THESE_TESTS = "./test.sh"
# All epochs of the demo are run where a bare clone sets itself up; those of the committee take minutes.
SHORTENED = {
    "./train.sh configs/demo_difflogic.yaml demo": "train.epochs=2",
    "./train.sh configs/nmnist_convolutional.yaml committee": "train.epochs=1 train.warmup_epochs=0",
}


def copy_of_the_repository(folder):
    """What git would give."""
    listed = subprocess.check_output(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=REPOSITORY, text=True
    )
    for name in filter(None, listed.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, folder / name)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the repository with small N-MNIST recordings where the README says they are."""
    folder = tmp_path_factory.mktemp("home") / "repository"
    copy_of_the_repository(folder)
    small_job.write_recordings(folder / "data")
    return folder


@pytest.mark.parametrize("command", [line for line in COMMANDS if line != THESE_TESTS])
def test_a_command_of_the_readme_has_a_script_and_arguments_that_it_takes(command, tmp_path, monkeypatch):
    monkeypatch.setenv("PROJECT_STORAGE_DIR", str(tmp_path))
    monkeypatch.chdir(REPOSITORY)
    script, *words = shlex.split(command)
    assert os.access(script, os.X_OK)
    if script in ("./train.sh", "./prepare_data.sh"):
        check_jobs.check(Path(script).name, *words)
    elif script == "./job.sh":
        module = importlib.import_module(f"src.cli.{words.pop(0)}")
        read_command_line(script, module.__doc__, module.add_arguments, words)
    else:
        read_command_line(script, check_and_sync_data.__doc__, check_and_sync_data.add_arguments, words)


@pytest.mark.slow
def test_every_command_of_the_readme_runs(copy):
    assert len(COMMANDS) >= 10
    assert THESE_TESTS in COMMANDS
    assert set(SHORTENED) <= set(COMMANDS)
    commands = [
        f'{line} --override "{SHORTENED[line]}"' if line in SHORTENED else line
        for line in COMMANDS
        if line != THESE_TESTS
    ]
    script = "\n".join(["set -ex", *commands])
    variables = {k: v for k, v in os.environ.items() if k not in ("PROJECT_STORAGE_DIR", "SCRATCH_STORAGE_DIR")}
    variables |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(copy.parent)}
    result = subprocess.run(["bash", "-c", script], cwd=copy, env=variables, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert (copy / "project_storage/logs/demo/result.json").exists()
