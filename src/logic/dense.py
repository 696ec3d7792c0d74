"""LogicLayer and GroupSum: the modules of a differentiable logic gate network, drop-in for difflogic's."""

import functools
import importlib.util
import os
from typing import Any

import torch
from torch import nn

from src.bits import unpack_bits
from src.helpers import LOG, import_optional
from src.logic.backends import numba_dense as numba_functions
from src.logic.backends import torch_dense as reference
from src.logic.connections import CONNECTIONS
from src.logic.parametrisation import (
    GateOptions,
    discretised_coefficients,
    discretised_gates,
    discretised_probabilities,
    initial_weights,
    relaxed_coefficients,
    relaxed_outputs,
    relaxed_probabilities,
    softmax_logits,
)

IMPLEMENTATIONS = ("auto", "torch", "numba", "triton", "difflogic")
MODULES = {
    "numba": "src.logic.backends.numba_dense",
    "triton": "src.logic.backends.triton_dense",
    "difflogic": "src.logic.backends.difflogic",
}


@functools.cache
def has_triton() -> bool:
    """Whether the package is there, which is for Linux only; a warning if it is there and broken."""
    if importlib.util.find_spec("triton") is None:
        return False
    try:
        functions_of("triton")
    except ImportError as error:
        LOG.warning("%s; PyTorch computes instead, slower", error)
        return False
    return True


def functions_of(implementation: str) -> Any:
    """The module of an implementation; triton and difflogic are imported only where they are used."""
    return import_optional(
        MODULES[implementation],
        f"implementation '{implementation}' asks for its kernels",
        "install the versions of requirements.lock, or use the implementation 'auto'",
    )


def resolve_implementation(implementation: str, x: torch.Tensor) -> str:
    """The implementation for this tensor, where one of IMPLEMENTATIONS was asked for; ValueError if it cannot be."""
    cuda, wide = x.device.type == "cuda", x.dtype == torch.float64
    here = f"{x.device} in {x.dtype}; 'auto' is what does"
    if implementation == "auto":
        if wide or (cuda and not has_triton()):
            return "torch"
        return "triton" if cuda else "numba"
    if implementation == "numba" and (cuda or wide):
        raise ValueError(f"implementation 'numba' runs on the CPU in up to 32 bits, not on {here}")
    if implementation == "triton" and (wide or not (cuda or os.environ.get("TRITON_INTERPRET") == "1")):
        raise ValueError(f"implementation 'triton' runs on CUDA in up to 32 bits, not on {here}")
    if implementation == "difflogic" and (not cuda or x.dtype == torch.bfloat16):
        raise ValueError(f"implementation 'difflogic' runs on CUDA and not in bfloat16, not on {here}")
    return implementation


