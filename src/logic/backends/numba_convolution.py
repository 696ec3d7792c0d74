"""The `numba` backend's convolutional layers as a PyTorch function: what autograd needs around the kernels."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from src.logic.backends import numba_convolution_kernels as kernels
from src.logic.backends import numba_mixture_kernels as mixtures
from src.logic.backends.backend import StackedConvolution, not_compiled
from src.logic.backends.numba_vectors import LANES, Length, length
from src.logic.trees import Geometry, Trees

_RECENT = 8  # kernels, whose channels the second-level cache holds


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

        The next kernel is the one that reads least beside the channels of those just before it, which are still in the
        caches. What is to be fetched is a channel that it reads and they do not, or -1.
        """
        channels = self.connections[0].numpy()
        order, ahead = np.empty(len(channels), np.int64), np.full(len(channels), -1)
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
    mixes_gates: bool  # and has their logits for weights, not coefficients
    layout: kernels.Layout  # of its outputs


@not_compiled
def convolutions(x: torch.Tensor, layers: Sequence[StackedConvolution]) -> torch.Tensor:
    """Return what `Backend.convolutions` asks for, in float32."""
    shapes: list[Geometry] = [layer.trees.shape for layer in layers]
    last = kernels.layout_of_features(shapes[-1], -(-x.shape[1] // LANES) * LANES)
    weights, fixed = [], []
    for layer, layout in zip(layers, [*map(kernels.layout_for, shapes[1:]), last], strict=True):
        logits = layer.gates.soft_logits()
        own = layer.gates.tempered_coefficients() if logits is None else logits
        weights.append(own.float().contiguous())
        fixed.append(_Layer(layer.trees, layer.grad_factor, layer.gates.after, logits is not None, layout))
    y: torch.Tensor = _Convolutions.apply(x.float().contiguous(), fixed, *weights, *(layer.shares for layer in layers))
    return y


class _Convolutions(torch.autograd.Function):
    """All layers in one call, on activations [features, batch]; `tensors` are their weights, and then their shares."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, layers: Sequence[_Layer], *tensors: torch.Tensor) -> torch.Tensor:
        batch, first, last = x.shape[1], layers[0].trees.shape, layers[-1].trees.shape
        keep = any(ctx.needs_input_grad)
        y = x.new_empty(-(-batch // LANES), first.channels * first.padded_height * first.padded_width * LANES)
        kernels.to_chunks(x.numpy(), first, y.numpy())
        saved = []
        for layer, weights in zip(layers, tensors, strict=False):
            inputs = y
            y, *made = _run(layer, inputs, weights, keep)
            saved += [inputs, *made] if keep else []
        ctx.save_for_backward(*saved)
        ctx.layers = layers
        return y.view(last.kernels * last.out_height * last.out_width, len(y) * LANES)[:, :batch]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        layers, batch, saved = ctx.layers, grad.shape[1], ctx.saved_tensors
        needs_grad_x, _, *needs = ctx.needs_input_grad
        grads: list[torch.Tensor | None] = [None] * len(needs)
        above: Any = (pad(grad, (0, -batch % LANES)) if batch % LANES else grad).contiguous()
        for i in reversed(range(len(layers))):
            of_weights, of_shares = i, len(layers) + i
            needed = i > 0 or needs_grad_x, needs[of_shares]
            above, grads[of_weights], grads[of_shares] = _go_back(layers[i], saved[4 * i : 4 * i + 4], above, *needed)
        return None if above is None else _from_chunks(above, layers[0].trees.shape, batch), None, *grads


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
    if layer.mixes_gates:
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
    grad_weights = torch.empty_like(probabilities if layer.mixes_gates else coefficients)
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
