"""docs/clusters.md as a new user follows it: laptop, ssh, SLURM, container, preemptions, and back."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from src.reports.outcome import outcome
from tests import small_job
from tests.docs.pages import blocks
from tests.processes import wait_until
from tests.system.ssh_server import ssh_server
from tests.system.test_container import BWRAP_WORKS, FAKE_SINGULARITY
from tests.system.test_pages import copy_of_the_repository

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not BWRAP_WORKS, reason="needs bubblewrap and its rights")]

TO_CLUSTER, ON_CLUSTER, FROM_CLUSTER = blocks("sh", "docs/clusters.md")[:3]
EPOCHS = 500  # each takes a fraction of a second: time to be preempted twice


@pytest.fixture
def laptop(tmp_path):
    """A clone with recordings, prepared as README says."""
    folder = tmp_path / "laptop"
    copy_of_the_repository(folder)
    small_job.write_recordings(folder / "data")
    return folder


def run(script, folder, **variables):
    """Run lines of the page in a shell; return what they print."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", **variables}
    for name in ("PROJECT_STORAGE_DIR", "SCRATCH_STORAGE_DIR", "SINGULARITY_CONTAINER"):
        environment.pop(name, None)
    result = subprocess.run(
        ["bash", "-c", f"set -ex\n{script}"], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def rows_of(path):
    if not path.exists():
        return 0
    with path.open() as file:
        return len(list(csv.reader(file)))


@pytest.mark.timeout(900)  # many programs, each of which starts a Python
def test_the_readme_s_way_from_a_laptop_through_a_cluster_and_back(laptop, slurm, tmp_path):
    home, project, scratch = (tmp_path / "cluster" / name for name in ("home", "project", "scratch"))
    home.mkdir(parents=True)
    path = f"{FAKE_SINGULARITY}:{Path(sys.executable).parent}:{os.environ['PATH']}"

    def here(lines):
        """The page's lines with this cluster's names."""
        for theirs, ours in {
            "/home/me/difflogic": f"{home}/difflogic",
            "/project/me": str(project),
            "/scratch/me": str(scratch),
            "train.epochs=80": f"train.epochs={EPOCHS}",
            "--time=12:00:00": "--time=20 --gpus= --mem=3G --cpus-per-task=1",
            "export REMOTE_HOST=me@cluster ": "export ",
        }.items():
            lines = lines.replace(theirs, ours)
        return lines

    with ssh_server(Path(f"/tmp/ssh-{os.getpid()}")) as server:
        variables = {"PATH": path, **server.variables()}
        run("./prepare_data.sh configs/prepare_nmnist.yaml", laptop, **variables)
        (laptop / "difflogic.sif").write_bytes(os.urandom(1_000_000))
        run(here(TO_CLUSTER), laptop, **variables)

        cluster = {"PATH": path, "SLURM_CONF": str(slurm.config)}
        output = run(here(ON_CLUSTER), home / "difflogic", **cluster)
        job = re.search(r"SLURM job (\d+): job_004", output)[1]

        metrics = project / "logs" / "job_004" / "metrics.csv"
        rows = 0
        for preemption in (1, 2):
            least = rows + 20
            wait_until(lambda least=least: rows_of(metrics) >= least, situation=lambda: slurm.job(job))
            slurm.control("scancel", "--batch", "--signal=USR1", job)
            slurm.wait(job, lambda fields, count=preemption: fields["Restarts"] == str(count))
            rows = rows_of(metrics)
        ended = slurm.wait_for_end(job, 180)
        assert (ended["JobState"], ended["Restarts"]) == ("COMPLETED", "2")

        exports = TO_CLUSTER.splitlines()[0]
        run(here(f"{exports}\n{FROM_CLUSTER}"), laptop, **variables)
    shutil.rmtree(f"/tmp/ssh-{os.getpid()}")

    assert (scratch / "singularity").is_dir()  # the image was run from a copy there
    result = json.loads((laptop / "project_storage/logs/job_004/result.json").read_text())
    assert result["epochs"] == EPOCHS
    assert 0 <= result["test"]["frame_accuracy"] <= 1
    overrides = f"--override train.epochs={EPOCHS}"
    run(f"./train.sh configs/nmnist_difflogic.yaml at_once {overrides}", laptop, PATH=path)
    (laptop / "project").symlink_to("project_storage")  # where `outcome` looks
    assert outcome(laptop, "job_004") == outcome(laptop, "at_once")
