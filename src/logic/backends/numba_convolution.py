"""The kernels of a convolutional logic layer as a PyTorch function: what autograd needs around them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.autograd.function import once_differentiable

from src.helpers import import_optional
from src.logic.backends import numba_convolution_kernels as convolution_kernels
from src.logic.backends.numba_convolution_kernels import FORM, LANES, Geometry, Length, length
from src.logic.backends.numba_dense import not_compiled


@dataclass(frozen=True)
class Trees:
    """A layer's trees as the kernels want them, on the layer's device.

    Attributes:
        connections: int64 [3, kernels, leaves], each leaf's channel, and its row and column in the receptive field.
        shape: the layer's sizes.
        candidates: int64 [3, kernels, leaves, candidates], like connections, of what each leaf may be; or None.
    """

    connections: torch.Tensor
    shape: Geometry
    candidates: torch.Tensor | None = None

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """For the CPU, of `convolution_kernels.leaf_offsets`."""
        return convolution_kernels.leaf_offsets(self.connections.numpy(), self.shape)

    @cached_property
    def candidate_offsets(self) -> NDArray[np.int64]:
        """For the CPU, int64 [kernels, pool * pool, leaves, candidates]; without candidates, of no elements."""
        s = self.shape
        if self.candidates is None:
            return np.empty((s.kernels, s.pool**2, s.leaves, 0), np.int64)
        offsets = convolution_kernels.leaf_offsets(self.candidates.flatten(2).numpy(), s)
        return offsets.reshape(s.kernels, s.pool**2, s.leaves, -1)

    def sizes(self, after: int) -> tuple[Length, Length, Length]:
        """For the CPU, what its kernels are compiled for."""
        return length(self.shape.leaves), length(self.shape.pool**2), length(after)

    @cached_property
    def readers(self) -> tuple[torch.Tensor, torch.Tensor]:
        """For a GPU, which leaves read a channel, of all kernels; see `convolution_triton.backward`."""
        channels, numbers = torch.sort(self.connections[0].flatten(), stable=True)
        starts = torch.searchsorted(channels, torch.arange(self.shape.channels + 1, device=channels.device))
        return starts, numbers.int()


@not_compiled
def convolution(
    x: torch.Tensor,
    coefficients: torch.Tensor,
    trees: Trees,
    grad_factor: float,
    implementation: str,
    shares: torch.Tensor | None = None,
    after: int = FORM,
) -> torch.Tensor:
    """Like `convolution_reference.convolution`, by the kernels for the CPU (numba) or for GPUs (triton).

    Computed in float32; those for GPUs read and write x's dtype. Shares belong to the trees' candidates. What a
    gate gives of its form, `after` says: FORM, SIGMOID or STEP.
    """
    function = _Triton if implementation == "triton" else _Numba
    x = x if implementation == "triton" else x.float()
    return function.apply(x.contiguous(), coefficients.float().contiguous(), shares, trees, grad_factor, after)


_Gradients = tuple[torch.Tensor | None, torch.Tensor, torch.Tensor | None, None, None, None]


class _Numba(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        coefficients: torch.Tensor,
        shares: torch.Tensor | None,
        trees: Trees,
        grad_factor: float,
        after: int,
    ) -> torch.Tensor:
        s = trees.shape
        y = x.new_empty(s.kernels * s.out_height * s.out_width, x.shape[1])
        chunks = -(-x.shape[1] // LANES)
        size = len(y) * LANES if any(ctx.needs_input_grad) else 0
        winners = torch.empty(chunks, size, dtype=torch.uint8)
        convolution_kernels.forward(
            x.numpy(), coefficients.numpy(), trees.offsets, s, *trees.sizes(after), y.numpy(), winners.numpy()
        )
        ctx.save_for_backward(x, coefficients, winners)
        ctx.trees, ctx.grad_factor, ctx.after = trees, grad_factor, after
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> _Gradients:
        x, coefficients, winners = ctx.saved_tensors
        trees: Trees = ctx.trees
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else x.new_empty(0, 0)
        candidates = trees.candidate_offsets
        grad_coefficients = x.new_empty(len(winners), *coefficients.shape)
        slopes = x.new_empty(len(winners), trees.shape.kernels, trees.shape.leaves, candidates.shape[-1])
        convolution_kernels.backward(
            x.numpy(),
            coefficients.numpy(),
            trees.offsets,
            candidates,
            trees.shape,
            *trees.sizes(ctx.after),
            winners.numpy(),
            grad.contiguous().numpy(),
            ctx.grad_factor,
            grad_x.numpy(),
            grad_coefficients.numpy(),
            slopes.numpy(),
        )
        return (
            grad_x if ctx.needs_input_grad[0] else None,
            _of_all_chunks(grad_coefficients),
            _of_all_chunks(slopes) if ctx.needs_input_grad[2] else None,
            None,
            None,
            None,
        )


def _of_all_chunks(partial: torch.Tensor) -> torch.Tensor:
    total = partial.new_empty(partial.shape[1:])
    convolution_kernels.sum_chunks(partial.flatten(1).numpy(), total.flatten().numpy())
    return total


class _Triton(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        coefficients: torch.Tensor,
        shares: torch.Tensor | None,
        trees: Trees,
        grad_factor: float,
        after: int,
    ) -> torch.Tensor:
        keep_winners = any(ctx.needs_input_grad)
        y, winners = _triton_kernels().forward(x, coefficients, after, trees.connections, trees.shape, keep_winners)
        ctx.save_for_backward(x, coefficients, winners)
        ctx.trees, ctx.grad_factor, ctx.after = trees, grad_factor, after
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> _Gradients:
        x, coefficients, winners = ctx.saved_tensors
        trees: Trees = ctx.trees
        readers = trees.readers if ctx.needs_input_grad[0] else None
        candidates = trees.candidates if ctx.needs_input_grad[2] else None
        grad_x, grad_coefficients, slopes = _triton_kernels().backward(
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


def _triton_kernels() -> Any:
    return import_optional(
        "src.logic.backends.triton_convolution_kernels",
        "implementation 'triton' asks for its kernels",
        "install the versions of requirements.lock, or use the implementation 'auto'",
    )
