"""Choices: what the inputs of neurons with learned connections may be."""

from typing import NamedTuple

import torch


class Choices(NamedTuple):
    """What the inputs of neurons may be: each has been chosen among candidates, whose shares get a gradient.

    It is the gradient that they would have if an input were the mixture of its candidates (straight-through).

    Attributes:
        shares: [k, neurons, candidates].
        candidates: int32, likewise, the input that each candidate is.
    """

    shares: torch.Tensor
    candidates: torch.Tensor
