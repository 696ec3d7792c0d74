"""CPU kernels of a convolutional logic layer: trees of gates at every position, and their pooling, in one pass.

A chunk has one frame per lane, so a pixel of its frames is a vector. Activations between layers are stored chunk by
chunk, with the zeros around the frames that the next layer reads: [chunks, channels, height, width, lanes]. So all that
is read and written lies in long runs, and no pixel is moved. The last layer writes [features, batch]. A whole tree in a
pooling window is one run of instructions on vectors, which keeps the inside of the tree in registers. A tree is
computed in all windows of a chunk before the next tree is, so that each pixel of its channels comes from memory once,
and then from the first-level cache.

Chunks are computed in parallel. Their number depends on the batch alone, and sums over chunks are taken in order, so
results do not depend on the number of threads. Nothing uses fastmath; numba_dense_kernels.py says why.
"""

import functools
import itertools
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.np.arrayobj import make_array
from numpy.typing import NDArray

from src.kernel_cache import cached_njit
from src.logic.backends.numba_vectors import (
    BYTE,
    LANES,
    Length,
    Vectors,
    index_of,
    length,
    llvm_intrinsic,
    zero_lanes,
)
from src.logic.gates import FORM, SIGMOID, STEP
from src.logic.trees import Geometry

Floats = NDArray[np.float32]

_ONE, _TWO = length(1), length(2)
_PARTS = 4  # of the kernels, which threads share on the way forward, so that all have work if the batch is small


class Layout(NamedTuple):
    """How the outputs of a layer are stored; distances are in numbers."""

    chunk: int  # from a pixel to that of the next chunk
    pixel: int  # from a pixel to the next
    height: int  # rows of a channel, with zeros above and below the frame
    width: int  # pixels of a row, with zeros on both sides
    before: int  # rows of zeros above a frame, and columns to its left


def layout_for(following: Geometry) -> Layout:
    """Return the layout [chunks, channels, height, width, lanes] that a layer reads."""
    s = following
    size = s.channels * s.padded_height * s.padded_width * LANES
    return Layout(size, LANES, s.padded_height, s.padded_width, s.before)


def layout_of_features(shape: Geometry, padded_batch: int) -> Layout:
    """Return the layout [kernels * out_height * out_width, padded_batch] of a layer's outputs."""
    return Layout(LANES, padded_batch, shape.out_height, shape.out_width, 0)


def leaf_offsets(connections: NDArray[np.int64], shape: Geometry) -> NDArray[np.int64]:
    """Return where the leaves of the first window's first position are in a chunk, int64 [kernels, leaves].

    Args:
        connections: [3, kernels, leaves], the channel of each leaf, its row and its column in the receptive field.
        shape: the layer's.
    """
    channel, row, column = connections
    return ((channel * shape.padded_height + row) * shape.padded_width + column) * LANES


