"""The `numba` backend's stack of dense layers as a PyTorch function: what autograd needs around the kernels."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch.autograd.function import once_differentiable

from src.logic.backends import numba_mixture_kernels as mixtures
from src.logic.backends import numba_stack_kernels as kernels
from src.logic.backends.backend import not_compiled
from src.logic.backends.numba_dense import ConnectionLists, parts_of_groups
from src.logic.backends.numba_vectors import LANES


@dataclass(frozen=True)
class _Plan:
    """The connections of all layers as the kernels take them.

    Attributes:
        first, second: int32 [gates + AHEAD], the rows of a tile's memory that are the inputs of each gate.
        ends: int64, for each layer the number of the gate behind its last one.
        rows: number of rows of a tile's memory.
    """

    first: NDArray[np.int32]
    second: NDArray[np.int32]
    ends: NDArray[np.int64]
    rows: int


@functools.lru_cache(maxsize=16)
def _plan(layers: tuple[ConnectionLists, ...]) -> _Plan:
    """Return the plan of layers that follow each other."""
    widths = [lists.indices.shape[1] for lists in layers]
    ends, in_dim = np.cumsum(widths), layers[0].in_dim
    begins = [0, *(in_dim + ends[:-1] - widths[:-1])]  # the row of each layer's first input
    rows = np.zeros((2, ends[-1] + kernels.AHEAD), np.int32)
    for lists, begin, end in zip(layers, begins, ends, strict=True):
        rows[:, end - lists.indices.shape[1] : end] = lists.indices.numpy() + begin
    return _Plan(rows[0], rows[1], ends, in_dim + sum(widths[:-1]) + 2 * max(in_dim, *widths))


@not_compiled
def stack_sums(
    x: torch.Tensor,
    weights: Sequence[torch.Tensor],
    lists: Sequence[ConnectionLists],
    grad_factors: Sequence[float],
    softmax: bool,
    groups: int,
) -> torch.Tensor:
    """Return the sums of equal groups of the last layer's outputs, [in_dim, batch] -> [groups, batch], in float32.

    They have the bits that the layers give one after the other; gradients of weights are summed in another order.

    Args:
        x: activations [in_dim, batch].
        weights: for each layer [out_dim, 16], in the order of `src.logic.gates`, or coefficients [out_dim, 4].
        lists: the connections of each layer.
        grad_factors: multiply the gradient of each layer's inputs.
        softmax: whether the gates are mixtures of the sixteen under softmax(weights).
        groups: number of groups.
    """
    factors = np.array(grad_factors, np.float32)
    own = [each.float().contiguous() for each in weights]
    sums: torch.Tensor = _Stack.apply(x.float().contiguous(), _plan(tuple(lists)), factors, softmax, groups, *own)
    return sums


class _Stack(torch.autograd.Function):
    """All layers in one call; activations are not kept."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        plan: _Plan,
        factors: NDArray[np.float32],
        softmax: bool,
        groups: int,
        *weights: torch.Tensor,
    ) -> torch.Tensor:
        widths = [len(each) for each in weights]
        if softmax:
            forms, probabilities = x.new_empty(sum(widths), 4), x.new_empty(sum(widths), 16)
            own_parts = zip(weights, probabilities.split(widths), forms.split(widths), strict=True)
            for own, own_probabilities, own_forms in own_parts:
                mixtures.mix(own.numpy(), own_probabilities.numpy(), own_forms.numpy())
        else:
            forms, probabilities = torch.cat(weights), x.new_empty(sum(widths), 0)
        sums = x.new_empty(groups, parts_of_groups(widths[-1], groups), x.shape[1])
        arguments = [x.numpy(), forms.numpy(), plan.first, plan.second, plan.ends]
        kernels.forward(*arguments, _units(x), _scratch(plan), sums.flatten(0, 1).numpy())
        ctx.save_for_backward(x, forms, probabilities)
        ctx.plan, ctx.factors, ctx.widths = plan, factors, widths
        return sums.sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, forms, probabilities = ctx.saved_tensors
        plan, need_grad_x = ctx.plan, ctx.needs_input_grad[0]
        grad_x = torch.empty_like(x) if need_grad_x else x.new_empty(0, x.shape[1])
        units = _units(x)
        unit_sums = x.new_empty(units, *forms.shape)
        arguments = [x.numpy(), forms.numpy(), plan.first, plan.second, plan.ends, ctx.factors, units]
        kernels.backward(*arguments, grad.contiguous().numpy(), _scratch(plan), grad_x.numpy(), unit_sums.numpy())
        grad_weights = torch.empty_like(probabilities if probabilities.shape[1] else forms)
        mixtures.weight_gradients(unit_sums.numpy(), forms.numpy(), probabilities.numpy(), grad_weights.numpy())
        return grad_x if need_grad_x else None, None, None, None, None, *grad_weights.split(ctx.widths)


def _units(x: torch.Tensor) -> int:
    """Return the number of units into which the tiles of x [in_dim, batch] are divided."""
    return min(-(-x.shape[1] // LANES), kernels.MOST_UNITS)


def _scratch(plan: _Plan) -> NDArray[np.float32]:
    """Return the memory of each thread's tile."""
    memory: NDArray[np.float32] = torch.empty(numba.get_num_threads(), plan.rows * LANES).numpy()
    return memory
