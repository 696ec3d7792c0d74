"""Thermometer encoding: a count becomes bits, each of which says whether the count is above a threshold."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from src.bits import pack_bits

MOST_COUNT = 255  # a pixel's count is one byte
WIDTH = 0.25  # how steep the learned thresholds' sigmoid is; at first, whole numbers are 0.5 away from thresholds


class Thermometer(nn.Module):
    """Turns counts of events into bits: each channel becomes one channel per threshold; all pixels share thresholds.

    A bit says whether count > threshold. If thresholds are learnable, they are a parameter, and in train mode a bit is
    sigmoid((count - threshold) / WIDTH).

    Attributes:
        thresholds: float32 [levels]; 0, 1, 2, … until `fit`, plus a half if they are learned.
    """

    thresholds: torch.Tensor

    def __init__(self, levels: int, channels: int, learnable: bool = False) -> None:
        super().__init__()
        self.levels, self.channels, self.learnable = levels, channels, learnable
        thresholds = self._placed(torch.arange(levels))
        if learnable:
            self.thresholds = nn.Parameter(thresholds)
        else:
            self.register_buffer("thresholds", thresholds)

    def forward(self, counts: torch.Tensor) -> torch.Tensor:
        """Return the bits of counts [channels * pixels, B], float32 [channels * levels * pixels, B].

        Channel p becomes the channels p * levels to p * levels + levels - 1.
        """
        counts = counts.reshape(self.channels, 1, -1, counts.shape[-1])
        thresholds = self.thresholds[:, None, None]
        if self.learnable and self.training:
            bits = torch.sigmoid((counts.float() - thresholds) / WIDTH)
        else:
            bits = (counts > thresholds).float()
        return bits.reshape(-1, counts.shape[-1])

    def encode(self, counts: torch.Tensor) -> torch.Tensor:
        """Return what a circuit reads, uint8 [B, ceil(levels*P*H*W/8)], from frames of counts uint8 [B, P*H*W]."""
        return encode_counts(counts, self.channels, self.thresholds.detach())

    @torch.no_grad()
    def fit(self, counts: NDArray[np.uint8]) -> None:
        """Choose distinct thresholds from training counts: 0, then quantiles of the pixels with events.

        If pixels have few events, as in short frames, these are 0, 1, 2, …; if they have many, equally many pixels lie
        between any two thresholds.
        """
        present = np.bincount(counts.reshape(-1), minlength=MOST_COUNT + 1)
        present[0] = 0
        if not present.any():
            present[1] = 1
        shares = np.cumsum(present) / present.sum()
        chosen = [0]
        for level in range(1, self.levels):
            quantile = int(np.searchsorted(shares, level / self.levels))
            chosen.append(min(max(quantile, chosen[-1] + 1), MOST_COUNT - self.levels + level))
        self.thresholds.copy_(self._placed(torch.tensor(chosen)))

    def whole_thresholds(self) -> tuple[int, ...]:
        """Return whole numbers t such that the bits in eval mode are count > t."""
        return tuple(math.floor(threshold) for threshold in self.thresholds.tolist())

    def _placed(self, thresholds: torch.Tensor) -> torch.Tensor:
        """Put learned thresholds between two counts, so that the sigmoid is far from its middle at both."""
        return thresholds.float() + (0.5 if self.learnable else 0.0)

    def extra_repr(self) -> str:
        """Return what `print` shows."""
        return f"levels={self.levels}, learnable={self.learnable}"


def encode_counts(counts: torch.Tensor, channels: int, thresholds: torch.Tensor) -> torch.Tensor:
    """Return the packed bits count > threshold, uint8 [B, ceil(levels*P*H*W/8)], of frames of counts uint8 [B, P*H*W].

    Args:
        counts: P*H*W is a multiple of `channels`.
        channels: each becomes one channel per threshold.
        thresholds: [levels], of any dtype.
    """
    by_channel = counts.reshape(len(counts), channels, 1, counts.shape[1] // channels)
    return pack_bits((by_channel > thresholds[:, None]).to(torch.uint8).flatten(1))
