"""The `numba` implementation as PyTorch functions: what autograd needs around the kernels."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.autograd.function import once_differentiable

from src.logic import numba_kernels


@dataclass(frozen=True)
class ConnectionLists:
    """A layer's connections as the kernels want them."""

    indices: NDArray[np.int64]
    in_dim: int

    @cached_property
    def inputs(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """First and second input of each neuron, int32 [out_dim] each."""
        first, second = self.indices.astype(np.int32)
        return first, second

    @cached_property
    def consumers(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """The inverse list; built when a gradient of the inputs is first asked for."""
        return numba_kernels.input_consumers(self.indices, self.in_dim)


def connection_lists(indices: torch.Tensor, in_dim: int) -> ConnectionLists:
    """Of the buffer `indices`, int64 [2, out_dim]."""
    return ConnectionLists(indices.numpy().copy(), in_dim)


@torch.compiler.disable
def coefficients(weights: torch.Tensor) -> torch.Tensor:
    """Softmax and projection in one pass: float32 [out_dim, 16] -> [out_dim, 4]."""
    return _Coefficients.apply(weights)


@torch.compiler.disable
def mixture(x: torch.Tensor, coefficients: torch.Tensor, lists: ConnectionLists, grad_factor: float) -> torch.Tensor:
    """Like `reference.mixture`; computes in float32 whatever x's dtype."""
    return _Mixture.apply(x.float().contiguous(), coefficients, lists, grad_factor).to(x.dtype)


@torch.compiler.disable
def unpack_features(packed: torch.Tensor, num_bits: int) -> torch.Tensor:
    """Packed frames uint8 [B, bytes] -> 0 and 1, float32 [num_bits, B]."""
    features = torch.empty(num_bits, len(packed))
    numba_kernels.unpack_features(packed.numpy(), features.numpy())
    return features


class _Coefficients(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: torch.Tensor) -> torch.Tensor:
        probabilities, result = torch.empty_like(weights), weights.new_empty(len(weights), 4)
        numba_kernels.mixture_coefficients(weights.detach().numpy(), probabilities.numpy(), result.numpy())
        ctx.save_for_backward(probabilities)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        (probabilities,) = ctx.saved_tensors
        grad_weights = torch.empty_like(probabilities)
        numba_kernels.weight_gradient(probabilities.numpy(), grad.contiguous().numpy(), grad_weights.numpy())
        return grad_weights


class _Mixture(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, coefficients: torch.Tensor, lists: ConnectionLists, grad_factor: float
    ) -> torch.Tensor:
        y = x.new_empty(len(coefficients), x.shape[1])
        coefficients = coefficients.contiguous()
        first, second = lists.inputs
        numba_kernels.forward(x.detach().numpy(), coefficients.detach().numpy(), first, second, y.numpy())
        ctx.save_for_backward(x, coefficients)
        ctx.lists, ctx.grad_factor = lists, grad_factor
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor, None, None]:
        x, coefficients = ctx.saved_tensors
        first, second = ctx.lists.inputs
        grad_y = grad.contiguous().numpy()
        grad_coefficients = torch.empty_like(coefficients)
        if not ctx.needs_input_grad[0]:
            numba_kernels.backward_coefficients(x.numpy(), first, second, grad_y, grad_coefficients.numpy())
            return None, grad_coefficients, None, None
        starts, consumers = ctx.lists.consumers
        grad_x = torch.empty_like(x)
        numba_kernels.backward(
            x.numpy(),
            coefficients.numpy(),
            first,
            second,
            starts,
            consumers,
            grad_y,
            ctx.grad_factor,
            grad_x.numpy(),
            grad_coefficients.numpy(),
        )
        return grad_x, grad_coefficients, None, None
