"""A connection scheme that a test registers: a neuron sees the input of its own number, and the next ones."""

import torch

from src.logic.connection_schemes import ConnectionScheme


class Neighbours(ConnectionScheme):
    """Draws no random numbers."""

    @staticmethod
    def draw(in_dim: int, out_dim: int, fan_in: int = 2) -> torch.Tensor:
        """Return int64 [fan_in, out_dim]."""
        return (torch.arange(out_dim) + torch.arange(fan_in)[:, None]) % in_dim
