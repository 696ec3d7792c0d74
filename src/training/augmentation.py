"""Augmentation of packed training frames: they are moved, turned, mirrored and thinned, and keep their labels."""

import torch

from src.command_line import UserError
from src.config import Augmentation, Config
from src.frame_cache.framing_options import dataset_of
from src.logic.backends.triton import has_triton
from src.training.augmentation_kernels import FrameShape, augment_by_numba, augment_by_torch, draw


def require_fitting_augmentation(config: Config, shape: FrameShape) -> None:
    """Raise UserError if frames of this shape would lose their class or be moved out of sight."""
    options, dataset = config.train.augmentation, dataset_of(config.data)
    if options.flip and not dataset.mirrored_keeps_class:
        raise UserError(
            f"train.augmentation.flip = true: a mirrored recording of {dataset.name} is not of its class any more; "
            f"use train.augmentation.flip=false"
        )
    _, height, width = shape
    if options.shift >= min(height, width):
        raise UserError(
            f"train.augmentation.shift = {options.shift} moves whole frames of {width} x {height} pixels out of sight; "
            f"at most {min(height, width) - 1}"
        )


def augment(
    packed: torch.Tensor,
    shape: FrameShape,
    frame_dtype: str,
    options: Augmentation,
    seed: int,
    epoch: int,
    first: int,
) -> torch.Tensor:
    """Move, turn, mirror and thin each frame of a batch at random; return the batch itself if all options are off.

    All channels of a frame move together, and what comes in from outside has no events. Frames are turned, scaled and
    sheared about their middle, and a pixel is the one that lies nearest to the place that it comes from. Each event, or
    each set pixel of a binary frame, is dropped with the frame's own probability, which is uniform from 0 to
    `options.event_drop`, as by random drop in EventDrop (Gu et al. 2021).

    Args:
        packed: uint8, bits [B, ceil(P*H*W/8)] or counts [B, P*H*W], on any device.
        shape: (P, H, W).
        frame_dtype: binary or counts.
        options: what may happen.
        seed: the run's seed.
        epoch: counted from 0.
        first: position of the first frame in the epoch's order; the others follow it.

    Returns:
        The augmented frames, like `packed`.
    """
    if options == Augmentation():
        return packed
    draws = draw(options, seed, epoch, first, len(packed))
    counts = frame_dtype == "counts"
    if packed.device.type == "cuda" and has_triton():
        from src.training.augmentation_triton import augment_by_triton

        return augment_by_triton(packed.contiguous(), shape, counts, torch.from_numpy(draws).to(packed.device))
    if packed.device.type != "cpu":
        return augment_by_torch(packed, shape, counts, draws)
    augmented = torch.zeros_like(packed)
    augment_by_numba(packed.numpy(), *shape, counts, draws, augmented.numpy())
    return augmented
