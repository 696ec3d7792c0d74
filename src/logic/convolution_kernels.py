"""CPU kernels of a convolutional logic layer: trees of gates at every position, and their pooling, in one pass.

A chunk of frames, one a lane, is copied beside each other first, so that a row of positions is contiguous and the loops
over gates run along it; the columns of a row are sorted by their remainder modulo the pooling, so that the first
members of a row's pooling windows are contiguous too, and the second ones, and so on. What is inside a tree stays in
the first-level cache.

Every kernel is parallel over chunks, whose number depends on the batch alone, and sums over chunks are taken in their
order: results do not depend on the number of threads. None uses fastmath, for the reason in numba_kernels.py.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

LANES = 16  # frames of a chunk: a cache line
_TILE = 384  # numbers of a row that are worked on at a time: of the 15 nodes of a tree of depth 3, 23 KiB
_UNROLLED = 4  # numbers that are added up before they go to a lane


# What a gate gives of its bilinear form: the form, its sigmoid, or whether it is above 0, with the sigmoid's gradient.
FORM, SIGMOID, STEP = 0, 1, 2

_LOG2_E = np.float32(1.44269504088896341)
_LN2_HIGH = np.float32(0.693359375)  # the two add up to ln 2
_LN2_LOW = np.float32(-2.12194440e-4)


class Geometry(NamedTuple):
    """The sizes of a layer, in the unit that the name says.

    A tree's gates are numbered from its leaves: with L leaves, node i < L is a leaf and node L + g is gate g, whose
    inputs are nodes 2g and 2g + 1.
    """

    channels: int
    height: int
    width: int
    before: int  # rows of zeros above a frame, and columns to its left
    padded_height: int
    pool: int
    out_height: int
    out_width: int
    columns: int  # of the padded frame's width that have the same remainder modulo pool
    kernels: int
    leaves: int  # of a tree


def geometry(in_shape: tuple[int, int, int], kernels: int, leaves: int, receptive_field: int, pool: int) -> Geometry:
    """Of a layer on [channels, height, width], zero padding 'same'; an even field reaches further down and right."""
    channels, height, width = in_shape
    around = receptive_field - 1
    return Geometry(
        channels,
        height,
        width,
        around // 2,
        height + around,
        pool,
        height // pool,
        width // pool,
        -(-(width + around) // pool),
        kernels,
        leaves,
    )


def leaf_offsets(connections: NDArray[np.int64], shape: Geometry) -> NDArray[np.int64]:
    """Where in a chunk's copy the first window's leaves are: int64 [kernels, pool * pool, leaves].

    Args:
        connections: [3, kernels, leaves], the channel of each leaf, its row and its column in the receptive field.
        shape: the layer's.
    """
    channel, dy, dx = connections[:, :, None, :]
    y, x = np.divmod(np.arange(shape.pool**2), shape.pool)  # of a window's positions
    row = channel * shape.padded_height + y[:, None] + dy
    column = x[:, None] + dx
    return ((row * shape.pool + column % shape.pool) * shape.columns + column // shape.pool) * LANES


@numba.njit(cache=True, nogil=True)
def _place(channel: int, row: int, column: int, shape: Geometry) -> int:
    """Where a pixel's lanes begin in a chunk's copy, which is [channels, padded height, pool, columns, lanes], flat."""
    s = shape
    row, column = channel * s.padded_height + s.before + row, s.before + column
    return ((row * s.pool + column % s.pool) * s.columns + column // s.pool) * LANES


@numba.njit(cache=True, nogil=True)
def _padded_copy(x: Floats, first: int, count: int, shape: Geometry) -> Floats:
    """The copy of frames first to first + count of x [channels * height * width, batch]; zeros around and after."""
    s = shape
    copy = np.zeros(s.channels * s.padded_height * s.pool * s.columns * LANES, np.float32)
    for channel in range(s.channels):
        for row in range(s.height):
            for column in range(s.width):
                place = _place(channel, row, column, s)
                pixel = (channel * s.height + row) * s.width + column
                _read(x, pixel, first, count, copy[place : place + LANES])
    return copy


@numba.njit(cache=True, nogil=True)
def _read(rows: Floats, row: int, first: int, count: int, out: Floats) -> None:
    """Numbers first to first + count of consecutive rows beside each other, each a multiple of the lanes' from 0."""
    for w in range(len(out) // LANES):
        source, lanes = rows[row + w, first : first + count], out[w * LANES : (w + 1) * LANES]
        if count == LANES:  # a constant, for LLVM
            for lane in range(LANES):
                lanes[lane] = source[lane]
        else:
            for lane in range(count):
                lanes[lane] = source[lane]
            for lane in range(count, LANES):
                lanes[lane] = np.float32(0)


@numba.njit(cache=True, nogil=True)
def _write(values: Floats, rows: Floats, row: int, first: int, count: int) -> None:
    """The way back of `_read`."""
    for w in range(len(values) // LANES):
        out, lanes = rows[row + w, first : first + count], values[w * LANES : (w + 1) * LANES]
        if count == LANES:
            for lane in range(LANES):
                out[lane] = lanes[lane]
        else:
            for lane in range(count):
                out[lane] = lanes[lane]


@numba.njit(inline="always")
def _sigmoid(x: np.float32) -> np.float32:
    """To float32 precision (with Cephes' expf), in operations that vectorise where a division is not checked for 0."""
    t = max(-abs(x), np.float32(-87))
    k = np.floor(t * _LOG2_E + np.float32(0.5))
    r = t - k * _LN2_HIGH - k * _LN2_LOW
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    power = np.int32((np.int32(k) + np.int32(127)) << np.int32(23)).view(np.float32)
    small = (p * r * r + r + np.float32(1)) * power  # exp(-|x|)
    return (np.float32(1) if x >= 0 else small) / (np.float32(1) + small)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _gate(a: Floats, b: Floats, c: Floats, after: int, out: Floats) -> None:
    """c0 + c1 a + c2 b + c3 ab along a row, and what comes after it."""
    c0, c1, c2, c3 = c[0], c[1], c[2], c[3]
    if after == SIGMOID:
        for j in range(len(out)):
            out[j] = _sigmoid(c0 + c1 * a[j] + (c2 + c3 * a[j]) * b[j])
    elif after == STEP:
        for j in range(len(out)):
            out[j] = np.float32(1) if c0 + c1 * a[j] + (c2 + c3 * a[j]) * b[j] > 0 else np.float32(0)
    else:
        for j in range(len(out)):
            out[j] = c0 + c1 * a[j] + (c2 + c3 * a[j]) * b[j]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _before_sigmoid(a: Floats, b: Floats, c: Floats, grad: Floats) -> None:
    """From the gradient of a gate's output along a row to that of its form, in its place."""
    c0, c1, c2, c3 = c[0], c[1], c[2], c[3]
    for j in range(len(grad)):
        y = _sigmoid(c0 + c1 * a[j] + (c2 + c3 * a[j]) * b[j])
        grad[j] *= y * (np.float32(1) - y)


@numba.njit(cache=True, nogil=True)
def apply_gates(nodes: Floats, coefficients: Floats, after: int, leaves: int, first: int, end: int, size: int) -> None:
    """The gates first to end of a tree, from the rows of the nodes before them; `size` numbers of a row are used."""
    for g in range(first, end):
        _gate(nodes[2 * g, :size], nodes[2 * g + 1, :size], coefficients[g], after, nodes[leaves + g, :size])


@numba.njit(cache=True, nogil=True, parallel=True)
def forward(
    x: Floats,
    coefficients: Floats,
    after: int,
    offsets: NDArray[np.int64],
    shape: Geometry,
    y: Floats,
    winners: NDArray[np.uint8],
) -> None:
    """All trees at all positions, and of each pooling window the largest.

    Args:
        x: activations [channels * height * width, batch].
        coefficients: bilinear forms [kernels * (leaves - 1), 4], kernel by kernel.
        after: FORM, SIGMOID or STEP.
        offsets: of `leaf_offsets`.
        shape: the layer's.
        y: out, [kernels * out_height * out_width, batch].
        winners: out, [chunks, kernels * out_height * out_width * lanes], the position in its window of the largest,
            the first of equal ones; or [chunks, 0].
    """
    for chunk in numba.prange(len(winners)):
        _forward_chunk(x, coefficients, after, offsets, shape, chunk * LANES, y, winners[chunk])


@numba.njit(cache=True, nogil=True)
def _forward_chunk(
    x: Floats,
    coefficients: Floats,
    after: int,
    offsets: NDArray[np.int64],
    shape: Geometry,
    first: int,
    y: Floats,
    winners: NDArray[np.uint8],
) -> None:
    s = shape
    gates, row_size, count = s.leaves - 1, s.out_width * LANES, min(LANES, x.shape[1] - first)
    copy = _padded_copy(x, first, count, s)
    nodes = np.empty((2 * s.leaves - 1, _TILE), np.float32)  # the leaves' rows are not used: they are read in place
    best, won = np.empty(_TILE, np.float32), np.empty(_TILE, np.int32)
    for k in range(s.kernels):
        c = coefficients[k * gates : (k + 1) * gates]
        for h in range(s.out_height):
            for tile in range(0, row_size, _TILE):
                size = min(_TILE, row_size - tile)
                start = h * s.pool * s.pool * s.columns * LANES + tile
                for p in range(s.pool * s.pool):
                    for g in range(s.leaves // 2):
                        a, b = start + offsets[k, p, 2 * g], start + offsets[k, p, 2 * g + 1]
                        _gate(copy[a : a + size], copy[b : b + size], c[g], after, nodes[s.leaves + g, :size])
                    apply_gates(nodes, c, after, s.leaves, s.leaves // 2, gates, size)
                    _keep_larger(nodes[s.leaves + gates - 1], p, best, won, size)
                out_row = (k * s.out_height + h) * s.out_width + tile // LANES
                _write(best[:size], y, out_row, first, count)
                if len(winners) > 0:
                    out = winners[out_row * LANES : out_row * LANES + size]
                    for j in range(size):
                        out[j] = won[j]


@numba.njit(cache=True, nogil=True)
def _keep_larger(values: Floats, p: int, best: Floats, won: NDArray[np.int32], size: int) -> None:
    """Where position p of a window, whose values these are, is the first or larger than those before it, it wins."""
    for j in range(size):
        larger = p == 0 or values[j] > best[j]
        best[j] = values[j] if larger else best[j]
        won[j] = p if larger else won[j]


@numba.njit(cache=True, nogil=True)
def _winning_leaves(
    copy: Floats, offsets: NDArray[np.int64], start: int, won: NDArray[np.int32], nodes: Floats, size: int
) -> None:
    """The rows of a tree's leaves [leaves, size], each number from the position that won its window."""
    positions, leaves = offsets.shape
    for leaf in range(leaves):
        out, base = nodes[leaf, :size], start + offsets[0, leaf]
        source = copy[base : base + size]
        if positions == 4:
            second, third, fourth = start + offsets[1, leaf], start + offsets[2, leaf], start + offsets[3, leaf]
            x1, x2, x3 = copy[second : second + size], copy[third : third + size], copy[fourth : fourth + size]
            for j in range(size):
                v0, v1, v2, v3 = source[j], x1[j], x2[j], x3[j]
                low, high = (v1 if won[j] == 1 else v0), (v3 if won[j] == 3 else v2)
                out[j] = high if won[j] >= 2 else low
        else:
            for j in range(size):
                out[j] = source[j]
            for p in range(1, positions):
                base = start + offsets[p, leaf]
                source = copy[base : base + size]
                for j in range(size):
                    value = source[j]
                    out[j] = value if won[j] == p else out[j]


@numba.njit(cache=True, nogil=True)
def _sums(a: Floats, b: Floats, g: Floats, lanes: Floats) -> None:
    """Add g, ga, gb and gab of a row, whose length is a multiple of the lanes', to lanes [4 * lanes].

    One array of sums, and slices of a constant size: otherwise LLVM vectorises nothing.
    """
    block = LANES * _UNROLLED
    blocks_end = len(g) // block * block
    for start in range(0, blocks_end, block):
        block_a, block_b, block_g = a[start : start + block], b[start : start + block], g[start : start + block]
        for lane in range(LANES):
            s0, s1, s2, s3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            for u in range(_UNROLLED):
                value, other = block_g[u * LANES + lane], block_b[u * LANES + lane]
                product = value * block_a[u * LANES + lane]
                s0 += value
                s1 += product
                s2 += value * other
                s3 += product * other
            lanes[lane] += s0
            lanes[LANES + lane] += s1
            lanes[2 * LANES + lane] += s2
            lanes[3 * LANES + lane] += s3
    for start in range(blocks_end, len(g), LANES):
        block_a, block_b, block_g = a[start : start + LANES], b[start : start + LANES], g[start : start + LANES]
        for lane in range(LANES):
            value, other = block_g[lane], block_b[lane]
            product = value * block_a[lane]
            lanes[lane] += value
            lanes[LANES + lane] += product
            lanes[2 * LANES + lane] += value * other
            lanes[3 * LANES + lane] += product * other


@numba.njit(cache=True, nogil=True)
def _lane_sum(lane: Floats) -> np.float32:
    half = LANES
    while half > 1:
        half //= 2
        for i in range(half):
            lane[i] += lane[i + half]
    return lane[0]


@numba.njit(cache=True, nogil=True)
def _gate_gradient(a: Floats, b: Floats, grad: Floats, c: Floats) -> None:
    """The gradients of a gate's inputs along a row, in their places."""
    c1, c2, c3 = c[1], c[2], c[3]
    for j in range(len(a)):
        of_a = grad[j] * (c1 + c3 * b[j])
        b[j] = grad[j] * (c2 + c3 * a[j])
        a[j] = of_a


@numba.njit(cache=True, nogil=True)
def _add_to_winners(
    nodes: Floats, offsets: NDArray[np.int64], start: int, won: NDArray[np.int32], grad_copy: Floats
) -> None:
    """The gradients of a tree's leaves go to the positions that won their windows."""
    positions, leaves = offsets.shape
    for leaf in range(leaves):
        grad = nodes[leaf]
        for p in range(positions):
            base = start + offsets[p, leaf]
            out = grad_copy[base : base + len(won)]
            for j in range(len(won)):
                out[j] += grad[j] if won[j] == p else np.float32(0)


@numba.njit(cache=True, nogil=True)
def _add_product(a: Floats, b: Floats, lanes: Floats) -> None:
    """Add ab along rows, whose length is a multiple of the lanes', to lanes; in blocks as in `_sums`."""
    block = LANES * _UNROLLED
    blocks_end = len(a) // block * block
    for start in range(0, blocks_end, block):
        block_a, block_b = a[start : start + block], b[start : start + block]
        for lane in range(LANES):
            total = np.float32(0)
            for u in range(_UNROLLED):
                total += block_a[u * LANES + lane] * block_b[u * LANES + lane]
            lanes[lane] += total
    for start in range(blocks_end, len(a), LANES):
        block_a, block_b = a[start : start + LANES], b[start : start + LANES]
        for lane in range(LANES):
            lanes[lane] += block_a[lane] * block_b[lane]


@numba.njit(cache=True, nogil=True)
def _add_slopes(
    copy: Floats, offsets: NDArray[np.int64], start: int, won: NDArray[np.int32], nodes: Floats, lanes: Floats
) -> None:
    """Products of the gradients of a tree's leaves with their candidates at the positions that won their windows.

    Args:
        copy: the chunk's.
        offsets: of the candidates, [pool * pool, leaves, candidates].
        start: of the row in the copy.
        won: the winning position of each number of the row.
        nodes: in its first rows, the leaves' gradients.
        lanes: out, [leaves, candidates, lanes]; the products are added.
    """
    positions, leaves, candidates = offsets.shape
    size = len(won)
    row = np.empty(size, np.float32)
    for leaf in range(leaves):
        grad = nodes[leaf, :size]
        for p in range(positions):
            for j in range(size):
                row[j] = grad[j] if won[j] == p else np.float32(0)
            for i in range(candidates):
                base = start + offsets[p, leaf, i]
                _add_product(copy[base : base + size], row, lanes[leaf, i])


@numba.njit(cache=True, nogil=True, parallel=True)
def backward(
    x: Floats,
    coefficients: Floats,
    after: int,
    offsets: NDArray[np.int64],
    candidates: NDArray[np.int64],
    shape: Geometry,
    winners: NDArray[np.uint8],
    grad_y: Floats,
    scale: float,
    grad_x: Floats,
    partial: Floats,
    partial_slopes: Floats,
    grad_coefficients: Floats,
    slopes: Floats,
) -> None:
    """The gradients; a pooling window's goes to the position that won, whose tree alone is computed again.

    Args:
        x, coefficients, after, offsets, shape, winners: as given to `forward`, and what it gave.
        candidates: where those of each leaf are, int64 [kernels, pool * pool, leaves, candidates]; there may be none.
        grad_y: [kernels * out_height * out_width, batch].
        scale: multiplies grad_x.
        grad_x: out, like x; or of size 0 where the inputs need no gradient.
        partial: [chunks, kernels * (leaves - 1), 4], for sums.
        partial_slopes: [chunks, kernels, leaves, candidates], for sums.
        grad_coefficients: out, like coefficients.
        slopes: out, [kernels, leaves, candidates]: how the loss grows with the share that each candidate has in a leaf.
    """
    for chunk in numba.prange(len(winners)):
        _backward_chunk(
            x,
            coefficients,
            after,
            offsets,
            candidates,
            shape,
            winners[chunk],
            grad_y,
            chunk * LANES,
            np.float32(scale),
            grad_x,
            partial[chunk],
            partial_slopes[chunk],
        )
    for gate in range(len(grad_coefficients)):
        for i in range(4):
            total = np.float32(0)
            for chunk in range(len(partial)):
                total += partial[chunk, gate, i]
            grad_coefficients[gate, i] = total
    slopes[:] = np.float32(0)
    for chunk in range(len(partial_slopes)):
        slopes += partial_slopes[chunk]


@numba.njit(cache=True, nogil=True)
def _backward_chunk(
    x: Floats,
    coefficients: Floats,
    after: int,
    offsets: NDArray[np.int64],
    candidates: NDArray[np.int64],
    shape: Geometry,
    winners: NDArray[np.uint8],
    grad_y: Floats,
    first: int,
    scale: np.float32,
    grad_x: Floats,
    grad_coefficients: Floats,
    slopes: Floats,
) -> None:
    s = shape
    gates, row_size, count = s.leaves - 1, s.out_width * LANES, min(LANES, x.shape[1] - first)
    copy = _padded_copy(x, first, count, s)
    learned, need_grad_leaves = slopes.size > 0, slopes.size > 0 or grad_x.size > 0
    grad_copy = np.zeros(len(copy) if grad_x.size > 0 else 0, np.float32)
    nodes = np.empty((2 * s.leaves - 1, _TILE), np.float32)
    won = np.empty(_TILE, np.int32)
    lanes = np.empty((gates, 4 * LANES), np.float32)
    slope_lanes = np.empty((s.leaves, candidates.shape[3], LANES), np.float32)
    for k in range(s.kernels):
        c = coefficients[k * gates : (k + 1) * gates]
        lanes[:] = np.float32(0)
        slope_lanes[:] = np.float32(0)
        for h in range(s.out_height):
            for tile in range(0, row_size, _TILE):
                size = min(_TILE, row_size - tile)
                start = h * s.pool * s.pool * s.columns * LANES + tile
                row = (k * s.out_height + h) * s.out_width + tile // LANES
                _read(grad_y, row, first, count, nodes[2 * s.leaves - 2, :size])
                source = winners[row * LANES : row * LANES + size]
                for j in range(size):
                    won[j] = source[j]
                _winning_leaves(copy, offsets[k], start, won[:size], nodes, size)
                apply_gates(nodes, c, after, s.leaves, 0, gates - 1, size)
                # A node has one reader: its gradient takes its value's place as soon as that has been used.
                for g in range(gates - 1, -1, -1):
                    a, b, grad = nodes[2 * g, :size], nodes[2 * g + 1, :size], nodes[s.leaves + g, :size]
                    if after != FORM:
                        _before_sigmoid(a, b, c[g], grad)
                    _sums(a, b, grad, lanes[g])
                    if need_grad_leaves or g >= s.leaves // 2:
                        _gate_gradient(a, b, grad, c[g])
                if grad_x.size > 0:
                    _add_to_winners(nodes, offsets[k], start, won[:size], grad_copy)
                if learned:
                    _add_slopes(copy, candidates[k], start, won[:size], nodes, slope_lanes)
        for g in range(gates):
            for i in range(4):
                grad_coefficients[k * gates + g, i] = _lane_sum(lanes[g, i * LANES : (i + 1) * LANES])
        for leaf in range(s.leaves):
            for i in range(candidates.shape[3]):
                slopes[k, leaf, i] = _lane_sum(slope_lanes[leaf, i])
    if grad_x.size > 0:
        for j in range(len(grad_copy)):
            grad_copy[j] *= scale
        for channel in range(s.channels):
            for row in range(s.height):
                for column in range(s.width):
                    place = _place(channel, row, column, s)
                    pixel = (channel * s.height + row) * s.width + column
                    _write(grad_copy[place : place + LANES], grad_x, pixel, first, count)