class _Trees(Vectors):
    """Instructions of trees of gates at the positions of a window."""

    def form(self, a: ir.Value, b: ir.Value, c: list[ir.Value]) -> ir.Value:
        """Return c0 + c1 a + c2 b + c3 ab."""
        return self.multiply_add(self.multiply_add(c[3], a, c[2]), b, self.multiply_add(c[1], a, c[0]))

    def gate(self, a: ir.Value, b: ir.Value, c: list[ir.Value], after: int) -> ir.Value:
        """Return the form, and what comes after it."""
        form = self.form(a, b, c)
        if after == SIGMOID:
            return self.sigmoid(form)
        if after == STEP:
            above = self.builder.fcmp_ordered(">", form, self.constant(0))
            return self.builder.select(above, self.constant(1), self.constant(0))
        return form

    def row(self, pointer: ir.Value, number: ir.Value, length: int) -> list[ir.Value]:
        """Load the numbers of a row."""
        first = self.builder.gep(pointer, [self.builder.mul(number, index_of(length))])
        return [self.builder.load(self.builder.gep(first, [index_of(i)])) for i in range(length)]

    def coefficients(self, pointer: ir.Value, tree: ir.Value, gates: int) -> list[list[ir.Value]]:
        """Load the coefficients of a tree's gates from [trees * gates, 4]."""
        every = [self.everywhere(number) for number in self.row(pointer, tree, 4 * gates)]
        return [every[4 * g : 4 * g + 4] for g in range(gates)]

    def pixels(self, pointer: ir.Value, offset: ir.Value, row: ir.Value, pool: int) -> list[ir.Value]:
        """Return the addresses of a leaf at all positions of a window, from that at the first one."""
        found = []
        for y in range(pool):
            begin = self.builder.gep(pointer, [self.builder.add(offset, self.builder.mul(index_of(y), row))])
            found += [self.builder.gep(begin, [index_of(x * LANES)]) for x in range(pool)]
        return found

    def read(self, address: ir.Value) -> ir.Value:
        """Load the lanes at an address."""
        return self.load(address, index_of(0))

    def masks(self, pointer: ir.Value, index: ir.Value, positions: int) -> list[ir.Value]:
        """Return, for each position of a window, the lanes on which it won."""
        winner = self.load(pointer, index, BYTE)
        return [self.builder.icmp_unsigned("==", winner, self.constant(p, BYTE)) for p in range(positions)]

    def of_winner(self, values: list[ir.Value], masks: list[ir.Value]) -> ir.Value:
        """Return the value of the position that won."""
        won = values[0]
        for value, mask in zip(values[1:], masks[1:], strict=True):
            won = self.builder.select(mask, value, won)
        return won

    def add_where(self, masks: list[ir.Value], value: ir.Value, addresses: list[ir.Value]) -> None:
        """Add each lane of a value to those of one address, whose mask has it."""
        for address, mask in zip(addresses, masks, strict=True):
            before = self.read(address)
            sums = self.builder.fadd(before, value)
            self.store(self.builder.select(mask, sums, before), address, index_of(0))


