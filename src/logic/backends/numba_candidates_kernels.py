"""CPU kernels of learned connections: how the loss grows with the share of each candidate, compiled at first use.

It is a sum over the batch, taken in lanes and in a fixed order, so results do not depend on the number of threads.
"""

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numpy.typing import NDArray

from src.kernel_cache import cached_njit
from src.logic.backends.numba_vectors import LANES, Vectors, index_of, llvm_intrinsic

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


@llvm_intrinsic
def _four_products(_: Any, x: Any, batch: Any, rows: Any, first: Any, last: Any, y: Any, y_at: Any, out: Any) -> Any:
    """Write the sums of y times each of four rows of x, over whole chunks of frames.

    Args:
        x, batch: [any, batch], flat, and the number of its columns.
        rows: int32, numbers of rows of x.
        first, last: rows[first] and the next three are meant; behind rows[last], that one again.
        y, y_at: float32, flat, and where the numbers begin.
        out: the sums, float32, flat, at the places of the rows' numbers.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        v = Vectors(context, builder)
        x, batch, rows, first, last, y, y_at, out = v.unpack(signature, arguments)
        places = [builder.add(first, index_of(i)) for i in range(4)]
        places = [builder.select(builder.icmp_signed("<", place, last), place, last) for place in places]
        numbers = [builder.sext(builder.load(builder.gep(rows, [place])), ir.IntType(64)) for place in places]
        begins = [builder.mul(number, batch) for number in numbers]
        sums = [cgutils.alloca_once_value(builder, v.constant(0)) for _ in range(4)]
        whole = builder.and_(batch, index_of(-LANES))
        with cgutils.for_range_slice(builder, index_of(0), whole, index_of(LANES)) as (at, _):
            values = v.load(y, builder.add(y_at, at))
            for begin, total in zip(begins, sums, strict=True):
                row = v.load(x, builder.add(begin, at))
                builder.store(v.multiply_add(row, values, builder.load(total)), total)
        found = v.lane_sums([builder.load(total) for total in sums])
        for i, place in enumerate(places):
            builder.store(builder.extract_element(found, index_of(i)), builder.gep(out, [place]))
        return context.get_dummy_value()

    i = types.int64
    return types.void(x, i, rows, i, i, y, i, out), generate


@cached_njit(nogil=True)
def _product_sums(x: Floats, rows: Ints, begin: int, end: int, y: Floats, y_at: int, out: Floats) -> None:
    """Write the sum over the batch of y times x[rows[i]] to out[i], for i from begin to end."""
    batch, flat = x.shape[1], x.reshape(-1)
    for first in range(begin, end, 4):
        _four_products(flat, batch, rows, first, end - 1, y, y_at, out)
    if batch % LANES > 0:
        for i in range(begin, end):
            for s in range(batch // LANES * LANES, batch):
                out[i] += x[rows[i], s] * y[y_at + s]


@cached_njit(nogil=True, parallel=True)
def candidate_slopes(
    x: Floats,
    coefficients: Floats,
    first: Ints,
    second: Ints,
    candidates: NDArray[np.int32],
    grad_y: Floats,
    slopes: Floats,
) -> None:
    """Compute how the loss grows with the share that each candidate has in a neuron's input.

    slopes[r, n, j] is the sum over the batch of dL/da (of input r: a or b) times the candidate's activation.

    Args:
        x: activations [in_dim, batch].
        coefficients: [out_dim, 4].
        first, second: the inputs that have been chosen, int32 [out_dim].
        candidates: int32 [2, out_dim, k].
        grad_y: [out_dim, batch].
        slopes: out, [2, out_dim, k]. A candidate costs the reading of its activations.
    """
    rows, out, number = candidates.reshape(-1), slopes.reshape(-1), candidates.shape[2]
    for n in numba.prange(len(first)):
        g = grad_y[n]
        grad_input = np.empty_like(g)
        for role in range(2):
            other = x[first[n]] if role else x[second[n]]
            c, c3 = coefficients[n, 1 + role], coefficients[n, 3]
            for s in range(len(g)):
                grad_input[s] = g[s] * (c + c3 * other[s])
            begin = (role * len(first) + n) * number
            _product_sums(x, rows, begin, begin + number, grad_input, 0, out)


@cached_njit(nogil=True, parallel=True)
def candidate_sums(x: Floats, candidates: NDArray[np.int32], grad_inputs: Floats, slopes: Floats) -> None:
    """Compute slopes[r, n, j], the sum over the batch of the gradient of input r of neuron n times candidate j.

    Args:
        x: activations [in_dim, batch].
        candidates: int32 [k, out_dim, candidates].
        grad_inputs: [out_dim, k, batch].
        slopes: out, like candidates.
    """
    rows, out, grads = candidates.reshape(-1), slopes.reshape(-1), grad_inputs.reshape(-1)
    roles, nodes, number = candidates.shape
    batch = x.shape[1]
    for n in numba.prange(nodes):
        for role in range(roles):
            begin = (role * nodes + n) * number
            _product_sums(x, rows, begin, begin + number, grads, (n * roles + role) * batch, out)
