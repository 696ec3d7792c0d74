"""A real SLURM of two nodes, both this machine, for the system tests: the fixture `slurm`, and asking about jobs."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import small_job
from tests.processes import wait_until
from tests.small_job import REPOSITORY

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol")

# cred_expire is also how long a requeued job waits. A job of the partition `urgent` preempts those of `main`.
# The second node is this machine again, under a second daemon, for jobs of the partition `pair`.
CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=batch_sched_delay=0,sched_interval=2
KillWait=10
ReturnToService=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
NodeName={host} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs={cores} RealMemory=4000 State=UNKNOWN
NodeName={host}x NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs={cores} RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES State=UP PriorityTier=1
PartitionName=urgent Nodes={host} State=UP PriorityTier=2
PartitionName=pair Nodes={host},{host}x State=UP PriorityTier=1
"""


@dataclass
class Slurm:
    """The running cluster."""

    config: Path

    def run(self, *command: str | Path, folder: Path, expect: int = 0, **variables: str) -> str:
        """Run a command of the cluster's user, whose storages lie in the folder; return its output.

        This interpreter's folder comes first on PATH: it is the active environment, of the jobs too.
        """
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = {**small_job.environment(folder), "PATH": path, "SLURM_CONF": str(self.config), **variables}
        result = subprocess.run(
            command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert result.returncode == expect, result.stdout
        return result.stdout

    def submit(self, script: str, *arguments: str, folder: Path, **variables: str) -> str:
        """Submit by a script of helper_scripts, which asks for a core and some memory; return SLURM's job id."""
        resources = folder / "resources.yaml"
        resources.write_text("cpus-per-task: 1\nmem: 1500M\n")
        path = REPOSITORY / "helper_scripts" / script
        output = self.run(path, f"--resources={resources}", *arguments, folder=folder, **variables)
        return re.match(r"SLURM job (\d+): ", output)[1]  # type: ignore[index]

    def control(self, *words: str) -> str:
        """Run `scontrol`, `scancel` or another of SLURM's commands."""
        return self.run(*words, folder=self.config.parent)

    def job(self, job: str) -> dict[str, str]:
        """The fields of `scontrol show job`."""
        return dict(re.findall(r"(\S+?)=(.*?)(?=\s+\S+?=|\s*$)", self.control("scontrol", "-o", "show", "job", job)))

    def wait(self, job: str, ready: Callable[[dict[str, str]], bool], seconds: float = 90) -> dict[str, str]:
        """Wait until the job's fields are as asked for; return them."""

        def fields() -> dict[str, str]:
            found = self.job(job)
            return found if ready(found) else {}

        return wait_until(fields, seconds, situation=lambda: self.job(job))

    def wait_for_end(self, job: str, seconds: float = 90) -> dict[str, str]:
        """Wait until the job has ended for good; return its fields."""
        going = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "PREEMPTED", "REQUEUED")
        return self.wait(job, lambda fields: fields["JobState"] not in going, seconds)


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """A SLURM of this machine alone, with its own munge, ports and folder; stopped at the end."""
    # Debian has the daemons in /usr/sbin, which is not on everyone's PATH.
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    lacking = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if lacking:
        pytest.skip(f"{', '.join(lacking)} not found: needs Debian's slurm-wlm and munge")
    if os.geteuid() != 0:
        pytest.skip("the daemons of SLURM need root")
    # Not pytest's folder: the name of munge's socket must be short, and others must be able to reach it.
    with tempfile.TemporaryDirectory(prefix="slurm-") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o711)
        (folder / "state").mkdir()
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        config, host = folder / "slurm.conf", socket.gethostname().split(".")[0]
        config.write_text(CONFIG.format(host=host, ports=_free_ports(3), folder=folder, cores=os.cpu_count()))
        cluster = Slurm(config)
        files = ("socket", "pid-file", "log-file", "seed-file")
        options = [f"--{file}={folder}/munge.{file.removesuffix('-file')}" for file in files]
        for command in (
            ["munged", "--foreground", f"--key-file={key}", *options],
            ["slurmctld", "-D", "-f", str(config)],
            ["slurmd", "-D", "-f", str(config), "-N", host],
            ["slurmd", "-D", "-f", str(config), "-N", f"{host}x"],
        ):
            stack.enter_context(_daemon(command, folder, path))
            if command[0] == "munged":
                _wait_for((folder / "munge.socket").exists, folder)
        _wait_for(lambda: "2   idle" in _ask(cluster, "sinfo", "--partition=pair"), folder)
        stack.callback(_end_jobs, cluster, folder)
        yield cluster


@contextmanager
def _daemon(command: list[str], folder: Path, path: str) -> Iterator[None]:
    with (folder / f"{command[0]}.log").open("ab") as log:
        process = subprocess.Popen(command, env={**os.environ, "PATH": path}, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _end_jobs(cluster: Slurm, folder: Path) -> None:
    """What a failed test has left running must not outlive the daemons."""
    cluster.control("scancel", "--user=root")
    _wait_for(lambda: not _ask(cluster, "squeue", "--noheader"), folder)


def _ask(cluster: Slurm, *command: str) -> str:
    environment = {**os.environ, "SLURM_CONF": str(cluster.config)}
    return subprocess.run(command, env=environment, capture_output=True, text=True).stdout


def _wait_for(ready: Callable[[], bool], folder: Path) -> None:
    wait_until(
        ready,
        seconds=30,
        situation=lambda: "\n".join(path.read_text(errors="replace")[-2000:] for path in folder.glob("*.log")),
    )


def _free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