@llvm_intrinsic
def _fetch(_: Any, x: Any, at: Any) -> Any:
    """Have the line of a number brought into the first-level cache."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        v = _Trees(context, builder)
        x, at = v.unpack(signature, arguments)
        v.prefetch(builder.gep(x, [at]))
        return context.get_dummy_value()

    return types.void(x, types.int64), generate


@llvm_intrinsic
def window(
    _: Any,
    x: Any,
    start: Any,
    row: Any,
    tree: Any,
    offsets: Any,
    coefficients: Any,
    sizes: Any,
    best: Any,
    best_at: Any,
    won: Any,
    won_at: Any,
) -> Any:
    """Compute a tree in a pooling window on all lanes: the largest value, and the first position that has it.

    Args:
        x: activations of a chunk.
        start: of the window in x.
        row: from a pixel of x to the one below.
        tree: its number.
        offsets: of the leaves from there, [trees, leaves].
        coefficients: of the trees' gates, [trees * gates, 4].
        sizes: `length` of the leaves, of the pooling window's side, and of FORM, SIGMOID or STEP.
        best, best_at: where the values go: an array of float32, and an index in it.
        won, won_at: where the positions go: an array of uint8, and an index in it.
    """
    leaves, pool, after = (part.count - 1 for part in sizes)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        v = _Trees(context, builder)
        x, start, row, tree, offsets, coefficients, _, best, best_at, won, won_at = v.unpack(signature, arguments)
        c = v.coefficients(coefficients, tree, leaves - 1)
        first = builder.gep(x, [start])
        places = [v.pixels(first, offset, row, pool) for offset in v.row(offsets, tree, leaves)]
        for p in range(pool**2):
            nodes = [v.read(of_leaf[p]) for of_leaf in places]
            for g in range(leaves - 1):
                nodes.append(v.gate(nodes[2 * g], nodes[2 * g + 1], c[g], after))
            number = v.constant(p, BYTE)
            if p == 0:
                largest, winner = nodes[-1], number
            else:
                larger = builder.fcmp_unordered(">", nodes[-1], largest)  # what is not a number must be seen
                larger = builder.and_(larger, builder.fcmp_ordered("ord", largest, largest))
                largest = builder.select(larger, nodes[-1], largest)
                winner = builder.select(larger, number, winner)
        v.store(largest, best, best_at)
        v.store(winner, won, won_at)
        return context.get_dummy_value()

    i = types.int64
    return types.void(x, i, i, i, offsets, coefficients, sizes, best, i, won, i), generate


@llvm_intrinsic
def _window_gradients(
    _: Any,
    x: Any,
    start: Any,
    row: Any,
    tree: Any,
    offsets: Any,
    coefficients: Any,
    sizes: Any,
    won: Any,
    won_at: Any,
    grad: Any,
    grad_at: Any,
    grad_step: Any,
    sums: Any,
    grad_x: Any,
    leaf: Any,
    slopes: Any,
    count: Any,
) -> Any:
    """Compute a tree's gradients at the positions that won from the gradients of the windows' largest values.

    Windows that are computed together have their parts of a sum added up before these go to memory.

    Args:
        x, start, row, tree, offsets, coefficients, sizes: as given to `window`, for the first window.
        won, won_at: the positions, as from `window`.
        grad, grad_at, grad_step: the gradients: an array of float32, an index in it, and from a window to the next.
        sums: [gates, 4, lanes], to which g, ga, gb and gab of each gate are added.
        grad_x: like x, to which the gradients of the leaves are added; or None.
        leaf: out, [windows, leaves, lanes], the gradients of the leaves, unless slopes is None.
        slopes: an array or None.
        count: `length` of the windows, which follow each other in a row.
    """
    leaves, pool, after = (part.count - 1 for part in sizes)
    wants_grad_x, wants_leaf = isinstance(grad_x, types.Array), isinstance(slopes, types.Array)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        v, windows = _Trees(context, builder), range(count.count - 1)
        x, start, row, tree, offsets, coefficients, _, *rest = v.unpack(signature, arguments)
        won, won_at, grad, grad_at, grad_step, sums, grad_x, leaf, *_ = rest
        c, of_leaves = v.coefficients(coefficients, tree, leaves - 1), v.row(offsets, tree, leaves)
        starts = [builder.add(start, index_of(i * pool * LANES)) for i in windows]
        masks = [v.masks(won, builder.add(won_at, index_of(i * LANES)), pool**2) for i in windows]
        nodes, grads = [], []
        for i in windows:
            first = builder.gep(x, [starts[i]])
            pixels = [[v.read(at) for at in v.pixels(first, offset, row, pool)] for offset in of_leaves]
            nodes.append([v.of_winner(values, masks[i]) for values in pixels])
            for g in range(leaves - 2):
                nodes[i].append(v.gate(nodes[i][2 * g], nodes[i][2 * g + 1], c[g], after))
            grads.append({2 * leaves - 2: v.load(grad, builder.add(grad_at, builder.mul(grad_step, index_of(i))))})
        for g in range(leaves - 2, -1, -1):
            # Nodes fill the registers: coefficients that stayed there would push some of them to memory.
            gate = builder.add(builder.mul(tree, index_of(leaves - 1)), index_of(g))
            own = [v.everywhere(number) for number in v.row(v.reloaded(coefficients), gate, 4)]
            terms = []
            for i in windows:
                a, b, above = nodes[i][2 * g], nodes[i][2 * g + 1], grads[i][leaves + g]
                if after != FORM:
                    y = v.sigmoid(v.form(a, b, own))
                    above = builder.fmul(above, builder.fmul(y, builder.fsub(v.constant(1), y)))
                product = builder.fmul(above, a)
                terms.append([above, product, builder.fmul(above, b), builder.fmul(product, b)])
                grads[i][2 * g] = builder.fmul(above, v.multiply_add(own[3], b, own[1]))
                grads[i][2 * g + 1] = builder.fmul(above, v.multiply_add(own[3], a, own[2]))
            for i, of_windows in enumerate(zip(*terms, strict=True)):
                v.add(functools.reduce(builder.fadd, of_windows), sums, index_of((4 * g + i) * LANES))
            for i, n in itertools.product(windows, (2 * g, 2 * g + 1)):
                if wants_leaf and n < leaves:
                    v.store(grads[i][n], leaf, index_of((i * leaves + n) * LANES))
                if wants_grad_x and n < leaves:
                    at = v.pixels(builder.gep(grad_x, [starts[i]]), of_leaves[n], row, pool)
                    v.add_where(masks[i], grads[i][n], at)
        return context.get_dummy_value()

    i = types.int64
    before = (x, i, i, i, offsets, coefficients, sizes, won, i, grad, i, i)
    return types.void(*before, sums, grad_x, leaf, slopes, count), generate


@llvm_intrinsic
def _add_slope(
    _: Any,
    x: Any,
    start: Any,
    row: Any,
    offsets: Any,
    sizes: Any,
    won: Any,
    won_at: Any,
    leaf: Any,
    at: Any,
    slopes: Any,
) -> Any:
    """Add a leaf's gradient times a candidate to the candidate's slope, at the positions that won.

    Args:
        x, start, row, sizes, won, won_at: as given to `window`, and what it gave.
        offsets: of the tree's candidates from the start, [leaves, candidates].
        leaf: the gradients of the leaves, [leaves, lanes].
        at: the candidate's number of all of the tree.
        slopes: [leaves, candidates, lanes].
    """
    _, pool, _ = (part.count - 1 for part in sizes)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        v = _Trees(context, builder)
        candidates = builder.extract_value(make_array(offsets)(context, builder, arguments[3]).shape, 1)
        x, start, row, first, _, won, won_at, leaf, at, slopes = v.unpack(signature, arguments)
        offset = builder.load(builder.gep(first, [at]))
        values = [v.read(place) for place in v.pixels(builder.gep(x, [start]), offset, row, pool)]
        lanes = index_of(LANES)
        grad = v.load(leaf, builder.mul(builder.udiv(at, candidates), lanes))
        product = builder.fmul(grad, v.of_winner(values, v.masks(won, won_at, pool**2)))
        v.add(product, slopes, builder.mul(at, lanes))
        return context.get_dummy_value()

    i = types.int64
    return types.void(x, i, i, offsets, sizes, won, i, leaf, i, slopes), generate


@llvm_intrinsic
def _collect(_: Any, sums: Any, count: Any, total: Any, at: Any) -> Any:
    """Write the sums of the lanes of four vectors, group `count` of `sums`, to four numbers, and set the vectors to 0.

    Args:
        sums: [any, 4, lanes].
        count: which.
        total, at: where they go: an array of float32, and an index in it.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        v = _Trees(context, builder)
        sums, count, total, at = v.unpack(signature, arguments)
        rows = [builder.add(builder.mul(count, index_of(4 * LANES)), index_of(i * LANES)) for i in range(4)]
        found = v.lane_sums([v.load(sums, row) for row in rows])
        for row in rows:
            v.store(v.constant(0), sums, row)
        for i in range(4):
            address = builder.gep(total, [builder.add(at, index_of(i))])
            builder.store(builder.extract_element(found, index_of(i)), address)
        return context.get_dummy_value()

    return types.void(sums, types.int64, total, types.int64), generate


