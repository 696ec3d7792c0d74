"""CPU kernels of a whole stack of dense layers of two-input gates, compiled at first use.

The batch is taken in tiles of 16 frames, a line of the cache per activation. A tile passes through all layers before
the next one begins, so activations stay in the caches. They are not kept: the backward computes those of a tile again,
which takes less time than fetching them from memory.

Consecutive tiles are a unit, and there are at most 16 units, whatever the number of threads. One thread computes a unit
in a fixed order, and the units' sums over frames are added up in the order of the units. So results do not depend on
the number of threads. No kernel uses fastmath; numba_dense_kernels.py says why.

A tile's memory holds rows of 16 frames: the inputs of the stack, the outputs of all gates but those of the last layer,
and twice as many rows as a layer can have inputs, or outputs, for the gradients above and below a layer.
"""

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from src.kernel_cache import cached_njit
from src.logic.backends.numba_vectors import LANES, Vectors, index_of, llvm_intrinsic

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Longs = NDArray[np.int64]

MOST_UNITS = 16
AHEAD = 16  # gates ahead, whose rows are fetched while a gate is computed


class _Gates(Vectors):
    """Instructions of a gate on a tile."""

    def row(self, rows: ir.Value, inputs: ir.Value, gate: ir.Value, shift: ir.Value) -> ir.Value:
        """Return the address of the row that is an input of a gate, less a number of rows."""
        place = self.builder.sext(self.builder.load(self.builder.gep(inputs, [gate])), ir.IntType(64))
        return self.builder.gep(rows, [self.builder.mul(self.builder.sub(place, shift), index_of(LANES))])

    def inputs(self, rows: ir.Value, first: ir.Value, second: ir.Value, gate: ir.Value) -> list[ir.Value]:
        """Load both inputs of a gate."""
        none = index_of(0)
        return [self.load(self.row(rows, inputs, gate, none), none) for inputs in (first, second)]

    def coefficients(self, forms: ir.Value, gate: ir.Value) -> list[ir.Value]:
        """Load the four coefficients of a gate, each into every lane."""
        begin = self.builder.gep(forms, [self.builder.mul(gate, index_of(4))])
        return [self.everywhere(self.builder.load(self.builder.gep(begin, [index_of(i)]))) for i in range(4)]

    def form(self, c: list[ir.Value], a: ir.Value, b: ir.Value) -> ir.Value:
        """Return c0 + c1 a + (c2 + c3 a) b, rounded as by `forward_relaxed` of numba_dense_kernels.py."""
        add, multiply = self.builder.fadd, self.builder.fmul
        return add(add(c[0], multiply(c[1], a)), multiply(add(c[2], multiply(c[3], a)), b))

    def add_four(self, values: ir.Value, pointer: ir.Value, index: ir.Value) -> None:
        """Add the first four lanes to the numbers from an index on."""
        four = [ir.VectorType(kind, 4) for kind in (ir.FloatType(), ir.IntType(32))]
        values = self.builder.shuffle_vector(values, values, ir.Constant(four[1], [0, 1, 2, 3]))
        address = self.builder.bitcast(self.builder.gep(pointer, [index]), four[0].as_pointer())
        self.builder.store(self.builder.fadd(self.builder.load(address, align=4), values), address, align=4)


@llvm_intrinsic
def _gate(_: Any, rows: Any, first: Any, second: Any, forms: Any, gate: Any, at: Any) -> Any:
    """Compute a gate on a tile.

    Args:
        rows: a tile's memory, flat.
        first, second: int32, the rows of each gate's inputs.
        forms: coefficients [gates, 4], flat.
        gate: its number.
        at: which row its output becomes.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        v = _Gates(context, builder)
        rows, first, second, forms, gate, at = v.unpack(signature, arguments)
        value = v.form(v.coefficients(forms, gate), *v.inputs(rows, first, second, gate))
        v.store(value, rows, builder.mul(at, index_of(LANES)))
        return context.get_dummy_value()

    return types.void(rows, first, second, forms, types.int64, types.int64), generate


@llvm_intrinsic
def _add_gate(_: Any, rows: Any, first: Any, second: Any, forms: Any, gate: Any, total: Any) -> Any:
    """Compute a gate on a tile and add its output to `total` [lanes]; see `_gate`."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        v = _Gates(context, builder)
        rows, first, second, forms, gate, total = v.unpack(signature, arguments)
        v.add(v.form(v.coefficients(forms, gate), *v.inputs(rows, first, second, gate)), total, index_of(0))
        return context.get_dummy_value()

    return types.void(rows, first, second, forms, types.int64, total), generate


