"""Pooling windows in which rounding decides: another implementation may let another value win there."""

import torch

from src.logic import LogicConvolution

ROUNDING = 1e-6  # of a tree's value in float32, with some to spare


def clear_windows(trees: LogicConvolution, x: torch.Tensor) -> torch.Tensor:
    """Float32 [out_dim, batch]: 0 where rounding decides which value of an output's window is the largest, else 1.

    As a factor of the outputs' gradients it leaves out those windows. Equal values are no matter: the first one wins.
    """
    s, (_, height, width) = trees.shape, trees.in_shape
    depth = s.leaves.bit_length() - 1
    options = {"gates": trees.gates, "implementation": "torch"}
    unpooled = LogicConvolution(trees.in_shape, s.kernels, trees.receptive_field, depth, 1, **options)
    unpooled.load_state_dict(trees.state_dict())
    with torch.no_grad():
        values = unpooled.double().train(trees.training).forward_features(x.double())
    values = values.reshape(s.kernels, height, width, -1)[:, : s.out_height * s.pool, : s.out_width * s.pool]
    windows = values.reshape(s.kernels, s.out_height, s.pool, s.out_width, s.pool, -1)
    behind = windows.amax((2, 4), keepdim=True) - windows
    return ((behind == 0) | (behind > ROUNDING)).all(4).all(2).flatten(0, 2).float()
