"""Loggers: a run's numbers in TensorBoard and Weights & Biases, whose packages are optional.

A logger is started with everything that the run's checkpoint knows, then gets each new number once. What earlier
processes of the job left on this disk is replaced: so nothing is there twice, and nothing is missing that a killed
process had not yet written.
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
FINISH_SECONDS = 60  # for what is left to upload at the end: a job that was told to stop must not hang in it


class TensorBoard:
    """An event file in logs/<job_id>/tensorboard."""

    name: ClassVar = "TensorBoard"
    option: ClassVar = "train.tensorboard"
    module: ClassVar = "torch.utils.tensorboard"
    package: ClassVar = "tensorboard"

    def __init__(self, config: Config, folder: Path, resume: bool) -> None:
        """`folder` is logs/<job_id>; nothing depends on the rest, since the file always begins anew."""
        from torch.utils.tensorboard import SummaryWriter

        folder = folder / "tensorboard"
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        # A TensorBoard that is open purges what it has read of the old files.
        self.writer = SummaryWriter(str(folder), purge_step=0)

    def log(self, step: int, values: dict[str, float]) -> None:
        """Values after `step` batches."""
        for tag, value in values.items():
            self.writer.add_scalar(tag, value, step)

    def close(self, failed: bool) -> None:
        """Write what is left."""
        self.writer.close()


class WeightsAndBiases:
    """A run in logs/<job_id>/wandb, to be uploaded by `wandb sync`, or online; resumed jobs keep the run's id."""

    name: ClassVar = "Weights & Biases"
    option: ClassVar = "base.wandb"
    module: ClassVar = "wandb"
    package: ClassVar = "wandb"

    def __init__(self, config: Config, folder: Path, resume: bool) -> None:
        """`folder` is logs/<job_id>."""
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
        self.first_step = self.run.step  # of a run that is online already, what comes before is there
        LOG.info("%s: %s", self.name, self.run.url if online else f"wandb sync {Path(self.run.dir).parent}")

    def log(self, step: int, values: dict[str, float]) -> None:
        """Values after `step` batches."""
        if step >= self.first_step:
            self.run.log(values, step=step)

    def close(self, failed: bool) -> None:
        """Send what is left."""
        self.run.finish(exit_code=int(failed))


def _run_id(path: Path, resume: bool) -> str:
    """The id that an earlier process of the job has kept, or a new one; from no generator that the training uses."""
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
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # else the package reports its own errors to its makers
    for kind in _asked_for(config):
        remedy = f"install it with pip install --upgrade {kind.package}, or leave the option out"
        try:
            import_optional(kind.module, f"{kind.option} asks for {kind.name}", remedy)
        except ImportError as error:
            raise UserError(str(error)) from error


class Loggers:
    """The loggers that a config asks for.

    One that fails is left out from then on, with a warning: a run never ends for it.
    """

    def __init__(self, config: Config, folder: Path) -> None:
        """`folder` is logs/<job_id>. Nothing is written before `start`."""
        self._config, self._folder = config, folder
        self._active: list[TensorBoard | WeightsAndBiases] = []

    def start(self, history: Iterable[Entry], resume: bool) -> None:
        """Begin, with what the run has logged until now, in the order of steps; `resume` keeps W&B's run id."""
        for kind in _asked_for(self._config):
            try:
                self._active.append(kind(self._config, self._folder, resume))
            except Exception as error:
                self._warn(kind.name, error)
        for entry in history:
            self.log(*entry)

    def log(self, step: int, values: dict[str, float]) -> None:
        """Values after `step` batches, not fewer than the last time."""
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
    """The entry of a row of metrics.csv: its numbers by split; the learning rate only with the training row."""
    split = row["split"]
    left_out = {"step", "epoch", "split", "debug"} | (set() if split == "train" else {"learning_rate"})
    return row["step"], {f"{split}/{name}": value for name, value in row.items() if name not in left_out}
