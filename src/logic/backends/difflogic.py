"""The `difflogic` implementation: the installed difflogic package's CUDA kernels, on our connections.

Its kernels take the sixteen gate probabilities, in the activations' dtype, and sum gradients with atomics. Where both
inputs of a neuron are the same one, its gradient of x is wrong: twice that of the first input.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from src.helpers import import_optional
from src.logic.backends import numba_dense_kernels as numba_kernels


@dataclass(frozen=True)
class ConnectionLists:
    """A layer's connections as the kernels want them, on the layer's device."""

    indices: torch.Tensor
    in_dim: int

    @cached_property
    def consumers(self) -> tuple[torch.Tensor, torch.Tensor]:
        """difflogic's given_x_indices_of_y_start and given_x_indices_of_y, int64."""
        starts, consumers = numba_kernels.input_consumers(self.indices.cpu().numpy(), self.in_dim)
        neurons = torch.from_numpy(consumers >> 1).long()
        return torch.from_numpy(starts).to(self.indices.device), neurons.to(self.indices.device)


def kernels() -> Any:
    """The package's extension module.

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
    """Of x [in_dim, batch] under gate probabilities [out_dim, 16]."""
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
