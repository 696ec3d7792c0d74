"""Trees: the sizes of a convolutional logic layer, and what its leaves read."""

from dataclasses import dataclass
from typing import NamedTuple

import torch


class Geometry(NamedTuple):
    """The sizes of a convolutional layer; lengths are in pixels.

    The nodes of a tree are numbered from its leaves: with L leaves, node i < L is a leaf and node L + g is gate g,
    whose inputs are nodes 2g and 2g + 1.
    """

    channels: int
    height: int
    width: int
    before: int  # rows of zeros above a frame, and columns to its left
    padded_height: int
    padded_width: int
    pool: int
    out_height: int
    out_width: int
    kernels: int
    leaves: int  # per tree


def geometry(in_shape: tuple[int, int, int], kernels: int, leaves: int, receptive_field: int, pool: int) -> Geometry:
    """Return the sizes of a layer on [channels, height, width] with zero padding 'same'.

    An even receptive field reaches one pixel further down and right.
    """
    channels, height, width = in_shape
    around = receptive_field - 1
    return Geometry(
        channels,
        height,
        width,
        around // 2,
        height + around,
        width + around,
        pool,
        height // pool,
        width // pool,
        kernels,
        leaves,
    )


@dataclass(frozen=True)
class Trees:
    """The trees of a layer, on its device.

    Attributes:
        connections: int64 [3, kernels, leaves], each leaf's channel, and its row and column in the receptive field.
        shape: the layer's sizes.
        candidates: int64 [3, kernels, leaves, candidates], like connections, of what each leaf may be; or None.
    """

    connections: torch.Tensor
    shape: Geometry
    candidates: torch.Tensor | None = None
