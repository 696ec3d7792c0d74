"""Stacking: a frame and those before it in its recording make one sample with the channels of all, oldest first."""

import numpy as np
import torch
from numpy.typing import NDArray

from src.bits import pack_bits, unpack_bits
from src.frame_cache.cache import Split


def frame_numbers(split: Split, samples: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return each sample's frames, [B] -> [B, stack], its own frame last; -1 before the recording's first frame."""
    if split.stack == 1:
        return samples[:, None]
    begins = np.flatnonzero(np.diff(split.recordings, prepend=-1))  # the frames of a recording follow each other
    first = begins[np.searchsorted(begins, samples, side="right") - 1]
    numbers = samples[:, None] + np.arange(1 - split.stack, 1)
    return np.where(numbers < first[:, None], -1, numbers)


def joined(frames: torch.Tensor, numbers: torch.Tensor, frame_bits: int) -> torch.Tensor:
    """Join gathered frames to samples; frames before the recording's first are empty.

    Args:
        frames: uint8 [B * stack, bytes], in the order of `numbers`; may be written to.
        numbers: int64 [B, stack], see `frame_numbers`, on the device of `frames`.
        frame_bits: bits per frame; the rest of its last byte is left out.

    Returns:
        uint8 [B, ceil(stack * frame_bits / 8)].
    """
    stack = numbers.shape[1]
    if stack == 1:
        return frames
    frames.masked_fill_(numbers.reshape(-1, 1) < 0, 0)
    if frame_bits % 8 == 0:
        return frames.reshape(len(numbers), -1)
    return pack_bits(unpack_bits(frames, frame_bits).reshape(len(numbers), -1))
