"""A connection scheme that a test registers: a neuron sees the input of its own number, and the next one."""

import torch

from src.logic.connection_schemes import ConnectionScheme


class Neighbours(ConnectionScheme):
    """Draws no random numbers."""

    @staticmethod
    def draw(in_dim: int, out_dim: int) -> torch.Tensor:
        """Return int64 [2, out_dim]."""
        first = torch.arange(out_dim) % in_dim
        return torch.stack([first, (first + 1) % in_dim])