class LogicLayer(nn.Module):
    """A layer of two-input gates, each a learned mixture of the sixteen (Petersen et al. 2022).

    In train mode a neuron computes the expectation under softmax(weights) of the gates' real-valued forms; in eval mode
    it is its most likely gate. `gates` may say otherwise, see GateOptions.

    Attributes:
        weights: parameter [out_dim, 16], in the gate order of `src.logic.gates`; [out_dim, 4] of light and walsh gates.
        gates: how they are learned; may be replaced by options that differ in forward_sampling and temperature.
        indices: buffer int64 [2, out_dim], the inputs of each neuron.
    """

    indices: torch.Tensor

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        device: torch.device | str | None = None,
        grad_factor: float = 1.0,
        implementation: str = "auto",
        connections: str | torch.Tensor | None = "random",
        gates: GateOptions | None = None,
    ) -> None:
        """Draw weights and connections from PyTorch's global generators, in difflogic's order.

        Args:
            in_dim: number of inputs.
            out_dim: number of neurons, at least half of in_dim.
            device: where the weights are created.
            grad_factor: the gradient that goes back to the inputs is multiplied by it.
            implementation: one of IMPLEMENTATIONS.
            connections: random, unique, or the `indices` themselves; None for a subclass that has its own.
            gates: how they are learned; GateOptions() without.

        Raises:
            ValueError: for dimensions or names that cannot be.
        """
        super().__init__()
        if implementation not in IMPLEMENTATIONS:
            raise ValueError(f"implementation {implementation!r} is not one of {', '.join(IMPLEMENTATIONS)}")
        if isinstance(connections, str) and connections not in CONNECTIONS:
            raise ValueError(f"connections {connections!r} is not one of {', '.join(CONNECTIONS)}")
        self.in_dim, self.out_dim = in_dim, out_dim
        self.grad_factor = grad_factor
        self.implementation = implementation
        self.connections = connections if isinstance(connections, str) else "given"
        self.gates = gates or GateOptions()
        self.weights = nn.Parameter(initial_weights(out_dim, self.gates, device))
        if isinstance(connections, str):
            connections = CONNECTIONS[connections](in_dim, out_dim)
        if connections is not None:
            self.register_buffer("indices", connections.to(device))
        self._lists: tuple[torch.Tensor | None, int, Any] = (None, -1, None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[batch, in_dim] -> [batch, out_dim], values in 0 to 1; there may be several batch dimensions, or none."""
        y = self.forward_features(x.reshape(-1, x.shape[-1]).T.contiguous()).T
        return y.reshape(*x.shape[:-1], self.out_dim)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """[in_dim, batch] -> [out_dim, batch]: feature-major, so that a neuron reads whole rows."""
        if x.ndim != 2 or x.shape[0] != self.in_dim:
            raise ValueError(f"expected {self.in_dim} input features, got a tensor of shape {list(x.shape)}")
        implementation = self._resolve(x)
        if implementation == "numba" and self.training and not self.gates.hard:
            return self._soft(x)
        y = self._forms(x, implementation)
        return relaxed_outputs(y, self.gates) if self.training else y

    def forward_sums(self, x: torch.Tensor, k: int) -> torch.Tensor:
        """[in_dim, batch] -> [k, batch]: the sums of k equal groups of neurons, in float32 or wider.

        What GroupSum does to a last layer, without its outputs in memory where the implementation can.
        """
        if self.out_dim % k:
            raise ValueError(f"{self.out_dim} neurons cannot be divided into {k} equal groups")
        if self.training and not self.gates.hard and self._resolve(x) == "numba":
            return self._soft(x, k)
        y = self.forward_features(x)
        return y.reshape(k, self.out_dim // k, -1).sum(1, dtype=_sum_dtype(y))

    def probabilities(self) -> torch.Tensor:
        """[out_dim, 16], float32 or wider, of softmax gates: softmax in train mode, in eval mode 1 at the largest."""
        if self.training:
            return relaxed_probabilities(self.weights, self.gates)
        return discretised_probabilities(self.weights)

    def coefficients(self) -> torch.Tensor:
        """[out_dim, 4], float32 or wider: the bilinear form of the gates, relaxed in train mode, else discretised."""
        if self.training:
            return relaxed_coefficients(self.weights, self.gates)
        return discretised_coefficients(self.weights, self.gates)

    def discretised_gates(self) -> torch.Tensor:
        """int64 [out_dim]: the gate that each neuron is in eval mode, in the order of `src.logic.gates`."""
        return discretised_gates(self.weights, self.gates)

    def _forms(self, x: torch.Tensor, implementation: str) -> torch.Tensor:
        """[in_dim, batch] -> [out_dim, batch]: the values of the neurons' bilinear forms."""
        if implementation == "difflogic":
            functions = functions_of(implementation)
            x = scale_gradient(x, self.grad_factor)
            return functions.mixture(x, self.probabilities(), self._connection_lists(functions))
        return self._mixture(x, self.coefficients(), implementation)

    def _mixture(self, x: torch.Tensor, coefficients: torch.Tensor, implementation: str) -> torch.Tensor:
        """[in_dim, batch] -> [out_dim, batch]: the values of these bilinear forms."""
        if implementation == "torch":
            return reference.mixture(scale_gradient(x, self.grad_factor), coefficients, self.indices)
        functions = functions_of(implementation)
        return functions.mixture(x, coefficients, self._connection_lists(functions), self.grad_factor)

    def _soft(self, x: torch.Tensor, *groups: int) -> torch.Tensor:
        """What soft gates give on numba, whose kernels do softmax and sigmoid too; if given, the sums of k groups."""
        lists = self._connection_lists(numba_functions)
        if self.gates.parametrisation == "softmax":
            function = numba_functions.relaxed_sums if groups else numba_functions.relaxed
            return function(x, softmax_logits(self.weights, self.gates), lists, self.grad_factor, *groups)
        coefficients = self.coefficients()
        if not self.gates.sigmoid_after:
            function = numba_functions.mixture_sums if groups else numba_functions.mixture
            return function(x, coefficients, lists, self.grad_factor, *groups)
        function = numba_functions.sigmoid_mixture_sums if groups else numba_functions.sigmoid_mixture
        return function(x, coefficients / self.gates.temperature, lists, self.grad_factor, *groups)

    def _resolve(self, x: torch.Tensor) -> str:
        implementation = resolve_implementation(self.implementation, x)
        if implementation == "difflogic" and self.gates.parametrisation != "softmax":
            raise ValueError(
                f"implementation 'difflogic' knows parametrisation softmax alone, not {self.gates.parametrisation}"
            )
        return implementation

    def _connection_lists(self, functions: Any) -> Any:
        """Made anew whenever `indices` has been replaced or written to, as loading a state dict does."""
        made_of, version, lists = self._lists
        if (
            made_of is not self.indices
            or version != self.indices._version
            or not isinstance(lists, functions.ConnectionLists)
        ):
            lists = functions.ConnectionLists(self.indices, self.in_dim)
            self._lists = (self.indices, self.indices._version, lists)
        return lists

    def extra_repr(self) -> str:
        """What `print` shows."""
        return (
            f"{self.in_dim}, {self.out_dim}, connections={self.connections}, grad_factor={self.grad_factor}, "
            f"parametrisation={self.gates.parametrisation}"
        )


class GroupSum(nn.Module):
    """Class scores: the sum of each of k equal groups of features, divided by tau."""

    def __init__(self, k: int, tau: float = 1.0, device: torch.device | str | None = None) -> None:
        """`device` is difflogic's argument; there is nothing to put on a device."""
        super().__init__()
        self.k, self.tau = k, tau

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., features] -> [..., k]; half-precision inputs are summed in float32."""
        if x.shape[-1] % self.k:
            raise ValueError(f"{x.shape[-1]} features cannot be divided into {self.k} equal groups")
        groups = x.reshape(*x.shape[:-1], self.k, x.shape[-1] // self.k)
        return groups.sum(-1, dtype=_sum_dtype(x)) / self.tau

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"k={self.k}, tau={self.tau}"


def _sum_dtype(x: torch.Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def scale_gradient(x: torch.Tensor, factor: float) -> torch.Tensor:
    """x, whose gradient will be multiplied by a factor."""
    return x if factor == 1.0 else _ScaleGradient.apply(x, factor)


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, factor: float) -> torch.Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        return grads[0] * ctx.factor, None


def unpack_features(packed: torch.Tensor, num_bits: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Packed frames uint8 [B, bytes], on any device -> 0 and 1, [num_bits, B]."""
    if packed.device.type == "cpu":
        return numba_functions.unpack_features(packed, num_bits).to(dtype)
    if packed.device.type == "cuda" and has_triton():
        return functions_of("triton").unpack_features(packed, num_bits, dtype)
    return unpack_bits(packed, num_bits).T.to(dtype)
