"""The `torch` backend's convolutional layers: plain PyTorch operations, on any device, in any floating dtype."""

from collections.abc import Callable

import torch

from src.logic.trees import Trees


def convolution(
    x: torch.Tensor,
    coefficients: torch.Tensor,
    trees: Trees,
    shares: torch.Tensor | None = None,
    outputs: Callable[[torch.Tensor], torch.Tensor] = lambda forms: forms,
) -> torch.Tensor:
    """Return what `Backend.convolution` asks for, in x's dtype.

    Args:
        x: activations [channels * height * width, batch].
        coefficients: bilinear forms [kernels * (leaves - 1), 4], kernel by kernel.
        trees: the layer's.
        shares: [kernels, leaves, candidates].
        outputs: what gates give, from the values of their bilinear forms.
    """
    s, batch = trees.shape, x.shape[-1]
    height, width = s.out_height * s.pool, s.out_width * s.pool  # without what fills no window
    around = s.padded_height - s.height
    after = around - s.before
    frames = x.reshape(s.channels, s.height, s.width, batch)
    padded = torch.nn.functional.pad(frames, (0, 0, s.before, after, s.before, after))
    rows, columns = torch.arange(height, device=x.device), torch.arange(width, device=x.device)
    forms = coefficients.to(x.dtype).reshape(s.kernels, s.leaves - 1, 4, 1, 1, 1)

    def read(inputs: torch.Tensor) -> torch.Tensor:
        """Return what these leaves read, int64 [3, kernels] -> [kernels, height, width, batch]."""
        channel, dy, dx = inputs[:, :, None, None]
        return padded[channel, rows[:, None] + dy, columns + dx]

    nodes = []
    for leaf in range(s.leaves):
        value = read(trees.connections[:, :, leaf])
        if trees.candidates is not None and shares is not None:
            excess = (shares - shares.detach()).to(x.dtype)  # zero, but for its gradient
            for i in range(trees.candidates.shape[-1]):
                value = value + excess[:, leaf, i, None, None, None] * read(trees.candidates[:, :, leaf, i]).detach()
        nodes.append(value)
    for gate in range(s.leaves - 1):
        a, b = nodes[2 * gate], nodes[2 * gate + 1]
        c0, c1, c2, c3 = forms[:, gate].unbind(1)
        nodes.append(outputs(c0 + c1 * a + (c2 + c3 * a) * b))
    windows = nodes[-1].reshape(s.kernels, s.out_height, s.pool, s.out_width, s.pool, batch).transpose(2, 3)
    return windows.flatten(3, 4).max(3).values.flatten(0, 2)
