"""Optimising: the optimizer, its learning rate at every update, the loss that it lowers, and the average of weights.

An update is one step of the optimizer, for a group of train.accumulate_batches batches. Its learning rate is a function
of the config, its number and the metrics so far, so that a checkpoint needs nothing of it.
"""

import contextlib
import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from src.config import Config, Train
from src.logic.temperature import set_temperature, temperature_of_epoch
from src.logic.thermometer import Thermometer


def create_optimizer(model: torch.nn.Module, options: Train) -> torch.optim.Optimizer:
    """Adam (Kingma, Ba 2015); with a weight decay, AdamW (Loshchilov, Hutter 2019).

    It decays all parameters but a thermometer's thresholds: near 0 they would all say the same of a count.
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
    """Mean cross entropy, in float32, of class scores [B, groups, classes] and labels int64 [B].

    A frame's label is that of all its groups: see `FrameModel.forward_training`.

    With train.label_smoothing s, of targets 1 - s for the label, plus s spread over all classes (Szegedy et al. 2016).
    With a teacher's scores [B, classes], `taught`, train.teacher.weight of the loss is that of both scores divided by
    T = train.teacher.temperature, the teacher's softmax being the target, times T^2 (Hinton et al. 2015).
    """
    groups = scores.shape[1]
    scores = scores.flatten(0, 1).float()
    loss = cross_entropy(scores, labels.repeat_interleave(groups), label_smoothing=options.label_smoothing)
    if taught is None:
        return loss
    temperature, weight = options.teacher.temperature, options.teacher.weight
    targets = (taught.float() / temperature).softmax(1).repeat_interleave(groups, 0)
    return (1 - weight) * loss + weight * temperature**2 * cross_entropy(scores / temperature, targets)


def frames_of_group(batch: int, frames: int, options: Train) -> int:
    """Frames of the group of batches that this batch, counted from 0, belongs to in an epoch of so many frames.

    A group's loss is the mean over these. An epoch's last group may have fewer batches, its last batch fewer frames.
    """
    most = options.accumulate_batches * options.dataloader.batch_size
    first = batch // options.accumulate_batches * most
    return min(most, frames - first)


def learning_rate(options: Train, update: int, updates_an_epoch: int, val_scores: Iterable[float] = ()) -> float:
    """The learning rate of an update, counted from 0 over the whole run, after epochs of these `metrics.val_scores`.

    A warm-up of W updates is PyTorch's LinearLR(start_factor=1 / (W + 1), total_iters=W). `cosine` follows after it:
    with U updates in all, CosineAnnealingLR(T_max=U - W, eta_min=train.min_learning_rate) (Loshchilov, Hutter 2017).
    The others are multiplied by it: `step` is StepLR, its epochs counted from the run's beginning; `plateau` is
    ReduceLROnPlateau with threshold 0.
    """
    highest, lowest = options.learning_rate, options.min_learning_rate
    warmup = round(options.warmup_epochs * updates_an_epoch)
    rate = highest
    if options.scheduler == "cosine":
        share = max(0, update - warmup) / max(1, options.epochs * updates_an_epoch - warmup)
        rate = lowest + (highest - lowest) * (1 + math.cos(math.pi * share)) / 2
    elif options.scheduler == "step":
        falls = update // updates_an_epoch // options.step_epochs
        rate = max(lowest, highest * options.step_factor**falls)
    elif options.scheduler == "plateau":
        rate = max(lowest, highest * options.plateau_factor ** _plateaus(val_scores, options.plateau_patience))
    return rate * min(1.0, (update + 1) / (warmup + 1))


def _plateaus(val_scores: Iterable[float], patience: int) -> int:
    """How often more than `patience` scores in a row were no better than the best before; each time counts anew."""
    plateaus, waited, best = 0, 0, -math.inf
    for score in val_scores:
        waited = 0 if score > best else waited + 1
        best = max(best, score)
        if waited > patience:
            plateaus, waited = plateaus + 1, 0
    return plateaus


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """For the next update, of all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def set_temperature_of_epoch(model: torch.nn.Module, config: Config, epoch: int) -> None:
    """Give the gates their temperature of an epoch, counted from 0; models without gates stay as they are."""
    gates = config.model.difflogic
    last = gates.temperature if gates.final_temperature is None else gates.final_temperature
    set_temperature(model, temperature_of_epoch(gates.temperature, last, epoch, config.train.epochs))


def create_average(model: torch.nn.Module, options: Train) -> list[torch.Tensor]:
    """What `update_average` keeps, a tensor a parameter; none without train.ema_decay."""
    return [parameter.detach().clone() for parameter in model.parameters()] if options.ema_decay > 0 else []


@torch.no_grad()
def update_average(average: list[torch.Tensor], model: torch.nn.Module, decay: float, updates: int) -> None:
    """Take the weights after so many updates (1, 2, …) into the exponential moving average.

    The weights of n updates ago count in proportion to decay**n. Their sum is divided by that of these factors, as Adam
    corrects its means: the weights from before the first update have no part in it.
    """
    torch._foreach_lerp_(average, list(model.parameters()), (1 - decay) / (1 - decay**updates))


@contextlib.contextmanager
def averaged_weights(model: torch.nn.Module, average: list[torch.Tensor]) -> Iterator[None]:
    """Within it the model has the average's weights, to be evaluated or saved; its own where there is no average."""
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
