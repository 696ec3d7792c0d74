"""VoteSum: class scores of features that each class counts a learned whole number of times."""

import torch
from torch import nn

from src.logic.parametrisation import GateOptions


class VoteSum(nn.Module):
    """Of each class, the votes of the features that are 1, and against it of those that are 0.

    A feature has a whole number of votes for each class: as many buffers, or below 0 inverters, counted as GroupSum
    counts neurons. Constants are added, so that counts are of buffers, inverters and ones: no score is negative. In
    train mode votes are real numbers, which nothing has to be done for but rounding when the network is discretised;
    hard gates' votes are rounded in train mode too, straight-through.

    Attributes:
        weights: parameter [k, in_dim], the votes before rounding; zeros at first, which draw no random numbers.
        gates: whose `hard` says whether to round in train mode.
    """

    def __init__(self, in_dim: int, k: int, tau: float = 1.0, gates: GateOptions | None = None) -> None:
        super().__init__()
        self.in_dim, self.k, self.tau = in_dim, k, tau
        self.gates = gates or GateOptions()
        self.weights = nn.Parameter(torch.zeros(k, in_dim))

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """[in_dim, batch] -> scores [batch, k], in float32 or wider."""
        with torch.autocast(x.device.type, enabled=False):
            votes: torch.Tensor = self.weights
            if not self.training:
                votes = votes.round()
            elif self.gates.hard:
                votes = votes.round() + (votes - votes.detach())
            against = votes.detach().clamp(max=0).sum(1).min()
            x = x if x.dtype == torch.float64 else x.float()
            return (x.T @ votes.T.to(x.dtype) - against) / self.tau

    def whole_votes(self) -> torch.Tensor:
        """int64 [k, in_dim]: the votes in eval mode, ties of rounding to even."""
        return self.weights.detach().round().long()

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"{self.in_dim}, k={self.k}, tau={self.tau}"
