"""The training loop: from a Config to a trained, evaluated, saved model, stoppable and resumable at every batch."""

import math
import time

import torch

from src.command_line import RunError, Stopped, StopSignals
from src.compiling import working_clock
from src.config import Config
from src.data import train_order
from src.distributed.batches import load_shares
from src.distributed.group import agree, from_rank_zero, joined, rank, world_size
from src.evaluation.metrics import val_scores
from src.helpers import LOG, format_duration
from src.jobs.folders import Job
from src.training.augmentation import augment
from src.training.device import autocast, explain_memory_errors
from src.training.finish import evaluate_split, finish
from src.training.loggers import Loggers, require_packages
from src.training.optimisation import (
    averaged_weights,
    frames_of_group,
    learning_rate,
    priced,
    set_learning_rate,
    training_loss,
    update_average,
)
from src.training.records import add_row, log_progress, progress_bar, scores_in_columns
from src.training.resuming import resume_from_checkpoint
from src.training.setup import begin, lock_of_job, set_up
from src.training.state import (
    EpochSums,
    TrainingRun,
    checkpoint_is_due,
    is_trained,
    save_checkpoint,
    save_metrics,
    save_model,
)


def train(config: Config, job_id: str, stop: StopSignals, resume: bool, restart: bool, debug: bool) -> None:
    """Train, evaluate and save one job.

    Args:
        config: what to train, and on what.
        job_id: name of the job's folders, checked by `check_name`.
        stop: asked at every batch.
        resume: go on from the newest checkpoint; if there is none, begin.
        restart: start over, replacing the job's checkpoints and models.
        debug: take only `setup.DEBUG_BATCHES` batches per epoch.

    Raises:
        UserError: the config does not fit the data, the job exists, or its checkpoints do not fit the config.
        Stopped: a signal came; the checkpoint is saved.
    """
    job = Job(job_id)
    require_packages(config)
    with (
        joined(config.train, stop),
        lock_of_job(job),
        Loggers(config, job.logs) as loggers,
        explain_memory_errors(),
    ):
        if resume and from_rank_zero(job.restarting.exists):
            LOG.warning("job %s starts over: its --restart was stopped before the first step", job_id)
            resume, restart = False, True
        run = set_up(config, job, loggers, stop, resume, restart, debug)
        if resume:
            resume_from_checkpoint(run)
        if not restart:
            begin(run)
        try:
            while not is_trained(run):
                train_epoch(run, stop)
                end_epoch(run, stop)
            begin(run)
            finish(run, stop)
        except Stopped:
            save_after_signal(run, stop)
            raise