@cached_njit(nogil=True, parallel=True)
def to_chunks(features: Floats, shape: Geometry, x: Floats) -> None:
    """Store activations [channels * height * width, batch] in x as `forward` takes them; missing frames are zeros."""
    s = shape
    for unit in numba.prange(s.channels * s.padded_height):
        channel, padded_row = divmod(np.int64(unit), s.padded_height)  # numba counts without a sign
        row = padded_row - s.before
        for chunk in range(len(x)):
            begin, frames = chunk * LANES, min(LANES, features.shape[1] - chunk * LANES)
            for w in range(s.padded_width):
                column, at = w - s.before, (unit * s.padded_width + w) * LANES
                inside = 0 <= row < s.height and 0 <= column < s.width
                pixel = (channel * s.height + row) * s.width + column if inside else 0
                copied = frames if inside else 0
                for i in range(copied):
                    x[chunk, at + i] = features[pixel, begin + i]
                x[chunk, at + copied : at + LANES] = np.float32(0)


@cached_njit(nogil=True, parallel=True)
def forward(
    x: Floats,
    coefficients: Floats,
    offsets: NDArray[np.int64],
    order: NDArray[np.int64],
    ahead: NDArray[np.int64],
    shape: Geometry,
    leaves: Length,
    pool: Length,
    after: Length,
    layout: Layout,
    y: Floats,
    winners: NDArray[np.uint8],
) -> None:
    """Compute all trees at all positions, and the largest value of each pooling window.

    Args:
        x: activations, [chunks, channels, padded height, padded width, lanes] flattened to [chunks, any].
        coefficients: bilinear forms [kernels * (leaves - 1), 4], kernel by kernel.
        offsets: of `leaf_offsets`.
        order: in which kernels are computed.
        ahead: which channel is fetched from memory while each of them is computed, or -1.
        shape: the layer's.
        leaves, pool, after: `length` of a tree's leaves, of the pooling window's side, and of FORM, SIGMOID or STEP.
        layout: of y.
        y: out, one-dimensional.
        winners: out, [chunks, kernels * out_height * out_width * lanes], the position in its window of the largest,
            the first of equal ones; or [chunks, 0].
    """
    for unit in numba.prange(len(x) * _PARTS):
        chunk, part = divmod(np.int64(unit), _PARTS)  # numba counts without a sign
        of_part = part * shape.kernels // _PARTS, (part + 1) * shape.kernels // _PARTS
        sizes = leaves, pool, after
        of_chunk = chunk * layout.chunk
        _forward_part(
            x[chunk], coefficients, offsets, order, ahead, shape, sizes, layout, of_part, of_chunk, y, winners[chunk]
        )


