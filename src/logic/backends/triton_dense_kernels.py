"""The `triton` backend's dense layers: kernels for NVIDIA GPUs, on feature-major activations.

All of them are bound by memory bandwidth, so what counts is bytes. A row is one feature's (or neuron's) activations
over the batch; a program handles a tile of rows × batch, gathers whole row segments, and reads a neuron's connections
and coefficients once per segment. Programs that run side by side share the batch tile and differ in the rows, so that a
second reader of a row segment tends to find it in the L2 cache.

Results are deterministic: there are no atomics, and block shapes are a pure function of shapes and dtypes.

With TRITON_INTERPRET=1 at import, the kernels run on CPU tensors; see src/triton_common.py.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
import triton
import triton.language as tl

from src.triton_common import MIN_PROGRAMS, WARP, add, maximum, tile_offsets

ACCESS_BYTES = 16  # the widest access of a thread
# A program of four warps, in which each thread makes this many accesses to each operand.
WARPS = 4
ACCESSES = 2
# Registers for two consumers at a time leave room for fewer warps; smaller tiles make up for it.
BACKWARD_ACCESSES = 1


def forward(x: torch.Tensor, coefficients: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Return c0 + c1 a + c2 b + c3 ab for every neuron, computed in float32.

    Least traffic: 3 activations per neuron (a and b read, y written), and 32 bytes of connections and coefficients per
    batch tile.

    Args:
        x: activations [in_dim, batch], float32, bfloat16 or float16.
        coefficients: float32 [4, out_dim], of any strides; quickest if the four of a neuron lie side by side.
        indices: int64 [2, out_dim].

    Returns:
        [out_dim, batch], in x's dtype.
    """
    x = x.contiguous()
    out_dim, batch = indices.shape[1], x.shape[1]
    y = torch.empty(out_dim, batch, dtype=x.dtype, device=x.device)
    tile = _tile(out_dim, batch, x.element_size(), ACCESSES)
    blocks = triton.cdiv(out_dim, tile.rows)
    with torch.cuda.device_of(x):
        _forward_kernel[(blocks * triton.cdiv(batch, tile.columns),)](
            x,
            coefficients,
            indices,
            y,
            out_dim,
            batch // tile.vector,
            *coefficients.stride(),
            blocks,
            *tile.shape,
            num_warps=tile.warps,
        )
    return y


def backward(
    x: torch.Tensor,
    coefficients: torch.Tensor,
    indices: torch.Tensor,
    consumer_starts: torch.Tensor,
    consumers: torch.Tensor,
    grad_y: torch.Tensor,
    need_grad_x: bool,
    grad_scale: float,
) -> tuple[torch.Tensor | None, torch.Tensor]:
    """Return the gradients of x (times grad_scale) and of the coefficients, summed in float32.

    Least traffic with grad_x: 4 activations per neuron and 2 per feature. For each of its consumers a feature gathers
    grad_y and the partner's activations, which is all that the coefficients' gradients need too: the neuron's two
    inputs take two of the four sums each, so that nothing is read or summed for them a second time. Without grad_x: 3
    activations per neuron.

    Args:
        x: activations [in_dim, batch], as given to `forward`.
        coefficients: float32 [4, out_dim], as given to `forward`.
        indices: int64 [2, out_dim].
        consumer_starts: int64 [in_dim + 1]; feature j's consumers are consumers[consumer_starts[j] :
            consumer_starts[j + 1]].
        consumers: int32 [2 * out_dim], entries 2 * neuron + role, where role 0 says that the feature is the neuron's a,
            1 that it is its b.
        grad_y: [out_dim, batch].
        need_grad_x: whether to compute the gradient of x.
        grad_scale: what the gradient of x is multiplied by.

    Returns:
        grad_x [in_dim, batch] in x's dtype or None, and grad_coefficients float32 [4, out_dim], a view of a contiguous
        [out_dim, 4].
    """
    x, grad_y = x.contiguous(), grad_y.contiguous()
    (in_dim, batch), out_dim = x.shape, indices.shape[1]
    if not need_grad_x:
        tile = _tile(out_dim, batch, x.element_size(), ACCESSES, split_batch=False)
        grad_coefficients = torch.empty(out_dim, 4, dtype=torch.float32, device=x.device)
        with torch.cuda.device_of(x):
            _grad_coefficients_kernel[(triton.cdiv(out_dim, tile.rows),)](
                x,
                indices,
                grad_y,
                grad_coefficients,
                out_dim,
                batch // tile.vector,
                *tile.shape,
                num_warps=tile.warps,
            )
        return None, grad_coefficients.T
    tile = _tile(in_dim, batch, x.element_size(), BACKWARD_ACCESSES)
    blocks, batch_blocks = triton.cdiv(in_dim, tile.rows), triton.cdiv(batch, tile.columns)
    grad_x = torch.empty_like(x)
    partial = torch.empty(batch_blocks, out_dim, 4, dtype=torch.float32, device=x.device)
    with torch.cuda.device_of(x):
        _backward_kernel[(blocks * batch_blocks,)](
            x,
            coefficients,
            indices,
            consumer_starts,
            consumers,
            grad_y,
            grad_x,
            partial,
            in_dim,
            out_dim,
            batch // tile.vector,
            *coefficients.stride(),
            grad_scale,
            blocks,
            *tile.shape,
            num_warps=tile.warps,
        )
    return grad_x, (partial[0] if batch_blocks == 1 else partial.sum(0)).T


