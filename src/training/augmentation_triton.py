"""Augmentation on NVIDIA GPUs: one kernel that moves, turns, mirrors, thins and packs a batch of frames.

With TRITON_INTERPRET=1 at import, it runs on CPU tensors; see src/triton_common.py.
"""

import torch
import triton
import triton.language as tl

from src.training import augmentation_kernels
from src.triton_common import add, maximum

ONE_BITS = tl.constexpr(augmentation_kernels.ONE_BITS)
EVENTS_FROM = tl.constexpr(augmentation_kernels.EVENTS_FROM)
MOST_COUNT = tl.constexpr(augmentation_kernels.MOST_COUNT)
STEP = tl.constexpr(augmentation_kernels.STEP)
FACTOR_1, FACTOR_2 = (tl.constexpr(factor) for factor in augmentation_kernels.FACTORS)
PIXELS = 256  # pixels of a frame that one program writes
WARPS = 4


def augment_by_triton(
    packed: torch.Tensor, shape: tuple[int, int, int], counts: bool, draws: torch.Tensor
) -> torch.Tensor:
    """Do what `augmentation_kernels.augment_by_numba` does, bit for bit.

    The least possible time is that of reading and writing the frames' bytes; hashing the events takes longer.

    Args:
        packed: contiguous uint8, bits [B, ceil(P*H*W/8)] or counts [B, P*H*W].
        shape: (P, H, W).
        counts: whether `packed` holds counts.
        draws: int64 [B, 9], on the device of `packed`; see `augmentation_kernels.draw`.
    """
    batch, size = packed.shape
    channels, height, width = shape
    augmented = torch.empty_like(packed)
    pixels_per_byte = 1 if counts else 8
    block = PIXELS // pixels_per_byte
    blocks = triton.cdiv(size, block)
    with torch.cuda.device_of(packed):
        _augment_kernel[(batch * blocks,)](
            packed,
            draws,
            augmented,
            size,
            channels,
            height,
            width,
            blocks,
            pixels_per_byte,
            block,
            num_warps=WARPS,
        )
    return augmented


@triton.jit
def _augment_kernel(
    packed: tl.tensor,
    draws: tl.tensor,
    augmented: tl.tensor,
    size: tl.tensor,
    channels: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    blocks: tl.tensor,
    pixels_per_byte: tl.constexpr,
    block: tl.constexpr,
) -> None:
    frame = (tl.program_id(0) // blocks).to(tl.int64)
    byte = tl.program_id(0) % blocks * block + tl.arange(0, block)
    pixel = tl.arange(0, pixels_per_byte)[None, :]  # its number in the byte
    to = byte[:, None] * pixels_per_byte + pixel
    draw = draws + frame * 9
    key = tl.load(draw).to(tl.uint64, bitcast=True)
    dx, dy, flip, drop_below = tl.load(draw + 1), tl.load(draw + 2), tl.load(draw + 3), tl.load(draw + 4)
    xx, xy, yx, yy = tl.load(draw + 5), tl.load(draw + 6), tl.load(draw + 7), tl.load(draw + 8)

    channel, place = to // (height * width), to % (height * width)
    u = 2 * (place % width - dx) - (width - 1)
    v = 2 * (place // width - dy) - (height - 1)
    from_u = xx * u + xy * v
    from_u = tl.where(flip == 1, -from_u, from_u)
    x = (from_u + (width << ONE_BITS)) >> (ONE_BITS + 1)
    y = (yx * u + yy * v + (height << ONE_BITS)) >> (ONE_BITS + 1)
    inside = (channel < channels) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    source = (channel * height + y) * width + x
    if pixels_per_byte == 1:
        events = tl.load(packed + frame * size + source, mask=inside, other=0).to(tl.int32)
    else:
        events = tl.load(packed + frame * size + (source >> 3), mask=inside, other=0).to(tl.int32)
        events = (events >> (source & 7).to(tl.int32)) & 1

    kept = events
    if drop_below > 0:
        for event in range(tl.reduce(tl.reduce(events, 1, maximum), 0, maximum)):
            z = key + (source * MOST_COUNT + (event + EVENTS_FROM)).to(tl.uint64) * STEP
            z = (z ^ (z >> 30)) * FACTOR_1
            z = (z ^ (z >> 27)) * FACTOR_2
            number = ((z ^ (z >> 31)) >> 32).to(tl.int64)
            kept -= ((number < drop_below) & (event < events)).to(tl.int32)
    result = tl.reduce(kept << pixel, 1, add)
    tl.store(augmented + frame * size + byte, result.to(tl.uint8), mask=byte < size)
