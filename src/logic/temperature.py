"""What changes in the gates of a network that trains: their temperature, and sampling, which evaluations leave out."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from src.logic.parametrisation import GateOptions


def temperature_of_epoch(first: float, last: float, epoch: int, epochs: int) -> float:
    """From `first` in epoch 0 to `last` in epoch `epochs` - 1, by an equal factor an epoch."""
    if first == last or epochs <= 1:
        return first
    return first * (last / first) ** (epoch / (epochs - 1))


def set_temperature(model: torch.nn.Module, temperature: float) -> None:
    """Give all layers of gates in a model, or none, this temperature."""
    for layer in _layers(model):
        layer.gates = replace(layer.gates, temperature=temperature)


def gate_temperature(model: torch.nn.Module) -> float:
    """What `set_temperature` has set; 1 for a model without gates."""
    return next((layer.gates.temperature for layer in _layers(model)), 1.0)


@contextlib.contextmanager
def soft_gates(model: torch.nn.Module) -> Iterator[None]:
    """Within it, gates in train mode are relaxed whatever their forward_sampling: no noise, not discretised."""
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
