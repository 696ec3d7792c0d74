"""The values in pooling windows, and the windows in which rounding decides which of them wins."""

from collections.abc import Callable
from dataclasses import replace

import torch

from src.logic import LogicConvolution
from src.logic.backends.torch_convolution import convolution
from src.logic.parametrisation import GateWeights
from src.logic.trees import Trees

ROUNDING = 1e-6  # rounding of a tree's value in float32, with some to spare


def window_values(
    x: torch.Tensor,
    coefficients: torch.Tensor,
    trees: Trees,
    shares: torch.Tensor | None = None,
    outputs: Callable[[torch.Tensor], torch.Tensor] = lambda forms: forms,
) -> torch.Tensor:
    """What trees give in each output's window, [out_dim, pool * pool, batch]; arguments are torch_convolution's."""
    s = trees.shape
    everywhere = s._replace(pool=1, out_height=s.out_height * s.pool, out_width=s.out_width * s.pool)
    values = convolution(x, coefficients, replace(trees, shape=everywhere), shares, outputs)
    windows = values.reshape(s.kernels, s.out_height, s.pool, s.out_width, s.pool, x.shape[1])
    return windows.transpose(2, 3).reshape(-1, s.pool * s.pool, x.shape[1])


def clear_windows(trees: LogicConvolution, x: torch.Tensor) -> torch.Tensor:
    """Float32 [out_dim, batch], in train mode: 0 where rounding decides which value of a window is the largest, else 1.

    As a factor of the outputs' gradients it leaves out those windows. Of equal values
    the first one wins, unless a sigmoid comes after.
    """
    coefficients = trees.coefficients().detach().double()
    outputs = GateWeights(trees.weights, trees.gates, relaxed=True).outputs
    windows = window_values(x.detach().double(), coefficients, Trees(trees.indices, trees.shape), None, outputs)
    behind = windows.amax(1, keepdim=True) - windows
    if trees.gates.rule.sigmoid_after:  # PyTorch's sigmoid of equal numbers may differ, at the end of an array
        return ((behind <= ROUNDING).sum(1) == 1).float()
    return ((behind == 0) | (behind > ROUNDING)).all(1).float()
