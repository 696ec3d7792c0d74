"""The `torch` implementation of a convolutional logic layer: plain PyTorch operations, on any device, in any dtype."""

import torch

from src.logic.convolution_kernels import Geometry
from src.logic.parametrisation import GateOptions, relaxed_outputs


def convolution(
    x: torch.Tensor,
    coefficients: torch.Tensor,
    connections: torch.Tensor,
    shape: Geometry,
    gates: GateOptions | None = None,
) -> torch.Tensor:
    """The trees of gates at every position, and of each pooling window the largest, the first of equal ones.

    Args:
        x: activations [channels * height * width, batch].
        coefficients: [kernels * (leaves - 1), 4], kernel by kernel.
        connections: int64 [3, kernels, leaves], each leaf's channel, and its row and column in the receptive field.
        shape: the layer's sizes.
        gates: of relaxed gates whose bilinear forms are not yet what they give; see `relaxed_outputs`.

    Returns:
        [kernels * out_height * out_width, batch], in x's dtype.
    """
    s, batch = shape, x.shape[-1]
    height, width = s.out_height * s.pool, s.out_width * s.pool  # without what fills no window
    around = s.padded_height - s.height
    after = around - s.before
    frames = x.reshape(s.channels, s.height, s.width, batch)
    padded = torch.nn.functional.pad(frames, (0, 0, s.before, after, s.before, after))
    rows, columns = torch.arange(height, device=x.device), torch.arange(width, device=x.device)
    forms = coefficients.to(x.dtype).reshape(s.kernels, s.leaves - 1, 4, 1, 1, 1)
    nodes = []
    for leaf in range(s.leaves):
        channel, dy, dx = connections[:, :, leaf, None, None]
        nodes.append(padded[channel, rows[:, None] + dy, columns + dx])  # [kernels, height, width, batch]
    for gate in range(s.leaves - 1):
        a, b = nodes[2 * gate], nodes[2 * gate + 1]
        c0, c1, c2, c3 = forms[:, gate].unbind(1)
        form = c0 + c1 * a + (c2 + c3 * a) * b
        nodes.append(relaxed_outputs(form, gates) if gates else form)
    windows = nodes[-1].reshape(s.kernels, s.out_height, s.pool, s.out_width, s.pool, batch).transpose(2, 3)
    return windows.flatten(3, 4).max(3).values.reshape(-1, batch)
