"""Candidates: what layers that learn their connections share."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from src.logic.gate_layer import GateLayer

FIRST_LOGIT = 0.1  # the others' are 0: the first candidates are chosen until others have proved better


class LearnedConnections(GateLayer):
    """Each connection is the likeliest of its candidates under softmax(logits), in train mode too.

    So the kernels for fixed connections serve, and nothing changes when the network is discretised. The logits get the
    gradient that they would have if a connection were the mixture of all its candidates (straight-through; Bacellar et
    al. 2024, DWN, with all inputs as candidates; Mommen et al. 2025 and Fojcik et al. 2025, LILogicNet, with some).

    Attributes:
        candidates: buffer, whole numbers [..., k]: k candidates in place of each number of `indices`.
        logits: parameter [..., k], of each connection.
    """

    candidates: torch.Tensor
    logits: nn.Parameter

    def _offer(self, candidates: torch.Tensor, connections: torch.Size, device: torch.device | str | None) -> None:
        """Set the candidates, and logits for connections of this shape, by which the first candidates are chosen."""
        self.register_buffer("candidates", candidates.to(device))
        logits = torch.zeros(*connections, candidates.shape[-1], device=device)
        logits[..., 0] = FIRST_LOGIT
        self.logits = nn.Parameter(logits)

    @property
    def indices(self) -> torch.Tensor:  # type: ignore[override]
        """The connections that are chosen now, int64."""
        chosen = self.logits.detach().argmax(-1, keepdim=True)
        return self.candidates.gather(-1, chosen.expand(*self.candidates.shape[:-1], 1)).squeeze(-1).long()

    def shares(self) -> torch.Tensor:
        """Return the share of each candidate in its connection, like `logits`."""
        shares: torch.Tensor = _Softmax.apply(self.logits)
        return shares


class _Softmax(torch.autograd.Function):
    """Softmax over the last dimension. Of a few numbers each, PyTorch's takes five times as long on the CPU."""

    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor) -> torch.Tensor:
        powers = (logits - logits.amax(-1, keepdim=True)).exp_()
        shares = powers.div_(powers.sum(-1, keepdim=True))
        ctx.save_for_backward(shares)
        return shares

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        (shares,) = ctx.saved_tensors
        weighted = shares * grad
        return weighted.sub_(shares * weighted.sum(-1, keepdim=True))


def with_share_gradient(
    y: torch.Tensor,
    shares: torch.Tensor,
    x: torch.Tensor,
    coefficients: torch.Tensor,
    indices: torch.Tensor,
    candidates: torch.Tensor,
    slopes: Callable[..., torch.Tensor],
) -> torch.Tensor:
    """Return y as it is; on the way back, shares get the gradient that `slopes` returns.

    It is a backend's `candidate_slopes`, called with x, coefficients, indices, candidates and the gradient of y.
    """
    with_gradient: torch.Tensor = _ShareGradient.apply(y, shares, x, coefficients, indices, candidates, slopes)
    return with_gradient


class _ShareGradient(torch.autograd.Function):
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
        slopes: Callable[..., torch.Tensor],
    ) -> torch.Tensor:
        ctx.save_for_backward(x, coefficients, indices, candidates)
        ctx.slopes, ctx.dtype = slopes, shares.dtype
        return y.view_as(y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        slopes = ctx.slopes(*ctx.saved_tensors, grad)
        return grad, slopes.to(ctx.dtype), None, None, None, None, None
