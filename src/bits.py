"""Packing and unpacking of binary frames: eight bits per byte, the first one lowest.

The kernel that frames events (src/events/kernels.py) writes packed frames itself, in this order.
"""

import numpy as np
import torch


def unpack_bits(packed: torch.Tensor, num_bits: int) -> torch.Tensor:
    """Return the bits of packed frames, uint8 [B, bytes], as 0 and 1: uint8 [B, num_bits]."""
    if packed.device.type == "cpu":  # NumPy is several times as fast there as the operations below
        return torch.from_numpy(np.unpackbits(packed.numpy(), axis=1, count=num_bits, bitorder="little"))
    bits = (packed[:, :, None] >> torch.arange(8, device=packed.device, dtype=torch.uint8)) & 1
    return bits.flatten(1)[:, :num_bits]


def pack_bits(bits: torch.Tensor) -> torch.Tensor:
    """Pack 0 and 1, uint8 [B, bits], into uint8 [B, ceil(bits / 8)]; `unpack_bits` is the inverse."""
    if bits.device.type == "cpu":
        return torch.from_numpy(np.packbits(bits.numpy(), axis=1, bitorder="little"))
    padded = torch.nn.functional.pad(bits, (0, -bits.shape[1] % 8)).reshape(len(bits), -1, 8)
    return (padded << torch.arange(8, device=bits.device, dtype=torch.uint8)).sum(-1, dtype=torch.uint8)
