"""Where every job is, from its files alone: cheap, and whatever lies there cannot break it."""

import contextlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.helpers import format_duration, format_table
from src.io_funcs import project_root, read_bytes, scratch_root
from src.jobs.files import METRICS_ROW, MOST_BYTES, listing, optional, read_job, record, text, whole
from src.jobs.find import find_jobs, is_job_id, is_running, require_jobs
from src.jobs.folders import Job, list_checkpoints

_PROGRESS = record(
    {
        "progress": record({"step": whole(), "epoch": whole(), "rows": listing(METRICS_ROW)}),
        "config": record({"train": record({"epochs": whole()})}),
    },
    {"debug": optional(text)},
)


@dataclass
class _Source:
    """What one file says about a job."""

    step: int = 0
    epoch: int = 0  # epochs that are done
    val_accuracies: tuple[float, ...] = ()  # of frames, by epoch
    debug: str | None = None  # of a run with --debug, how much of each epoch it takes


@dataclass
class JobStatus:
    """Where a job is; None is what no file says.

    Attributes:
        state: running (its lock is held), done (its result is there), stopped, restart pending (--restart was stopped
            before its first step), or unknown (the lock cannot be tried).
        step: batches that are done, as of the last checkpoint or evaluation.
        epoch: epochs that are done.
        epochs: epochs of the config.
        last_accuracy: fraction of the val frames, after the last epoch.
        best_accuracy: the highest one.
        checkpoint_age: seconds since the newest readable checkpoint was written.
        debug: of a run with --debug, how much of each epoch it takes.
    """

    job_id: str
    state: str
    step: int | None = None
    epoch: int | None = None
    epochs: int | None = None
    last_accuracy: float | None = None
    best_accuracy: float | None = None
    checkpoint_age: float | None = None
    debug: str | None = None


def job_status(job_id: str) -> JobStatus:
    """Return where one job is."""
    job = Job(job_id)
    status = JobStatus(job_id, {True: "running", False: "stopped", None: "unknown"}[is_running(job_id)])
    sources = []
    for path in _checkpoints(job):
        try:
            source, status.epochs = _read_checkpoint(path)
            status.checkpoint_age = max(0.0, time.time() - path.stat().st_mtime)
        except (OSError, ValueError, RecursionError):
            continue  # the one before counts then, as for --resume
        sources.append(source)
        break
    files = read_job(job)
    if files.metrics:
        sources.append(_source(files.metrics, files.debug))
    if files.config.epochs is not None:  # newer than the checkpoint's: a job may be resumed with more epochs
        status.epochs = files.config.epochs
    if sources:
        status.step = max(source.step for source in sources)
        status.epoch = max(source.epoch for source in sources)
        status.debug = next((source.debug for source in sources if source.debug), None)
        accuracies = max((source.val_accuracies for source in sources), key=len)
        if accuracies:
            status.last_accuracy, status.best_accuracy = accuracies[-1], max(accuracies)
    steps = files.result["steps"] if files.result else -1
    if status.state == "stopped" and steps >= (status.step or 0):  # else it was resumed with more epochs
        status.state, status.step = "done", steps
    if status.state in ("stopped", "done") and job.restarting.exists():
        status.state = "restart pending"
    return status


def _checkpoints(job: Job) -> list[Path]:
    """Return the job's checkpoints in those of its folders that can be read."""
    found = []
    for folder in (job.checkpoints, job.checkpoint_copies):
        with contextlib.suppress(OSError):
            found += list_checkpoints(folder)
    return sorted(found, key=lambda path: path.name, reverse=True)


def _read_checkpoint(path: Path) -> tuple[_Source, int]:
    """Return a checkpoint's progress and its config's epochs from the file's header; no tensor is read.

    Raises:
        OSError, ValueError, RecursionError: if the file cannot be read, or is no checkpoint.
    """
    size = int.from_bytes(read_bytes(path, 8), "little")
    if size > min(MOST_BYTES, path.stat().st_size):
        raise ValueError("no safetensors file")
    header = record({"__metadata__": record({"values": str})})(json.loads(read_bytes(path, size, 8)))
    values = _PROGRESS(json.loads(header["__metadata__"]["values"]))
    progress = values["progress"]
    accuracies = _val_accuracies(progress["rows"])
    source = _Source(progress["step"], progress["epoch"], accuracies, values.get("debug"))
    return source, values["config"]["train"]["epochs"]


def _source(rows: list[dict[str, Any]], debug: str | None) -> _Source:
    """Return where a job is by its metrics."""
    return _Source(max(row["step"] for row in rows), max(row["epoch"] for row in rows), _val_accuracies(rows), debug)


def _val_accuracies(rows: list[dict[str, Any]]) -> tuple[float, ...]:
    return tuple(row["frame_accuracy"] for row in rows if row["split"] == "val" and "frame_accuracy" in row)


def status_table(job_ids: list[str]) -> str:
    """Return a table of these jobs, or of all.

    Raises:
        UserError: if a job that is named is not there.
    """
    require_jobs(job_ids)
    there = find_jobs()
    if not there:
        return f"no jobs under {project_root()} or {scratch_root()}"
    header = ["job", "state", "step", "epoch", "last val accuracy", "best", "last checkpoint"]
    shown = job_ids or there
    old = [job_id for job_id in shown if not is_job_id(job_id)]
    remarks = [f"{job_id}: to use it again, rename its folders: begin with a letter or a digit" for job_id in old]
    if not project_root().is_dir():
        remarks.append(f"PROJECT_STORAGE_DIR = {project_root()}: there is no such folder, so only scratch is shown")
    return "\n".join([format_table(header, [_row(job_status(job_id)) for job_id in shown]), *remarks])


def _row(status: JobStatus) -> list[str]:
    def cell(value: Any, form: str = "{}") -> str:
        return "-" if value is None else form.format(value)

    return [
        status.job_id,
        f"{status.state} ({status.debug})" if status.debug else status.state,
        cell(status.step, "{:,}"),
        f"{cell(status.epoch)}/{cell(status.epochs)}",
        cell(status.last_accuracy, "{:.2%}"),
        cell(status.best_accuracy, "{:.2%}"),
        "-" if status.checkpoint_age is None else f"{format_duration(status.checkpoint_age)} ago",
    ]
