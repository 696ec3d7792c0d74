"""A parametrisation that a test registers: one weight per gate, which passes its first input on, or its complement."""

import torch

from src.logic.gates import PASS_THROUGH
from src.logic.parametrisation import GateOptions, Parametrisation, wide


class BufferOrInverter(Parametrisation):
    """With s = sigmoid(weight), a gate is s + (1 - 2 s) a."""

    parameters = 1

    def residual_weights(self, weights: torch.Tensor) -> None:
        """Set the weights of buffers."""
        weights.fill_(-3.0)

    def coefficients(self, weights: torch.Tensor, options: GateOptions) -> torch.Tensor:
        """Return the bilinear forms [count, 4]."""
        (share,) = torch.sigmoid(wide(weights) / options.temperature).unbind(-1)
        zeros = torch.zeros_like(share)
        return torch.stack([share, 1 - 2 * share, zeros, zeros], -1)

    def gates(self, weights: torch.Tensor) -> torch.Tensor:
        """Return buffers, and inverters where the weight is above 0."""
        return torch.where(weights[:, 0] > 0, 15 - PASS_THROUGH, PASS_THROUGH)
