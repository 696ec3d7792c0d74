"""How a job's runs were started: command, machine, versions; `logs/<job_id>/runs.json`, an entry a start."""

import os
import platform
import shlex
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from src.helpers import available_cores
from src.io_funcs import REPOSITORY, write_json
from src.jobs.files import read_starts
from src.jobs.folders import Job

TYPED = "DIFFLOGIC_TYPED"  # set by train.sh: its command line, quoted as shlex reads it
PACKAGES = ("torch", "numpy", "numba", "triton", "tonic", "safetensors", "matplotlib")


def record_start(job: Job, step: int, parameters: int, device: torch.device) -> None:
    """Add this process's start to the job's runs.json; a start at step 0 is the job's first.

    Args:
        job: whose lock this process holds.
        step: batches that are done already.
        parameters: numbers that the model learns.
        device: what it trains on.
    """
    starts = read_starts(job) if step else []
    start = {
        "started": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "command": _typed_command(),
        "step": step,
        "parameters": parameters,
        "machine": describe_machine(device),
        "versions": {"python": platform.python_version(), **package_versions(), "commit": _commit()},
    }
    write_json(job.logs / "runs.json", [*starts, start])


def _typed_command() -> list[str]:
    """Return the words of the command as the user typed it: train.sh hands on others to Python."""
    return shlex.split(os.environ[TYPED]) if TYPED in os.environ else ["python", *sys.argv]


def describe_machine(device: torch.device) -> str:
    """Return host, operating system, processor, cores that may be used, and the GPU if one is used."""
    gpu = f", {torch.cuda.get_device_name(device)}" if device.type == "cuda" else ""
    return f"{platform.node()}, {platform.system()}, {processor_name()}, {available_cores()} cores{gpu}"


def processor_name() -> str:
    """Return the processor's name by Linux; on other systems, by Python."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), platform.processor())


def package_versions(names: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    versions = {}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _commit() -> str | None:
    """Return the commit of the code, with '-dirty' if files differ from it; None without git."""
    command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"]
    # GIT_DIR and the like, which a hook of git sets, would name another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=10, check=True)
        return result.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
