"""A training run: what it holds, how far it is, and what it writes to its checkpoints and model files."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import llvmlite.binding
import torch

from src import checkpoint
from src.command_line import RunError
from src.config import Config
from src.data import FrameCache
from src.distributed.group import from_rank_zero, total, world_size
from src.evaluation.metrics import best_epoch, write_metrics
from src.helpers import LOG
from src.jobs.folders import Job
from src.logic.temperature import gate_temperature
from src.model import FrameModel
from src.training.loggers import Loggers
from src.training.teacher import Teacher

LEAST_PATIENCE = 100  # batches: those of a few epochs of a small data set teach nothing yet


@dataclass
class Progress:
    """How far a run is. Every checkpoint holds all of it."""

    epoch: int = 0  # epochs that are done, evaluation included
    batch: int = 0  # batches of the current epoch that are done
    step: int = 0  # batches since the beginning of the run
    loss_sum: float = 0.0  # sum of the losses of the current epoch's frames
    correct: int = 0  # frames of the current epoch that were classified correctly
    frames: int = 0  # frames of the current epoch
    frames_seen: int = 0  # frames since the beginning of the run
    best_epoch: int = 0  # epoch of the best model that is saved
    train_seconds: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)  # the rows of metrics.csv
    running: list[tuple[int, float, float]] = field(default_factory=list)  # step, loss, frame accuracy: see records.py

    def count_batch(self, frames: int, seconds: float) -> None:
        """Count a batch that is done."""
        self.frames += frames
        self.frames_seen += frames
        self.batch += 1
        self.step += 1
        self.train_seconds += seconds

    def count_epoch(self) -> None:
        """Count an epoch that is done, and begin the next one."""
        self.epoch += 1
        self.batch = self.frames = self.correct = 0
        self.loss_sum = 0.0


class EpochSums:
    """The loss and the correct answers of the current epoch, summed on the device.

    Reading the sums makes a GPU wait, so `Progress` gets them only when they are logged or saved.
    """

    def __init__(self, progress: Progress, device: torch.device) -> None:
        self._progress = progress
        self._loss = torch.tensor(progress.loss_sum, dtype=torch.float64, device=device)
        self._correct = torch.tensor(progress.correct, dtype=torch.int64, device=device)

    def add(self, loss: torch.Tensor, correct: torch.Tensor) -> None:
        """Add a batch: this process's sum of losses, and its number of correct answers."""
        self._loss += total(loss)
        self._correct += total(correct)

    def read(self) -> None:
        """Write the sums into the progress; raise RunError if the loss is not finite."""
        progress = self._progress
        progress.loss_sum, progress.correct = self._loss.item(), int(self._correct.item())
        if not math.isfinite(progress.loss_sum):
            raise RunError(
                f"the loss is {progress.loss_sum} by step {progress.step}: lower train.learning_rate or use a wider "
                f"train.dtype"
            )


@dataclass
class TrainingRun:
    """Everything that a running job holds.

    Attributes:
        average: average of the weights; empty without train.ema_decay.
        batches_per_epoch: number of batches per epoch.
        whole_epoch: number of batches per epoch without --debug.
        forward: FrameModel.forward_training; with several processes, `gradients.data_parallel`.
        resume: whether the run goes on from a checkpoint.
        restart: whether the run replaces an old one.
        begun: whether the run has written its first files; see `setup.begin`.
        last_progress_line: when the log last told of progress within an epoch; time.monotonic().
        last_checkpoint, last_copy: when checkpoints were written to scratch and project storage; time.monotonic().
        scratch_works: whether scratch could take the last checkpoint.
    """

    config: Config
    job: Job
    cache: FrameCache
    device: torch.device
    model: FrameModel
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: list[torch.Tensor]
    teacher: Teacher | None
    loggers: Loggers
    batches_per_epoch: int
    whole_epoch: int
    forward: Callable[[torch.Tensor], torch.Tensor]
    resume: bool = False
    restart: bool = False
    begun: bool = False
    progress: Progress = field(default_factory=Progress)
    last_progress_line: float = field(default_factory=time.monotonic)
    last_checkpoint: float = field(default_factory=time.monotonic)
    last_copy: float = field(default_factory=time.monotonic)
    scratch_works: bool = True

    @property
    def debug_note(self) -> str | None:
        """What --debug leaves out; None if it leaves out nothing."""
        if self.batches_per_epoch == self.whole_epoch:
            return None
        return f"debug: {self.batches_per_epoch} of {self.whole_epoch} batches per epoch"

    @property
    def teacher_digest(self) -> str | None:
        """The digest of the teacher's weights; None if there is no teacher."""
        return None if self.teacher is None else self.teacher.digest


