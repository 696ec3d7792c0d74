"""LogicLayer and GroupSum: the modules of a differentiable logic gate network, drop-in for difflogic's."""

from typing import Any

import torch
from torch import nn

from src.logic.backends import AUTO, Backend
from src.logic.backends.backend import sum_dtype
from src.logic.gate_layer import GateLayer
from src.logic.parametrisation import GateOptions
from src.registry import CONNECTIONS


class LogicLayer(GateLayer):
    """A layer of two-input gates, each a learned mixture of the sixteen (Petersen et al. 2022).

    In train mode a neuron computes the expectation under softmax(weights) of the gates' real-valued forms; in eval mode
    it is its most likely gate. GateOptions lists other ways to learn gates, which may have four or six inputs.

    Attributes:
        weights: parameter [out_dim, 16], in the gate order of `src.logic.gates`; [out_dim, 2^k] of light and walsh
            gates of k inputs.
        gates: how they are learned; may be replaced by options that differ in forward_sampling and temperature.
        indices: buffer int64 [k, out_dim], the inputs of each neuron.
        positions: how often each gate is there.
    """

    positions = 1
    stackable = True

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        device: torch.device | str | None = None,
        grad_factor: float = 1.0,
        implementation: str = AUTO,
        connections: str | torch.Tensor | None = "random",
        gates: GateOptions | None = None,
    ) -> None:
        """Draw weights and connections from PyTorch's global generators, in difflogic's order.

        Args:
            in_dim: number of inputs.
            out_dim: number of neurons, which together have at least in_dim inputs.
            device: where the weights are created.
            grad_factor: the gradient that goes back to the inputs is multiplied by it.
            implementation: `auto`, or the name of a backend.
            connections: random, unique or another scheme that draws them, or the `indices` themselves; None for a
                subclass that has its own.
            gates: how they are learned; by default GateOptions().

        Raises:
            ValueError: for dimensions or names that cannot be.
        """
        draw = _draw(connections) if isinstance(connections, str) else None
        super().__init__(in_dim, out_dim, out_dim, gates or GateOptions(), device, grad_factor, implementation)
        self.connections = connections if isinstance(connections, str) else "given"
        indices = draw(in_dim, out_dim, self.gates.fan_in) if draw else connections
        if isinstance(indices, torch.Tensor):
            self.register_buffer("indices", indices.to(device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the layer: [..., in_dim] -> [..., out_dim], values in 0 to 1."""
        y = self.forward_features(x.reshape(-1, x.shape[-1]).T.contiguous()).T
        return y.reshape(*x.shape[:-1], self.out_dim)

    def forward_sums(self, x: torch.Tensor, k: int) -> torch.Tensor:
        """Return the sums of k equal groups of neurons: [in_dim, batch] -> [k, batch], in float32 or wider.

        This is what GroupSum does to a last layer, without its outputs in memory if the backend can.
        """
        require_equal_groups(self.out_dim, k)
        return self._sums(self._backend(x), x, k)

    def probabilities(self) -> torch.Tensor | None:
        """Return the probabilities of the sixteen gates [out_dim, 16], 0 and 1 in eval mode; None if there are none."""
        return self.gate_weights().probabilities()

    def _features(self, backend: Backend, x: torch.Tensor) -> torch.Tensor:
        return backend.dense(x, self.gate_weights(), self._connections(backend), self.grad_factor)

    def _sums(self, backend: Backend, x: torch.Tensor, k: int) -> torch.Tensor:
        return backend.dense_sums(x, self.gate_weights(), self._connections(backend), self.grad_factor, k)

    def _connect(self, backend: Backend) -> Any:
        return backend.connect(self.indices, self.in_dim)

    def extra_repr(self) -> str:
        """Return what `print` shows."""
        return (
            f"{self.in_dim}, {self.out_dim}, connections={self.connections}, grad_factor={self.grad_factor}, "
            f"parametrisation={self.gates.parametrisation}"
        )


def require_equal_groups(neurons: int, k: int) -> None:
    """Raise ValueError unless neurons can be divided into k equal groups."""
    if neurons % k:
        raise ValueError(f"{neurons} neurons cannot be divided into {k} equal groups")


def _draw(name: str) -> Any:
    """Return the function that draws the indices of a connection scheme; ValueError if there is none."""
    draw = CONNECTIONS.load(name).draw if name in CONNECTIONS else None
    if draw is None:
        names = [other for other in CONNECTIONS if CONNECTIONS.load(other).draw]
        raise ValueError(f"connections {name!r} is not one of {', '.join(names)}")
    return draw


class GroupSum(nn.Module):
    """Class scores: the sum of each of k equal groups of features, divided by tau."""

    def __init__(self, k: int, tau: float = 1.0, device: torch.device | str | None = None) -> None:
        """Take difflogic's arguments; `device` is ignored, since there is nothing to put on a device."""
        super().__init__()
        self.k, self.tau = k, tau

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the sums: [..., features] -> [..., k]; half-precision inputs are summed in float32."""
        if x.shape[-1] % self.k:
            raise ValueError(f"{x.shape[-1]} features cannot be divided into {self.k} equal groups")
        groups = x.reshape(*x.shape[:-1], self.k, x.shape[-1] // self.k)
        return groups.sum(-1, dtype=sum_dtype(x)) / self.tau

    def extra_repr(self) -> str:
        """Return what `print` shows."""
        return f"k={self.k}, tau={self.tau}"
