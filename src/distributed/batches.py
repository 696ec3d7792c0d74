"""The division of work among processes: frames of a batch while training, whole batches while evaluating."""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from src.config import DataLoader
from src.data import load_batches, read_samples
from src.frame_cache.cache import Split


class Share(NamedTuple):
    """The frames of a batch that one process takes.

    Attributes:
        packed: the frames, uint8 [B, bytes], on the device.
        labels: int64 [B], on the device.
        frames: number of frames that count. If the batch has fewer frames than there are processes, some shares have 0:
            they hold one frame all the same, so that their process has a gradient to add.
        weight: factor of the share's mean loss, by which the mean over all shares is the mean over the batch.
        batch_frames: number of frames of the whole batch.
        first: position of the share's first frame in the epoch's order; the others follow it.
    """

    packed: torch.Tensor
    labels: torch.Tensor
    frames: int
    weight: float
    batch_frames: int
    first: int


def load_shares(
    split: Split,
    order: NDArray[np.int64],
    options: DataLoader,
    device: torch.device,
    first: int = 0,
    number: int = 0,
    shares: int = 1,
) -> Iterator[Share]:
    """Yield one process's share of each batch.

    Args:
        split: the frames.
        order: the frames of an epoch, in the order in which they are taken.
        options: the size of a whole batch, and how frames are gathered.
        device: the device to load them on.
        first: number of batches to pass over.
        number: which share to take, counted from 0.
        shares: number of shares that a batch is divided into.
    """
    batch_size = options.batch_size
    mine, share_size = frames_of_share(order, batch_size, number, shares)
    loaded = load_batches(split, mine, dataclasses.replace(options, batch_size=share_size), device, first)
    for begin in range(first * batch_size, len(order), batch_size):
        batch_frames = min(batch_size, len(order) - begin)
        cut = _cut(batch_frames, number, shares)
        frames = cut.stop - cut.start
        if frames:
            packed, labels = next(loaded)
        else:
            packed = read_samples(split, order[:1]).to(device)
            labels = torch.from_numpy(split.labels[order[:1]]).to(device)
        yield Share(packed, labels, frames, frames * shares / batch_frames, batch_frames, begin + cut.start)


def frames_of_share(
    order: NDArray[np.int64], batch_size: int, number: int, shares: int
) -> tuple[NDArray[np.int64], int]:
    """Return the frames of a share, batch by batch, and how many the share has of a whole batch."""
    whole = len(order) // batch_size * batch_size
    own, rest = _cut(batch_size, number, shares), order[whole:]
    mine = order[:whole].reshape(-1, batch_size)[:, own].reshape(-1)
    return np.concatenate([mine, rest[_cut(len(rest), number, shares)]]), own.stop - own.start


def _cut(frames: int, number: int, shares: int) -> slice:
    """Return which frames of a batch belong to a share; if they cannot be divided, the first shares have one more.

    A share of the last batch, which may be smaller, is therefore never larger than that of a whole batch.
    """
    least, more = divmod(frames, shares)
    begin = number * least + min(number, more)
    return slice(begin, begin + least + (number < more))


def deal_out_batches(
    order: NDArray[np.int64], batch_size: int, number: int, processes: int
) -> tuple[NDArray[np.int64], int]:
    """Return the frames of the batches that a process evaluates, and the largest number of batches of any process.

    Whole batches are dealt out one by one. Each has the frames that it has in a single process, and so the same scores.
    """
    batches = [order[begin : begin + batch_size] for begin in range(0, len(order), batch_size)]
    mine = batches[number::processes]
    return np.concatenate([order[:0], *mine]), -(-len(batches) // processes)
