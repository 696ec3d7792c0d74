"""The `triton` backend's convolutional layers as a PyTorch function: what autograd needs around the kernels."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from src.logic.backends import triton_convolution_kernels as kernels
from src.logic.backends.backend import not_compiled
from src.logic.gates import FORM
from src.logic.trees import Trees


@dataclass(frozen=True)
class TritonTrees(Trees):
    """Trees as the kernels take them, on the layer's device."""

    @cached_property
    def readers(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Which leaves of all kernels read a channel, see `triton_convolution_kernels.backward`."""
        channels, numbers = torch.sort(self.connections[0].flatten(), stable=True)
        starts = torch.searchsorted(channels, torch.arange(self.shape.channels + 1, device=channels.device))
        return starts, numbers.int()


@not_compiled
def convolution(
    x: torch.Tensor,
    coefficients: torch.Tensor,
    trees: TritonTrees,
    grad_factor: float,
    shares: torch.Tensor | None = None,
    after: int = FORM,
) -> torch.Tensor:
    """Return what `Backend.convolution` asks for, in x's dtype, computed in float32.

    Gates are bilinear forms [kernels * (leaves - 1), 4], and what comes `after`: FORM, SIGMOID or STEP.
    """
    return _Convolution.apply(x.contiguous(), coefficients.float().contiguous(), shares, trees, grad_factor, after)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        coefficients: torch.Tensor,
        shares: torch.Tensor | None,
        trees: TritonTrees,
        grad_factor: float,
        after: int,
    ) -> torch.Tensor:
        keep_winners = any(ctx.needs_input_grad)
        y, winners = kernels.forward(x, coefficients, after, trees.connections, trees.shape, keep_winners)
        ctx.save_for_backward(x, coefficients, winners)
        ctx.trees, ctx.grad_factor, ctx.after = trees, grad_factor, after
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, coefficients, winners = ctx.saved_tensors
        trees: TritonTrees = ctx.trees
        readers = trees.readers if ctx.needs_input_grad[0] else None
        candidates = trees.candidates if ctx.needs_input_grad[2] else None
        grad_x, grad_coefficients, slopes = kernels.backward(
            x,
            coefficients,
            ctx.after,
            trees.connections,
            readers,
            candidates,
            trees.shape,
            winners,
            grad,
            ctx.grad_factor,
        )
        return grad_x, grad_coefficients, slopes, None, None, None
