"""Every command and every piece of Python in README and the pages runs, in their order, in a copy of the repository."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import small_job
from tests.docs.pages import THESE_TESTS, blocks, commands
from tests.small_job import REPOSITORY

# Whole epochs of the demo are run where a bare clone sets itself up; those of the committee and the CNN take minutes.
ONE_EPOCH = '--debug --override "train.epochs=1 train.warmup_epochs=0"'
SHORTENED = [
    "./train.sh configs/demo_difflogic.yaml demo",
    "./train.sh configs/nmnist_cnn.yaml job_cnn",
    "./train.sh configs/nmnist_convolutional.yaml committee",
]

pytestmark = pytest.mark.slow


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
    """A copy of the repository with small N-MNIST recordings where README says they are."""
    folder = tmp_path_factory.mktemp("home") / "repository"
    copy_of_the_repository(folder)
    small_job.write_recordings(folder / "data")
    return folder


def run(copy, *command, **options):
    variables = {k: v for k, v in os.environ.items() if k not in ("PROJECT_STORAGE_DIR", "SCRATCH_STORAGE_DIR")}
    variables |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(copy.parent)}
    result = subprocess.run(command, cwd=copy, env=variables, capture_output=True, text=True, **options)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.timeout(1200)  # some thirty commands, each of which starts a Python
def test_every_command_and_every_piece_of_python_runs(copy):
    shown = commands("bash")
    assert {*SHORTENED, THESE_TESTS} <= set(shown)
    lines = [f"{line} {ONE_EPOCH}" if line in SHORTENED else line for line in shown]
    run(copy, "bash", "-c", "\n".join(["set -ex", *(line for line in lines if line != THESE_TESTS)]))
    assert (copy / "project_storage/logs/demo/result.json").exists()
    assert len(blocks("python")) >= 2
    for piece in blocks("python"):
        run(copy, sys.executable, "-", input=piece)


def test_the_example_ends_in_c_that_counts_as_the_network_does(copy):
    assert "test frames are right" in run(copy, sys.executable, "-m", "examples.from_python")
    run(copy, "cc", "-std=c99", "-O2", "digits.c", "digits_selftest.c")
    assert "8 of 8 frames have the expected counts" in run(copy, "./a.out")
