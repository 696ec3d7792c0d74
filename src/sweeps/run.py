"""Runs a sweep's jobs, each in a process of its own, or lists them for a SLURM array."""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from src.command_line import EXIT_DONE, EXIT_INTERRUPTED, EXIT_PREEMPTED, StopSignals, UserError
from src.distributed.launch import THREAD_VARIABLES
from src.frame_cache.cache import MissingCacheError, fitting_cache
from src.helpers import LOG, available_cores, format_duration
from src.io_funcs import (
    REPOSITORY,
    file_lock,
    is_locked,
    open_regular,
    project_root,
    require_storages,
    write_atomic,
    write_json,
)
from src.jobs.files import json_of, mapping, read_file, text
from src.jobs.finished import finished_result
from src.jobs.folders import Job
from src.options.machine import split_overrides
from src.sweeps.specification import Sweep, SweepJob, keep_file, require_own_folder
from src.sweeps.warm import Fork, can_fork, fork, import_for_jobs

POLL_SECONDS = 0.1
TAIL_BYTES = 1 << 16  # of a job's output, in which its last line is


@dataclass
class _Running:
    job: SweepJob
    process: subprocess.Popen[bytes] | Fork
    began: float  # time.monotonic()


def run_sweep(sweep: Sweep, parallel: int, stop: StopSignals) -> None:
    """Run the jobs that are not done, `parallel` at once; a failed one is noted (`read_failures`), the others go on.

    Raises:
        UserError: if a frame cache is missing, or the sweep runs already.
        Stopped: a signal came; it was passed on to the jobs, which have saved their checkpoints.
    """
    with _prepared_folder(sweep) as lock:
        waiting = [job for job in sweep.jobs if finished_result(job.config) is None]
        total = len(sweep.jobs)
        LOG.info("sweep %s: %d jobs, %d of them done", sweep.name, total, total - len(waiting))
        _require_caches(sweep, waiting)
        failures: dict[str, str] = {}
        _write_failures(sweep, failures)
        if any(can_fork(job.config) for job in waiting):
            import_for_jobs()
        running: list[_Running] = []
        said: set[str] = set()  # jobs that run elsewhere
        try:
            while (waiting or running) and stop.received is None:
                while len(running) < parallel and (job := _next(waiting, said)) is not None:
                    LOG.info("job %s begins; %d wait", job.job_id, len(waiting))
                    running.append(_start(sweep, job, parallel, lock))
                time.sleep(POLL_SECONDS)
                if stop.received is not None:  # a signal to the whole group ends jobs too: they have not failed
                    break
                for ended in [one for one in running if one.process.poll() is not None]:
                    running.remove(ended)
                    _note_end(sweep, ended, failures)
        finally:
            _stop(sweep, running, stop.received or signal.SIGTERM, failures)
        if stop.received is not None:
            LOG.info("sweep %s: the same command goes on with the jobs that are not done", sweep.name)
        stop.check()


def _next(waiting: list[SweepJob], said: set[str]) -> SweepJob | None:
    """Take the first job off the list that no other process runs, and that none has finished meanwhile."""
    for job in [*waiting]:
        if is_locked(Job(job.job_id).lock):
            if job.job_id not in said:
                LOG.info("job %s runs in another process; waiting for it", job.job_id)
                said.add(job.job_id)
            continue
        waiting.remove(job)
        if finished_result(job.config) is None:
            return job
    return None


def read_failures(sweep: Sweep) -> dict[str, str]:
    """Return the jobs that failed when the sweep ran last: job id -> reason."""
    return read_file(_failures_path(sweep), json_of(mapping(text)), "the next run of the sweep writes it again") or {}


def write_slurm_array(sweep: Sweep) -> Path | None:
    """Write a script that submits the jobs that are not done as a SLURM array; None if all are done.

    Raises:
        UserError: if a frame cache is missing.
    """
    with _prepared_folder(sweep):
        jobs = [job for job in sweep.jobs if finished_result(job.config) is None]
        _require_caches(sweep, jobs)
        if not jobs:
            return None
        listed = sweep.folder / f"{sweep.name}.list"
        lines = [
            shlex.join([str(sweep.base), job.job_id, "--resume", "--override", job.override]) + "\n" for job in jobs
        ]
        write_atomic(listed, "".join(lines))
        script = sweep.folder / "slurm_array.sh"
        submit = shlex.quote(str(REPOSITORY / "helper_scripts" / "slurm_array.sh"))
        write_atomic(
            script,
            f"#!/usr/bin/env bash\n"
            f"# Submits {len(jobs)} jobs of a sweep; takes the options of helper_scripts/slurm_array.sh.\n"
            f"export PROJECT_STORAGE_DIR={shlex.quote(str(project_root()))}\n"
            f'exec {submit} "$@" {shlex.quote(str(listed))}\n',
        )
        script.chmod(0o755)
        return script


