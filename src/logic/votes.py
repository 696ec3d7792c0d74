"""VoteSum: class counts of features, each of which a class counts a learned whole number of times."""

import torch
from torch import nn

from src.logic.parametrisation import GateOptions, straight_through


class VoteSum(nn.Module):
    """Class counts: the sum of the votes that the features which are 1 have for a class.

    Votes are whole numbers in eval mode. To all classes the same is added, so that no count is below 0: it then is
    one of gates, as GroupSum's, of as many buffers of a feature as it has votes, as many inverters where it has them
    below 0 (a vote of -1 is one for the complement, less one), and some ones. In train mode votes are real numbers,
    but those of hard gates are rounded there too, straight-through.

    Attributes:
        weights: parameter [k, in_dim], the votes before rounding; zeros at first, which draw no random numbers.
        gates: whose `hard` says whether to round in train mode.
        groups: of consecutive features, equally many each, which can be trained to tell classes by themselves.
    """

    def __init__(self, in_dim: int, k: int, gates: GateOptions | None = None, groups: int = 1) -> None:
        super().__init__()
        if in_dim % groups:
            raise ValueError(f"{in_dim} features cannot be divided into {groups} groups")
        self.in_dim, self.k, self.groups = in_dim, k, groups
        self.gates = gates or GateOptions()
        self.weights = nn.Parameter(torch.zeros(k, in_dim))

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """[in_dim, batch] -> counts [batch, k], in float32 or wider."""
        votes = self._votes()
        with torch.autocast(x.device.type, enabled=False):
            x = x if x.dtype == torch.float64 else x.float()
            return (votes.to(x.dtype) @ x).T - lowest_sums(votes.detach()).min()

    def forward_groups(self, x: torch.Tensor) -> torch.Tensor:
        """[in_dim, batch] -> votes [batch, groups, k] of each group's features, in float32 or wider.

        Nothing is added to them: their sum over groups is `forward_features`, but for a number that all classes share.
        """
        votes = self._votes()
        with torch.autocast(x.device.type, enabled=False):
            x = x if x.dtype == torch.float64 else x.float()
            of_groups = votes.to(x.dtype).unflatten(1, (self.groups, -1)).transpose(0, 1)
            return (of_groups @ x.unflatten(0, (self.groups, -1))).permute(2, 0, 1)  # no transposed copy of x

    def _votes(self) -> torch.Tensor:
        """[k, in_dim], as they count in this mode."""
        if not self.training:
            return self.weights.round()
        return straight_through(self.weights.round(), self.weights) if self.gates.hard else self.weights

    def whole_votes(self) -> torch.Tensor:
        """int64 [k, in_dim]: the votes in eval mode, ties of rounding to even."""
        return self.weights.detach().round().long()

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"{self.in_dim}, k={self.k}, groups={self.groups}"


def lowest_sums(votes: torch.Tensor) -> torch.Tensor:
    """The lowest sum that each class can have of votes [k, in_dim]: [k]."""
    return votes.clamp(max=0).sum(1)
