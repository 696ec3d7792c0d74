"""Weights & Biases: a run online, or in a folder for a later upload."""

import os
import secrets
import shutil
from pathlib import Path
from typing import ClassVar

from src.config import Config
from src.helpers import LOG
from src.io_funcs import read_text, write_atomic
from src.training.loggers.logger import Logger

RUN_ID = "wandb_run_id"  # the file in logs/<job_id> that keeps the run id of Weights & Biases
FINISH_SECONDS = 60  # for uploads that are left at the end, so that a job that has to stop does not wait for them


class WeightsAndBiases(Logger):
    """A run online, or in logs/<job_id>/wandb for `wandb sync` to upload; a resumed job keeps the run's id."""

    name: ClassVar = "Weights & Biases"
    option: ClassVar = "base.wandb"
    module: ClassVar = "wandb"
    package: ClassVar = "wandb"

    @staticmethod
    def is_asked_for(config: Config) -> bool:
        """Return whether base.wandb is offline or online."""
        return config.base.wandb != "disabled"

    @classmethod
    def require_package(cls, config: Config) -> None:
        """Import the package. While it is offline, keep it from sending its own errors to its makers."""
        if config.base.wandb == "offline":
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        super().require_package(config)

    def __init__(self, config: Config, folder: Path, resume: bool) -> None:
        """Begin the run, or go on with it if `resume`; `folder` is logs/<job_id>."""
        import wandb

        online = config.base.wandb == "online"
        run_id = _run_id(folder / RUN_ID, resume)
        for old in (folder / "wandb").glob("offline-run-*"):
            shutil.rmtree(old, ignore_errors=True)  # the package's process may outlive a killed run for a moment
        self.run = wandb.init(
            mode="online" if online else "offline",
            project=config.base.wandb_project,
            name=folder.name,
            id=run_id,
            resume="allow" if online else None,
            dir=folder,
            config=config.to_dict(),
            allow_val_change=True,  # a resumed job may have more epochs
            settings=wandb.Settings(console="off", silent=True, finish_timeout=FINISH_SECONDS),
        )
        self.first_step = self.run.step  # a run that is online already has all earlier steps
        LOG.info("%s: %s", self.name, self.run.url if online else f"wandb sync {Path(self.run.dir).parent}")

    def log(self, step: int, values: dict[str, float]) -> None:
        """Log values by their tags, after `step` batches."""
        if step >= self.first_step:
            self.run.log(values, step=step)

    def close(self, failed: bool) -> None:
        """Send what is left."""
        self.run.finish(exit_code=int(failed))


def _run_id(path: Path, resume: bool) -> str:
    """Return the id that an earlier process of the job has kept, or a new one, drawn apart from all other draws."""
    if resume and path.exists():
        return read_text(path).strip()
    run_id = secrets.token_hex(4)
    write_atomic(path, run_id + "\n")
    return run_id
