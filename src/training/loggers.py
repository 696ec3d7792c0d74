"""Loggers: a run's numbers in TensorBoard and Weights & Biases, whose packages are optional.

A logger starts with everything that the run's checkpoint knows, and then gets each new number once. It replaces what
earlier processes of the job left on this disk. Nothing is therefore there twice, and nothing is missing that a killed
process had not written yet.
"""

import os
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

from src.command_line import UserError
from src.config import Config
from src.helpers import LOG, import_optional
from src.io_funcs import read_text, write_atomic

Entry = tuple[int, dict[str, float]]  # step; values by tag, such as val/frame_accuracy
RUN_ID = "wandb_run_id"  # the file in logs/<job_id> that keeps the run id of Weights & Biases
FINISH_SECONDS = 60  # for uploads that are left at the end, so that a job that has to stop does not wait for them


class TensorBoard:
    """An event file in logs/<job_id>/tensorboard."""

    name: ClassVar = "TensorBoard"
    option: ClassVar = "train.tensorboard"
    module: ClassVar = "torch.utils.tensorboard"
    package: ClassVar = "tensorboard"

    def __init__(self, config: Config, folder: Path, resume: bool) -> None:
        """Begin a new file; `folder` is logs/<job_id>, and nothing depends on the other arguments."""
        from torch.utils.tensorboard import SummaryWriter

        folder = folder / "tensorboard"
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        # A TensorBoard that is open then forgets what it has read from the old files.
        self.writer = SummaryWriter(str(folder), purge_step=0)

    def log(self, step: int, values: dict[str, float]) -> None:
        """Log values by their tags, after `step` batches."""
        for tag, value in values.items():
            self.writer.add_scalar(tag, value, step)

    def close(self, failed: bool) -> None:
        """Write what is left."""
        self.writer.close()


class WeightsAndBiases:
    """A run online, or in logs/<job_id>/wandb for `wandb sync` to upload; a resumed job keeps the run's id."""

    name: ClassVar = "Weights & Biases"
    option: ClassVar = "base.wandb"
    module: ClassVar = "wandb"
    package: ClassVar = "wandb"

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


def _asked_for(config: Config) -> list[type[TensorBoard] | type[WeightsAndBiases]]:
    kinds: list[type[TensorBoard] | type[WeightsAndBiases]] = []
    if config.train.tensorboard:
        kinds.append(TensorBoard)
    if config.base.wandb != "disabled":
        kinds.append(WeightsAndBiases)
    return kinds


def require_packages(config: Config) -> None:
    """Raise UserError if the config asks for a logger whose package cannot be imported."""
    if config.base.wandb == "offline":
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # the package would send its own errors to its makers
    for kind in _asked_for(config):
        remedy = f"install it with pip install --upgrade {kind.package}, or leave the option out"
        try:
            import_optional(kind.module, f"{kind.option} asks for {kind.name}", remedy)
        except ImportError as error:
            raise UserError(str(error)) from error


class Loggers:
    """The loggers that a config asks for.

    A logger that fails gets no more numbers, and a warning says so. It never ends the run.
    """

    def __init__(self, config: Config, folder: Path) -> None:
        """Write nothing until `start`; `folder` is logs/<job_id>."""
        self._config, self._folder = config, folder
        self._active: list[TensorBoard | WeightsAndBiases] = []

    def start(self, history: Iterable[Entry], resume: bool) -> None:
        """Start the loggers with what the run has logged so far, in the order of steps.

        Args:
            history: what the run has logged.
            resume: whether Weights & Biases keeps the id of its run.
        """
        for kind in _asked_for(self._config):
            try:
                self._active.append(kind(self._config, self._folder, resume))
            except Exception as error:
                self._warn(kind.name, error)
        for entry in history:
            self.log(*entry)

    def log(self, step: int, values: dict[str, float]) -> None:
        """Log values by their tags, after `step` batches; steps never fall."""
        for logger in list(self._active):
            try:
                logger.log(step, values)
            except Exception as error:
                self._active.remove(logger)
                self._warn(logger.name, error)

    def __enter__(self) -> "Loggers":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        for logger in self._active:
            try:
                logger.close(failed=kind is not None)
            except Exception as problem:
                self._warn(logger.name, problem)

    def _warn(self, name: str, error: Exception) -> None:
        LOG.warning("%s failed, and gets no more from this process; --resume sends it everything: %s", name, error)


def row_entry(row: dict[str, Any]) -> Entry:
    """Return the loggers' entry of a row of metrics.csv; only the training row's has the learning rate."""
    split = row["split"]
    left_out = {"step", "epoch", "split", "debug"} | (set() if split == "train" else {"learning_rate"})
    return row["step"], {f"{split}/{name}": value for name, value in row.items() if name not in left_out}