def train_epoch(run: TrainingRun, stop: StopSignals) -> None:
    """Train on the batches of the current epoch that are not done yet."""
    options, seed, progress = run.config.train, run.config.base.seed, run.progress
    frames, shape, dtype = run.cache.splits["train"], run.cache.frame_shape, run.cache.frame_dtype
    order = train_order(len(frames), seed, progress.epoch, options.dataloader.shuffle_train)
    order = order[: run.batches_per_epoch * options.dataloader.batch_size]
    shares = load_shares(frames, order, options.dataloader, run.device, progress.batch, rank(), world_size())
    updates_per_epoch = math.ceil(run.batches_per_epoch / options.accumulate_batches)
    scores_so_far = val_scores(progress.rows, options.best_metric).values()
    sums = EpochSums(progress, run.device)
    run.model.train()
    run.model.begin_epoch(progress.epoch, options.epochs)
    began = working_clock()
    with progress_bar(run) as bar:
        for share in shares:
            # An update uses the gradients of a group of batches. Updates are numbered from 0 over the whole run.
            update = progress.epoch * updates_per_epoch + progress.batch // options.accumulate_batches
            set_learning_rate(run.optimizer, learning_rate(options, update, updates_per_epoch, scores_so_far))

            packed = augment(share.packed, shape, dtype, options.augmentation, seed, progress.epoch, share.first)
            with autocast(options, run.device):
                scores = run.forward(packed)
                taught = run.teacher.scores(packed) if run.teacher is not None else None
                loss = priced(training_loss(scores, share.labels, options, taught), run.model, options)
            # Weighted so that the mean of all processes' gradients is that of the mean loss over the group's frames.
            part_of_group = share.batch_frames / frames_of_group(progress.batch, len(order), options)
            run.scaler.scale(loss * (share.weight * part_of_group)).backward()

            done = progress.batch + 1
            group_ends = done % options.accumulate_batches == 0 or done == run.batches_per_epoch
            if group_ends:
                update_weights(run, update)

            correct = (scores.mean(1).argmax(1) == share.labels)[: share.frames].sum()
            sums.add(loss.detach() * share.frames, correct)
            now = working_clock()
            progress.count_batch(share.batch_frames, now - began)
            began = now
            bar.update()
            if group_ends and not run.begun:
                begin(run)
                began = working_clock()

            if progress.step % options.log_interval == 0:
                sums.read()
                log_progress(run, bar)
            if group_ends:  # checkpoints hold no gradients, so they wait for the update
                stopping, saving = agree(stop, checkpoint_is_due(run))
                if stopping or saving:
                    sums.read()
                if stopping:
                    stop.check()
                if saving:
                    save_checkpoint(run)
    sums.read()


def update_weights(run: TrainingRun, number: int) -> None:
    """Step by the gradients of a group of batches, and add the new weights to their moving average.

    Nothing here waits for a GPU. If the scaler skips a step, because gradients overflow, the old weights are averaged.
    """
    options = run.config.train
    if options.clip_gradient_norm is not None:
        run.scaler.unscale_(run.optimizer)
        torch.nn.utils.clip_grad_norm_(run.model.parameters(), options.clip_gradient_norm)
    run.scaler.step(run.optimizer)
    run.scaler.update()
    run.optimizer.zero_grad(set_to_none=True)
    if run.average:
        update_average(run.average, run.model, options.ema_decay, number + 1)


def end_epoch(run: TrainingRun, stop: StopSignals) -> None:
    """Evaluate on val, keep the best model, write metrics, and go on to the next epoch."""
    progress = run.progress
    number = progress.epoch + 1
    if progress.frames:
        prefix = "relaxed_" if run.model.trains_relaxed else ""
        row = {
            f"{prefix}loss": progress.loss_sum / progress.frames,
            f"{prefix}frame_accuracy": progress.correct / progress.frames,
        }
        add_row(run, "train", row, epoch=number)
    accuracy = f"train frames {100 * progress.correct / max(progress.frames, 1):6.2f} %"
    if len(run.cache.splits["val"]):
        with averaged_weights(run.model, run.average):
            scores = evaluate_split(run, run.model, "val", stop).accuracies()
            add_row(run, "val", scores, epoch=number)
            accuracy = f"val {scores_in_columns(scores)}"
            val = val_scores(progress.rows, run.config.train.best_metric)
            if val[number] > val.get(progress.best_epoch, -math.inf) and save_model(run, "best"):
                progress.best_epoch = number
    epochs = run.config.train.epochs
    loss = progress.loss_sum / max(progress.frames, 1)
    LOG.info("epoch %*d/%d: loss %.4f; %s", len(str(epochs)), number, epochs, loss, accuracy)
    progress.count_epoch()
    save_metrics(run)


def save_after_signal(run: TrainingRun, stop: StopSignals) -> None:
    """Save a checkpoint to both storages after a stop signal, and say how long that took."""
    if not save_checkpoint(run, to_project=True):
        raise RunError("stopped by a signal, but no checkpoint of this step could be saved") from None
    LOG.warning(
        "stopped by a signal after batch %d of epoch %d; saved %s after the signal; --resume continues there",
        run.progress.batch,
        run.progress.epoch + 1,
        format_duration(time.monotonic() - stop.received_at),
    )
