"""Backend: what an implementation of logic layers must offer, and which one a tensor gets.

Implementations are listed in src/registry.py.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import torch

from src.bits import unpack_bits
from src.logic.backends import torch_tables
from src.logic.choices import Choices
from src.logic.parametrisation import GateWeights
from src.logic.trees import Geometry, Trees
from src.registry import BACKENDS

AUTO = "auto"  # the name that stands for the first backend that suits a tensor


class Backend(Protocol):
    """An implementation of logic layers.

    Activations are feature-major, [features, batch]; outputs have the same dtype. A neuron's bilinear form is
    c0 + c1 a + c2 b + c3 ab; one with k = 4 or 6 inputs interpolates between the 2^k corners of a table. `grad_factor`
    multiplies the gradient that goes back to the inputs.

    Attributes:
        runs_on: which tensors it can compute, for error messages.
        chosen_by_auto: whether the implementation `auto` may be this one.
        has_convolution: whether it computes convolutional layers.
    """

    runs_on: str
    chosen_by_auto: bool = True
    has_convolution: bool = True

    def suits(self, x: torch.Tensor) -> bool:
        """Return whether it can compute layers on a tensor of this device and dtype."""
        raise NotImplementedError

    def connect(self, indices: torch.Tensor, in_dim: int) -> Any:
        """Return connections, int64 [k, out_dim], as the methods below take them; a layer keeps the result."""
        return indices

    def forms(self, x: torch.Tensor, coefficients: torch.Tensor, connections: Any, grad_factor: float) -> torch.Tensor:
        """Return the values of bilinear forms [out_dim, 4]: [in_dim, batch] -> [out_dim, batch]."""
        raise NotImplementedError

    def table_forms(
        self,
        x: torch.Tensor,
        tables: torch.Tensor,
        connections: Any,
        grad_factor: float,
        choices: Choices | None = None,
    ) -> torch.Tensor:
        """Return the values of multilinear forms, [in_dim, batch] -> [out_dim, batch], in PyTorch unless overridden.

        Args:
            x: activations.
            tables: values at the corners, [tables, 2^k]; equal numbers of consecutive neurons have each table.
            connections: from `connect`.
            grad_factor: multiplies the gradient of x.
            choices: what the neurons' inputs may have been; changes no value.
        """
        return torch_tables.table_forms(scale_gradient(x, grad_factor), tables, connections, choices)

    def dense_tables(
        self,
        x: torch.Tensor,
        gates: GateWeights,
        connections: Any,
        grad_factor: float,
        choices: Choices | None = None,
    ) -> torch.Tensor:
        """Return what gates with tables give, see `table_forms`."""
        return gates.outputs(self.table_forms(x, gates.tables(), connections, grad_factor, choices))

    def dense(self, x: torch.Tensor, gates: GateWeights, connections: Any, grad_factor: float) -> torch.Tensor:
        """Return what the gates of a dense layer give: [in_dim, batch] -> [out_dim, batch]."""
        if gates.options.has_tables:
            return self.dense_tables(x, gates, connections, grad_factor)
        return gates.outputs(self.forms(x, gates.coefficients(), connections, grad_factor))

    def dense_sums(
        self, x: torch.Tensor, gates: GateWeights, connections: Any, grad_factor: float, groups: int
    ) -> torch.Tensor:
        """Return the sums of equal groups of `dense`'s outputs, [groups, batch], in float32 or wider."""
        return group_sums(self.dense(x, gates, connections, grad_factor), groups)

    def stack_sums(self, x: torch.Tensor, layers: Sequence["StackedLayer"], groups: int) -> torch.Tensor:
        """Run dense layers one after the other, and return the last one's `dense_sums`, [groups, batch]."""
        *before, last = layers
        for layer in before:
            x = self.dense(x, layer.gates, layer.connections, layer.grad_factor)
        return self.dense_sums(x, last.gates, last.connections, last.grad_factor, groups)

    def candidate_slopes(
        self,
        x: torch.Tensor,
        coefficients: torch.Tensor,
        indices: torch.Tensor,
        candidates: torch.Tensor,
        grad_y: torch.Tensor,
    ) -> torch.Tensor:
        """Return the loss's derivative in the share of each candidate in a neuron's input.

        Args:
            x: activations [in_dim, batch].
            coefficients: [out_dim, 4].
            indices: int64 [2, out_dim], the inputs that have been chosen.
            candidates: int32 [2, out_dim, k].
            grad_y: gradient of the forms, [out_dim, batch].

        Returns:
            [2, out_dim, k], float32 or wider: sums over the batch of dL/da, or of dL/db, times the candidate's
            activation.
        """
        raise NotImplementedError

    def trees(self, connections: torch.Tensor, shape: Geometry, candidates: torch.Tensor | None = None) -> Trees:
        """Return the trees of a convolutional layer as `convolution` takes them; a layer keeps the result."""
        return Trees(connections, shape, candidates)

    def convolution(
        self, x: torch.Tensor, gates: GateWeights, trees: Any, grad_factor: float, shares: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the outputs of trees of gates, the largest of each pooling window; of equal ones, the first wins.

        Args:
            x: activations [channels * height * width, batch].
            gates: [kernels * (leaves - 1)], all gates of the first kernel first.
            trees: from `trees`.
            grad_factor: multiplies the gradient of x.
            shares: [kernels, leaves, candidates], which get the gradient that they would have if a leaf were the
                mixture of its candidates; they change no value.

        Returns:
            [kernels * out_height * out_width, batch].
        """
        raise NotImplementedError

    def convolutions(self, x: torch.Tensor, layers: Sequence["StackedConvolution"]) -> torch.Tensor:
        """Run convolutional layers one after the other; each is what `convolution` computes."""
        for layer in layers:
            x = self.convolution(x, layer.gates, layer.trees, layer.grad_factor, layer.shares)
        return x

    def unpack(self, packed: torch.Tensor, num_bits: int, dtype: torch.dtype) -> torch.Tensor:
        """Return the bits of packed frames, uint8 [batch, bytes], as 0 and 1: [num_bits, batch]."""
        return unpack_bits(packed, num_bits).T.to(dtype)


class StackedLayer(NamedTuple):
    """A dense layer as `Backend.stack_sums` takes it; connections are from `Backend.connect`."""

    gates: GateWeights
    connections: Any
    grad_factor: float


class StackedConvolution(NamedTuple):
    """A convolutional layer as `Backend.convolutions` takes it; see `Backend.convolution`."""

    gates: GateWeights
    trees: Any
    grad_factor: float
    shares: torch.Tensor | None


_Result = TypeVar("_Result")


def not_compiled(function: Callable[..., _Result]) -> Callable[..., _Result]:
    """Exclude a function from torch.compile, without importing the compiler, which takes a second."""

    @functools.wraps(function)
    def call(*arguments: Any) -> _Result:
        if torch.compiler.is_compiling():
            result: _Result = torch.compiler.disable(function)(*arguments)
            return result
        return function(*arguments)

    return call


def require_backend(name: str, convolution: bool = False) -> None:
    """Raise ValueError if there is no such backend, or if a convolution is asked for and it has none."""
    if name == AUTO:
        return
    if name not in BACKENDS:
        raise ValueError(f"implementation {name!r} is not one of {', '.join([AUTO, *BACKENDS])}")
    if convolution and not BACKENDS.load(name).has_convolution:
        names = [AUTO, *(other for other in BACKENDS if BACKENDS.load(other).has_convolution)]
        raise ValueError(f"implementation {name!r} has no convolutions; use one of {', '.join(names)}")


@not_compiled
def choose_backend(name: str, x: torch.Tensor) -> Backend:
    """Return the backend of this name; `auto` is the first of the registry that suits the tensor.

    Raises:
        ValueError: if the named one does not suit the tensor.
        ImportError: if a package that the named one needs cannot be imported.
    """
    if name == AUTO:
        return next(backend for backend in map(BACKENDS.load, BACKENDS) if backend.suits(x) and backend.chosen_by_auto)
    backend: Backend = BACKENDS.load(name)
    if not backend.suits(x):
        raise ValueError(
            f"implementation {name!r} runs on {backend.runs_on}, not on {x.device} in {x.dtype}; use 'auto'"
        )
    return backend


def unpack_features(packed: torch.Tensor, num_bits: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return the bits of packed frames, uint8 [B, bytes] on any device, as 0 and 1: [num_bits, B]."""
    return choose_backend(AUTO, packed).unpack(packed, num_bits, dtype)


def sum_dtype(x: torch.Tensor) -> torch.dtype:
    """Return the dtype that sums of x are taken in: float32, or float64 if x is."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def group_sums(y: torch.Tensor, groups: int) -> torch.Tensor:
    """Return the sums of equal groups of consecutive features: [features, batch] -> [groups, batch]."""
    return y.reshape(groups, len(y) // groups, -1).sum(1, dtype=sum_dtype(y))


def scale_gradient(x: torch.Tensor, factor: float) -> torch.Tensor:
    """Return x; its gradient will be multiplied by a factor."""
    return x if factor == 1.0 else _ScaleGradient.apply(x, factor)


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, factor: float) -> torch.Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        return grads[0] * ctx.factor, None