def reason_to_stop_early(run: TrainingRun) -> str | None:
    """Return why the run ends before train.epochs, by the metrics so far; None if it goes on."""
    options, epoch = run.config.train, run.progress.epoch
    best = best_epoch(run.progress.rows, options.best_metric)
    if options.early_stopping_patience is None:
        return None
    if epoch - best < max(options.early_stopping_patience, LEAST_PATIENCE / run.batches_per_epoch):
        return None
    is_short = options.early_stopping_patience * run.batches_per_epoch < LEAST_PATIENCE
    return (
        f"after epoch {epoch} of {options.epochs}: {options.best_metric} of val has not been better than after epoch "
        f"{best}, and train.early_stopping_patience = {options.early_stopping_patience}"
        + f" ({LEAST_PATIENCE} batches at least)"
        * is_short
    )


def is_trained(run: TrainingRun) -> bool:
    """Return whether the last epoch is done."""
    return run.progress.epoch >= run.config.train.epochs or reason_to_stop_early(run) is not None


def description(run: TrainingRun) -> dict[str, Any]:
    """Return what `inference.load_model` needs to know beside the weights."""
    return {
        "config": run.config.to_dict(),
        "class_names": run.cache.class_names,
        "input_shape": list(run.cache.frame_shape),
        "sensor_size": None if run.cache.sensor_size is None else list(run.cache.sensor_size),
        "step": run.progress.step,
        "temperature": gate_temperature(run.model),
        "frames": run.cache.content,
        "debug": run.debug_note,
    }


def environment(run: TrainingRun) -> dict[str, Any]:
    """Return what must be equal for bit-identical results.

    On a CPU that includes its kind: libraries choose their code by it, which decides the order of additions.
    """
    if run.device.type == "cuda":
        device = {"the device": torch.cuda.get_device_name(run.device)}
    else:
        kind = f"{llvmlite.binding.get_host_cpu_name()} with {torch.backends.cpu.get_cpu_capability()}"
        device = {"the device": "cpu", "the processor": kind}
    return {
        **device,
        "the number of processes": world_size(),
        "the number of CPU threads": torch.get_num_threads(),
        "PyTorch's version": torch.__version__,
    }


def try_to_save(what: str, write: Callable[[], object], level: int = logging.WARNING) -> bool:
    """Write something on rank 0, and return on all ranks whether that was possible.

    A full or broken disk is only a warning, since what is on it already must not be lost.
    """

    def written() -> bool:
        try:
            write()
        except OSError as error:
            LOG.log(level, "cannot save %s: %s", what, error)
            return False
        return True

    return bool(from_rank_zero(written))


def save_metrics(run: TrainingRun) -> None:
    """Write metrics.csv, if there are any rows yet."""
    if run.progress.rows:
        try_to_save("the metrics", lambda: write_metrics(run.job.logs / "metrics.csv", run.progress.rows))


def save_model(run: TrainingRun, name: str) -> bool:
    """Save the model as `name`, unless train.save_model is false; return whether nothing went wrong."""
    if not run.config.train.save_model:
        return True
    path = run.job.models / f"{name}.safetensors"
    return try_to_save(f"the {name} model", lambda: checkpoint.save_model(path, run.model, description(run)))


def checkpoint_is_due(run: TrainingRun) -> bool:
    """Return whether train.checkpoint_interval_minutes have passed since the last checkpoint."""
    return time.monotonic() >= run.last_checkpoint + 60 * run.config.train.checkpoint_interval_minutes


def save_checkpoint(run: TrainingRun, to_project: bool = False) -> bool:
    """Save a checkpoint to scratch; return whether one of the storages has it now.

    Project storage gets a copy too if `to_project`, if a copy is due, or if scratch cannot take the checkpoint. If
    neither storage can take it, the older checkpoint stays, and the next interval tries again.
    """
    state = {
        **description(run),
        "batches_an_epoch": run.batches_per_epoch,
        "environment": environment(run),
        "progress": asdict(run.progress),
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "scaler": run.scaler.state_dict(),
        "average": run.average,
        "teacher": run.teacher_digest,
        "random": checkpoint.random_states(run.device),
    }
    step = run.progress.step
    saved = run.scratch_works = try_to_save(
        "a checkpoint on scratch (SCRATCH_STORAGE_DIR)",
        lambda: checkpoint.save_checkpoint(run.job.checkpoints, step, state),
        logging.WARNING if run.scratch_works else logging.DEBUG,  # one warning for what may last for days
    )
    run.last_checkpoint = time.monotonic()
    due = run.last_copy + 60 * run.config.train.project_checkpoint_interval_minutes
    if to_project or not saved or from_rank_zero(lambda: run.last_checkpoint >= due):
        saved |= try_to_save(
            "a checkpoint on project storage",
            lambda: checkpoint.save_checkpoint(run.job.checkpoint_copies, step, state, kept=1),
        )
        run.last_copy = run.last_checkpoint
    LOG.debug("saved checkpoint %d", step)
    return saved
