"""The `torch` implementation of a convolutional logic layer: plain PyTorch operations, on any device, in any dtype."""

import torch

from src.logic.backends.numba_convolution_kernels import Geometry
from src.logic.parametrisation import GateOptions, relaxed_outputs


def convolution(
    x: torch.Tensor,
    coefficients: torch.Tensor,
    connections: torch.Tensor,
    shape: Geometry,
    gates: GateOptions | None = None,
    candidates: torch.Tensor | None = None,
    shares: torch.Tensor | None = None,
) -> torch.Tensor:
    """The trees of gates at every position, and of each pooling window the largest, the first of equal ones.

    Args:
        x: activations [channels * height * width, batch].
        coefficients: [kernels * (leaves - 1), 4], kernel by kernel.
        connections: int64 [3, kernels, leaves], each leaf's channel, and its row and column in the receptive field.
        shape: the layer's sizes.
        gates: of relaxed gates whose bilinear forms are not yet what they give; see `relaxed_outputs`.
        candidates: int64 [3, kernels, leaves, candidates], like connections, of what each leaf may be.
        shares: [kernels, leaves, candidates], which get the gradient that they would have if a leaf were the mixture
            of its candidates; they change no value.

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

    def read(inputs: torch.Tensor) -> torch.Tensor:
        """int64 [3, kernels] -> [kernels, height, width, batch]."""
        channel, dy, dx = inputs[:, :, None, None]
        return padded[channel, rows[:, None] + dy, columns + dx]

    nodes = []
    for leaf in range(s.leaves):
        value = read(connections[:, :, leaf])
        if candidates is not None and shares is not None:
            excess = (shares - shares.detach()).to(x.dtype)  # zero, but for its gradient
            for i in range(candidates.shape[-1]):
                value = value + excess[:, leaf, i, None, None, None] * read(candidates[:, :, leaf, i]).detach()
        nodes.append(value)
    for gate in range(s.leaves - 1):
        a, b = nodes[2 * gate], nodes[2 * gate + 1]
        c0, c1, c2, c3 = forms[:, gate].unbind(1)
        form = c0 + c1 * a + (c2 + c3 * a) * b
        nodes.append(relaxed_outputs(form, gates) if gates else form)
    windows = nodes[-1].reshape(s.kernels, s.out_height, s.pool, s.out_width, s.pool, batch).transpose(2, 3)
    return windows.flatten(3, 4).max(3).values.flatten(0, 2)
