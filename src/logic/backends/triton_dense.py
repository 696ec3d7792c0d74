"""The `triton` implementation as PyTorch functions: what autograd needs around the kernels."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from src.logic.backends import triton_dense_kernels as triton_kernels


@dataclass(frozen=True)
class ConnectionLists:
    """A layer's connections as the kernels want them, on the layer's device."""

    indices: torch.Tensor
    in_dim: int

    @cached_property
    def consumers(self) -> tuple[torch.Tensor, torch.Tensor]:
        """`numba_kernels.input_consumers`; built, on the device, when a gradient of the inputs is first asked for."""
        inputs, consumers = self.indices.T.reshape(-1).sort(stable=True)
        starts = torch.searchsorted(inputs, torch.arange(self.in_dim + 1, device=inputs.device))
        return starts, consumers.int()


@torch.compiler.disable
def mixture(x: torch.Tensor, coefficients: torch.Tensor, lists: ConnectionLists, grad_factor: float) -> torch.Tensor:
    """Like `reference.mixture`; float32, bfloat16 or float16, computed in float32."""
    return _Mixture.apply(x, coefficients, lists, grad_factor)


class _Mixture(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, coefficients: torch.Tensor, lists: ConnectionLists, grad_factor: float
    ) -> torch.Tensor:
        ctx.save_for_backward(x, coefficients)
        ctx.lists, ctx.grad_factor = lists, grad_factor
        return triton_kernels.forward(x, coefficients.T, lists.indices)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor, None, None]:
        x, coefficients = ctx.saved_tensors
        need_grad_x = ctx.needs_input_grad[0]
        starts, consumers = ctx.lists.consumers if need_grad_x else (ctx.lists.indices, ctx.lists.indices)
        grad_x, grad_coefficients = triton_kernels.backward(
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
    """Like `reference.candidate_slopes`; float32, bfloat16 or float16, summed in float32."""
    return triton_kernels.candidate_slopes(x, coefficients.T, indices, candidates, grad_y)


@torch.compiler.disable
def unpack_features(packed: torch.Tensor, num_bits: int, dtype: torch.dtype) -> torch.Tensor:
    """Packed frames uint8 [B, bytes] -> 0 and 1, [num_bits, B]."""
    return triton_kernels.unpack_frames(packed, num_bits, dtype)
