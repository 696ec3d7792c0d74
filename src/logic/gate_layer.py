"""GateLayer: what dense and convolutional layers of learned gates share."""

from typing import Any

import torch
from torch import nn

from src.logic.backends import AUTO, Backend, choose_backend, require_backend
from src.logic.parametrisation import GateOptions, GateWeights, initial_weights


class GateLayer(nn.Module):
    """Gates with learned weights, relaxed in train mode and discretised in eval mode, on one of several backends.

    Attributes:
        in_dim, out_dim: numbers of features that come in and go out.
        weights: parameter [number of gates, weights per gate].
        gates: how they are learned; may be replaced by options that differ in forward_sampling and temperature.
        indices: int64, what the gates are connected to.
        grad_factor: the gradient that goes back to the inputs is multiplied by it.
        implementation: `auto`, or the name of a backend.
        stackable: whether the layer is dense and no more than gates with connections, so that a backend may compute it
            and its neighbours in one call.
    """

    stackable = False
    indices: torch.Tensor

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        num_gates: int,
        gates: GateOptions,
        device: torch.device | str | None = None,
        grad_factor: float = 1.0,
        implementation: str = AUTO,
    ) -> None:
        """Draw the weights; ValueError if the implementation is none."""
        super().__init__()
        require_backend(implementation)
        self.in_dim, self.out_dim = in_dim, out_dim
        self.grad_factor, self.implementation = grad_factor, implementation
        self.gates = gates
        self.weights = nn.Parameter(initial_weights(num_gates, gates, device))
        # What a backend has made of `indices`: the backend, the tensor, its version, the result.
        self._connected: tuple[Backend | None, torch.Tensor | None, int, Any] = (None, None, -1, None)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the layer feature-major, [in_dim, batch] -> [out_dim, batch], so that a gate reads whole rows."""
        return self._features(self._backend(x), x)

    def coefficients(self) -> torch.Tensor:
        """Return the bilinear forms of the gates [gates, 4], float32 or wider, relaxed in train mode."""
        return self.gate_weights().coefficients()

    def discretised_gates(self) -> torch.Tensor:
        """Return the gates in eval mode, int64 [gates], in the order of `src.logic.gates`."""
        return self.gate_weights().gates()

    def truth_tables(self) -> torch.Tensor:
        """Return the gates in eval mode as bool [gates, 2^k], the value at each corner of their k inputs."""
        return self.gate_weights().truth_tables()

    def gate_weights(self) -> GateWeights:
        """Return the weights and what they mean in this mode."""
        return GateWeights(self.weights, self.gates, self.training)

    def _features(self, backend: Backend, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def _backend(self, x: torch.Tensor) -> Backend:
        if x.ndim != 2 or x.shape[0] != self.in_dim:
            raise ValueError(f"expected {self.in_dim} input features, got a tensor of shape {list(x.shape)}")
        return choose_backend(self.implementation, x)

    def _connections(self, backend: Backend) -> Any:
        """Return `indices` as the backend takes them.

        They are made again if `indices` has been replaced or written to, as when a state dict is loaded.
        """
        made_by, made_of, version, made = self._connected
        if made_by is not backend or made_of is not self.indices or version != self.indices._version:
            made = self._connect(backend)
            self._connected = (backend, self.indices, self.indices._version, made)
        return made

    def _connect(self, backend: Backend) -> Any:
        raise NotImplementedError
