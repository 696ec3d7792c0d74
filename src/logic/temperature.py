"""What changes in the gates of a network while it trains: their temperature, and how they are sampled."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from src.logic.parametrisation import GateOptions


def temperature_of_epoch(first: float, last: float, epoch: int, epochs: int) -> float:
    """Return a temperature between `first` in epoch 0 and `last` in the last epoch, by an equal factor per epoch."""
    if first == last or epochs <= 1:
        return first
    return first * (last / first) ** (epoch / (epochs - 1))


def set_temperature(model: torch.nn.Module, temperature: float) -> None:
    """Give all layers of gates in a model this temperature; a model may have none."""
    for layer in _layers(model):
        layer.gates = replace(layer.gates, temperature=temperature)


def gate_temperature(model: torch.nn.Module) -> float:
    """Return what `set_temperature` has set; 1 for a model without gates."""
    return next((layer.gates.temperature for layer in _layers(model)), 1.0)


@contextlib.contextmanager
def soft_gates(model: torch.nn.Module) -> Iterator[None]:
    """Relax gates in train mode within it, without noise, whatever their forward_sampling."""
    layers = _layers(model)
    kept = [layer.gates for layer in layers]
    for layer in layers:
        layer.gates = replace(layer.gates, forward_sampling="soft")
    try:
        yield
    finally:
        for layer, gates in zip(layers, kept, strict=True):
            layer.gates = gates


def _layers(model: torch.nn.Module) -> list[Any]:
    return [module for module in model.modules() if isinstance(getattr(module, "gates", None), GateOptions)]
