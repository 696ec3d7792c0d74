"""The kernels of augmentation on the CPU, in PyTorch, and the random numbers that all of them share.

Every random number is a hash of (seed, epoch, position in the epoch's order, use). A resumed run, a process that has a
share of a batch, the CPU and a GPU therefore all get the same frames, and there is no state to save. The hash is
SplitMix64 (Steele et al. 2014), a generator whose n-th number is known without the ones before.
"""

import math

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from src.bits import pack_bits, unpack_bits
from src.config import Augmentation
from src.kernel_cache import cached_njit

FrameShape = tuple[int, int, int]

STEP = 0x9E3779B97F4A7C15
FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
# What a frame's numbers are used for. Those from EVENTS_FROM on belong to its events, one each.
_DX, _DY, _FLIP, _DROP, EVENTS_FROM = range(5)
_ROTATION, _SCALE_X, _SCALE_Y, _SHEAR = range(1 << 62, (1 << 62) + 4)
ONE_BITS = 16  # bits of a pixel's fraction; coordinates are whole numbers, so that all devices find the same pixel
MOST_COUNT = 255  # the most events of a pixel, each of which has a number of its own
_UINT_STEP = np.uint64(STEP)
_UINT_FACTORS = (np.uint64(FACTORS[0]), np.uint64(FACTORS[1]))


def draw(options: Augmentation, seed: int, epoch: int, first: int, count: int) -> NDArray[np.int64]:
    """Return what happens to each of `count` frames, [count, 9]; `_draw` says what the columns are."""
    return _draw(
        seed,
        epoch,
        first,
        count,
        options.shift,
        options.flip,
        options.event_drop,
        math.radians(options.rotation),
        math.log1p(options.scale),
        options.shear,
    )


@numba.njit(inline="always")
def _uniform(key: np.uint64, use: np.uint64) -> np.uint64:
    """Return a frame's number for one use, below 2^32."""
    z = key + use * _UINT_STEP
    z = (z ^ (z >> np.uint64(30))) * _UINT_FACTORS[0]
    z = (z ^ (z >> np.uint64(27))) * _UINT_FACTORS[1]
    return (z ^ (z >> np.uint64(31))) >> np.uint64(32)


@numba.njit(inline="always")
def _next_key(key: np.uint64, number: np.uint64) -> np.uint64:
    return (_uniform(key, np.uint64(2) * number) << np.uint64(32)) | _uniform(key, np.uint64(2) * number + np.uint64(1))


@numba.njit(inline="always")
def _symmetric(key: np.uint64, use: int, most: float) -> float:
    """Return a frame's number for one use, from -most to most."""
    return (np.float64(_uniform(key, np.uint64(use))) / 2.0**31 - 1.0) * most


@cached_njit()
def _draw(
    seed: int,
    epoch: int,
    first: int,
    count: int,
    shift: int,
    flip: bool,
    event_drop: float,
    rotation: float,
    log_scale: float,
    shear: float,
) -> NDArray[np.int64]:
    """Return for each frame: key, dx, dy, whether it is mirrored, and the number below which an event is dropped.

    The last four columns are the matrix (xx, xy, yx, yy) that takes a place to the one that its pixel comes from. Both
    are measured from the middle of the frame, and the matrix has units of 2^-ONE_BITS. The rotation is in radians.
    """
    draws = np.empty((count, 9), np.int64)
    epoch_key = _next_key(_next_key(np.uint64(0), np.uint64(seed)), np.uint64(epoch))
    places = np.uint64(2 * shift + 1)
    one = 1 << ONE_BITS
    for i in range(count):
        key = _next_key(epoch_key, np.uint64(first + i))
        draws[i, 0] = np.int64(key)
        draws[i, 1] = np.int64((_uniform(key, np.uint64(_DX)) * places) >> np.uint64(32)) - shift
        draws[i, 2] = np.int64((_uniform(key, np.uint64(_DY)) * places) >> np.uint64(32)) - shift
        draws[i, 3] = np.int64(_uniform(key, np.uint64(_FLIP)) >> np.uint64(31)) * flip
        draws[i, 4] = np.int64(np.float64(_uniform(key, np.uint64(_DROP))) * event_drop)
        angle = _symmetric(key, _ROTATION, rotation)
        cos, sin = math.cos(angle), math.sin(angle)
        across, down = math.exp(_symmetric(key, _SCALE_X, log_scale)), math.exp(_symmetric(key, _SCALE_Y, log_scale))
        slant = _symmetric(key, _SHEAR, shear)
        draws[i, 5] = round(one * cos * across)
        draws[i, 6] = round(one * (cos * slant - sin * down))
        draws[i, 7] = round(one * sin * across)
        draws[i, 8] = round(one * (sin * slant + cos * down))
    return draws


