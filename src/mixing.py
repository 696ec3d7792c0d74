"""CutMix: a rectangle of a training frame is that of another one, and so is a share of its label (Yun et al. 2019)."""

import numpy as np
import torch
from numpy.typing import NDArray

from src.augmentation import FrameShape, draw, uniform_by_torch
from src.config import Augmentation
from src.logic.reference import pack_bits

# What a frame's numbers are used for; the ones that `src.augmentation` has no use for.
_MIXED, _AREA, _X, _Y = range((1 << 62) + 4, (1 << 62) + 8)


def others_order(num_frames: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The training frames that an epoch's are mixed with: a function of (seed, epoch) alone, as `data.train_order`."""
    return np.random.default_rng([seed, epoch, 1]).permutation(num_frames)


def mix(
    packed: torch.Tensor,
    others: torch.Tensor,
    shape: FrameShape,
    frame_dtype: str,
    probability: float,
    seed: int,
    epoch: int,
    first: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of frames with rectangles of others, in all channels, and the share of each frame that is its own.

    Args:
        packed: uint8 [B, ceil(P*H*W/8)] of bits, or [B, P*H*W] of counts, on any device.
        others: frames to take from, one for each, packed likewise.
        shape: (P, H, W).
        frame_dtype: binary or counts.
        probability: of a frame to be mixed.
        seed: of the run.
        epoch: from 0.
        first: position of the first frame in the epoch's order; the others follow it.

    Returns:
        Frames as `packed`, and float32 [B].
    """
    channels, height, width = shape
    device = packed.device
    rectangles = draw_rectangles(height, width, probability, seed, epoch, first, len(packed))
    top, bottom, left, right = rectangles.to(device)[:, :, None].unbind(1)  # [B, 1] each
    y, x = torch.arange(height, device=device), torch.arange(width, device=device)
    inside = ((y >= top) & (y < bottom))[:, :, None] & ((x >= left) & (x < right))[:, None, :]  # [B, H, W]
    own = 1 - inside.sum((1, 2)) / (height * width)
    pixels = inside[:, None].expand(-1, channels, -1, -1).flatten(1)
    if frame_dtype == "counts":
        return torch.where(pixels, others, packed), own
    return packed ^ ((packed ^ others) & pack_bits(pixels.to(torch.uint8))), own


def draw_rectangles(
    height: int, width: int, probability: float, seed: int, epoch: int, first: int, count: int
) -> torch.Tensor:
    """Of each of `count` frames: rows from top to before bottom, columns from left to before right, int64 [B, 4].

    A rectangle has the frame's proportions, an area that is uniform up to the frame's, and its middle anywhere: what is
    outside is cut off. A frame that is not mixed has an empty one.
    """
    keys = torch.from_numpy(draw(Augmentation(), seed, epoch, first, count)[:, :1])
    numbers = uniform_by_torch(keys, torch.tensor([_MIXED, _AREA, _X, _Y])).double() / 2**32
    mixed, area, x, y = numbers.unbind(1)
    side = area.sqrt() * (mixed < probability)
    edges = [
        (middle * length + sign * side * length / 2).round().clamp(0, length)
        for middle, length in ((y, height), (x, width))
        for sign in (-1, 1)
    ]
    return torch.stack(edges, 1).long()
