"""The `numba` backend's convolutional layers as a PyTorch function: what autograd needs around the kernels."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.autograd.function import once_differentiable

from src.logic.backends import numba_convolution_kernels as kernels
from src.logic.backends import numba_mixture_kernels as mixtures
from src.logic.backends.backend import StackedConvolution, not_compiled
from src.logic.backends.numba_vectors import LANES, Length, length
from src.logic.trees import Geometry, Trees

_RECENT = 8  # kernels, whose channels the second-level cache holds
_SAVED = 4  # tensors of a layer, which its way back needs


@dataclass(frozen=True)
class NumbaTrees(Trees):
    """Trees as the kernels take them."""

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Where each leaf is in a chunk, see `numba_convolution_kernels.leaf_offsets`."""
        return kernels.leaf_offsets(self.connections.numpy(), self.shape)

    @cached_property
    def order(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The order in which kernels are computed, and what is to be fetched for the next one; both int64 [kernels].

        The next kernel is the one with the fewest leaves outside the channels of those just before it, which are still
        in the caches. What is to be fetched is the first channel of those that it reads and they do not, or -1. Trees
        with candidates change with every step, so theirs are ordered in less time.
        """
        channels = self.connections[0].numpy()
        order, ahead = np.empty(len(channels), np.int64), np.full(len(channels), -1)
        if self.candidates is not None:
            return np.lexsort((channels.max(1), channels.min(1))), ahead
        last_read, left = np.full(self.shape.channels, -_RECENT - 1), np.ones(len(channels), np.bool_)
        for place in range(len(channels)):
            missing = last_read[channels] < place - _RECENT
            kernel = np.where(left, missing.sum(1), channels.shape[1] + 1).argmin()
            if place and missing[kernel].any():
                ahead[place - 1] = channels[kernel, missing[kernel].argmax()]
            order[place], left[kernel] = kernel, False
            last_read[channels[kernel]] = place
        return order, ahead

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


class _Layer(NamedTuple):
    """What autograd does not see of a layer; see `Backend.convolution`."""

    trees: NumbaTrees
    grad_factor: float
    after: int
    has_logits: bool  # for weights, of the sixteen gates; if not, coefficients
    layout: kernels.Layout  # of its outputs


@not_compiled
def convolutions(x: torch.Tensor, layers: Sequence[StackedConvolution]) -> torch.Tensor:
    """Return what `Backend.convolutions` asks for, in float32."""
    shapes: list[Geometry] = [layer.trees.shape for layer in layers]
    batch, last = x.shape[1], shapes[-1]
    padded_batch = -(-batch // LANES) * LANES
    layouts = [*map(kernels.layout_for, shapes[1:]), kernels.layout_of_features(last, padded_batch)]
    weights, fixed = [], []
    for layer, layout in zip(layers, layouts, strict=True):
        logits = layer.gates.soft_logits()
        own = layer.gates.tempered_coefficients() if logits is None else logits
        weights.append(own.float().contiguous())
        fixed.append(_Layer(layer.trees, layer.grad_factor, layer.gates.after, logits is not None, layout))
    shares = [layer.shares for layer in layers]
    y = _Convolutions.apply(x.float().contiguous(), fixed, torch.is_grad_enabled(), *weights, *shares)
    features: torch.Tensor = y.view(last.kernels * last.out_height * last.out_width, padded_batch)
    return features if batch == padded_batch else features[:, :batch]


class _Convolutions(torch.autograd.Function):
    """All layers in one call, from [features, batch] to the chunks of the last one, which lie as features.

    `tensors` are the layers' weights, and then their shares.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, layers: Sequence[_Layer], has_gradients: bool, *tensors: torch.Tensor
    ) -> torch.Tensor:
        number, first = len(layers), layers[0].trees.shape
        needs_grad_x, _, _, *needs = ctx.needs_input_grad
        wanted = (i for i in range(number) if needs_grad_x or needs[i] or needs[number + i])
        lowest = next(wanted, number) if has_gradients else number  # where the way back ends
        y = x.new_empty(-(-x.shape[1] // LANES), first.channels * first.padded_height * first.padded_width * LANES)
        kernels.to_chunks(x.numpy(), first, y.numpy())
        saved = []
        for i, layer in enumerate(layers):
            inputs = y
            y, *made = _run(layer, inputs, tensors[i], keep=i >= lowest)
            saved += [inputs, *made] if i >= lowest else []
        ctx.save_for_backward(*saved)
        ctx.layers, ctx.lowest, ctx.batch = layers, lowest, x.shape[1]
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        layers, lowest, saved = ctx.layers, ctx.lowest, ctx.saved_tensors
        needs_grad_x, _, _, *needs = ctx.needs_input_grad
        grads: list[torch.Tensor | None] = [None] * len(needs)
        gradient: Any = above.contiguous()
        for i in reversed(range(lowest, len(layers))):
            of_weights, of_shares, begin = i, len(layers) + i, (i - lowest) * _SAVED
            needed = i > lowest or needs_grad_x, needs[of_shares]
            of_layer = saved[begin : begin + _SAVED]
            gradient, grads[of_weights], grads[of_shares] = _go_back(layers[i], of_layer, gradient, *needed)
        grad_x = _from_chunks(gradient, layers[0].trees.shape, ctx.batch) if needs_grad_x else None
        return grad_x, None, None, *grads


def _run(layer: _Layer, x: torch.Tensor, weights: torch.Tensor, keep: bool) -> tuple[torch.Tensor, ...]:
    """Return a layer's outputs, and what its way back needs beside its inputs x [chunks, any].

    Returns:
        y: [chunks, any], stored as the layer's layout says.
        coefficients: the gates' bilinear forms, [gates, 4].
        probabilities: [gates, 16] of gates that are mixtures of the sixteen; of width 0 for others.
        winners: see `numba_convolution_kernels.forward`; of width 0 unless they are to be kept.
    """
    s, layout = layer.trees.shape, layer.layout
    coefficients, probabilities = weights, x.new_empty(len(weights), 0)
    if layer.has_logits:
        coefficients, probabilities = x.new_empty(len(weights), 4), torch.empty_like(weights)
        mixtures.mix(weights.numpy(), probabilities.numpy(), coefficients.numpy())
    y = x.new_empty(len(x), s.kernels * layout.height * layout.width * LANES)
    winners = torch.empty(len(x), s.kernels * s.out_height * s.out_width * LANES if keep else 0, dtype=torch.uint8)
    kernels.forward(
        x.numpy(),
        coefficients.numpy(),
        layer.trees.offsets,
        *layer.trees.order,
        s,
        *layer.trees.sizes(layer.after),
        layout,
        y.flatten().numpy(),
        winners.numpy(),
    )
    return y, coefficients, probabilities, winners


def _go_back(
    layer: _Layer, saved: Sequence[torch.Tensor], grad_y: torch.Tensor, needs_grad_x: bool, needs_slopes: bool
) -> tuple[torch.Tensor | None, torch.Tensor, torch.Tensor | None]:
    """Return the gradients of a layer's inputs, of its weights and of its shares.

    `saved` are the inputs, and what `_run` returned beside the outputs.
    """
    x, coefficients, probabilities, winners = saved
    candidates = layer.trees.candidate_offsets
    grad_x = torch.empty_like(x) if needs_grad_x else None
    grad_coefficients = x.new_empty(len(x), *coefficients.shape)
    slopes = x.new_empty(len(x), *candidates.shape) if needs_slopes else None
    kernels.backward(
        x.numpy(),
        coefficients.numpy(),
        layer.trees.offsets,
        *layer.trees.order,
        candidates,
        layer.trees.shape,
        *layer.trees.sizes(layer.after),
        layer.layout,
        winners.numpy(),
        grad_y.flatten().numpy(),
        layer.grad_factor,
        None if grad_x is None else grad_x.numpy(),
        grad_coefficients.numpy(),
        None if slopes is None else slopes.numpy(),
    )
    grad_weights = torch.empty_like(probabilities if layer.has_logits else coefficients)
    mixtures.weight_gradients(
        grad_coefficients.numpy(), coefficients.numpy(), probabilities.numpy(), grad_weights.numpy()
    )
    return grad_x, grad_weights, None if slopes is None else _sum_of_chunks(slopes)


def _from_chunks(grad: torch.Tensor, s: Geometry, batch: int) -> torch.Tensor:
    """Return gradients of what `numba_convolution_kernels.to_chunks` stored, [channels * height * width, batch]."""
    padded = grad.view(len(grad), s.channels, s.padded_height, s.padded_width, LANES)
    frames = padded[:, :, s.before : s.before + s.height, s.before : s.before + s.width]
    features = frames.permute(1, 2, 3, 0, 4).reshape(s.channels * s.height * s.width, len(grad) * LANES)
    return features[:, :batch]


def _sum_of_chunks(partial: torch.Tensor) -> torch.Tensor:
    total = partial.new_empty(partial.shape[1:])
    kernels.sum_chunks(partial.flatten(1).numpy(), total.flatten().numpy())
    return total
