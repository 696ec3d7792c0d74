"""LogicLayer and GroupSum: the modules of a differentiable logic gate network, drop-in for difflogic's."""

from typing import Any

import torch
from torch import nn

from src.logic import numba_functions, reference
from src.logic.connections import CONNECTIONS
from src.logic.gates import gate_coefficients

IMPLEMENTATIONS = ("auto", "torch", "numba")


class LogicLayer(nn.Module):
    """A layer of two-input gates, each a learned mixture of the sixteen (Petersen et al. 2022).

    In train mode a neuron computes the expectation under softmax(weights) of the gates' real-valued forms; in eval mode
    it is its most likely gate.

    Attributes:
        weights: parameter [out_dim, 16], in the gate order of `src.logic.gates`.
        indices: buffer int64 [2, out_dim], the inputs of each neuron.
    """

    indices: torch.Tensor
    gates: torch.Tensor

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        device: torch.device | str | None = None,
        grad_factor: float = 1.0,
        implementation: str = "auto",
        connections: str = "random",
    ) -> None:
        """Draw weights and connections from PyTorch's global generators, in difflogic's order.

        Args:
            in_dim: number of inputs.
            out_dim: number of neurons, at least half of in_dim.
            device: where the weights are created.
            grad_factor: the gradient that goes back to the inputs is multiplied by it.
            implementation: one of IMPLEMENTATIONS.
            connections: random or unique.

        Raises:
            ValueError: for dimensions or names that cannot be.
        """
        super().__init__()
        if implementation not in IMPLEMENTATIONS:
            raise ValueError(f"implementation {implementation!r} is not one of {', '.join(IMPLEMENTATIONS)}")
        if connections not in CONNECTIONS:
            raise ValueError(f"connections {connections!r} is not one of {', '.join(CONNECTIONS)}")
        self.in_dim, self.out_dim = in_dim, out_dim
        self.grad_factor = grad_factor
        self.implementation = implementation
        self.connections = connections
        self.weights = nn.Parameter(torch.randn(out_dim, 16, device=device))
        self.register_buffer("indices", CONNECTIONS[connections](in_dim, out_dim).to(device))
        self.register_buffer("gates", gate_coefficients(device=self.weights.device), persistent=False)
        self._lists: tuple[torch.Tensor | None, int, numba_functions.ConnectionLists | None] = (None, -1, None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[batch, in_dim] -> [batch, out_dim], values in 0 to 1."""
        return self.forward_features(x.T.contiguous()).T

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """[in_dim, batch] -> [out_dim, batch]: feature-major, so that a neuron reads whole rows."""
        if x.ndim != 2 or x.shape[0] != self.in_dim:
            raise ValueError(f"expected {self.in_dim} input features, got a tensor of shape {list(x.shape)}")
        if self._resolve(x) == "numba":
            return numba_functions.mixture(x, self.coefficients(), self._connection_lists(), self.grad_factor)
        if self.grad_factor != 1.0:
            x = _ScaleGradient.apply(x, self.grad_factor)
        return reference.mixture(x, self.coefficients(), self.indices)

    def coefficients(self) -> torch.Tensor:
        """[out_dim, 4], float32 or wider: of the mixture in train mode, of the most likely gate in eval mode."""
        weights = self.weights if self.weights.dtype == torch.float64 else self.weights.float()
        if not self.training:
            return self.gates.to(weights.dtype)[weights.argmax(-1)]
        if self._resolve(weights) == "numba":
            return numba_functions.coefficients(weights)
        with torch.autocast(weights.device.type, enabled=False):
            return weights.softmax(-1) @ self.gates.to(weights.dtype)

    def _resolve(self, x: torch.Tensor) -> str:
        """The implementation for this tensor."""
        if self.implementation == "auto":
            return "numba" if x.device.type == "cpu" and x.dtype != torch.float64 else "torch"
        if self.implementation == "numba" and (x.device.type != "cpu" or x.dtype == torch.float64):
            raise ValueError(f"implementation 'numba' runs on the CPU in up to 32 bits, not on {x.device} in {x.dtype}")
        return self.implementation

    def _connection_lists(self) -> numba_functions.ConnectionLists:
        """Made anew whenever `indices` has been replaced or written to, as loading a state dict does."""
        made_of, version, lists = self._lists
        if made_of is not self.indices or version != self.indices._version or lists is None:
            lists = numba_functions.connection_lists(self.indices, self.in_dim)
            self._lists = (self.indices, self.indices._version, lists)
        return lists

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"{self.in_dim}, {self.out_dim}, connections={self.connections}, grad_factor={self.grad_factor}"


class GroupSum(nn.Module):
    """Class scores: the sum of each of k equal groups of features, divided by tau."""

    def __init__(self, k: int, tau: float = 1.0) -> None:
        super().__init__()
        self.k, self.tau = k, tau

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., features] -> [..., k]; half-precision inputs are summed in float32."""
        self._check(x.shape[-1])
        groups = x.reshape(*x.shape[:-1], self.k, x.shape[-1] // self.k)
        return groups.sum(-1, dtype=_sum_dtype(x)) / self.tau

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """[features, batch] -> [batch, k]."""
        self._check(x.shape[0])
        return x.reshape(self.k, x.shape[0] // self.k, -1).sum(1, dtype=_sum_dtype(x)).T / self.tau

    def _check(self, features: int) -> None:
        if features % self.k:
            raise ValueError(f"{features} features cannot be divided into {self.k} equal groups")

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"k={self.k}, tau={self.tau}"


def _sum_dtype(x: torch.Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, factor: float) -> torch.Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        return grads[0] * ctx.factor, None


def unpack_features(packed: torch.Tensor, num_bits: int) -> torch.Tensor:
    """Packed frames uint8 [B, bytes], on any device -> 0 and 1, float32 [num_bits, B]."""
    if packed.device.type == "cpu":
        return numba_functions.unpack_features(packed, num_bits)
    return reference.unpack_bits(packed, num_bits).T.float()
