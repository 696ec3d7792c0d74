"""The kernels of a convolutional logic layer as a PyTorch function: what autograd needs around them."""

import importlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.autograd.function import once_differentiable

from src.logic import convolution_kernels
from src.logic.convolution_kernels import LANES, Geometry
from src.logic.numba_functions import not_compiled


@dataclass(frozen=True)
class Trees:
    """A layer's trees as the kernels want them, on the layer's device.

    Attributes:
        connections: int64 [3, kernels, leaves], each leaf's channel, and its row and column in the receptive field.
        shape: the layer's sizes.
    """

    connections: torch.Tensor
    shape: Geometry

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """For the CPU, of `convolution_kernels.leaf_offsets`."""
        return convolution_kernels.leaf_offsets(self.connections.numpy(), self.shape)

    @cached_property
    def readers(self) -> tuple[torch.Tensor, torch.Tensor]:
        """For a GPU, which leaves read a channel, of all kernels; see `convolution_triton.backward`."""
        channels = self.connections[0].flatten()
        starts = torch.zeros(self.shape.channels + 1, dtype=torch.int64, device=channels.device)
        starts[1:] = torch.bincount(channels, minlength=self.shape.channels).cumsum(0)
        return starts, torch.argsort(channels, stable=True).int()


@not_compiled
def convolution(
    x: torch.Tensor, coefficients: torch.Tensor, trees: Trees, grad_factor: float, implementation: str
) -> torch.Tensor:
    """Like `convolution_reference.convolution`, by the kernels for the CPU (numba) or for GPUs (triton).

    Computed in float32; those for GPUs read and write x's dtype.
    """
    function = _Triton if implementation == "triton" else _Numba
    x = x if implementation == "triton" else x.float()
    return function.apply(x.contiguous(), coefficients.float().contiguous(), trees, grad_factor)


class _Numba(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, coefficients: torch.Tensor, trees: Trees, grad_factor: float
    ) -> torch.Tensor:
        s = trees.shape
        y = x.new_empty(s.kernels * s.out_height * s.out_width, x.shape[1])
        chunks = -(-x.shape[1] // LANES)
        size = len(y) * LANES if any(ctx.needs_input_grad) else 0
        winners = torch.empty(chunks, size, dtype=torch.uint8)
        convolution_kernels.forward(x.numpy(), coefficients.numpy(), trees.offsets, s, y.numpy(), winners.numpy())
        ctx.save_for_backward(x, coefficients, winners)
        ctx.trees, ctx.grad_factor = trees, grad_factor
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor, None, None]:
        x, coefficients, winners = ctx.saved_tensors
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else x.new_empty(0, 0)
        grad_coefficients = torch.empty_like(coefficients)
        convolution_kernels.backward(
            x.numpy(),
            coefficients.numpy(),
            ctx.trees.offsets,
            ctx.trees.shape,
            winners.numpy(),
            grad.contiguous().numpy(),
            ctx.grad_factor,
            grad_x.numpy(),
            x.new_empty(len(winners), *coefficients.shape).numpy(),
            grad_coefficients.numpy(),
        )
        return grad_x if ctx.needs_input_grad[0] else None, grad_coefficients, None, None


class _Triton(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, coefficients: torch.Tensor, trees: Trees, grad_factor: float
    ) -> torch.Tensor:
        keep_winners = any(ctx.needs_input_grad)
        y, winners = _triton_kernels().forward(x, coefficients, trees.connections, trees.shape, keep_winners)
        ctx.save_for_backward(x, coefficients, winners)
        ctx.trees, ctx.grad_factor = trees, grad_factor
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor, None, None]:
        x, coefficients, winners = ctx.saved_tensors
        trees = ctx.trees
        readers = trees.readers if ctx.needs_input_grad[0] else None
        grad_x, grad_coefficients = _triton_kernels().backward(
            x, coefficients, trees.connections, readers, trees.shape, winners, grad, ctx.grad_factor
        )
        return grad_x, grad_coefficients, None, None


def _triton_kernels() -> Any:
    return importlib.import_module("src.logic.convolution_triton")