@contextlib.contextmanager
def _prepared_folder(sweep: Sweep) -> Iterator[int]:
    """Hold the sweep's folder locked, with a copy of its file in it; yield the open file that is the lock."""
    require_storages("PROJECT_STORAGE_DIR")
    require_own_folder(sweep)
    with contextlib.ExitStack() as stack:
        try:
            lock = stack.enter_context(file_lock(sweep.folder / ".sweep.lock"))
        except BlockingIOError as error:
            raise UserError(f"sweep {sweep.name} is running already; wait for it or choose another name") from error
        except OSError as error:
            raise UserError(f"cannot write to project storage: {error}; see PROJECT_STORAGE_DIR") from error
        keep_file(sweep)
        yield lock


def _require_caches(sweep: Sweep, jobs: list[SweepJob]) -> None:
    """Raise UserError before any job starts if frame caches are missing and no job would prepare them."""
    missing: dict[str, None] = {}  # command that prepares one
    checked = []
    for job in jobs:
        data = job.config.data
        if data in checked:
            continue
        checked.append(data)
        try:
            fitting_cache(data)
        except MissingCacheError:
            if data.prepare_if_missing is not None:
                continue
            overrides = [word for word in split_overrides(job.override) if word.startswith("data.")]
            words = [
                "./prepare_data.sh",
                str(sweep.base),
                *(["--override", shlex.join(overrides)] if overrides else []),
            ]
            missing[shlex.join(words)] = None
    if missing:
        raise UserError("\n".join(["frame caches are missing; prepare them first:", *missing]))


def _start(sweep: Sweep, job: SweepJob, parallel: int, lock: int) -> _Running:
    words = [str(REPOSITORY / "main.py"), str(sweep.base), f"--job_id={job.job_id}", "--resume"]
    words += ["--override", job.override]
    # Each job would take all cores otherwise, and all together be slower than one by one.
    threads = max(1, available_cores() // parallel) if parallel > 1 else None
    process: subprocess.Popen[bytes] | Fork
    with open_regular(_output(sweep, job), "wb") as output:
        if can_fork(job.config):
            process = fork(words, output, [lock], threads)
        else:
            shares = {} if threads is None else dict.fromkeys(THREAD_VARIABLES, str(threads))
            process = subprocess.Popen(
                [sys.executable, *words], env=shares | os.environ, stdout=output, stderr=subprocess.STDOUT
            )
    return _Running(job, process, time.monotonic())


def _note_end(sweep: Sweep, ended: _Running, failures: dict[str, str]) -> None:
    job_id, code = ended.job.job_id, ended.process.wait()
    if code == EXIT_DONE:
        LOG.info("job %s is done after %s", job_id, format_duration(time.monotonic() - ended.began))
        return
    failures[job_id] = _reason(sweep, ended.job, code)
    LOG.error("job %s failed: %s (all of its output: %s)", job_id, failures[job_id], _output(sweep, ended.job))
    _write_failures(sweep, failures)


def _stop(sweep: Sweep, running: list[_Running], number: signal.Signals, failures: dict[str, str]) -> None:
    """Pass the signal on, and wait until every job has saved its checkpoint."""
    for one in running:
        with contextlib.suppress(ProcessLookupError):
            one.process.send_signal(number)
    for one in running:
        code = one.process.wait()
        if code in (EXIT_PREEMPTED, EXIT_INTERRUPTED) or code < 0:  # < 0: it had not begun
            LOG.info("job %s is stopped", one.job.job_id)
        else:
            _note_end(sweep, one, failures)


def _reason(sweep: Sweep, job: SweepJob, code: int) -> str:
    """Return the last line of the job's output, and the signal that ended it."""
    with open_regular(_output(sweep, job)) as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    last = next((line.strip() for line in reversed(lines) if line.strip()), "no output")
    last = re.sub(r"^\d\d:\d\d:\d\d [A-Z]+ +", "", last)
    return f"ended by {signal.Signals(-code).name} after: {last}" if code < 0 else last


def _output(sweep: Sweep, job: SweepJob) -> Path:
    return sweep.folder / f"{job.job_id}.out"


def _failures_path(sweep: Sweep) -> Path:
    return sweep.folder / "failures.json"


def _write_failures(sweep: Sweep, failures: dict[str, str]) -> None:
    try:
        write_json(_failures_path(sweep), failures)
    except OSError as error:  # no list is worth the jobs that run
        LOG.warning("cannot save the list of failed jobs: %s", error)
