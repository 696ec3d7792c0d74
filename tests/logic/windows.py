"""The values in pooling windows, and the windows in which rounding decides which of them wins."""

from typing import Any

import torch

from src.logic import LogicConvolution
from src.logic.backends import torch_convolution as convolution_reference
from src.logic.backends.numba_convolution_kernels import Geometry

ROUNDING = 1e-6  # rounding of a tree's value in float32, with some to spare


def window_values(
    x: torch.Tensor, coefficients: torch.Tensor, indices: torch.Tensor, shape: Geometry, *more: Any
) -> torch.Tensor:
    """What trees give in each output's window, [out_dim, pool * pool, batch]; arguments are the reference's."""
    s = shape
    everywhere = s._replace(pool=1, out_height=s.out_height * s.pool, out_width=s.out_width * s.pool)
    values = convolution_reference.convolution(x, coefficients, indices, everywhere, *more)
    windows = values.reshape(s.kernels, s.out_height, s.pool, s.out_width, s.pool, x.shape[1])
    return windows.transpose(2, 3).reshape(-1, s.pool * s.pool, x.shape[1])


def clear_windows(trees: LogicConvolution, x: torch.Tensor) -> torch.Tensor:
    """Float32 [out_dim, batch], in train mode: 0 where rounding decides which value of a window is the largest, else 1.

    As a factor of the outputs' gradients it leaves out those windows. Equal values are no matter: the first one wins.
    """
    coefficients = trees.coefficients().detach().double()
    windows = window_values(x.detach().double(), coefficients, trees.indices, trees.shape, trees.gates)
    behind = windows.amax(1, keepdim=True) - windows
    return ((behind == 0) | (behind > ROUNDING)).all(1).float()
