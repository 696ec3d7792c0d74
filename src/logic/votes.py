"""VoteSum: class counts, for which each class counts a feature a learned whole number of times."""

import torch
from torch import nn

from src.logic.parametrisation import GateOptions, straight_through


class VoteSum(nn.Module):
    """Counts, for each class, the votes of the features that are 1.

    Votes are whole numbers in eval mode. A constant is added to every class so that counts are never negative, which
    lets gates compute them: a count is built from one buffer per positive vote, one inverter per negative vote, and
    constant ones. In train mode votes are real numbers; those of hard gates are rounded there too, straight-through.

    Attributes:
        weights: parameter [k, in_dim], the votes before rounding; zeros at first, so that no random numbers are drawn.
        gates: options whose `hard` says whether to round in train mode.
        groups: number of equal groups of consecutive features, each of which can be trained to tell classes by itself.
    """

    def __init__(self, in_dim: int, k: int, gates: GateOptions | None = None, groups: int = 1) -> None:
        super().__init__()
        if in_dim % groups:
            raise ValueError(f"{in_dim} features cannot be divided into {groups} groups")
        self.in_dim, self.k, self.groups = in_dim, k, groups
        self.gates = gates or GateOptions()
        self.weights = nn.Parameter(torch.zeros(k, in_dim))

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the counts [batch, k] of features [in_dim, batch], in float32 or wider."""
        votes = self._votes()
        with torch.autocast(x.device.type, enabled=False):
            x = x if x.dtype == torch.float64 else x.float()
            return (votes.to(x.dtype) @ x).T - lowest_sums(votes.detach()).min()

    def forward_groups(self, x: torch.Tensor) -> torch.Tensor:
        """Return each group's votes [batch, groups, k], from features [in_dim, batch], in float32 or wider.

        No constant is added: the sum over groups is `forward_features`, but for a number that all classes share.
        """
        votes = self._votes()
        with torch.autocast(x.device.type, enabled=False):
            x = x if x.dtype == torch.float64 else x.float()
            of_groups = votes.to(x.dtype).unflatten(1, (self.groups, -1)).transpose(0, 1)
            return (of_groups @ x.unflatten(0, (self.groups, -1))).permute(2, 0, 1)  # no transposed copy of x

    def _votes(self) -> torch.Tensor:
        """Return the votes [k, in_dim] as they count in this mode."""
        if not self.training:
            return self.weights.round()
        return straight_through(self.weights.round(), self.weights) if self.gates.hard else self.weights

    def whole_votes(self) -> torch.Tensor:
        """Return the votes in eval mode, int64 [k, in_dim]; ties are rounded to even."""
        return self.weights.detach().round().long()

    def extra_repr(self) -> str:
        """Return what `print` shows."""
        return f"{self.in_dim}, k={self.k}, groups={self.groups}"


def lowest_sums(votes: torch.Tensor) -> torch.Tensor:
    """Return the lowest sum that each class can have, [k], from votes [k, in_dim]."""
    return votes.clamp(max=0).sum(1)
