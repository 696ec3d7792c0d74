"""Augmentation on NVIDIA GPUs: one kernel that moves, turns, mirrors, thins and packs a batch of frames.

With TRITON_INTERPRET=1 at import, it runs on CPU tensors; see logic/triton_kernels.py.
"""

import torch
import triton
import triton.language as tl

from src import triton_cache
from src.training import augmentation

triton_cache.use()

ONE_BITS, EVENTS_FROM, MOST_COUNT, STEP = (
    tl.constexpr(number)
    for number in (augmentation.ONE_BITS, augmentation.EVENTS_FROM, augmentation.MOST_COUNT, augmentation.STEP)
)
FACTOR_1, FACTOR_2 = (tl.constexpr(factor) for factor in augmentation.FACTORS)
PIXELS = 256  # of a frame that a program writes
WARPS = 4


def augment(packed: torch.Tensor, shape: tuple[int, int, int], counts: bool, draws: torch.Tensor) -> torch.Tensor:
    """What `augmentation._augment` does; its frames, bit for bit.

    Floor: a frame's bytes read and written; hashing its events takes longer.

    Args:
        packed: contiguous uint8 [B, ceil(P*H*W/8)] of bits, or [B, P*H*W] of counts.
        shape: (P, H, W).
        counts: whether they are counts.
        draws: int64 [B, 9], on the device of `packed`; see `augmentation._draw`.
    """
    batch, size = packed.shape
    channels, height, width = shape
    augmented = torch.empty_like(packed)
    pixels_a_byte = 1 if counts else 8
    block = PIXELS // pixels_a_byte
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
            pixels_a_byte,
            block,
            num_warps=WARPS,
        )
    return augmented


# A module's own, as is every function that its kernels call: its interpreted copy has to interpret them too.


@triton.jit
def _add(x: tl.tensor, y: tl.tensor) -> tl.tensor:
    return x + y


@triton.jit
def _larger(x: tl.tensor, y: tl.tensor) -> tl.tensor:
    return tl.maximum(x, y)


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
    pixels_a_byte: tl.constexpr,
    block: tl.constexpr,
) -> None:
    frame = (tl.program_id(0) // blocks).to(tl.int64)
    byte = tl.program_id(0) % blocks * block + tl.arange(0, block)
    pixel = tl.arange(0, pixels_a_byte)[None, :]  # of the byte
    to = byte[:, None] * pixels_a_byte + pixel
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
    if pixels_a_byte == 1:
        events = tl.load(packed + frame * size + source, mask=inside, other=0).to(tl.int32)
    else:
        events = tl.load(packed + frame * size + (source >> 3), mask=inside, other=0).to(tl.int32)
        events = (events >> (source & 7).to(tl.int32)) & 1

    kept = events
    if drop_below > 0:
        for event in range(tl.reduce(tl.reduce(events, 1, _larger), 0, _larger)):
            z = key + (source * MOST_COUNT + (event + EVENTS_FROM)).to(tl.uint64) * STEP
            z = (z ^ (z >> 30)) * FACTOR_1
            z = (z ^ (z >> 27)) * FACTOR_2
            number = ((z ^ (z >> 31)) >> 32).to(tl.int64)
            kept -= ((number < drop_below) & (event < events)).to(tl.int32)
    result = tl.reduce(kept << pixel, 1, _add)
    tl.store(augmented + frame * size + byte, result.to(tl.uint8), mask=byte < size)
