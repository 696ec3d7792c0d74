"""LearnedLogicLayer: a logic layer that learns which inputs its neurons see, among candidates."""

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from src.logic.backends import Backend
from src.logic.backends.backend import group_sums
from src.logic.candidates import LearnedConnections
from src.logic.connections import candidate_connections
from src.logic.dense import LogicLayer


class LearnedLogicLayer(LearnedConnections, LogicLayer):
    """A logic layer in which each input of a neuron is the likeliest of its candidates, see LearnedConnections.

    The layer begins with the connections that a random one has from the same seed.

    Attributes:
        candidates: buffer int32 [2, out_dim, k].
        logits: parameter [2, out_dim, k].
    """

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
        drawn = candidate_connections(in_dim, out_dim, candidates).to(torch.int32)
        self._offer(drawn, drawn.shape[:-1], device)

    def _features(self, backend: Backend, x: torch.Tensor) -> torch.Tensor:
        gates, indices = self.gate_weights(), self.indices
        coefficients = gates.coefficients()
        forms = backend.forms(x, coefficients, backend.connect(indices, self.in_dim), self.grad_factor)
        if self.training:
            forms = _Straight.apply(forms, self.shares(), x, coefficients, indices, self.candidates, backend)
        return gates.outputs(forms)

    def _sums(self, backend: Backend, x: torch.Tensor, k: int) -> torch.Tensor:
        return group_sums(self._features(backend, x), k)


class _Straight(torch.autograd.Function):
    """y as it is; on the way back the shares of the candidates get their gradient, as if they had made y."""

    @staticmethod
    def forward(
        ctx: Any,
        y: torch.Tensor,
        shares: torch.Tensor,
        x: torch.Tensor,
        coefficients: torch.Tensor,
        indices: torch.Tensor,
        candidates: torch.Tensor,
        backend: Backend,
    ) -> torch.Tensor:
        ctx.save_for_backward(x, coefficients, indices, candidates)
        ctx.backend, ctx.dtype = backend, shares.dtype
        return y.view_as(y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        slopes = ctx.backend.candidate_slopes(*ctx.saved_tensors, grad)
        return grad, slopes.to(ctx.dtype), None, None, None, None, None