@cached_njit(nogil=True)
def _forward_part(
    x: Floats,
    coefficients: Floats,
    offsets: NDArray[np.int64],
    order: NDArray[np.int64],
    ahead: NDArray[np.int64],
    shape: Geometry,
    sizes: tuple[Length, Length, Length],
    layout: Layout,
    of_part: tuple[int, int],
    of_chunk: int,
    y: Floats,
    winners: NDArray[np.uint8],
) -> None:
    s, keep = shape, len(winners) > 0
    won = winners if keep else np.empty(LANES, np.uint8)
    row = s.padded_width * LANES
    first, last = of_part
    for place in range(first, last):
        k = order[place]
        fetched, lines = _lines_to_fetch(s, ahead[place])
        done = of_chunk + k * layout.height * layout.width * layout.pixel
        end = done + layout.height * layout.width * layout.pixel
        for h in range(s.out_height):
            best_at = _first_of_row(of_chunk, k, h, layout)
            y[done:best_at] = np.float32(0)  # around the frame
            for w in range(s.out_width):
                start = h * s.pool * row + w * s.pool * LANES
                won_at = ((k * s.out_height + h) * s.out_width + w) * LANES if keep else 0
                window(x, start, row, k, offsets, coefficients, sizes, y, best_at, won, won_at)
                for _ in range(lines):
                    _fetch(x, fetched)
                    fetched += LANES
                best_at += layout.pixel
            done = best_at
        y[done:end] = np.float32(0)


@cached_njit(nogil=True)
def _lines_to_fetch(s: Geometry, channel: int) -> tuple[int, int]:
    """Return where a channel of a chunk begins, and how many of its lines are fetched per window."""
    pixels, windows = s.padded_height * s.padded_width, s.out_height * s.out_width
    return channel * pixels * LANES, (pixels + windows - 1) // windows if channel >= 0 else 0


@cached_njit(nogil=True)
def _first_of_row(of_chunk: int, k: int, h: int, layout: Layout) -> int:
    """Return where the first window's lanes of row h of channel k are."""
    row = k * layout.height + h + layout.before
    return of_chunk + (row * layout.width + layout.before) * layout.pixel


@cached_njit(nogil=True, parallel=True)
def backward(
    x: Floats,
    coefficients: Floats,
    offsets: NDArray[np.int64],
    order: NDArray[np.int64],
    ahead: NDArray[np.int64],
    candidates: NDArray[np.int64],
    shape: Geometry,
    leaves: Length,
    pool: Length,
    after: Length,
    layout: Layout,
    winners: NDArray[np.uint8],
    grad_y: Floats,
    scale: float,
    grad_x: Floats | None,
    grad_coefficients: Floats,
    slopes: Floats | None,
) -> None:
    """Compute the gradients. A window's goes to the position that won; only that position's tree is computed again.

    Args:
        x, coefficients, offsets, order, ahead, shape, leaves, pool, after, layout, winners: as given to `forward`, and
            what it gave.
        candidates: where those of each leaf are, int64 [kernels, leaves, candidates]; there may be none.
        grad_y: like y.
        scale: multiplies grad_x.
        grad_x: out, like x, wrong outside the frames; or None where the inputs need no gradient.
        grad_coefficients: out, [chunks, kernels * (leaves - 1), 4], to be added up.
        slopes: out, [chunks, kernels, leaves, candidates], to be added up: how the loss grows with the share that each
            candidate has in a leaf; or None.
    """
    for chunk in numba.prange(len(x)):
        _backward_chunk(
            x,
            coefficients,
            offsets,
            order,
            ahead,
            candidates,
            shape,
            (leaves, pool, after),
            layout,
            winners[chunk],
            grad_y,
            np.float32(scale),
            chunk,
            grad_x,
            grad_coefficients[chunk],
            slopes,
        )


