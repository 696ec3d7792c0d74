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
    """

    def __init__(self, in_dim: int, k: int, gates: GateOptions | None = None) -> None:
        super().__init__()
        self.in_dim, self.k = in_dim, k
        self.gates = gates or GateOptions()
        self.weights = nn.Parameter(torch.zeros(k, in_dim))

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """[in_dim, batch] -> counts [batch, k], in float32 or wider."""
        with torch.autocast(x.device.type, enabled=False):
            votes: torch.Tensor = self.weights
            if not self.training:
                votes = votes.round()
            elif self.gates.hard:
                votes = straight_through(votes.round(), votes)
            x = x if x.dtype == torch.float64 else x.float()
            return x.T @ votes.T.to(x.dtype) - lowest_sums(votes.detach()).min()

    def whole_votes(self) -> torch.Tensor:
        """int64 [k, in_dim]: the votes in eval mode, ties of rounding to even."""
        return self.weights.detach().round().long()

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"{self.in_dim}, k={self.k}"


def lowest_sums(votes: torch.Tensor) -> torch.Tensor:
    """The lowest sum that each class can have of votes [k, in_dim]: [k]."""
    return votes.clamp(max=0).sum(1)
