"""What a run tells while it trains: rows of metrics.csv, numbers for the loggers, a progress bar, lines of the log."""

import logging
import sys
import time
from typing import Any

from tqdm import tqdm

from src.distributed.group import rank
from src.evaluation.metrics import debug_entry
from src.helpers import LOG, format_duration
from src.training.loggers import Entry, row_entry
from src.training.state import Progress, TrainingRun

SECONDS_BETWEEN_LINES = 60.0  # of progress within an epoch, in the log


def add_row(run: TrainingRun, split: str, values: dict[str, float], epoch: int) -> None:
    """Add a row to the metrics, and give it to the loggers."""
    row: dict[str, Any] = {"step": run.progress.step, "epoch": epoch, "split": split, **values}
    row |= debug_entry(run.debug_note)
    row["learning_rate"] = run.optimizer.param_groups[0]["lr"]
    if split == "train":
        row["train_seconds"] = round(run.progress.train_seconds, 3)
        row["frames_per_second"] = round(run.progress.frames_seen / max(run.progress.train_seconds, 1e-9))
    run.progress.rows.append(row)
    run.loggers.log(*row_entry(row))


def _running_entry(step: int, loss: float, frame_accuracy: float) -> Entry:
    """Return what the loggers get every train.log_interval batches: the epoch so far, of the network as it trains."""
    return step, {"running/loss": loss, "running/frame_accuracy": frame_accuracy}


def logged_entries(progress: Progress) -> list[Entry]:
    """Return all entries that the loggers have been given, in the order of steps."""
    entries = [_running_entry(*point) for point in progress.running] + [row_entry(row) for row in progress.rows]
    return sorted(entries, key=lambda entry: entry[0])


def progress_bar(run: TrainingRun) -> tqdm:  # type: ignore[type-arg]
    """Return a bar over the batches of the epoch; only rank 0 shows it, and only on a terminal."""
    return tqdm(
        total=run.batches_per_epoch,
        initial=run.progress.batch,
        desc=f"epoch {run.progress.epoch + 1}/{run.config.train.epochs}",
        bar_format="{desc} {bar:12} {n_fmt}/{total_fmt}{postfix}",
        disable=True if rank() else None,
        leave=False,
    )


def log_progress(run: TrainingRun, bar: tqdm) -> None:  # type: ignore[type-arg]
    """Tell loggers, bar and log the loss and accuracy of the epoch so far, the speed, and the time that is left."""
    progress = run.progress
    loss = progress.loss_sum / progress.frames
    accuracy = progress.correct / progress.frames
    progress.running.append((progress.step, loss, accuracy))
    run.loggers.log(*_running_entry(*progress.running[-1]))
    speed = progress.frames_seen / progress.train_seconds
    left = (run.batches_per_epoch * run.config.train.epochs - progress.step) * progress.train_seconds / progress.step
    text = f"{format_duration(left)} left, loss {loss:.4f}, accuracy {100 * accuracy:.1f} %, {speed:,.0f} frames/s"
    bar.set_postfix_str(text)
    # On a terminal the bar says it already; in a log, a line per minute shows that the run is alive.
    quiet = sys.stderr.isatty() or time.monotonic() - run.last_progress_line < SECONDS_BETWEEN_LINES
    level = logging.DEBUG if quiet else logging.INFO
    if not quiet:
        run.last_progress_line = time.monotonic()
    LOG.log(level, "epoch %d, batch %d/%d: %s", progress.epoch + 1, progress.batch, run.batches_per_epoch, text)


def scores_in_columns(scores: dict[str, float], votes: bool = False) -> str:
    """Return accuracies as text of one width, with the discretisation gap if there is a relaxed form.

    Args:
        scores: loss and accuracies.
        votes: whether to add the accuracy by vote.
    """
    text = f"frames {100 * scores['frame_accuracy']:6.2f} %, recordings {100 * scores['recording_accuracy']:6.2f} %"
    if votes:
        text += f", by vote {100 * scores['vote_accuracy']:6.2f} %"
    if "discretisation_gap" in scores:
        text += f", gap {100 * scores['discretisation_gap']:6.2f} %"
    return text
