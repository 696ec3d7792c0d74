"""The `numba` implementation as PyTorch functions: what autograd needs around the kernels."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.autograd.function import once_differentiable

from src.logic.backends import numba_dense_kernels as numba_kernels


@dataclass(frozen=True)
class ConnectionLists:
    """A layer's connections as the kernels want them."""

    indices: torch.Tensor
    in_dim: int

    @cached_property
    def inputs(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """First and second input of each neuron, int32 [out_dim] each."""
        first, second = self.indices.numpy().astype(np.int32)
        return first, second

    @cached_property
    def consumers(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """The inverse list; built when a gradient of the inputs is first asked for."""
        return numba_kernels.input_consumers(self.indices.numpy(), self.in_dim)


def not_compiled(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """Have torch.compile leave a function alone; the compiler, a second to import, is asked for only where it runs."""

    @functools.wraps(function)
    def call(*arguments: Any) -> torch.Tensor:
        if torch.compiler.is_compiling():
            return torch.compiler.disable(function)(*arguments)
        return function(*arguments)

    return call


@not_compiled
def relaxed(x: torch.Tensor, weights: torch.Tensor, lists: ConnectionLists, grad_factor: float) -> torch.Tensor:
    """The mixture of gates under softmax(weights), float32 whatever x's dtype: [in_dim, batch] -> [out_dim, batch]."""
    return _Relaxed.apply(x.float().contiguous(), weights.float(), lists, grad_factor).to(x.dtype)


@not_compiled
def relaxed_sums(
    x: torch.Tensor, weights: torch.Tensor, lists: ConnectionLists, grad_factor: float, groups: int
) -> torch.Tensor:
    """`relaxed`, its outputs added up in equal groups, not kept: float32 [groups, batch]."""
    return _RelaxedSums.apply(x.float().contiguous(), weights.float(), lists, grad_factor, groups)


@not_compiled
def mixture(x: torch.Tensor, coefficients: torch.Tensor, lists: ConnectionLists, grad_factor: float) -> torch.Tensor:
    """Like `reference.mixture`, computed in float32 whatever x's dtype."""
    return _Mixture.apply(x.float().contiguous(), coefficients.float().contiguous(), lists, grad_factor).to(x.dtype)


@not_compiled
def mixture_sums(
    x: torch.Tensor, coefficients: torch.Tensor, lists: ConnectionLists, grad_factor: float, groups: int
) -> torch.Tensor:
    """`mixture`, its outputs added up in equal groups, not kept: float32 [groups, batch]."""
    return _MixtureSums.apply(x.float().contiguous(), coefficients.float().contiguous(), lists, grad_factor, groups)


def candidate_slopes(
    x: torch.Tensor,
    coefficients: torch.Tensor,
    indices: torch.Tensor,
    candidates: torch.Tensor,
    grad_y: torch.Tensor,
) -> torch.Tensor:
    """Like `reference.candidate_slopes`, in float32."""
    first, second = indices.numpy().astype(np.int32)
    slopes = torch.empty(candidates.shape)
    numba_kernels.candidate_slopes(
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
def sigmoid_mixture(
    x: torch.Tensor, coefficients: torch.Tensor, lists: ConnectionLists, grad_factor: float
) -> torch.Tensor:
    """The sigmoid of `mixture`, without the mixture in memory."""
    y = _SigmoidMixture.apply(x.float().contiguous(), coefficients.float().contiguous(), lists, grad_factor, None)
    return y.to(x.dtype)


@not_compiled
def sigmoid_mixture_sums(
    x: torch.Tensor, coefficients: torch.Tensor, lists: ConnectionLists, grad_factor: float, groups: int
) -> torch.Tensor:
    """`sigmoid_mixture`, its outputs added up in equal groups: float32 [groups, batch]."""
    return _SigmoidMixture.apply(x.float().contiguous(), coefficients.float().contiguous(), lists, grad_factor, groups)


@not_compiled
def unpack_features(packed: torch.Tensor, num_bits: int) -> torch.Tensor:
    """Packed frames uint8 [B, bytes] -> 0 and 1, float32 [num_bits, B]."""
    features = torch.empty(num_bits, len(packed))
    numba_kernels.unpack_features(packed.numpy(), features.numpy())
    return features


class _Relaxed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weights: torch.Tensor, lists: ConnectionLists, grad_factor: float
    ) -> torch.Tensor:
        first, second = lists.inputs
        y = x.new_empty(len(weights), x.shape[1])
        probabilities, coefficients = torch.empty_like(weights), weights.new_empty(len(weights), 4)
        numba_kernels.forward_relaxed(
            x.numpy(), weights.numpy(), first, second, probabilities.numpy(), coefficients.numpy(), y.numpy()
        )
        ctx.save_for_backward(x, probabilities, coefficients)
        ctx.lists, ctx.grad_factor = lists, grad_factor
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor, None, None]:
        return *_relaxed_backward(ctx, grad), None, None


class _RelaxedSums(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weights: torch.Tensor,
        lists: ConnectionLists,
        grad_factor: float,
        groups: int,
    ) -> torch.Tensor:
        first, second = lists.inputs
        sums = _partial_sums(x, len(weights), groups)
        probabilities, coefficients = torch.empty_like(weights), weights.new_empty(len(weights), 4)
        numba_kernels.forward_relaxed_sums(
            x.numpy(), weights.numpy(), first, second, probabilities.numpy(), coefficients.numpy(), sums.numpy()
        )
        ctx.save_for_backward(x, probabilities, coefficients)
        ctx.lists, ctx.grad_factor = lists, grad_factor
        return sums.reshape(groups, -1, x.shape[1]).sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor, None, None, None]:
        return *_relaxed_backward(ctx, grad), None, None, None


class _Mixture(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, coefficients: torch.Tensor, lists: ConnectionLists, grad_factor: float
    ) -> torch.Tensor:
        first, second = lists.inputs
        y = x.new_empty(len(coefficients), x.shape[1])
        numba_kernels.forward(x.numpy(), coefficients.numpy(), first, second, y.numpy())
        ctx.save_for_backward(x, coefficients)
        ctx.lists, ctx.grad_factor = lists, grad_factor
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None, None]:
        return *_mixture_backward(ctx, grad), None, None