@cached_njit(nogil=True, parallel=True)
def augment_by_numba(
    packed: NDArray[np.uint8],
    channels: int,
    height: int,
    width: int,
    counts: bool,
    draws: NDArray[np.int64],
    augmented: NDArray[np.uint8],
) -> None:
    """Augment frames [B, bytes] by their draws [B, 9] into `augmented`, which holds zeros."""
    for b in numba.prange(len(packed)):
        key, dx, dy, flip, drop_below = np.uint64(draws[b, 0]), draws[b, 1], draws[b, 2], draws[b, 3], draws[b, 4]
        xx, xy, yx, yy = draws[b, 5], draws[b, 6], draws[b, 7], draws[b, 8]
        frame, out = packed[b], augmented[b]
        for to_y in range(height):
            v = 2 * (to_y - dy) - (height - 1)  # half pixels from the middle of the frame before it is moved
            for to_x in range(width):
                u = 2 * (to_x - dx) - (width - 1)
                from_u = xx * u + xy * v
                x = ((-from_u if flip else from_u) + (width << ONE_BITS)) >> (ONE_BITS + 1)
                y = (yx * u + yy * v + (height << ONE_BITS)) >> (ONE_BITS + 1)
                if x < 0 or x >= width or y < 0 or y >= height:
                    continue
                for channel in range(channels):
                    i = (channel * height + y) * width + x
                    events = np.int64(frame[i]) if counts else np.int64(frame[i >> 3]) >> (i & 7) & 1
                    if events == 0:
                        continue
                    kept = events
                    if drop_below > 0:
                        for event in range(events):
                            use = np.uint64(EVENTS_FROM + i * MOST_COUNT + event)
                            kept -= np.int64(_uniform(key, use) < np.uint64(drop_below))
                    to = (channel * height + to_y) * width + to_x
                    if counts:
                        out[to] = kept
                    else:
                        out[to >> 3] |= np.uint8(kept << (to & 7))


def augment_by_torch(packed: torch.Tensor, shape: FrameShape, counts: bool, draws: NDArray[np.int64]) -> torch.Tensor:
    """Do what `augment_by_numba` does by PyTorch operations on the device of `packed`, bit for bit."""
    channels, height, width = shape
    device = packed.device
    columns = torch.from_numpy(draws).to(device)[:, :, None].unbind(1)  # [B, 1] each
    key, dx, dy, flip, drop_below = columns[:5]
    xx, xy, yx, yy = (column[:, :, None] for column in columns[5:])
    frames = packed if counts else unpack_bits(packed, channels * height * width)
    if draws[:, 4].any():
        frames = _thinned(frames, key, drop_below, int(frames.max()) if counts else 1)
    u = (2 * (torch.arange(width, device=device) - dx) - (width - 1))[:, None, :]
    v = (2 * (torch.arange(height, device=device) - dy) - (height - 1))[:, :, None]
    from_u = xx * u + xy * v
    x = (torch.where(flip[:, :, None] == 1, -from_u, from_u) + (width << ONE_BITS)) >> (ONE_BITS + 1)  # [B, H, W]
    y = (yx * u + yy * v + (height << ONE_BITS)) >> (ONE_BITS + 1)
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    source = (y.clamp(0, height - 1) * width + x.clamp(0, width - 1)).flatten(1)
    pixels = frames.reshape(-1, channels, height * width)
    moved = pixels.gather(2, source[:, None].expand(-1, channels, -1)) * inside.flatten(1)[:, None]
    return moved.flatten(1) if counts else pack_bits(moved.flatten(1))


def _thinned(frames: torch.Tensor, key: torch.Tensor, drop_below: torch.Tensor, most: int) -> torch.Tensor:
    """Return frames uint8 [B, pixels], with up to `most` events per pixel, without the dropped events."""
    kept = frames.clone()
    first = torch.arange(frames.shape[1], device=frames.device) * MOST_COUNT + EVENTS_FROM
    for event in range(most):
        dropped = _uniform_by_torch(key, first + event) < drop_below
        kept -= (dropped & (frames > event)).to(torch.uint8)
    return kept


def _uniform_by_torch(key: torch.Tensor, use: torch.Tensor) -> torch.Tensor:
    """Return `_uniform` in int64, whose products wrap as those of uint64 do and whose shifts need the sign cut off."""
    z = key + use * _signed(STEP)
    for shift, factor in zip((30, 27), FACTORS, strict=True):
        z = (z ^ _shifted(z, shift)) * _signed(factor)
    return _shifted(z ^ _shifted(z, 31), 32)


def _shifted(z: torch.Tensor, by: int) -> torch.Tensor:
    return (z >> by) & ((1 << (64 - by)) - 1)


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number
