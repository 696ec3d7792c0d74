"""A job's folders, its lock and its checkpoints' names."""

import re
from dataclasses import dataclass
from pathlib import Path

from src.helpers import UserError
from src.io_funcs import project_root, scratch_root

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


def list_checkpoints(*folders: Path) -> list[Path]:
    """The checkpoints in these folders, the newest first; of the same step, that of the first folder first."""
    found = [path for folder in folders for path in folder.glob("step_*") if _CHECKPOINT.fullmatch(path.name)]
    return sorted(found, key=lambda path: path.name, reverse=True)


def result_files(job: Job) -> list[Path]:
    """What a job's work is in; some of them may not exist."""
    return [
        *list_checkpoints(job.checkpoints, job.checkpoint_copies),
        *(job.models / f"{name}.safetensors" for name in ("final", "best")),
        *(job.logs / name for name in ("metrics.csv", "result.json", "report.html")),
        *job.logs.glob("evaluation_*.json"),
        *job.logs.glob("luts_*.json"),
        *job.logs.glob("plots/*.png"),
    ]


def refuse_existing(job: Job) -> None:
    """Raise UserError if the job has done work that a new run would replace."""
    if any(path.exists() for path in result_files(job)):
        raise UserError(
            f"job {job.job_id} has checkpoints, models or metrics already: --resume continues it, --restart begins it "
            f"anew and replaces them, another job id leaves it alone"
        )


def luts_path(job: Job, target: str) -> Path:
    """Where yosys's estimate of a job's circuit for an FPGA family is kept."""
    return job.logs / f"luts_{target}.json"
