"""A backend that a test registers: PyTorch's, which counts the layers that it computes."""

import torch

from src.logic.backends.torch import Torch


class Counting(Torch):
    """Computes as its parent does."""

    runs_on = "any device"
    computed = 0

    def forms(
        self, x: torch.Tensor, coefficients: torch.Tensor, connections: torch.Tensor, grad_factor: float
    ) -> torch.Tensor:
        """Count, and compute."""
        Counting.computed += 1
        return super().forms(x, coefficients, connections, grad_factor)


BACKEND = Counting()
