"""The `numba` backend's convolutional layers as a PyTorch function: what autograd needs around the kernels."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from src.logic.backends import numba_convolution_kernels as kernels
from src.logic.backends.backend import StackedConvolution, not_compiled
from src.logic.backends.numba_vectors import LANES, Length, length
from src.logic.trees import Geometry, Trees


@dataclass(frozen=True)
class NumbaTrees(Trees):
    """Trees as the kernels take them."""

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Where each leaf is in a chunk, see `numba_convolution_kernels.leaf_offsets`."""
        return kernels.leaf_offsets(self.connections.numpy(), self.shape)

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """The kernels, int64; those that see the same channels follow each other, so that these stay in the caches."""
        channels = self.connections[0].numpy()
        return np.lexsort((channels.max(1), channels.min(1)))

    @cached_property
    def candidate_offsets(self) -> NDArray[np.int64]:
        """Where each candidate is, int64 [kernels, leaves, candidates]; empty if there are none."""
        s = self.shape
        if self.candidates is None:
            return np.empty((s.kernels, s.leaves, 0), np.int64)
        return kernels.leaf_offsets(self.candidates.numpy(), s)

    def sizes(self, after: int) -> tuple[Length, Length, Length]:
        """What the kernels are compiled for."""
        return length(self.shape.leaves), length(self.shape.pool), length(after)


@not_compiled
def convolutions(x: torch.Tensor, layers: Sequence[StackedConvolution]) -> torch.Tensor:
    """Return what `Backend.convolutions` asks for, in float32."""
    batch, shapes = x.shape[1], [layer.trees.shape for layer in layers]
    y = _chunks(x.float(), shapes[0])
    for layer, following in zip(layers, [*shapes[1:], None], strict=True):
        coefficients = layer.gates.tempered_coefficients().float().contiguous()
        y = _Convolution.apply(
            y, coefficients, layer.shares, layer.trees, layer.grad_factor, layer.gates.after, following
        )
    features: torch.Tensor = y.permute(1, 2, 3, 0, 4).flatten(3)[..., :batch].flatten(0, 2)
    return features


def _chunks(x: torch.Tensor, s: Geometry) -> torch.Tensor:
    """Return activations [channels * height * width, batch] as `numba_convolution_kernels.forward` takes them."""
    lanes = pad(x, (0, -x.shape[1] % LANES)).reshape(s.channels, s.height, s.width, -1, LANES)
    below, right = s.padded_height - s.height - s.before, s.padded_width - s.width - s.before
    return pad(lanes.permute(3, 0, 1, 2, 4), (0, 0, s.before, right, s.before, below)).contiguous()


class _Convolution(torch.autograd.Function):
    """A layer on activations [chunks, channels, padded height, padded width, lanes], padded for the following one."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        coefficients: torch.Tensor,
        shares: torch.Tensor | None,
        trees: NumbaTrees,
        grad_factor: float,
        after: int,
        following: Geometry | None,
    ) -> torch.Tensor:
        s, chunks = trees.shape, len(x)
        rows, columns, before = s.out_height, s.out_width, 0
        if following is not None:
            rows, columns, before = following.padded_height, following.padded_width, following.before
        y = x.new_empty(chunks, s.kernels, rows, columns, LANES)
        size = s.kernels * s.out_height * s.out_width * LANES if any(ctx.needs_input_grad) else 0
        winners = torch.empty(chunks, size, dtype=torch.uint8)
        kernels.forward(
            x.flatten(1).numpy(),
            coefficients.numpy(),
            trees.offsets,
            trees.order,
            s,
            *trees.sizes(after),
            before,
            y.numpy(),
            winners.numpy(),
        )
        ctx.save_for_backward(x, coefficients, winners)
        ctx.trees, ctx.grad_factor, ctx.after, ctx.before = trees, grad_factor, after, before
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, coefficients, winners = ctx.saved_tensors
        trees: NumbaTrees = ctx.trees
        need_grad_x, _, need_slopes, *_ = ctx.needs_input_grad
        grad_x = torch.empty_like(x) if need_grad_x else None
        grad_coefficients = x.new_empty(len(x), *coefficients.shape)
        candidates = trees.candidate_offsets
        slopes = x.new_empty(len(x), *candidates.shape) if need_slopes else None
        kernels.backward(
            x.flatten(1).numpy(),
            coefficients.numpy(),
            trees.offsets,
            trees.order,
            candidates,
            trees.shape,
            *trees.sizes(ctx.after),
            ctx.before,
            winners.numpy(),
            grad.contiguous().numpy(),
            ctx.grad_factor,
            None if grad_x is None else grad_x.flatten(1).numpy(),
            grad_coefficients.numpy(),
            None if slopes is None else slopes.numpy(),
        )
        return (
            grad_x,
            _sum_of_chunks(grad_coefficients),
            None if slopes is None else _sum_of_chunks(slopes),
            None,
            None,
            None,
            None,
        )


def _sum_of_chunks(partial: torch.Tensor) -> torch.Tensor:
    total = partial.new_empty(partial.shape[1:])
    kernels.sum_chunks(partial.flatten(1).numpy(), total.flatten().numpy())
    return total
