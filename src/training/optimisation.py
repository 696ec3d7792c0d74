"""Optimisation: the optimizer, the loss that it lowers, its learning rate, temperatures, and the average of weights.

An update is one step of the optimizer, for a group of train.accumulate_batches batches. Its learning rate is a function
of the config, the update's number and the metrics so far, so checkpoints need not hold it.
"""

import contextlib
import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from src.config import Train
from src.logic.thermometer import Thermometer
from src.models.frame_model import FrameModel


def create_optimizer(model: torch.nn.Module, options: Train) -> torch.optim.Optimizer:
    """Return Adam (Kingma, Ba 2015) or, with a weight decay, AdamW (Loshchilov, Hutter 2019).

    The thresholds of a thermometer do not decay: close to 0 they would all give the same bit.
    """
    if options.weight_decay == 0:
        return torch.optim.Adam(model.parameters(), lr=options.learning_rate, fused=True)
    thermometers = [module for module in model.modules() if isinstance(module, Thermometer)]
    thresholds = {parameter for thermometer in thermometers for parameter in thermometer.parameters()}
    groups: list[dict[str, Any]] = [{"params": [p for p in model.parameters() if p not in thresholds]}]
    if thresholds:
        groups.append({"params": list(thresholds), "weight_decay": 0.0})
    return torch.optim.AdamW(groups, lr=options.learning_rate, weight_decay=options.weight_decay, fused=True)


def training_loss(
    scores: torch.Tensor, labels: torch.Tensor, options: Train, taught: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the mean cross entropy, in float32, of class scores [B, groups, classes] and labels int64 [B].

    With train.label_smoothing s, the targets are 1 - s for the label, plus s spread over all classes (Szegedy et al.
    2016). A teacher adds a second part, whose weight is train.teacher.weight: T^2 times the cross entropy of scores / T
    with the softmax of the teacher's scores / T as targets, where T is train.teacher.temperature (Hinton et al. 2015).

    Args:
        scores: each group of a frame's scores has a loss of its own; see `FrameModel.forward_training`.
        labels: a frame's label counts for all its groups.
        options: label smoothing, and the teacher's weight and temperature.
        taught: the teacher's class scores [B, classes]; None without a teacher.
    """
    groups = scores.shape[1]
    scores = scores.flatten(0, 1).float()
    loss = cross_entropy(scores, labels.repeat_interleave(groups), label_smoothing=options.label_smoothing)
    if taught is None:
        return loss
    temperature, weight = options.teacher.temperature, options.teacher.weight
    targets = (taught.float() / temperature).softmax(1).repeat_interleave(groups, 0)
    return (1 - weight) * loss + weight * temperature**2 * cross_entropy(scores / temperature, targets)


def priced(loss: torch.Tensor, model: FrameModel, options: Train) -> torch.Tensor:
    """Return the loss and what train.hardware_cost adds to it, per thousand gates and votes of the model."""
    return loss + options.hardware_cost / 1000 * model.hardware_price() if options.hardware_cost else loss


def frames_of_group(batch: int, frames: int, options: Train) -> int:
    """Return the number of frames of a batch's group, over which the group's loss is the mean.

    An epoch's last group may have fewer batches, and its last batch fewer frames.

    Args:
        batch: number of the batch, counted from 0 in the epoch.
        frames: number of frames per epoch.
        options: batches per group, and frames per batch.
    """
    most = options.accumulate_batches * options.dataloader.batch_size
    first = batch // options.accumulate_batches * most
    return min(most, frames - first)


def learning_rate(options: Train, update: int, updates_per_epoch: int, val_scores: Iterable[float] = ()) -> float:
    """Return the learning rate of an update.

    A warm-up of W updates is PyTorch's LinearLR(start_factor=1 / (W + 1), total_iters=W). `cosine` begins after it and
    is, with U updates in the whole run, CosineAnnealingLR(T_max=U - W, eta_min=train.min_learning_rate) (Loshchilov,
    Hutter 2017). The other schedulers begin with the run and are multiplied by the warm-up: `step` is StepLR, and
    `plateau` is ReduceLROnPlateau with threshold 0.

    Args:
        options: the scheduler and its options.
        update: number of the update, counted from 0 over the whole run.
        updates_per_epoch: number of updates per epoch.
        val_scores: `metrics.val_scores` of the epochs that are done.
    """
    highest, lowest = options.learning_rate, options.min_learning_rate
    warmup = round(options.warmup_epochs * updates_per_epoch)
    rate = highest
    if options.scheduler == "cosine":
        share = max(0, update - warmup) / max(1, options.epochs * updates_per_epoch - warmup)
        rate = lowest + (highest - lowest) * (1 + math.cos(math.pi * share)) / 2
    elif options.scheduler == "step":
        falls = update // updates_per_epoch // options.step_epochs
        rate = max(lowest, highest * options.step_factor**falls)
    elif options.scheduler == "plateau":
        rate = max(lowest, highest * options.plateau_factor ** _plateaus(val_scores, options.plateau_patience))
    return rate * min(1.0, (update + 1) / (warmup + 1))


def _plateaus(val_scores: Iterable[float], patience: int) -> int:
    """Return how often more than `patience` scores in a row were no better than the best before them.

    After each time counting starts again.
    """
    plateaus, waited, best = 0, 0, -math.inf
    for score in val_scores:
        waited = 0 if score > best else waited + 1
        best = max(best, score)
        if waited > patience:
            plateaus, waited = plateaus + 1, 0
    return plateaus


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameters for the next update."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def create_average(model: torch.nn.Module, options: Train) -> list[torch.Tensor]:
    """Return what `update_average` changes: one tensor per parameter, or none without train.ema_decay."""
    return [parameter.detach().clone() for parameter in model.parameters()] if options.ema_decay > 0 else []


@torch.no_grad()
def update_average(average: list[torch.Tensor], model: torch.nn.Module, decay: float, updates: int) -> None:
    """Take the weights into their exponential moving average.

    The weights of n updates ago have the factor decay**n, and the sum is divided by the sum of the factors, as Adam
    corrects its means. The weights from before the first update therefore play no part.

    Args:
        average: the average so far; it is changed.
        model: the model with the new weights.
        decay: train.ema_decay.
        updates: number of updates that are done, 1 or more.
    """
    torch._foreach_lerp_(average, list(model.parameters()), (1 - decay) / (1 - decay**updates))


@contextlib.contextmanager
def averaged_weights(model: torch.nn.Module, average: list[torch.Tensor]) -> Iterator[None]:
    """Give the model the averaged weights inside the block, to be evaluated or saved, if there is an average."""
    if not average:
        yield
        return
    parameters = [parameter.detach() for parameter in model.parameters()]
    own = [parameter.clone() for parameter in parameters]
    torch._foreach_copy_(parameters, average)
    try:
        yield
    finally:
        torch._foreach_copy_(parameters, own)
