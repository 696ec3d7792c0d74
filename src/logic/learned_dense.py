"""LearnedLogicLayer: a logic layer that learns which inputs its neurons see, among candidates."""

from typing import Any

import torch

from src.logic.backends import Backend
from src.logic.backends.backend import group_sums
from src.logic.candidates import LearnedConnections, with_share_gradient
from src.logic.choices import Choices
from src.logic.connections import candidate_connections
from src.logic.dense import LogicLayer


class LearnedLogicLayer(LearnedConnections, LogicLayer):
    """A logic layer in which each input of a neuron is the likeliest of its candidates, see LearnedConnections.

    The layer begins with the connections that a random one has from the same seed.

    Attributes:
        candidates: buffer int32 [inputs of a neuron, out_dim, candidates].
        logits: parameter, likewise.
    """

    stackable = False

    def __init__(
        self, in_dim: int, out_dim: int, device: torch.device | str | None = None, candidates: int = 8, **options: Any
    ) -> None:
        """Draw weights and candidates from PyTorch's global generators.

        Args:
            in_dim: number of inputs, at least the candidates.
            out_dim: number of neurons; with all their candidates at least in_dim.
            device: where the weights are created.
            candidates: number of candidates for each input of a neuron.
            options: LogicLayer's, but connections.
        """
        LogicLayer.__init__(self, in_dim, out_dim, device, connections=None, **options)
        self.connections = "learned"
        drawn = candidate_connections(in_dim, out_dim, candidates, self.gates.fan_in).to(torch.int32)
        self._offer(drawn, drawn.shape[:-1], device)

    def _features(self, backend: Backend, x: torch.Tensor) -> torch.Tensor:
        gates, indices = self.gate_weights(), self.indices
        connections = backend.connect(indices, self.in_dim)
        if gates.options.has_tables:
            choices = Choices(self.shares(), self.candidates) if self.training else None
            return backend.dense_tables(x, gates, connections, self.grad_factor, choices)
        coefficients = gates.coefficients()
        forms = backend.forms(x, coefficients, connections, self.grad_factor)
        if self.training:
            slopes = backend.candidate_slopes
            forms = with_share_gradient(forms, self.shares(), x, coefficients, indices, self.candidates, slopes)
        return gates.outputs(forms)

    def _sums(self, backend: Backend, x: torch.Tensor, k: int) -> torch.Tensor:
        return group_sums(self._features(backend, x), k)