@cached_njit(nogil=True)
def sum_chunks(partial: Floats, out: Floats) -> None:
    """Add up the chunks' results, [chunks, n] -> [n], in order."""
    out[:] = np.float32(0)
    for chunk in range(len(partial)):
        for i in range(len(out)):
            out[i] += partial[chunk, i]


@cached_njit(nogil=True)
def _backward_chunk(
    x: Floats,
    coefficients: Floats,
    offsets: NDArray[np.int64],
    order: NDArray[np.int64],
    ahead: NDArray[np.int64],
    candidates: NDArray[np.int64],
    shape: Geometry,
    sizes: tuple[Length, Length, Length],
    layout: Layout,
    winners: NDArray[np.uint8],
    grad_y: Floats,
    scale: np.float32,
    chunk: int,
    grad_x: Floats | None,
    grad_coefficients: Floats,
    slopes: Floats | None,
) -> None:
    s, begin = shape, chunk * x.shape[1]
    gates, of_tree = s.leaves - 1, s.leaves * candidates.shape[2]
    sums, leaf_slopes = zero_lanes(4 * gates).reshape(gates, 4, LANES), np.zeros((of_tree, LANES), np.float32)
    leaf_grads = np.empty((2, s.leaves, LANES), np.float32)
    all_coefficients = grad_coefficients.reshape(-1)
    row = s.padded_width * LANES
    if grad_x is not None:
        grad_x[chunk] = np.float32(0)
    for place in range(len(order)):
        k, following = order[place], order[min(place + 1, len(order) - 1)]
        fetched, lines = _lines_to_fetch(s, ahead[place])
        fetched += begin
        of_leaves = candidates[k]
        for h in range(s.out_height):
            grad_at = _first_of_row(chunk * layout.chunk, k, h, layout)
            next_grad = _first_of_row(chunk * layout.chunk, following, h, layout)
            for w in range(0, s.out_width, 2):
                start = begin + h * s.pool * row + w * s.pool * LANES
                won_at = ((k * s.out_height + h) * s.out_width + w) * LANES
                forward = x, start, row, k, offsets, coefficients, sizes, winners, won_at
                backward = grad_y, grad_at, layout.pixel, sums, grad_x, leaf_grads, slopes
                if w + 1 < s.out_width:
                    _window_gradients(*forward, *backward, _TWO)
                else:
                    _window_gradients(*forward, *backward, _ONE)
                for i in range(min(2, s.out_width - w)):
                    _fetch(grad_y, next_grad)
                    for _ in range(lines):
                        _fetch(x, fetched)
                        if grad_x is not None:
                            _fetch(grad_x, fetched)
                        fetched += LANES
                    grad_at += layout.pixel
                    next_grad += layout.pixel
                    if slopes is not None:
                        at, won = start + i * s.pool * LANES, won_at + i * LANES
                        for n in range(of_tree):
                            _add_slope(x, at, row, of_leaves, sizes, winners, won, leaf_grads[i], n, leaf_slopes)
        for g in range(gates):
            _collect(sums, g, all_coefficients, (k * gates + g) * 4)
        if slopes is not None:
            of_kernel = slopes[chunk, k].reshape(-1)
            for i in range(of_tree):
                of_kernel[i] = leaf_slopes[i].sum()
                leaf_slopes[i] = np.float32(0)
    if grad_x is not None and scale != np.float32(1):
        for i in range(x.shape[1]):
            grad_x[chunk, i] *= scale
