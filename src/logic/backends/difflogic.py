"""The `difflogic` backend: the installed difflogic package's CUDA kernels, on our connections.

Its kernels take the sixteen gate probabilities, in the activations' dtype, and sum gradients with atomics. If both
inputs of a neuron are the same one, its gradient of x is wrong: twice that of the first input.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from src.helpers import import_optional
from src.logic.backends import numba_dense_kernels
from src.logic.backends.backend import Backend, scale_gradient
from src.logic.parametrisation import GateWeights
from src.logic.trees import Trees

_NO_CANDIDATES = "implementation 'difflogic' cannot learn connections; use 'auto', or random connections"


@dataclass(frozen=True)
class ConnectionLists:
    """A layer's connections as the kernels take them, on the layer's device."""

    indices: torch.Tensor
    in_dim: int

    @cached_property
    def consumers(self) -> tuple[torch.Tensor, torch.Tensor]:
        """difflogic's given_x_indices_of_y_start and given_x_indices_of_y, int64."""
        starts, consumers = numba_dense_kernels.input_consumers(self.indices.cpu().numpy(), self.in_dim)
        neurons = torch.from_numpy(consumers >> 1).long()
        return torch.from_numpy(starts).to(self.indices.device), neurons.to(self.indices.device)


class Difflogic(Backend):
    """It is there to be compared with, so that `auto` never takes it."""

    runs_on = "CUDA and not in bfloat16"
    chosen_by_auto = False
    has_convolution = False

    def suits(self, x: torch.Tensor) -> bool:
        """Return whether x is on a GPU, and not in bfloat16."""
        return x.device.type == "cuda" and x.dtype != torch.bfloat16

    def connect(self, indices: torch.Tensor, in_dim: int) -> ConnectionLists:
        """Return lists that are made when they are first needed."""
        return ConnectionLists(indices, in_dim)

    def dense(
        self, x: torch.Tensor, gates: GateWeights, connections: ConnectionLists, grad_factor: float
    ) -> torch.Tensor:
        """Compute in x's dtype.

        Raises:
            ValueError: if gates are no mixtures of the sixteen.
        """
        probabilities = gates.probabilities()
        if probabilities is None:
            raise ValueError(
                f"implementation 'difflogic' knows parametrisation softmax alone, not {gates.options.parametrisation}"
            )
        return mixture(scale_gradient(x, grad_factor), probabilities, connections)

    def forms(self, x: torch.Tensor, coefficients: torch.Tensor, connections: Any, grad_factor: float) -> torch.Tensor:
        """Raise ValueError, since only layers that learn their connections ask for it."""
        raise ValueError(_NO_CANDIDATES)

    def candidate_slopes(
        self,
        x: torch.Tensor,
        coefficients: torch.Tensor,
        indices: torch.Tensor,
        candidates: torch.Tensor,
        grad_y: torch.Tensor,
    ) -> torch.Tensor:
        """Raise ValueError."""
        raise ValueError(_NO_CANDIDATES)

    def convolution(
        self, x: torch.Tensor, gates: GateWeights, trees: Trees, grad_factor: float, shares: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Raise ValueError."""
        raise ValueError("implementation 'difflogic' has no convolutions; use 'auto'")


DIFFLOGIC = Difflogic()


def kernels() -> Any:
    """Return the package's extension module.

    Raises:
        ImportError: if it cannot be imported, with what to do.
    """
    return import_optional(
        "difflogic_cuda",
        "implementation 'difflogic' asks for difflogic with its CUDA extension",
        "the image of singularity/difflogic.def has it, and shows how to build it with nvcc (pip alone fails on new "
        "PyTorch); or use the implementation 'auto', which needs nothing",
    )


@torch.compiler.disable
def mixture(x: torch.Tensor, probabilities: torch.Tensor, lists: ConnectionLists) -> torch.Tensor:
    """Return the mixtures of the sixteen gates under probabilities [out_dim, 16]: [out_dim, batch]."""
    return _Mixture.apply(x.contiguous(), probabilities.to(x.dtype).contiguous(), lists)


class _Mixture(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, probabilities: torch.Tensor, lists: ConnectionLists) -> torch.Tensor:
        ctx.save_for_backward(x, probabilities)
        ctx.lists = lists
        first, second = lists.indices
        return kernels().forward(x, first, second, probabilities)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        x, probabilities = ctx.saved_tensors
        first, second = ctx.lists.indices
        grad = grad.contiguous()
        grad_x = grad_probabilities = None
        if ctx.needs_input_grad[0]:
            grad_x = kernels().backward_x(x, first, second, probabilities, grad, *ctx.lists.consumers)
        if ctx.needs_input_grad[1]:
            grad_probabilities = kernels().backward_w(x, first, second, grad)
        return grad_x, grad_probabilities, None
