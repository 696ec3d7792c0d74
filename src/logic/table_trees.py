"""Trees of gates with truth tables: a convolution as dense layers, one per level of its trees.

The gates of a level, at all positions, are neurons of one layer, and those of a kernel's gate share a table.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from src.logic.backends.backend import Backend
from src.logic.choices import Choices
from src.logic.parametrisation import GateWeights
from src.logic.trees import Geometry


@dataclass(frozen=True)
class Level:
    """A level of the trees: gates [gates of a tree, kernels, positions] as neurons, one after the other.

    Attributes:
        connections: the inputs of the neurons, as a backend takes them.
        neurons: their number.
        gates: number of gates of a tree.
    """

    connections: Any
    neurons: int
    gates: int


def tree_levels(leaves: torch.Tensor, fan_in: int, in_dim: int, backend: Backend) -> list[Level]:
    """Return the levels, that of the leaves first.

    Args:
        leaves: int64 [leaves, positions in a pooling window, kernels, out_height, out_width], the input of each leaf;
            in_dim stands for a 0.
        fan_in: number of inputs of a gate, k.
        in_dim: number of inputs of the layer.
        backend: what computes them.
    """
    inputs, in_dim = leaves.transpose(1, 2).flatten(2), in_dim + 1  # [leaves, kernels, positions]
    levels = []
    while len(inputs) > 1:
        gates = len(inputs) // fan_in
        chosen = inputs.unflatten(0, (gates, fan_in)).movedim(1, 0).flatten(1)
        levels.append(Level(backend.connect(chosen, in_dim), chosen.shape[1], gates))
        in_dim = chosen.shape[1]
        inputs = torch.arange(in_dim, device=leaves.device).reshape(gates, *inputs.shape[1:])
    return levels


def table_convolution(
    backend: Backend,
    x: torch.Tensor,
    gates: GateWeights,
    levels: Sequence[Level],
    shape: Geometry,
    grad_factor: float,
    learned: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> torch.Tensor:
    """Return what `Backend.convolution` asks for, from gates with tables.

    Args:
        backend: what computes the levels.
        x: activations [channels * height * width, batch].
        gates: [kernels * gates of a tree], kernel by kernel.
        levels: the layer's.
        shape: its sizes.
        grad_factor: multiplies the gradient of x.
        learned: shares [kernels, leaves, candidates], which get a gradient, and the input that each candidate is, int32
            [k, neurons of the first level, candidates].
    """
    tables = gates.tables().unflatten(0, (shape.kernels, -1))
    values = torch.nn.functional.pad(x, (0, 0, 0, 1))  # the last row is the zeros around the frame
    begin = 0
    for level in levels:
        own = tables[:, begin : begin + level.gates].transpose(0, 1).flatten(0, 1)
        begin += level.gates
        is_first = level is levels[0]
        choices = None
        if learned is not None and is_first:
            shares, candidates = learned
            choices = Choices(_of_neurons(shares, level), candidates)
        forms = backend.table_forms(values, own, level.connections, grad_factor if is_first else 1.0, choices)
        values = gates.outputs(forms)
    windows = values.reshape(shape.kernels, shape.pool**2, -1)
    return windows.max(1).values.reshape(-1, x.shape[1])


def _of_neurons(shares: torch.Tensor, level: Level) -> torch.Tensor:
    """Return shares [kernels, leaves, candidates] for the neurons of the first level, [k, neurons, candidates]."""
    by_gate = shares.unflatten(1, (level.gates, -1)).permute(2, 1, 0, 3)  # [k, gates, kernels, candidates]
    fan_in, gates, kernels, candidates = by_gate.shape
    positions = level.neurons // (gates * kernels)
    return by_gate[:, :, :, None].expand(fan_in, gates, kernels, positions, candidates).flatten(1, 3)
