"""The `numba` backend's dense layers as a PyTorch function: what autograd needs around the kernels."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.autograd.function import once_differentiable

from src.logic.backends import numba_candidates_kernels as candidate_kernels
from src.logic.backends import numba_dense_kernels as kernels
from src.logic.backends.backend import not_compiled
from src.logic.gates import FORM, SIGMOID


@dataclass(frozen=True, eq=False)
class ConnectionLists:
    """A layer's connections as the kernels take them; equal only to itself, so that what is made of it can be kept."""

    indices: torch.Tensor
    in_dim: int

    @cached_property
    def inputs(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """First and second input of each neuron, int32 [out_dim] each."""
        first, second = self.indices.numpy().astype(np.int32)
        return first, second

    @cached_property
    def consumers(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """The inverse list, made when a gradient of the inputs is first needed."""
        return kernels.input_consumers(self.indices.numpy(), self.in_dim)


@not_compiled
def softmax_mixture(
    x: torch.Tensor, weights: torch.Tensor, lists: ConnectionLists, grad_factor: float, groups: int | None = None
) -> torch.Tensor:
    """Return the mixtures of the sixteen gates under softmax(weights), in float32.

    Args:
        x: activations [in_dim, batch].
        weights: [out_dim, 16], in the order of `src.logic.gates`.
        lists: the connections.
        grad_factor: multiplies the gradient of x.
        groups: number of equal groups of neurons whose outputs are added up and not kept; None keeps them.

    Returns:
        [out_dim, batch], or [groups, batch].
    """
    return _Layer.apply(x.float().contiguous(), weights.float(), lists, grad_factor, True, False, groups)


@not_compiled
def mixture(
    x: torch.Tensor,
    coefficients: torch.Tensor,
    lists: ConnectionLists,
    grad_factor: float,
    after: int = FORM,
    groups: int | None = None,
) -> torch.Tensor:
    """Return the values of bilinear forms [out_dim, 4], or their sigmoid, in float32.

    `after` is FORM or SIGMOID; the other arguments and the result are like those of `softmax_mixture`.
    """
    sigmoid = after == SIGMOID
    return _Layer.apply(
        x.float().contiguous(), coefficients.float().contiguous(), lists, grad_factor, False, sigmoid, groups
    )


def candidate_slopes(
    x: torch.Tensor,
    coefficients: torch.Tensor,
    indices: torch.Tensor,
    candidates: torch.Tensor,
    grad_y: torch.Tensor,
) -> torch.Tensor:
    """Return what `Backend.candidate_slopes` asks for, in float32."""
    first, second = indices.numpy().astype(np.int32)
    slopes = torch.empty(candidates.shape)
    candidate_kernels.candidate_slopes(
        x.float().contiguous().numpy(),
        coefficients.float().contiguous().numpy(),
        first,
        second,
        candidates.numpy(),
        grad_y.float().contiguous().numpy(),
        slopes.numpy(),
    )
    return slopes


@not_compiled
def unpack_features(packed: torch.Tensor, num_bits: int) -> torch.Tensor:
    """Return the bits of packed frames, uint8 [B, bytes], as 0 and 1: float32 [num_bits, B]."""
    features = torch.empty(num_bits, len(packed))
    kernels.unpack_features(packed.numpy(), features.numpy())
    return features


class _Layer(torch.autograd.Function):
    """The layer: forms of softmax(weights) or of coefficients, then perhaps their sigmoid, then perhaps their sums."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weights: torch.Tensor,
        lists: ConnectionLists,
        grad_factor: float,
        softmax: bool,
        sigmoid: bool,
        groups: int | None,
    ) -> torch.Tensor:
        out_dim, batch = len(weights), x.shape[1]
        arguments = [x.numpy(), weights.numpy(), *lists.inputs]
        probabilities, coefficients = x.new_empty(out_dim, 0), weights
        if softmax:
            probabilities, coefficients = torch.empty_like(weights), weights.new_empty(out_dim, 4)
            arguments += [probabilities.numpy(), coefficients.numpy()]
        if groups is None or sigmoid:  # what a sigmoid gives is kept, and added up afterwards
            y = x.new_empty(out_dim, batch)
            (kernels.forward_relaxed if softmax else kernels.forward)(*arguments, y.numpy())
        else:
            y = x.new_zeros(groups * parts_of_groups(out_dim, groups), batch)
            (kernels.forward_relaxed_sums if softmax else kernels.forward_sums)(*arguments, y.numpy())
        if sigmoid:
            y.sigmoid_()
        ctx.save_for_backward(x, coefficients, probabilities, y if sigmoid else x.new_empty(0, batch))
        ctx.lists, ctx.grad_factor, ctx.softmax = lists, grad_factor, softmax
        return y if groups is None else y.reshape(groups, -1, batch).sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, coefficients, probabilities, outputs = ctx.saved_tensors
        need_grad_x, need_grad_weights = ctx.needs_input_grad[:2]
        per_gate = probabilities if ctx.softmax else coefficients
        grad_weights = torch.empty_like(per_gate) if need_grad_weights else x.new_empty(0, per_gate.shape[1])
        arguments = [x.numpy(), coefficients.numpy(), *ctx.lists.inputs]
        rest = [probabilities.numpy(), outputs.numpy(), grad.contiguous().numpy()]
        grad_x = None
        if need_grad_x:
            grad_x = torch.empty_like(x)
            kernels.backward(
                *arguments, *ctx.lists.consumers, *rest, ctx.grad_factor, grad_x.numpy(), grad_weights.numpy()
            )
        else:
            kernels.backward_weights(*arguments, *rest, grad_weights.numpy())
        return grad_x, grad_weights if need_grad_weights else None, None, None, None, None, None


def parts_of_groups(out_dim: int, groups: int) -> int:
    """Return in how many parts a group of neurons is summed: they give threads work, and depend on the layer alone."""
    return next(parts for parts in (32, 16, 8, 4, 2, 1) if out_dim % (groups * parts) == 0)