def candidate_slopes(
    x: torch.Tensor,
    coefficients: torch.Tensor,
    indices: torch.Tensor,
    candidates: torch.Tensor,
    grad_y: torch.Tensor,
) -> torch.Tensor:
    """Return what `Backend.candidate_slopes` asks for, summed in float32.

    Least traffic: 2 k + 3 activations per neuron (candidates, a, b and grad_y), as candidates are many tiles' worth.

    Args:
        x: activations [in_dim, batch], float32, bfloat16 or float16.
        coefficients: float32 [4, out_dim], of any strides.
        indices: int64 [2, out_dim], the inputs that have been chosen.
        candidates: int32 [2, out_dim, k].
        grad_y: [out_dim, batch].

    Returns:
        float32 [2, out_dim, k].
    """
    x, grad_y = x.contiguous(), grad_y.contiguous()
    batch, (_, out_dim, count) = x.shape[1], candidates.shape
    padded = triton.next_power_of_2(count)
    slopes = torch.empty(candidates.shape, dtype=torch.float32, device=x.device)
    tile = _tile(out_dim, batch, x.element_size(), ACCESSES, split_batch=False)
    rows = max(1, tile.rows // padded)
    with torch.cuda.device_of(x):
        _candidate_slopes_kernel[(2 * triton.cdiv(out_dim, rows),)](
            x,
            coefficients,
            indices,
            candidates,
            grad_y,
            slopes,
            out_dim,
            batch // tile.vector,
            *coefficients.stride(),
            count,
            padded,
            rows,
            tile.columns,
            tile.vector,
            num_warps=tile.warps,
        )
    return slopes


def unpack_frames(packed: torch.Tensor, num_bits: int, dtype: torch.dtype) -> torch.Tensor:
    """Return the bits of packed frames as feature-major activations, 0 and 1.

    Least traffic per bit and frame: one activation written, 1/8 byte read.

    Args:
        packed: uint8 [batch, ceil(num_bits / 8)], in little-endian bit order.
        num_bits: number of features.
        dtype: of the activations.

    Returns:
        [num_bits, batch].
    """
    packed = packed.contiguous()
    batch, num_bytes = packed.shape
    x = torch.empty(num_bits, batch, dtype=dtype, device=packed.device)
    tile = _tile(num_bytes, batch, x.element_size(), ACCESSES)
    # A byte becomes eight rows, so that a few are plenty to write; fewer would read sectors of memory in vain.
    tile = tile._replace(rows=16, warps=WARPS)
    blocks = triton.cdiv(num_bytes, tile.rows)
    with torch.cuda.device_of(packed):
        _unpack_kernel[(blocks * triton.cdiv(batch, tile.columns),)](
            packed,
            x,
            num_bits,
            num_bytes,
            batch // tile.vector,
            blocks,
            *tile.shape,
            num_warps=tile.warps,
        )
    return x


class _Tile(NamedTuple):
    """What a program handles.

    Attributes:
        rows: features or neurons.
        columns: frames or words.
        vector: elements of one access; divides the length of a row, so that each row begins aligned.
        warps: how many warps share it.
    """

    rows: int
    columns: int
    vector: int
    warps: int

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.rows, self.columns, self.vector


@lru_cache(maxsize=256)
def _tile(rows: int, columns: int, element_size: int, accesses: int, split_batch: bool = True) -> _Tile:
    vector = min(columns & -columns, ACCESS_BYTES // element_size)
    # At most one access of one warp: a row segment's sum then needs no exchange between warps.
    tile_columns = min(triton.next_power_of_2(columns), WARP * vector)
    tile_rows = WARPS * WARP * accesses * vector // tile_columns
    column_blocks = triton.cdiv(columns, tile_columns) if split_batch else 1
    while tile_rows > 1 and triton.cdiv(rows, tile_rows) * column_blocks < MIN_PROGRAMS:
        tile_rows //= 2
    return _Tile(tile_rows, tile_columns, vector, min(WARPS, max(1, tile_rows * tile_columns // (WARP * vector))))


# In the kernels, rows have num_vectors * vector elements: so Triton knows how far they are aligned, and nothing else
# is specialised on sizes.


@triton.jit(do_not_specialize=["out_dim", "num_vectors", "neuron_blocks"])
def _forward_kernel(
    x: tl.tensor,
    coefficients: tl.tensor,
    indices: tl.tensor,
    y: tl.tensor,
    out_dim: tl.tensor,
    num_vectors: tl.tensor,
    stride_c: tl.tensor,
    stride_n: tl.tensor,
    neuron_blocks: tl.tensor,
    block_neurons: tl.constexpr,
    block_batch: tl.constexpr,
    vector: tl.constexpr,
) -> None:
    batch = num_vectors * vector
    program = tl.program_id(0)
    neurons = (program % neuron_blocks) * block_neurons + tl.arange(0, block_neurons)
    frames = (program // neuron_blocks) * block_batch + tl.arange(0, block_batch)
    in_layer = neurons < out_dim
    mask = in_layer[:, None] & (frames < batch)[None, :]

    first = tl.load(indices + neurons, mask=in_layer, other=0)
    second = tl.load(indices + out_dim + neurons, mask=in_layer, other=0)
    a = tl.load(x + tile_offsets(first, batch, frames), mask=mask, other=0.0)
    b = tl.load(x + tile_offsets(second, batch, frames), mask=mask, other=0.0)
    c = coefficients + neurons.to(tl.int64) * stride_n
    c0 = tl.load(c, mask=in_layer, other=0.0)
    c1 = tl.load(c + stride_c, mask=in_layer, other=0.0)
    c2 = tl.load(c + 2 * stride_c, mask=in_layer, other=0.0)
    c3 = tl.load(c + 3 * stride_c, mask=in_layer, other=0.0)
    a = a.to(tl.float32)
    result = c0[:, None] + c1[:, None] * a + (c2[:, None] + c3[:, None] * a) * b.to(tl.float32)
    tl.store(y + tile_offsets(neurons, batch, frames), result.to(y.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["out_dim", "num_vectors"])
def _grad_coefficients_kernel(
    x: tl.tensor,
    indices: tl.tensor,
    grad_y: tl.tensor,
    grad_coefficients: tl.tensor,
    out_dim: tl.tensor,
    num_vectors: tl.tensor,
    block_neurons: tl.constexpr,
    block_batch: tl.constexpr,
    vector: tl.constexpr,
) -> None:
    batch = num_vectors * vector
    neurons = tl.program_id(0) * block_neurons + tl.arange(0, block_neurons)
    in_layer = neurons < out_dim
    first = tl.load(indices + neurons, mask=in_layer, other=0)
    second = tl.load(indices + out_dim + neurons, mask=in_layer, other=0)
    sum_g = tl.full([block_neurons], 0.0, tl.float32)
    sum_ga = tl.full([block_neurons], 0.0, tl.float32)
    sum_gb = tl.full([block_neurons], 0.0, tl.float32)
    sum_gab = tl.full([block_neurons], 0.0, tl.float32)
    for start in range(0, batch, block_batch):
        frames = start + tl.arange(0, block_batch)
        mask = in_layer[:, None] & (frames < batch)[None, :]
        g = tl.load(grad_y + tile_offsets(neurons, batch, frames), mask=mask, other=0.0)
        a = tl.load(x + tile_offsets(first, batch, frames), mask=mask, other=0.0)
        b = tl.load(x + tile_offsets(second, batch, frames), mask=mask, other=0.0)
        g = g.to(tl.float32)
        b = b.to(tl.float32)
        ga = g * a.to(tl.float32)
        sum_g += tl.reduce(g, 1, add)
        sum_ga += tl.reduce(ga, 1, add)
        sum_gb += tl.reduce(g * b, 1, add)
        sum_gab += tl.reduce(ga * b, 1, add)
    out = grad_coefficients + neurons.to(tl.int64) * 4
    tl.store(out, sum_g, mask=in_layer)
    tl.store(out + 1, sum_ga, mask=in_layer)
    tl.store(out + 2, sum_gb, mask=in_layer)
    tl.store(out + 3, sum_gab, mask=in_layer)


@triton.jit(do_not_specialize=["out_dim", "num_vectors"])
def _candidate_slopes_kernel(
    x: tl.tensor,
    coefficients: tl.tensor,
    indices: tl.tensor,
    candidates: tl.tensor,
    grad_y: tl.tensor,
    slopes: tl.tensor,
    out_dim: tl.tensor,
    num_vectors: tl.tensor,
    stride_c: tl.tensor,
    stride_n: tl.tensor,
    count: tl.constexpr,
    padded: tl.constexpr,
    block_neurons: tl.constexpr,
    block_batch: tl.constexpr,
    vector: tl.constexpr,
) -> None:
    batch = num_vectors * vector
    role = tl.program_id(0) % 2  # next to each other, as they share grad_y
    neurons = (tl.program_id(0) // 2) * block_neurons + tl.arange(0, block_neurons)
    column = tl.arange(0, padded)
    in_layer = neurons < out_dim
    used = in_layer[:, None] & (column < count)[None, :]
    partner = tl.load(indices + ((1 - role) * out_dim + neurons), mask=in_layer, other=0)
    places = (role * out_dim + neurons).to(tl.int64)[:, None] * count + column[None, :]
    rows = tl.load(candidates + places, mask=used, other=0).to(tl.int64) * batch
    c = coefficients + neurons.to(tl.int64) * stride_n
    slope = tl.load(c + (1 + role) * stride_c, mask=in_layer, other=0.0)
    cross = tl.load(c + 3 * stride_c, mask=in_layer, other=0.0)
    total = tl.full([block_neurons, padded], 0.0, tl.float32)
    for start in range(0, batch, block_batch):
        frames = start + tl.arange(0, block_batch)
        in_batch = frames < batch
        mask = in_layer[:, None] & in_batch[None, :]
        g = tl.load(grad_y + tile_offsets(neurons, batch, frames), mask=mask, other=0.0)
        other = tl.load(x + tile_offsets(partner, batch, frames), mask=mask, other=0.0)
        grad_input = g.to(tl.float32) * (slope[:, None] + cross[:, None] * other.to(tl.float32))
        offsets = rows[:, :, None] + frames[None, None, :]
        own = tl.load(x + offsets, mask=used[:, :, None] & in_batch[None, None, :], other=0.0)
        total += tl.reduce(grad_input[:, None, :] * own.to(tl.float32), 2, add)
    tl.store(slopes + places, total, mask=used)


@triton.jit
def _load_consumer(
    position: tl.tensor,
    used: tl.tensor,
    frames: tl.tensor,
    in_batch: tl.tensor,
    x: tl.tensor,
    coefficients: tl.tensor,
    indices: tl.tensor,
    consumers: tl.tensor,
    grad_y: tl.tensor,
    out_dim: tl.tensor,
    batch: tl.tensor,
    stride_c: tl.tensor,
    stride_n: tl.tensor,
) -> tuple[tl.tensor, ...]:
    entry = tl.load(consumers + position, mask=used, other=0)
    neuron = entry >> 1
    role = entry & 1
    partner = tl.load(indices + ((1 - role) * out_dim + neuron), mask=used, other=0)
    mask = used[:, None] & in_batch[None, :]
    g = tl.load(grad_y + tile_offsets(neuron, batch, frames), mask=mask, other=0.0)
    other = tl.load(x + tile_offsets(partner, batch, frames), mask=mask, other=0.0)
    c = coefficients + neuron.to(tl.int64) * stride_n
    slope = tl.load(c + (1 + role) * stride_c, mask=used, other=0.0)
    cross = tl.load(c + 3 * stride_c, mask=used, other=0.0)
    return neuron, role, g, other, slope, cross


@triton.jit
def _add_consumer(
    total: tl.tensor,
    own: tl.tensor,
    neuron: tl.tensor,
    role: tl.tensor,
    g: tl.tensor,
    other: tl.tensor,
    slope: tl.tensor,
    cross: tl.tensor,
    used: tl.tensor,
    partial: tl.tensor,
) -> tl.tensor:
    g = g.to(tl.float32)
    other = other.to(tl.float32)
    # As a, a feature sums the neuron's ga and gab; as b, its gb and g.
    factor = tl.where((role == 0)[:, None], own * other, 1.0)
    sums = tl.join(tl.reduce(g * own, 1, add), tl.reduce(g * factor, 1, add))
    second = tl.arange(0, 2)[None, :]
    column = (1 + role)[:, None] * (1 - second) + (3 - 3 * role)[:, None] * second
    tl.store(partial + (neuron.to(tl.int64)[:, None] * 4 + column), sums, mask=used[:, None])
    return total + g * (slope[:, None] + cross[:, None] * other)


@triton.jit(do_not_specialize=["in_dim", "out_dim", "num_vectors", "grad_scale", "feature_blocks"])
def _backward_kernel(
    x: tl.tensor,
    coefficients: tl.tensor,
    indices: tl.tensor,
    consumer_starts: tl.tensor,
    consumers: tl.tensor,
    grad_y: tl.tensor,
    grad_x: tl.tensor,
    partial: tl.tensor,
    in_dim: tl.tensor,
    out_dim: tl.tensor,
    num_vectors: tl.tensor,
    stride_c: tl.tensor,
    stride_n: tl.tensor,
    grad_scale: tl.tensor,
    feature_blocks: tl.tensor,
    block_features: tl.constexpr,
    block_batch: tl.constexpr,
    vector: tl.constexpr,
) -> None:
    batch = num_vectors * vector
    program = tl.program_id(0)
    features = (program % feature_blocks) * block_features + tl.arange(0, block_features)
    batch_block = program // feature_blocks
    frames = batch_block * block_batch + tl.arange(0, block_batch)
    in_layer = features < in_dim
    in_batch = frames < batch
    mask = in_layer[:, None] & in_batch[None, :]
    partial += batch_block.to(tl.int64) * out_dim * 4

    starts = tl.load(consumer_starts + features, mask=in_layer, other=0).to(tl.int32)
    ends = tl.load(consumer_starts + 1 + features, mask=in_layer, other=0).to(tl.int32)
    offsets = tile_offsets(features, batch, frames)
    own = tl.load(x + offsets, mask=mask, other=0.0).to(tl.float32)
    total = tl.full([block_features, block_batch], 0.0, tl.float32)
    most = tl.reduce(ends - starts, 0, maximum)
    # Two consumers at a time (the mean count where a layer is as wide as the one before), loaded before either is used.
    for k in range(0, most, 2):
        position = starts + k
        used = position < ends
        neuron, role, g, other, slope, cross = _load_consumer(
            position,
            used,
            frames,
            in_batch,
            x,
            coefficients,
            indices,
            consumers,
            grad_y,
            out_dim,
            batch,
            stride_c,
            stride_n,
        )
        next_used = position + 1 < ends
        next_neuron, next_role, next_g, next_other, next_slope, next_cross = _load_consumer(
            position + 1,
            next_used,
            frames,
            in_batch,
            x,
            coefficients,
            indices,
            consumers,
            grad_y,
            out_dim,
            batch,
            stride_c,
            stride_n,
        )
        total = _add_consumer(total, own, neuron, role, g, other, slope, cross, used, partial)
        total = _add_consumer(
            total,
            own,
            next_neuron,
            next_role,
            next_g,
            next_other,
            next_slope,
            next_cross,
            next_used,
            partial,
        )
    tl.store(grad_x + offsets, (total * grad_scale).to(grad_x.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["num_bits", "num_bytes", "num_vectors", "byte_blocks"])
def _unpack_kernel(
    packed: tl.tensor,
    x: tl.tensor,
    num_bits: tl.tensor,
    num_bytes: tl.tensor,
    num_vectors: tl.tensor,
    byte_blocks: tl.tensor,
    block_bytes: tl.constexpr,
    block_batch: tl.constexpr,
    vector: tl.constexpr,
) -> None:
    batch = num_vectors * vector
    program = tl.program_id(0)
    columns = (program % byte_blocks) * block_bytes + tl.arange(0, block_bytes)
    frames = (program // byte_blocks).to(tl.int64) * block_batch + tl.arange(0, block_batch)
    in_batch = (frames < batch)[None, :]
    # Read along the bytes of a frame, written along the batch: Triton transposes the tile in shared memory between.
    tile = tl.load(
        packed + (frames[None, :] * num_bytes + columns[:, None]),
        mask=(columns < num_bytes)[:, None] & in_batch,
        other=0,
    ).to(tl.int32)
    for bit in tl.static_range(8):
        features = columns * 8 + bit
        value = (tile >> bit & 1).to(tl.float32).to(x.dtype.element_ty)
        mask = (features < num_bits)[:, None] & in_batch
        tl.store(x + tile_offsets(features, batch, frames), value, mask=mask)
