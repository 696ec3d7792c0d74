"""Train in one process as several do: python -m tests.one_process FOLDER JOB_ID PROCESSES OPTIONS.

Each process adds the gradients of its share of a batch to those of the group so far, and the mean of these sums is
taken. This program does the same in turn, by the library's own functions, and saves the final weights as a model of
JOB_ID, so that a test can compare them bit for bit. It is made for runs without --debug, teacher and early stopping.
"""

import contextlib
import math
import sys
from pathlib import Path
from typing import Any

import torch

from src.command_line import StopSignals
from src.config import Config
from src.data import train_order
from src.distributed.batches import Share, load_shares
from src.helpers import set_up_logging
from src.jobs.folders import Job
from src.train import end_epoch, update_weights
from src.training.augmentation import augment
from src.training.device import autocast
from src.training.loggers import Loggers
from src.training.optimisation import (
    averaged_weights,
    frames_of_group,
    learning_rate,
    priced,
    set_learning_rate,
    training_loss,
)
from src.training.setup import set_up
from src.training.state import TrainingRun, save_model


def train_by_shares(config: Config, job_id: str, processes: int) -> None:
    """Train a job without its files, then save the final model."""
    job = Job(job_id)
    with Loggers(config, job.logs) as loggers:
        run = set_up(config, job, loggers, StopSignals(), resume=False, restart=False, debug=False)
        while run.progress.epoch < config.train.epochs:
            train_epoch(run, processes)
            end_epoch(run, StopSignals())
        with averaged_weights(run.model, run.average):
            save_model(run, "final")


def train_epoch(run: TrainingRun, processes: int) -> None:
    """Train one epoch, each batch in as many shares as there would be processes."""
    options, split, progress = run.config.train, run.cache.splits["train"], run.progress
    order = train_order(len(split), run.config.base.seed, progress.epoch, options.dataloader.shuffle_train)
    by_process = [
        load_shares(split, order, options.dataloader, run.device, number=number, shares=processes)
        for number in range(processes)
    ]
    updates = math.ceil(run.batches_per_epoch / options.accumulate_batches)
    run.model.train()
    run.model.begin_epoch(progress.epoch, run.config.train.epochs)
    for shares in zip(*by_process, strict=True):
        update = progress.epoch * updates + progress.batch // options.accumulate_batches
        set_learning_rate(run.optimizer, learning_rate(options, update, updates))
        part_of_group = shares[0].batch_frames / frames_of_group(progress.batch, len(order), options)
        add_mean_gradients(run, shares, part_of_group)
        progress.count_batch(shares[0].batch_frames, seconds=0.0)
        if progress.batch % options.accumulate_batches == 0 or progress.batch == run.batches_per_epoch:
            update_weights(run, update)


def add_mean_gradients(run: TrainingRun, shares: tuple[Share, ...], part_of_group: float) -> None:
    """Add each share's gradients to those of the group so far, with the same noise, and take the mean of the sums."""
    parameters = list(run.model.parameters())
    so_far = [parameter.grad for parameter in parameters]
    sums: list[list[Any]] = []
    for number, share in enumerate(shares, 1):
        last = number == len(shares)
        for parameter, gradient in zip(parameters, so_far, strict=True):
            parameter.grad = gradient if last or gradient is None else gradient.clone()
        with contextlib.nullcontext() if last else torch.random.fork_rng(devices=[]):
            add_gradients(run, share, part_of_group)
        sums.append([parameter.grad for parameter in parameters if parameter.grad is not None])
    for gradients in sums:
        torch._foreach_mul_(gradients, 1 / len(shares))
    for gradients in sums[:-1]:
        torch._foreach_add_(sums[-1], gradients)


def add_gradients(run: TrainingRun, share: Share, part_of_group: float) -> None:
    """Do what a process does with its share of a batch."""
    options, cache = run.config.train, run.cache
    packed = augment(
        share.packed,
        cache.frame_shape,
        cache.frame_dtype,
        options.augmentation,
        run.config.base.seed,
        run.progress.epoch,
        share.first,
    )
    with autocast(options, run.device):
        loss = priced(training_loss(run.forward(packed), share.labels, options), run.model, options)
    run.scaler.scale(loss * (share.weight * part_of_group)).backward()


if __name__ == "__main__":
    folder, job_id, processes, options = sys.argv[1:]
    set_up_logging()
    train_by_shares(Config.from_yaml(Path(folder) / "small.yaml", [options]), job_id, int(processes))
