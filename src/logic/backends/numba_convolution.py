"""The `numba` backend's convolutional layers as a PyTorch function: what autograd needs around the kernels."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch.autograd.function import once_differentiable

from src.logic.backends import numba_convolution_kernels as kernels
from src.logic.backends.backend import not_compiled
from src.logic.backends.numba_vectors import LANES, Length, length
from src.logic.gates import FORM
from src.logic.trees import Trees


@dataclass(frozen=True)
class NumbaTrees(Trees):
    """Trees as the kernels take them."""

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Where each leaf is in a band, see `numba_convolution_kernels.leaf_offsets`."""
        return kernels.leaf_offsets(self.connections.numpy(), self.shape)

    @cached_property
    def candidate_offsets(self) -> NDArray[np.int64]:
        """Where each candidate is, int64 [kernels, pool * pool, leaves, candidates]; empty if there are none."""
        s = self.shape
        if self.candidates is None:
            return np.empty((s.kernels, s.pool**2, s.leaves, 0), np.int64)
        offsets = kernels.leaf_offsets(self.candidates.flatten(2).numpy(), s)
        return offsets.reshape(s.kernels, s.pool**2, s.leaves, -1)

    def sizes(self, after: int) -> tuple[Length, Length, Length]:
        """What the kernels are compiled for."""
        return length(self.shape.leaves), length(self.shape.pool**2), length(after)


@not_compiled
def convolution(
    x: torch.Tensor,
    coefficients: torch.Tensor,
    trees: NumbaTrees,
    grad_factor: float,
    shares: torch.Tensor | None = None,
    after: int = FORM,
) -> torch.Tensor:
    """Return what `Backend.convolution` asks for, in float32.

    Gates are bilinear forms [kernels * (leaves - 1), 4], and what comes `after`: FORM, SIGMOID or STEP.
    """
    return _Convolution.apply(
        x.float().contiguous(), coefficients.float().contiguous(), shares, trees, grad_factor, after
    )


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        coefficients: torch.Tensor,
        shares: torch.Tensor | None,
        trees: NumbaTrees,
        grad_factor: float,
        after: int,
    ) -> torch.Tensor:
        s = trees.shape
        y = x.new_empty(s.kernels * s.out_height * s.out_width, x.shape[1])
        chunks = -(-x.shape[1] // LANES)
        size = len(y) * LANES if any(ctx.needs_input_grad) else 0
        winners = torch.empty(chunks, size, dtype=torch.uint8)
        arguments = [x.numpy(), coefficients.numpy(), trees.offsets, s, *trees.sizes(after), _bands(trees, 1)]
        kernels.forward(*arguments, y.numpy(), winners.numpy())
        ctx.save_for_backward(x, coefficients, winners)
        ctx.trees, ctx.grad_factor, ctx.after = trees, grad_factor, after
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, coefficients, winners = ctx.saved_tensors
        trees: NumbaTrees = ctx.trees
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else x.new_empty(0, 0)
        candidates = trees.candidate_offsets
        grad_coefficients = x.new_empty(len(winners), *coefficients.shape)
        slopes = x.new_empty(len(winners), trees.shape.kernels, trees.shape.leaves, candidates.shape[-1])
        kernels.backward(
            x.numpy(),
            coefficients.numpy(),
            trees.offsets,
            candidates,
            trees.shape,
            *trees.sizes(ctx.after),
            winners.numpy(),
            grad.contiguous().numpy(),
            ctx.grad_factor,
            _bands(trees, 2 if ctx.needs_input_grad[0] else 1),
            grad_x.numpy(),
            grad_coefficients.numpy(),
            slopes.numpy(),
        )
        return (
            grad_x if ctx.needs_input_grad[0] else None,
            _sum_of_chunks(grad_coefficients),
            _sum_of_chunks(slopes) if ctx.needs_input_grad[2] else None,
            None,
            None,
            None,
        )


def _bands(trees: NumbaTrees, number: int) -> NDArray[np.float32]:
    """Return zeros for a number of bands per thread: float32 [threads, number x size of a band]."""
    zeros = torch.zeros(numba.get_num_threads(), number * kernels.band_size(trees.shape))
    bands: NDArray[np.float32] = zeros.numpy()
    return bands


def _sum_of_chunks(partial: torch.Tensor) -> torch.Tensor:
    total = partial.new_empty(partial.shape[1:])
    kernels.sum_chunks(partial.flatten(1).numpy(), total.flatten().numpy())
    return total
