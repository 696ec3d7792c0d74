"""The `numba` implementation of nodes with a truth table of four or six inputs: CPU kernels, compiled at first use.

A node's multilinear form interpolates between the 2^k corners of its table. Its inputs are cut into two halves, the
first k/2 and the last k/2, and a table is a square matrix T: the form is u T w. For each corner of a half, u or w has
the product of x, or 1 - x, of the half's inputs. So the form and its gradients are products of small matrices, of 2^k
multiplications per frame each.

A chunk has one frame per lane, and a node on a chunk is one run of instructions on vectors, which keeps u and w in
registers. One thread computes each table's nodes in a fixed order, chunk after chunk, so results do not depend on the
number of threads. No kernel uses fastmath; numba_dense_kernels.py says why.
"""

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from src.kernel_cache import cached_njit
from src.logic.backends.numba_vectors import LANES, Length, Vectors, index_of, llvm_intrinsic, zero_lanes

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

_GROUP = 8  # tables that follow each other on one thread, which needs their memory only once


class _Nodes(Vectors):
    """Instructions of a node with a truth table."""

    def inputs(self, x: ir.Value, batch: ir.Value, rows: ir.Value, node: ir.Value, k: int, at: ir.Value) -> list[Any]:
        """Load a chunk of a node's inputs from x [in_dim, batch]."""
        b = self.builder
        first = b.gep(rows, [b.mul(node, index_of(k))])
        numbers = [b.sext(b.load(b.gep(first, [index_of(i)])), ir.IntType(64)) for i in range(k)]
        return [self.load(x, b.add(b.mul(number, batch), at)) for number in numbers]

    def corner_products(self, inputs: list[Any]) -> list[Any]:
        """Return what each corner of a half has to multiply its value with, as a binary tree.

        Its node 1 is 1, and node c has the children 2c, times 1 - x of the next input, and 2c + 1, times x. The last
        half of the list are the leaves, the corners.
        """
        tree = [self.constant(0), self.constant(1)]
        for x in inputs:
            for parent in tree[len(tree) // 2 :]:
                one = x if len(tree) == 2 else self.builder.fmul(parent, x)
                tree += [self.builder.fsub(parent, one), one]
        return tree

    def input_gradients(self, inputs: list[Any], tree: list[Any], grads: list[Any]) -> list[Any]:
        """Return the gradient of each input of a half, from those of its corner products."""
        b, found = self.builder, []
        for level in range(len(inputs) - 1, -1, -1):
            changes = [b.fsub(one, zero) for zero, one in zip(grads[::2], grads[1::2], strict=True)]
            parents = tree[1 << level : 2 << level]
            total = changes[0] if level == 0 else b.fmul(parents[0], changes[0])
            for parent, change in zip(parents[1:], changes[1:], strict=True):
                total = self.multiply_add(parent, change, total)
            found.append(total)
            grads = [
                self.multiply_add(inputs[level], change, zero) for zero, change in zip(grads[::2], changes, strict=True)
            ]
        return found[::-1]

    def table(self, tables: ir.Value, number: ir.Value, corners: int) -> Any:
        """Return a function that gives the value at row i and column j of a table, in every lane."""
        first = self.builder.gep(tables, [self.builder.mul(number, index_of(corners**2))])
        return lambda i, j: self.everywhere(self.builder.load(self.builder.gep(first, [index_of(corners * i + j)])))

    def weighted_sum(self, weights: list[Any], values: list[Any]) -> Any:
        """Return the sum of values times weights."""
        total = self.builder.fmul(weights[0], values[0])
        for weight, value in zip(weights[1:], values[1:], strict=True):
            total = self.multiply_add(weight, value, total)
        return total


@llvm_intrinsic
def _form(
    _: Any, x: Any, batch: Any, inputs: Any, node: Any, at: Any, tables: Any, number: Any, size: Any, y: Any
) -> Any:
    """Compute a node on a chunk.

    Args:
        x, batch: activations [in_dim, batch], flat, and their number of columns.
        inputs: of the nodes, [out_dim, k], flat.
        node, at: which node, and the first frame of the chunk.
        tables, number: [tables, 2^k], flat, and which table.
        size: `length` of k.
        y: out, [out_dim, batch], flat.
    """
    k = size.count - 1

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        v = _Nodes(context, builder)
        x, batch, inputs, node, at, tables, number, _, y = v.unpack(signature, arguments)
        corners = 1 << k // 2
        values, table = v.inputs(x, batch, inputs, node, k, at), v.table(tables, number, corners)
        u, w = (v.corner_products(half)[corners:] for half in (values[: k // 2], values[k // 2 :]))
        rows = [v.weighted_sum([table(i, j) for j in range(corners)], w) for i in range(corners)]
        v.store(v.weighted_sum(rows, u), y, builder.add(builder.mul(node, batch), at))
        return context.get_dummy_value()

    i = types.int64
    return types.void(x, i, inputs, i, i, tables, i, size, y), generate


@llvm_intrinsic
def _form_gradients(
    _: Any,
    x: Any,
    batch: Any,
    inputs: Any,
    node: Any,
    at: Any,
    tables: Any,
    number: Any,
    sizes: Any,
    outputs: Any,
    grad_y: Any,
    lanes: Any,
    grad_inputs: Any,
) -> Any:
    """Add a node's gradients on a chunk to those of its table, and write those of its inputs, if asked for.

    Args:
        x, batch, inputs, node, at, tables, number: as given to `_form`.
        sizes: `length` of k, of 1 if a sigmoid comes behind the forms, else 0, and of 1 if inputs have gradients.
        outputs: of the sigmoid, [out_dim, batch], flat; not read without one.
        grad_y: gradient of the forms, or of their sigmoid, [out_dim, batch], flat.
        lanes: [2^k, lanes], flat, to which the gradients of the table are added.
        grad_inputs: out, [out_dim, k, batch], flat.
    """
    k, has_sigmoid, with_inputs = (part.count - 1 for part in sizes)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        v = _Nodes(context, builder)
        x, batch, inputs, node, at, tables, number, _, outputs, grad_y, lanes, grad_inputs = v.unpack(
            signature, arguments
        )
        corners, place = 1 << k // 2, builder.add(builder.mul(node, batch), at)
        values, table = v.inputs(x, batch, inputs, node, k, at), v.table(tables, number, corners)
        halves = values[: k // 2], values[k // 2 :]
        trees = [v.corner_products(half) for half in halves]
        u, w = (tree[corners:] for tree in trees)
        grad = v.load(grad_y, place)
        if has_sigmoid:
            after = v.load(outputs, place)
            grad = builder.fmul(grad, builder.fmul(after, builder.fsub(v.constant(1), after)))
        weighted = [builder.fmul(product, grad) for product in u]
        for i in range(corners):
            for j in range(corners):
                index = index_of((corners * i + j) * LANES)
                v.store(v.multiply_add(weighted[i], w[j], v.load(lanes, index)), lanes, index)
        if with_inputs:
            rows = [v.weighted_sum([table(i, j) for j in range(corners)], w) for i in range(corners)]
            grads = (
                [builder.fmul(row, grad) for row in rows],
                [v.weighted_sum([table(i, j) for i in range(corners)], weighted) for j in range(corners)],
            )
            found = [each for half in zip(halves, trees, grads, strict=True) for each in v.input_gradients(*half)]
            for i, of_input in enumerate(found):
                row = builder.add(builder.mul(node, index_of(k)), index_of(i))
                v.store(of_input, grad_inputs, builder.add(builder.mul(row, batch), at))
        return context.get_dummy_value()

    i = types.int64
    return types.void(x, i, inputs, i, i, tables, i, sizes, outputs, grad_y, lanes, grad_inputs), generate


@llvm_intrinsic
def _collect(_: Any, lanes: Any, size: Any, out: Any, at: Any) -> Any:
    """Write the sums of the lanes of 2^k vectors to as many numbers, and set the vectors to 0.

    Args:
        lanes: [2^k, lanes], flat.
        size: `length` of k.
        out, at: float32, flat, and where the first number goes.
    """
    k = size.count - 1

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        v = Vectors(context, builder)
        lanes, _, out, at = v.unpack(signature, arguments)
        for first in range(0, 1 << k, LANES):
            places = [index_of((first + i) * LANES) for i in range(LANES)]
            found = v.lane_sums([v.load(lanes, place) for place in places])
            for place in places:
                v.store(v.constant(0), lanes, place)
            v.store(found, out, builder.add(at, index_of(first)))
        return context.get_dummy_value()

    return types.void(lanes, size, out, types.int64), generate


@cached_njit(nogil=True, parallel=True)
def forward(x: Floats, tables: Floats, inputs: Ints, size: Length, y: Floats) -> None:
    """Compute the multilinear forms.

    Args:
        x: activations [in_dim, batch], whose batch is a multiple of LANES.
        tables: values at the corners, [tables, 2^k]; the first input is the highest bit of a corner's number.
        inputs: int32 [out_dim, k]; equal numbers of consecutive nodes have each table.
        size: `length` of k.
        y: out, [out_dim, batch].
    """
    share, batch = len(inputs) // len(tables), x.shape[1]
    flat, of_tables, rows, out = x.reshape(-1), tables.reshape(-1), inputs.reshape(-1), y.reshape(-1)
    for t in numba.prange(len(tables)):
        for node in range(t * share, t * share + share):
            for at in range(0, batch, LANES):
                _form(flat, batch, rows, node, at, of_tables, t, size, out)


@cached_njit(nogil=True, parallel=True)
def backward(
    x: Floats,
    tables: Floats,
    inputs: Ints,
    size: Length,
    has_sigmoid: Length,
    with_inputs: Length,
    outputs: Floats,
    grad_y: Floats,
    grad_inputs: Floats,
    grad_tables: Floats,
) -> None:
    """Compute the gradients of the tables, and those of each node's inputs.

    Args:
        x, tables, inputs, size: see `forward`.
        has_sigmoid: `length` of 1 if a sigmoid comes behind the forms, else of 0.
        with_inputs: `length` of 1 if the inputs have gradients, else of 0.
        outputs: what the sigmoid of the forms gave, [out_dim, batch]; of any size without a sigmoid.
        grad_y: gradient of the forms, or of their sigmoid, [out_dim, batch].
        grad_inputs: out, [out_dim, k, batch], to be summed by `sum_consumers`; of any size if not needed.
        grad_tables: out, [tables, 2^k].
    """
    share, batch, corners = len(inputs) // len(tables), x.shape[1], tables.shape[1]
    flat, of_tables, rows, after = x.reshape(-1), tables.reshape(-1), inputs.reshape(-1), outputs.reshape(-1)
    grads, of_inputs, out = grad_y.reshape(-1), grad_inputs.reshape(-1), grad_tables.reshape(-1)
    for group in numba.prange((len(tables) + _GROUP - 1) // _GROUP):
        lanes = zero_lanes(corners)
        for t in range(group * _GROUP, min(group * _GROUP + _GROUP, len(tables))):
            for node in range(t * share, t * share + share):
                for at in range(0, batch, LANES):
                    sizes = (size, has_sigmoid, with_inputs)
                    _form_gradients(flat, batch, rows, node, at, of_tables, t, sizes, after, grads, lanes, of_inputs)
            _collect(lanes, size, out, t * corners)


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
