"""A job's folders, its lock, its checkpoints' names, and the note of a restart."""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from src.command_line import EXIT_USER_ERROR, EndedElsewhere, UserError
from src.helpers import LOG
from src.io_funcs import file_lock, project_root, scratch_root, sync_directory, write_atomic

UNNOTED = "DIFFLOGIC_UNNOTED_RESTART"  # a variable of slurm_job.sh: a file that is there until a restart is noted
SWEEP_FILE = "sweep.yaml"  # which a sweep's folder is known by
CIRCUIT_SUFFIX = ".json"
MODEL_SUFFIXES = (".safetensors", CIRCUIT_SUFFIX)
_CHECKPOINT = re.compile(r"step_(\d{10})\.safetensors")


@dataclass
class Job:
    """The folders of a job."""

    job_id: str

    @property
    def checkpoints(self) -> Path:
        """On scratch."""
        return scratch_root() / "checkpoints" / self.job_id

    @property
    def checkpoint_copies(self) -> Path:
        """On project storage: where a run goes on when scratch was wiped."""
        return self.models / "checkpoints"

    @property
    def models(self) -> Path:
        """On project storage."""
        return project_root() / "models" / self.job_id

    @property
    def logs(self) -> Path:
        """On project storage."""
        return project_root() / "logs" / self.job_id

    @property
    def lock(self) -> Path:
        """Held by the process that runs the job; on project storage, which the nodes of a cluster share."""
        return self.logs.with_name(f".{self.job_id}.lock")

    @property
    def restarting(self) -> Path:
        """The note that the job is to begin again: there from `--restart` on until the old files are gone."""
        return self.logs / "restarting"


def is_path(text: str) -> bool:
    """Return whether a model's name is a file's path; if not, it is a job id."""
    return text.endswith(MODEL_SUFFIXES) or "/" in text


def is_circuit(path: Path) -> bool:
    """Return whether a model's file is one of a circuit, as `job.sh export --to json` writes."""
    return path.suffix == CIRCUIT_SUFFIX


def list_checkpoints(*folders: Path) -> list[Path]:
    """Return the checkpoints in these folders, the newest first; for the same step, in the order of the folders."""
    found = [path for folder in folders for path in folder.glob("step_*") if _CHECKPOINT.fullmatch(path.name)]
    return sorted(found, key=lambda path: path.name, reverse=True)


def result_files(job: Job) -> list[Path]:
    """Return the files that hold a job's work; some of them may not exist."""
    return [
        *list_checkpoints(job.checkpoints, job.checkpoint_copies),
        *(path for folder in (job.checkpoints, job.checkpoint_copies) for path in folder.glob("damaged_step_*")),
        *(job.models / f"{name}.safetensors" for name in ("final", "best")),
        *(job.logs / name for name in ("metrics.csv", "result.json", "report.html")),
        *(path for suffix in ("json", "txt") for path in job.logs.glob(f"evaluation_*.{suffix}")),
        *job.logs.glob("luts_*.json"),
        microcontroller_path(job),
        hardware_path(job),
        *job.logs.glob("plots/*.png"),
    ]


def refuse_existing(job: Job) -> None:
    """Raise UserError if the job has done work that a new run would replace."""
    if any(path.exists() for path in result_files(job)):
        if job.restarting.exists():
            raise UserError(f"job {job.job_id} {_restart_pending(job)}")
        raise UserError(
            f"job {job.job_id} has checkpoints, models or metrics already: --resume continues it, --restart begins it "
            f"again and replaces them, another job id leaves it alone"
        )


def _restart_pending(job: Job) -> str:
    return (
        f"is still to begin again by --restart: --resume does that, and replaces its files with the first step; to "
        f"continue the old run instead, move {job.restarting} elsewhere and give --resume"
    )


@contextlib.contextmanager
def job_lock(job: Job) -> Iterator[None]:
    """Hold the job's lock: two runs of one job would overwrite each other's checkpoints, so the second is refused.

    A job that has the name of a sweep is refused, too: the sweep's tables lie in that folder.
    """
    if os.path.lexists(job.logs / SWEEP_FILE):
        raise UserError(f"job id {job.job_id}: {job.logs} is a sweep's folder; choose another job id")
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(file_lock(job.lock, remove=True))
        except BlockingIOError as error:
            raise UserError(f"job {job.job_id} is running already; wait for it or choose another job id") from error
        except OSError as error:
            raise UserError(f"cannot write to project storage: {error}; see PROJECT_STORAGE_DIR") from error
        yield


@contextlib.contextmanager
def restart_noted(job: Job) -> Iterator[None]:
    """Note on disk that the block begins the job again: if it ends before that, `--resume` begins the job again too.

    A block that ends with exit code 2 is refused: its note is taken back, and the old run can be resumed.
    """
    with job_lock(job):
        noted_before = job.restarting.exists()
        try:
            write_atomic(job.restarting, "")
        except OSError as error:
            raise UserError(f"cannot write to project storage: {error}; see PROJECT_STORAGE_DIR") from error
        if UNNOTED in os.environ:
            Path(os.environ[UNNOTED]).unlink(missing_ok=True)
    try:
        yield
    except (UserError, EndedElsewhere) as error:
        refused = isinstance(error, UserError) or error.exit_code == EXIT_USER_ERROR
        if refused and not noted_before:
            job.restarting.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                job.logs.rmdir()  # of a job that there never was
        raise
    finally:
        if job.restarting.exists():
            LOG.warning("job %s %s", job.job_id, _restart_pending(job))


def remove_results(job: Job) -> None:
    """Remove what a job's work is in, and at the end, when no power cut can bring it back, the note of a restart."""
    folders = set()
    for path in result_files(job):
        try:
            path.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UserError(f"{path}: cannot be removed for --restart: {error.strerror}; move it away") from error
        folders.add(path.parent)
    for folder in folders:
        sync_directory(folder)
    job.restarting.unlink(missing_ok=True)


def evaluation_path(job: Job, split: str, model: str = "best", cache: str = "") -> Path:
    """Return where an evaluation lies. The best model's on the job's own cache, the report's, has the shortest name."""
    words = ["evaluation", split, "" if model == "best" else model, cache]
    return job.logs / f"{'_'.join(filter(None, words))}.json"


def microcontroller_path(job: Job) -> Path:
    """Return where the size of a job's C program on a microcontroller is kept."""
    return job.logs / "microcontroller.json"


def hardware_path(job: Job) -> Path:
    """Return where the results of synthesis, placement and routing of a job's designs are kept."""
    return job.logs / "hardware.json"


def luts_path(job: Job, target: str) -> Path:
    """Return where yosys's estimate of a job's circuit for an FPGA family is kept."""
    return job.logs / f"luts_{target}.json"