@llvm_intrinsic
def _weight_gradient(_: Any, rows: Any, first: Any, second: Any, gate: Any, above: Any, sums: Any) -> Any:
    """Add a gate's part of the gradient of its coefficients: the sums over the tile of g, ga, gb and gab.

    Args:
        rows, first, second, gate: see `_gate`.
        above: the row with the gradient g of the gate's output.
        sums: [gates, 4], flat.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        v = _Gates(context, builder)
        rows, first, second, gate, above, sums = v.unpack(signature, arguments)
        a, b = v.inputs(rows, first, second, gate)
        grad = v.load(rows, builder.mul(above, index_of(LANES)))
        product = builder.fmul(grad, a)
        found = v.lane_sums([grad, product, builder.fmul(grad, b), builder.fmul(product, b)])
        v.add_four(found, sums, builder.mul(gate, index_of(4)))
        return context.get_dummy_value()

    return types.void(rows, first, second, types.int64, types.int64, sums), generate


@llvm_intrinsic
def _input_gradients(
    _: Any, rows: Any, first: Any, second: Any, forms: Any, gate: Any, above: Any, factor: Any, shift: Any
) -> Any:
    """Add a gate's part of the gradients of its inputs.

    Args:
        rows, first, second, forms, gate: see `_gate`.
        above: the row with the gradient of the gate's output.
        factor: multiplies the gradients.
        shift: number of an activation's row, less that of its gradient's row.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        v = _Gates(context, builder)
        rows, first, second, forms, gate, above, factor, shift = v.unpack(signature, arguments)
        a, b = v.inputs(rows, first, second, gate)
        grad = v.load(rows, builder.mul(above, index_of(LANES)))
        c, scale = v.coefficients(forms, gate), v.everywhere(factor)
        c1, c2, c3 = (builder.fmul(each, scale) for each in c[1:])
        for inputs, own, other in ((first, c1, b), (second, c2, a)):
            slope = builder.fadd(own, builder.fmul(c3, other))
            v.add(builder.fmul(grad, slope), v.row(rows, inputs, gate, shift), index_of(0))
        return context.get_dummy_value()

    i = types.int64
    return types.void(rows, first, second, forms, i, i, types.float32, i), generate


