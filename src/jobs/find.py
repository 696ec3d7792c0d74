"""Which jobs there are on both storages, and the one line for a job, or a model's file, that is not among them."""

import difflib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from src.command_line import UserError
from src.io_funcs import check_name, from_user, is_locked, project_root, scratch_root
from src.jobs.folders import MODEL_SUFFIXES, SWEEP_FILE, Job, is_path, result_files

GIVE_A_MODEL = "give a model's .safetensors file, a circuit's .json file or a job id"
MOST_NAMED = 10  # jobs in a message
_OLD_NAME = re.compile(r"[._-][A-Za-z0-9._-]{0,127}")


def find_jobs() -> list[str]:
    """Return the ids of all jobs that have a folder on scratch or project storage, or are just starting."""
    logs = project_root() / "logs"
    folders = [path for parent in _parents() for path in parent.glob("*")]
    found = {path.name for path in folders if path.is_dir() and (is_job_id(path.name) or _is_old_job(Job(path.name)))}
    found -= {path.parent.name for path in logs.glob(f"*/{SWEEP_FILE}")}
    for lock in logs.glob(".*.lock"):
        job_id = lock.name[1 : -len(".lock")]
        if job_id not in found and is_job_id(job_id) and is_running(job_id):
            found.add(job_id)
    return sorted(found)


def require_jobs(job_ids: Sequence[str]) -> None:
    """Raise UserError unless all of these jobs are there.

    The line names those that are not, and the nearest ones, or else some that are there, or else where they would be.
    """
    if not job_ids:
        return
    there = find_jobs()
    missing = [check_name(job_id, "job id") for job_id in dict.fromkeys(job_ids) if job_id not in there]
    if not missing:
        return
    if near := list(dict.fromkeys(name for job_id in missing for name in _nearest(job_id, there))):
        hint = f"; did you mean {' and '.join(near)}?"
    elif there:
        hint = f"; there {'is' if len(there) == 1 else 'are'} {', '.join(there[:MOST_NAMED])}"
        hint += ", …" if len(there) > MOST_NAMED else ""
    else:
        places = ", ".join(map(str, _parents()))
        hint = f", nor any other in {places}; check PROJECT_STORAGE_DIR and SCRATCH_STORAGE_DIR"
    raise UserError(f"there is no job {' or '.join(missing)}{hint}")


def require_model_file(path: Path) -> None:
    """Raise UserError unless a file lies there; the line names the nearest file, or else the job that may be meant."""
    if path.is_file():
        return
    problem = "it is not a file" if path.exists() else "there is no such file"
    hint = GIVE_A_MODEL
    if near := _nearest_file(path) or _nearest_job(path):
        hint = f"did you mean {near}?"
    raise UserError(f"{path}: {problem}; {hint}")


def model_from_user(job: str, file: str | None) -> Path | str:
    """Return the model that a command line names: a file's path, or a job id.

    Args:
        job: the argument JOB, which may be a file's path instead.
        file: the value of `--model`, which is a path even if it looks like a job id; None: JOB counts.
    """
    if file is not None:
        path = from_user(file, "--model")
        return path if is_path(str(path)) else path.absolute()  # a bare name would be a job
    return from_user(job, "model") if is_path(job) else job


def is_job_id(name: str) -> bool:
    """Return whether `check_name` allows the name for a job."""
    try:
        check_name(name, "job id")
    except UserError:
        return False
    return True


def is_running(job_id: str) -> bool | None:
    """Return whether the job is running; None if its lock cannot be tried."""
    try:
        return is_locked(Job(job_id).lock)
    except OSError:
        return None


def _parents() -> tuple[Path, Path, Path]:
    """Return the folders in which jobs have folders."""
    return project_root() / "logs", project_root() / "models", scratch_root() / "checkpoints"


def _is_old_job(job: Job) -> bool:
    """Return whether a job of this name, which `check_name` once allowed, has left something."""
    return bool(_OLD_NAME.fullmatch(job.job_id)) and any(map(os.path.lexists, result_files(job)))


def _nearest_file(path: Path) -> str | None:
    """Return the nearest name of a file in the path's folder, or, of a folder that is not there, NEAREST/FILE."""
    folder = path.parent
    if folder.is_dir():
        names = (file.name for suffix in MODEL_SUFFIXES for file in folder.glob(f"*{suffix}"))
        return next(iter(_nearest(path.name, names)), None)
    near = _nearest(folder.name, (other.name for other in folder.parent.glob("*")))
    files = (Path(name, path.name) for name in near)
    return next((str(file) for file in files if os.path.isfile(folder.parent / file)), None)  # noqa: PTH113 - any path


def _nearest_job(path: Path) -> str | None:
    """Return the job whose name is nearly the file's or its folder's; None if there is none."""
    there = find_jobs()
    names = (path.stem if path.suffix in MODEL_SUFFIXES else path.name, path.parent.name)
    return next((f"the job {job}" for name in names for job in _nearest(name, there, 0.8)), None)


def _nearest(name: str, names: Iterable[str], least: float = 0.6) -> list[str]:
    return difflib.get_close_matches(name, sorted(names), n=1, cutoff=least)
