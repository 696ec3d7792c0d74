"""The `numba` implementation of nodes with a truth table of four or six inputs: CPU kernels, compiled at first use.

A node's multilinear form interpolates between the 2^k corners of its table. Its inputs are cut into two halves, the
first k/2 and the last k/2, and a table is a square matrix T: the form is u T w. For each corner of a half, u or w has
the product of x, or 1 - x, of the half's inputs. So the form and its gradients are products of small matrices, of 2^k
multiplications per frame each.

Batches are cut into tiles of at most TILE frames, whose products stay in the first-level cache. As in
numba_dense_kernels, one thread computes each node in a fixed order, no kernel uses fastmath, and sums over the batch
are written in lanes.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from src.kernel_cache import cached_njit

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

TILE = 128  # frames
_LANES = 16  # partial sums side by side
_UNIT = 4 * _LANES  # frames; a tile has a multiple of them


@numba.njit(inline="always")
def _tile(batch: int) -> int:
    """Return the number of frames of a tile."""
    return min(TILE, (batch + _UNIT - 1) // _UNIT * _UNIT)


@cached_njit(nogil=True)
def _corner_products(x: Floats, inputs: Ints, begin: int, count: int, products: Floats) -> None:
    """Write what each corner of a half has to multiply its value with.

    products [2^(inputs + 1), tile] is a binary tree: its row 1 is 1, and row c has the children 2c, times 1 - x of the
    next input, and 2c + 1, times x. The leaves are the corners. Columns from `count` on are left alone.
    """
    for s in range(count):
        products[1, s] = np.float32(1)
    for level in range(len(inputs)):
        values = x[inputs[level], begin : begin + count]
        for c in range(1 << level, 2 << level):
            parent, zero, one = products[c], products[2 * c], products[2 * c + 1]
            for s in range(count):  # one result per loop: LLVM then makes vectors of it
                one[s] = parent[s] * values[s]
            for s in range(count):
                zero[s] = parent[s] - one[s]


@cached_njit(nogil=True)
def _input_gradients(
    x: Floats, inputs: Ints, begin: int, count: int, products: Floats, grads: Floats, out: Floats
) -> None:
    """Write the gradient of each input of a half to out [inputs, batch], from those of its corner products.

    `grads` is a tree like `products`, whose leaves have the gradients; the rest of it is for intermediate results.
    """
    for level in range(len(inputs) - 1, -1, -1):
        values, total = x[inputs[level], begin : begin + count], out[level, begin : begin + count]
        for s in range(count):
            total[s] = np.float32(0)
        for c in range(1 << level, 2 << level):
            parent, own, zero, one = products[c], grads[c], grads[2 * c], grads[2 * c + 1]
            for s in range(count):
                total[s] += parent[s] * (one[s] - zero[s])
            for s in range(count):
                own[s] = zero[s] + values[s] * (one[s] - zero[s])


@cached_njit(nogil=True)
def _weighted_rows(weights: Floats, rows: Floats, out: Floats) -> None:
    """Write the sum of four or eight rows [tile] times their weights."""
    t0, t1, t2, t3 = weights[0], weights[1], weights[2], weights[3]
    r0, r1, r2, r3 = rows[0], rows[1], rows[2], rows[3]
    if len(weights) == 4:
        for s in range(len(out)):
            out[s] = (t0 * r0[s] + t1 * r1[s]) + (t2 * r2[s] + t3 * r3[s])
    else:
        t4, t5, t6, t7 = weights[4], weights[5], weights[6], weights[7]
        r4, r5, r6, r7 = rows[4], rows[5], rows[6], rows[7]
        for s in range(len(out)):
            low = (t0 * r0[s] + t1 * r1[s]) + (t2 * r2[s] + t3 * r3[s])
            out[s] = low + ((t4 * r4[s] + t5 * r5[s]) + (t6 * r6[s] + t7 * r7[s]))


@cached_njit(nogil=True)
def _add_product(x: Floats, y: Floats, out: Floats, count: int) -> None:
    for s in range(count):
        out[s] += x[s] * y[s]


@cached_njit(nogil=True)
def _multiply(x: Floats, y: Floats, out: Floats) -> None:
    for s in range(len(out)):
        out[s] = x[s] * y[s]


@cached_njit(nogil=True)
def _add_lanes(x: Floats, rows: Floats, lanes: Floats) -> None:
    """Add the products of x [tile] with each of the rows to that row's lanes.

    The sum is written out, since LLVM makes vectors of this loop, and not of one with another loop in it.
    """
    for j in range(len(rows)):
        row, lane_sums = rows[j], lanes[j]
        for start in range(0, len(x), _UNIT):
            a, b = x[start : start + _UNIT], row[start : start + _UNIT]
            for lane in range(_LANES):
                low = a[lane] * b[lane] + a[_LANES + lane] * b[_LANES + lane]
                high = a[2 * _LANES + lane] * b[2 * _LANES + lane] + a[3 * _LANES + lane] * b[3 * _LANES + lane]
                lane_sums[lane] += low + high


@cached_njit(nogil=True)
def _lane_sums(lanes: Floats, out: Floats) -> None:
    for row in range(len(lanes)):
        lane, half = lanes[row], _LANES
        while half > 1:
            half //= 2
            for i in range(half):
                lane[i] += lane[i + half]
        out[row] = lane[0]


@cached_njit(nogil=True)
def _node_forward(x: Floats, table: Floats, inputs: Ints, u: Floats, w: Floats, row: Floats, y: Floats) -> None:
    """Compute one node; u, w [2 * corners, tile] and row [tile] are for intermediate results."""
    half = len(inputs) // 2
    corners = 1 << half
    for begin in range(0, len(y), len(row)):
        count = min(len(row), len(y) - begin)
        _corner_products(x, inputs[:half], begin, count, u)
        _corner_products(x, inputs[half:], begin, count, w)
        out = y[begin : begin + count]
        for s in range(count):
            out[s] = np.float32(0)
        for i in range(corners):
            _weighted_rows(table[i], w[corners:], row)
            _add_product(u[corners + i], row, out, count)


@cached_njit(nogil=True, parallel=True)
def forward(x: Floats, tables: Floats, inputs: Ints, y: Floats) -> None:
    """Compute the multilinear forms.

    Args:
        x: activations [in_dim, batch].
        tables: values at the corners, [tables, 2^(k/2), 2^(k/2)]; the first inputs are the high bits of a row's number.
        inputs: int32 [out_dim, k]; equal numbers of consecutive nodes have each table.
        y: out, [out_dim, batch].
    """
    share = len(inputs) // len(tables)
    rows, tile = 2 * tables.shape[1], _tile(x.shape[1])
    for t in numba.prange(len(tables)):
        u, w = np.zeros((rows, tile), np.float32), np.zeros((rows, tile), np.float32)
        row = np.zeros(tile, np.float32)
        for n in range(t * share, t * share + share):
            _node_forward(x, tables[t], inputs[n], u, w, row, y[n])


@cached_njit(nogil=True)
def _node_backward(
    x: Floats,
    table: Floats,
    columns: Floats,
    inputs: Ints,
    outputs: Floats,
    grad_y: Floats,
    scratch: Floats,
    lanes: Floats,
    grad_inputs: Floats,
) -> None:
    """Add the gradient of a node's table to lanes [corners, corners, _LANES]; write those of its inputs, if asked for.

    columns is the transposed table; grad_inputs is [k, batch], or [k, 0] if inputs need no gradient; scratch
    [9 * corners + 2, tile] is for intermediate results. `outputs` [batch] are those of a sigmoid behind the form, or of
    length 0 without one.
    """
    half = len(inputs) // 2
    corners = 1 << half
    u, w, grad_u, grad_w = (
        scratch[: 2 * corners],
        scratch[2 * corners : 4 * corners],
        scratch[4 * corners : 6 * corners],
        scratch[6 * corners : 8 * corners],
    )
    weighted, g, row = scratch[8 * corners : 9 * corners], scratch[9 * corners], scratch[9 * corners + 1]
    tile = scratch.shape[1]
    for begin in range(0, len(grad_y), tile):
        count = min(tile, len(grad_y) - begin)
        of_y = grad_y[begin : begin + count]
        if len(outputs) > 0:
            after = outputs[begin : begin + count]
            for s in range(count):
                g[s] = of_y[s] * (after[s] * (np.float32(1) - after[s]))
        else:
            for s in range(count):
                g[s] = of_y[s]
        for s in range(count, tile):  # what a last tile lacks adds nothing to sums
            g[s] = np.float32(0)
        _corner_products(x, inputs[:half], begin, count, u)
        _corner_products(x, inputs[half:], begin, count, w)
        for i in range(corners):
            _multiply(u[corners + i], g, weighted[i])
            _add_lanes(weighted[i], w[corners:], lanes[i])
        if grad_inputs.shape[1] > 0:
            for i in range(corners):
                _weighted_rows(columns[i], weighted, grad_w[corners + i])
                _weighted_rows(table[i], w[corners:], row)
                _multiply(row, g, grad_u[corners + i])
            _input_gradients(x, inputs[:half], begin, count, u, grad_u, grad_inputs[:half])
            _input_gradients(x, inputs[half:], begin, count, w, grad_w, grad_inputs[half:])


@cached_njit(nogil=True, parallel=True)
def backward(
    x: Floats,
    tables: Floats,
    inputs: Ints,
    outputs: Floats,
    grad_y: Floats,
    grad_inputs: Floats,
    grad_tables: Floats,
) -> None:
    """Compute the gradients of the tables, and those of each node's inputs.

    Args:
        x, tables, inputs: see `forward`.
        outputs: what the sigmoid of the forms gave, [out_dim, batch]; [0, batch] without a sigmoid.
        grad_y: gradient of the forms, or of their sigmoid, [out_dim, batch].
        grad_inputs: out, [out_dim, k, batch], to be summed by `sum_consumers`; [out_dim, k, 0] if not needed.
        grad_tables: out, [tables, 2^(k/2), 2^(k/2)].
    """
    share, corners, tile = len(inputs) // len(tables), tables.shape[1], _tile(x.shape[1])
    for t in numba.prange(len(tables)):
        scratch = np.zeros((9 * corners + 2, tile), np.float32)
        lanes = np.zeros((corners, corners, _LANES), np.float32)
        columns = tables[t].T.copy()
        for n in range(t * share, t * share + share):
            of_sigmoid = outputs[n] if len(outputs) > 0 else grad_y[n, :0]
            _node_backward(x, tables[t], columns, inputs[n], of_sigmoid, grad_y[n], scratch, lanes, grad_inputs[n])
        for i in range(corners):
            _lane_sums(lanes[i], grad_tables[t, i])


@cached_njit(nogil=True, parallel=True)
def sum_consumers(
    starts: NDArray[np.int64], consumers: Ints, grad_inputs: Floats, scale: float, grad_x: Floats
) -> None:
    """Sum the gradients that each input gets from the nodes that read it, and multiply them by `scale`.

    Args:
        starts: int64 [in_dim + 1].
        consumers: int32; those of input j are consumers[starts[j] : starts[j + 1]], each k * node + role.
        grad_inputs: [out_dim * k, batch].
        grad_x: out, [in_dim, batch].
    """
    factor = np.float32(scale)
    for j in numba.prange(len(grad_x)):
        total = grad_x[j]
        for s in range(len(total)):
            total[s] = np.float32(0)
        for e in range(starts[j], starts[j + 1]):
            row = grad_inputs[consumers[e]]
            for s in range(len(total)):
                total[s] += row[s]
        for s in range(len(total)):
            total[s] *= factor
