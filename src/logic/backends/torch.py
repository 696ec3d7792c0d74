"""The `torch` backend: plain PyTorch operations, on any device, in any floating dtype."""

import torch

from src.logic.backends.backend import Backend, scale_gradient
from src.logic.backends.torch_convolution import convolution
from src.logic.backends.torch_dense import candidate_slopes, mixture
from src.logic.parametrisation import GateWeights
from src.logic.trees import Trees


class Torch(Backend):
    """What every other backend must equal."""

    runs_on = "any device"

    def suits(self, x: torch.Tensor) -> bool:
        """Return True."""
        return True

    def forms(
        self, x: torch.Tensor, coefficients: torch.Tensor, connections: torch.Tensor, grad_factor: float
    ) -> torch.Tensor:
        """Compute in x's dtype."""
        return mixture(scale_gradient(x, grad_factor), coefficients, connections)

    def candidate_slopes(
        self,
        x: torch.Tensor,
        coefficients: torch.Tensor,
        indices: torch.Tensor,
        candidates: torch.Tensor,
        grad_y: torch.Tensor,
    ) -> torch.Tensor:
        """Sum one candidate per neuron at a time."""
        return candidate_slopes(x, coefficients, indices, candidates, grad_y)

    def convolution(
        self, x: torch.Tensor, gates: GateWeights, trees: Trees, grad_factor: float, shares: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Compute in x's dtype, one gate of all trees at a time."""
        return convolution(scale_gradient(x, grad_factor), gates.coefficients(), trees, shares, gates.outputs)


TORCH = Torch()
