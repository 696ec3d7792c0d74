"""The mean of gradients over processes."""

import warnings
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from src.distributed.group import world_size
from src.model import FrameModel


class _PackedForward(nn.Module):
    """A model whose `forward` takes packed frames, since DistributedDataParallel calls no other method."""

    def __init__(self, model: FrameModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, packed: torch.Tensor) -> torch.Tensor:
        return self.model.forward_training(packed)


def data_parallel(model: FrameModel, packed: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a `model.forward_training` after which gradients become the mean over all processes.

    After its first step PyTorch rearranges which gradients are summed together, and the sums of more than two processes
    are then rounded differently. That step is taken here, so that a resumed run goes on with the same arrangement.

    Args:
        model: on its device; it stays the model that is evaluated and saved.
        packed: a frame for the first step, uint8 [1, bytes].
    """
    if world_size() == 1:
        return model.forward_training
    with warnings.catch_warnings():
        # PyTorch 2.13 renames the option broadcast_buffers; older versions do not know the new name.
        warnings.simplefilter("ignore", FutureWarning)
        parallel = DistributedDataParallel(_PackedForward(model), broadcast_buffers=False)  # buffers are connections
    model.train()
    with torch.random.fork_rng(devices=[packed.device] if packed.is_cuda else []):
        parallel(packed).sum().backward()
    model.zero_grad(set_to_none=True)
    return parallel