class _MixtureSums(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        coefficients: torch.Tensor,
        lists: ConnectionLists,
        grad_factor: float,
        groups: int,
    ) -> torch.Tensor:
        first, second = lists.inputs
        sums = _partial_sums(x, len(coefficients), groups)
        numba_kernels.forward_sums(x.numpy(), coefficients.numpy(), first, second, sums.numpy())
        ctx.save_for_backward(x, coefficients)
        ctx.lists, ctx.grad_factor = lists, grad_factor
        return sums.reshape(groups, -1, x.shape[1]).sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None, None, None]:
        return *_mixture_backward(ctx, grad), None, None, None


class _SigmoidMixture(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        coefficients: torch.Tensor,
        lists: ConnectionLists,
        grad_factor: float,
        groups: int | None,
    ) -> torch.Tensor:
        first, second = lists.inputs
        y = x.new_empty(len(coefficients), x.shape[1])
        numba_kernels.forward(x.numpy(), coefficients.numpy(), first, second, y.numpy())
        y.sigmoid_()
        ctx.save_for_backward(x, coefficients, y)
        ctx.lists, ctx.grad_factor = lists, grad_factor
        return y if groups is None else y.reshape(groups, -1, x.shape[1]).sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None, None, None]:
        return *_mixture_backward(ctx, grad), None, None, None


def _partial_sums(x: torch.Tensor, out_dim: int, groups: int) -> torch.Tensor:
    """Zeros [groups * parts, batch]: many threads have something to do; their number depends on the layer alone."""
    parts = next(parts for parts in (32, 16, 8, 4, 2, 1) if out_dim % (groups * parts) == 0)
    return x.new_zeros(groups * parts, x.shape[1])


def _relaxed_backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
    x, probabilities, coefficients = ctx.saved_tensors
    grad_weights = torch.empty_like(probabilities)
    return _backward(ctx, x, coefficients, probabilities, grad, grad_weights), grad_weights


def _mixture_backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    x, coefficients, *sigmoid = ctx.saved_tensors
    none = x.new_empty(len(coefficients), 0)
    if not ctx.needs_input_grad[1]:
        return _backward(ctx, x, coefficients, none, grad, x.new_empty(0, 4), *sigmoid), None
    grad_coefficients = torch.empty_like(coefficients)
    return _backward(ctx, x, coefficients, none, grad, grad_coefficients, *sigmoid), grad_coefficients


def _backward(
    ctx: Any,
    x: torch.Tensor,
    coefficients: torch.Tensor,
    probabilities: torch.Tensor,
    grad: torch.Tensor,
    grad_weights: torch.Tensor,
    sigmoid: torch.Tensor | None = None,
) -> torch.Tensor | None:
    """Fills grad_weights as the kernels say, and returns the gradient of x, if it is needed."""
    first, second = ctx.lists.inputs
    outputs = (x.new_empty(0, x.shape[1]) if sigmoid is None else sigmoid).numpy()
    grad = grad.contiguous()
    if not ctx.needs_input_grad[0]:
        numba_kernels.backward_weights(
            x.numpy(),
            coefficients.numpy(),
            first,
            second,
            probabilities.numpy(),
            outputs,
            grad.numpy(),
            grad_weights.numpy(),
        )
        return None
    starts, consumers = ctx.lists.consumers
    grad_x = torch.empty_like(x)
    numba_kernels.backward(
        x.numpy(),
        coefficients.numpy(),
        first,
        second,
        starts,
        consumers,
        probabilities.numpy(),
        outputs,
        grad.numpy(),
        ctx.grad_factor,
        grad_x.numpy(),
        grad_weights.numpy(),
    )
    return grad_x
