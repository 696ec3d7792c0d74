"""The `triton` backend's dense layers as a PyTorch function: what autograd needs around the kernels."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from src.logic.backends import triton_dense_kernels as kernels


@dataclass(frozen=True)
class ConnectionLists:
    """A layer's connections as the kernels take them, on the layer's device."""

    indices: torch.Tensor
    in_dim: int

    @cached_property
    def consumers(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The lists of `numba_dense_kernels.input_consumers`, made when a gradient of the inputs is first needed."""
        inputs, consumers = self.indices.T.reshape(-1).sort(stable=True)
        starts = torch.searchsorted(inputs, torch.arange(self.in_dim + 1, device=inputs.device))
        return starts, consumers.int()


@torch.compiler.disable
def mixture(x: torch.Tensor, coefficients: torch.Tensor, lists: ConnectionLists, grad_factor: float) -> torch.Tensor:
    """Return the values of bilinear forms [out_dim, 4] in x's dtype, computed in float32: [out_dim, batch]."""
    return _Mixture.apply(x, coefficients, lists, grad_factor)


class _Mixture(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, coefficients: torch.Tensor, lists: ConnectionLists, grad_factor: float
    ) -> torch.Tensor:
        ctx.save_for_backward(x, coefficients)
        ctx.lists, ctx.grad_factor = lists, grad_factor
        return kernels.forward(x, coefficients.T, lists.indices)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor, None, None]:
        x, coefficients = ctx.saved_tensors
        need_grad_x = ctx.needs_input_grad[0]
        starts, consumers = ctx.lists.consumers if need_grad_x else (ctx.lists.indices, ctx.lists.indices)
        grad_x, grad_coefficients = kernels.backward(
            x, coefficients.T, ctx.lists.indices, starts, consumers, grad, need_grad_x, ctx.grad_factor
        )
        return grad_x, grad_coefficients.T, None, None


def candidate_slopes(
    x: torch.Tensor,
    coefficients: torch.Tensor,
    indices: torch.Tensor,
    candidates: torch.Tensor,
    grad_y: torch.Tensor,
) -> torch.Tensor:
    """Return what `Backend.candidate_slopes` asks for, summed in float32."""
    return kernels.candidate_slopes(x, coefficients.T, indices, candidates, grad_y)


@torch.compiler.disable
def unpack_features(packed: torch.Tensor, num_bits: int, dtype: torch.dtype) -> torch.Tensor:
    """Return the bits of packed frames, uint8 [B, bytes], as 0 and 1: [num_bits, B]."""
    return kernels.unpack_frames(packed, num_bits, dtype)
