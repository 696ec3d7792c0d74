"""The `triton` implementation as PyTorch functions: what autograd needs around the kernels."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from src.logic import numba_kernels, triton_kernels


@dataclass(frozen=True)
class ConnectionLists:
    """A layer's connections as the kernels want them, on the layer's device."""

    indices: torch.Tensor
    in_dim: int

    @cached_property
    def consumers(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The inverse list; built when a gradient of the inputs is first asked for."""
        starts, consumers = numba_kernels.input_consumers(self.indices.cpu().numpy(), self.in_dim)
        return torch.from_numpy(starts).to(self.indices.device), torch.from_numpy(consumers).to(self.indices.device)


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


@torch.compiler.disable
def unpack_features(packed: torch.Tensor, num_bits: int, dtype: torch.dtype) -> torch.Tensor:
    """Packed frames uint8 [B, bytes] -> 0 and 1, [num_bits, B]."""
    return triton_kernels.unpack_frames(packed, num_bits, dtype)