@llvm_intrinsic
def _fetch(_: Any, rows: Any, first: Any, second: Any, gate: Any, shift: Any) -> Any:
    """Have the rows of a gate's inputs brought into the first-level cache, or those that are `shift` rows before."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        v = _Gates(context, builder)
        rows, first, second, gate, shift = v.unpack(signature, arguments)
        for inputs in (first, second):
            v.prefetch(v.row(rows, inputs, gate, shift))
        return context.get_dummy_value()

    return types.void(rows, first, second, types.int64, types.int64), generate


@cached_njit(nogil=True)
def _load_tile(x: Floats, begin: int, rows: Floats) -> None:
    """Copy the frames of x [features, batch] from one on to rows; what is behind the batch is 0."""
    width = min(LANES, x.shape[1] - begin)
    if width < LANES:
        rows[: len(x) * LANES] = 0
        for j in range(len(x)):
            for s in range(width):
                rows[j * LANES + s] = x[j, begin + s]
    else:
        for j in range(len(x)):
            for s in range(LANES):
                rows[j * LANES + s] = x[j, begin + s]


@cached_njit(nogil=True)
def _store_tile(rows: Floats, begin: int, x: Floats) -> None:
    """Copy rows to the frames of x [features, batch] from one on."""
    for j in range(len(x)):
        for s in range(min(LANES, x.shape[1] - begin)):
            x[j, begin + s] = rows[j * LANES + s]


@cached_njit(nogil=True)
def _run_gates(rows: Floats, first: Ints, second: Ints, forms: Floats, gates: int, in_dim: int) -> None:
    """Compute the first gates of the stack on a tile."""
    for n in range(gates):
        _fetch(rows, first, second, n + AHEAD, 0)
        _gate(rows, first, second, forms, n, in_dim + n)


@cached_njit(nogil=True, parallel=True)
def forward(
    x: Floats, forms: Floats, first: Ints, second: Ints, ends: Longs, units: int, scratch: Floats, sums: Floats
) -> None:
    """Compute all layers, and the sums of equal groups of consecutive gates of the last one.

    Args:
        x: inputs of the first layer [in_dim, batch].
        forms: coefficients [gates, 4] of all layers.
        first, second: int32 [gates + AHEAD], the rows of the gates' inputs. The rows are the inputs of the stack, then
            the outputs of its gates.
        ends: for each layer, the number of the gate behind its last one.
        units: number of units.
        scratch: any numbers, [threads, rows * LANES]: the memory of each thread's tile.
        sums: out, [groups, batch].
    """
    in_dim, batch = x.shape
    tiles = (batch + LANES - 1) // LANES
    begin = ends[-2] if len(ends) > 1 else 0
    group_size = (ends[-1] - begin) // len(sums)
    flat = forms.reshape(-1)
    for unit in numba.prange(units):
        rows = scratch[numba.get_thread_id()]
        total = np.empty(LANES, np.float32)
        for tile in range(tiles * unit // units, tiles * (unit + 1) // units):
            _load_tile(x, tile * LANES, rows)
            _run_gates(rows, first, second, flat, begin, in_dim)
            for group in range(len(sums)):
                total[:] = 0
                for n in range(begin + group * group_size, begin + (group + 1) * group_size):
                    _fetch(rows, first, second, n + AHEAD, 0)
                    _add_gate(rows, first, second, flat, n, total)
                _store_tile(total, tile * LANES, sums[group : group + 1])


@cached_njit(nogil=True)
def _go_back(
    rows: Floats,
    first: Ints,
    second: Ints,
    forms: Floats,
    begin: int,
    end: int,
    group_size: int,
    above: int,
    factor: float,
    shift: int,
    with_inputs: bool,
    sums: Floats,
) -> None:
    """Add the gradients of the gates from begin to end on a tile; groups of them share a row of gradients above."""
    scale = np.float32(factor)
    for group in range((end - begin) // group_size):
        row = above + group
        for n in range(begin + group * group_size, begin + (group + 1) * group_size):
            _fetch(rows, first, second, n + AHEAD, 0)
            _weight_gradient(rows, first, second, n, row, sums)
            if with_inputs:
                _fetch(rows, first, second, n + AHEAD, shift)
                _input_gradients(rows, first, second, forms, n, row, scale, shift)


@cached_njit(nogil=True, parallel=True)
def backward(
    x: Floats,
    forms: Floats,
    first: Ints,
    second: Ints,
    ends: Longs,
    factors: Floats,
    units: int,
    grad_sums: Floats,
    scratch: Floats,
    grad_x: Floats,
    unit_sums: Floats,
) -> None:
    """Compute the activations of each tile again, then its gradients from the last layer to the first.

    Args:
        x, forms, first, second, ends, units, scratch: see `forward`.
        factors: for each layer, what multiplies the gradient of its inputs.
        grad_sums: gradient of the sums, [groups, batch].
        grad_x: out, [in_dim, batch]; of length 0 if it is not needed.
        unit_sums: out, [units, gates, 4]: what each unit adds to the gradient of the forms.
    """
    in_dim, batch = x.shape
    tiles, layers = (batch + LANES - 1) // LANES, len(ends)
    gates = ends[-2] if layers > 1 else 0  # whose activations are needed
    flat, height = forms.reshape(-1), in_dim + gates
    gradients = (scratch.shape[1] // LANES - height) // 2  # rows
    for unit in numba.prange(units):
        rows = scratch[numba.get_thread_id()]
        sums = unit_sums[unit].reshape(-1)
        sums[:] = 0
        for tile in range(tiles * unit // units, tiles * (unit + 1) // units):
            above, below = height, height + gradients
            _load_tile(x, tile * LANES, rows)
            _load_tile(grad_sums, tile * LANES, rows[above * LANES :])
            _run_gates(rows, first, second, flat, gates, in_dim)
            group_size = (ends[-1] - gates) // len(grad_sums)
            for layer in range(layers - 1, -1, -1):
                begin, end = ends[layer - 1] if layer > 0 else 0, ends[layer]
                inputs = in_dim + ends[layer - 2] if layer > 1 else (in_dim if layer == 1 else 0)  # first row
                with_inputs = layer > 0 or len(grad_x) > 0
                if with_inputs:
                    rows[below * LANES : (below + in_dim + begin - inputs) * LANES] = 0
                shift = inputs - below
                _go_back(
                    rows,
                    first,
                    second,
                    flat,
                    begin,
                    end,
                    group_size,
                    above,
                    factors[layer],
                    shift,
                    with_inputs,
                    sums,
                )
                group_size = 1
                above, below = below, above
            _store_tile(rows[above * LANES :], tile * LANES, grad_x)
