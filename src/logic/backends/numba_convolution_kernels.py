"""CPU kernels of a convolutional logic layer: trees of gates at every position, and their pooling, in one pass.

A chunk has one frame per lane, so a pixel of its frames is a vector. A whole tree in a pooling window is one run of
instructions on such vectors, which keeps the inside of the tree in registers. Windows are worked on row by row, from a
band of a chunk's frames. The band holds the rows that some rows of windows read, padded with zeros, and mostly stays in
the second-level cache.

Every kernel is parallel over chunks. Their number depends on the batch alone, and sums over chunks are taken in order,
so results do not depend on the number of threads. No kernel uses fastmath; numba_dense_kernels.py says why.
"""

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.np.arrayobj import make_array
from numpy.typing import NDArray

from src.kernel_cache import cached_njit
from src.logic.backends.numba_vectors import BYTE, LANES, Length, Vectors, index_of, llvm_intrinsic
from src.logic.gates import FORM, SIGMOID, STEP
from src.logic.trees import Geometry

Floats = NDArray[np.float32]

_BAND_BYTES = 1 << 19  # of a band with more than one row of windows, so that it stays in the second-level cache
_PREFETCHED = 2  # channels ahead: a row of one is too short for the processor to see what comes


def leaf_offsets(connections: NDArray[np.int64], shape: Geometry) -> NDArray[np.int64]:
    """Return where in a band the first window's leaves are, int64 [kernels, pool * pool, leaves].

    Args:
        connections: [3, kernels, leaves], the channel of each leaf, its row and its column in the receptive field.
        shape: the layer's.
    """
    channel, dy, dx = connections[:, :, None, :]
    y, x = np.divmod(np.arange(shape.pool**2), shape.pool)  # of a window's positions
    row, column = y[:, None] + dy, x[:, None] + dx
    return ((row * shape.channels + channel) * shape.padded_width + column) * LANES


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

    def places(self, pointer: ir.Value, tree: ir.Value, start: ir.Value, count: int) -> list[ir.Value]:
        """Return the places of a tree from [trees, count] offsets and a start."""
        return [self.builder.add(start, offset) for offset in self.row(pointer, tree, count)]

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


@llvm_intrinsic
def _move(_: Any, source: Any, source_at: Any, target: Any, target_at: Any, factor: Any) -> Any:
    """Copy lanes from one array to another, times a factor."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        v = _Trees(context, builder)
        source, source_at, target, target_at, factor = v.unpack(signature, arguments)
        v.store(builder.fmul(v.load(source, source_at), v.everywhere(factor)), target, target_at)
        return context.get_dummy_value()

    return types.void(source, types.int64, target, types.int64, types.float32), generate


@llvm_intrinsic(prefer_literal=True)
def _prefetch(_: Any, array: Any, at: Any, to_write: Any) -> Any:
    """Prefetch the cache line of a number that will soon be read, to_write 0, or written, 1; it need not exist."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        v = Vectors(context, builder)
        first, number, _ = v.unpack(signature, arguments)
        v.prefetch(builder.gep(first, [number]), bool(to_write.literal_value))
        return context.get_dummy_value()

    return types.void(array, types.int64, to_write), generate


@llvm_intrinsic
def window(
    _: Any,
    band: Any,
    start: Any,
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
        band: of `_fill`.
        start: of the window in the band.
        tree: its number.
        offsets: of the leaves from there, [trees, positions, leaves].
        coefficients: of the trees' gates, [trees * gates, 4].
        sizes: `length` of the leaves, of the positions, and of FORM, SIGMOID or STEP.
        best, best_at: where the values go: an array of float32, and an index in it.
        won, won_at: where the positions go: an array of uint8, and an index in it.
    """
    leaves, positions, after = (part.count - 1 for part in sizes)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        v = _Trees(context, builder)
        band, start, tree, offsets, coefficients, _, best, best_at, won, won_at = v.unpack(signature, arguments)
        places, c = v.places(offsets, tree, start, positions * leaves), v.coefficients(coefficients, tree, leaves - 1)
        for p in range(positions):
            nodes = [v.load(band, place) for place in places[p * leaves : (p + 1) * leaves]]
            for g in range(leaves - 1):
                nodes.append(v.gate(nodes[2 * g], nodes[2 * g + 1], c[g], after))
            number = v.constant(p, BYTE)
            if p == 0:
                largest, winner = nodes[-1], number
            else:
                larger = builder.fcmp_ordered(">", nodes[-1], largest)
                largest = builder.select(larger, nodes[-1], largest)
                winner = builder.select(larger, number, winner)
        v.store(largest, best, best_at)
        v.store(winner, won, won_at)
        return context.get_dummy_value()

    i = types.int64
    return types.void(band, i, i, offsets, coefficients, sizes, best, i, won, i), generate


@llvm_intrinsic
def _window_gradient(
    _: Any,
    band: Any,
    start: Any,
    tree: Any,
    offsets: Any,
    coefficients: Any,
    sizes: Any,
    won: Any,
    won_at: Any,
    grad: Any,
    grad_at: Any,
    sums: Any,
    leaf: Any,
) -> Any:
    """Compute a tree's gradients at the position that won from the gradient of the window's largest value.

    Args:
        band, start, tree, offsets, coefficients, sizes: as given to `window`.
        won, won_at: the positions, as from `window`.
        grad, grad_at: the gradient: an array of float32, and an index in it.
        sums: [gates, 4, lanes], to which g, ga, gb and gab of each gate are added.
        leaf: out, [leaves, lanes], the gradients of the leaves.
    """
    leaves, positions, after = (part.count - 1 for part in sizes)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        v = _Trees(context, builder)
        band, start, tree, offsets, coefficients, _, won, won_at, grad, grad_at, sums, leaf = v.unpack(
            signature, arguments
        )
        places, c = v.places(offsets, tree, start, positions * leaves), v.coefficients(coefficients, tree, leaves - 1)
        masks = v.masks(won, won_at, positions)
        nodes = [v.of_winner([v.load(band, place) for place in places[i::leaves]], masks) for i in range(leaves)]
        for g in range(leaves - 2):
            nodes.append(v.gate(nodes[2 * g], nodes[2 * g + 1], c[g], after))
        grads = {2 * leaves - 2: v.load(grad, grad_at)}
        for g in range(leaves - 2, -1, -1):
            a, b, of_gate = nodes[2 * g], nodes[2 * g + 1], grads[leaves + g]
            if after != FORM:
                y = v.sigmoid(v.form(a, b, c[g]))
                of_gate = builder.fmul(of_gate, builder.fmul(y, builder.fsub(v.constant(1), y)))
            product = builder.fmul(of_gate, a)
            for i, term in enumerate((of_gate, product, builder.fmul(of_gate, b), builder.fmul(product, b))):
                v.add(term, sums, index_of((4 * g + i) * LANES))
            grads[2 * g] = builder.fmul(of_gate, v.multiply_add(c[g][3], b, c[g][1]))
            grads[2 * g + 1] = builder.fmul(of_gate, v.multiply_add(c[g][3], a, c[g][2]))
        for i in range(leaves):
            v.store(grads[i], leaf, index_of(i * LANES))
        return context.get_dummy_value()

    i = types.int64
    return types.void(band, i, i, offsets, coefficients, sizes, won, i, grad, i, sums, leaf), generate


@llvm_intrinsic
def _add_to_winners(
    _: Any, grad_band: Any, start: Any, tree: Any, offsets: Any, sizes: Any, won: Any, won_at: Any, leaf: Any
) -> Any:
    """Add the gradients of a tree's leaves to those of the band, at the positions that won.

    Args:
        grad_band: like a band.
        start, tree, offsets, sizes, won, won_at: as given to `_window_gradient`.
        leaf: the gradients of the leaves, [leaves, lanes].
    """
    leaves, positions, _ = (part.count - 1 for part in sizes)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        v = _Trees(context, builder)
        grad_band, start, tree, offsets, _, won, won_at, leaf = v.unpack(signature, arguments)
        places, masks = v.places(offsets, tree, start, positions * leaves), v.masks(won, won_at, positions)
        for i in range(leaves):
            grad = v.load(leaf, index_of(i * LANES))
            for place, mask in zip(places[i::leaves], masks, strict=True):
                v.add(builder.select(mask, grad, v.constant(0)), grad_band, place)
        return context.get_dummy_value()

    i = types.int64
    return types.void(grad_band, i, i, offsets, sizes, won, i, leaf), generate


@llvm_intrinsic
def _add_slope(
    _: Any, band: Any, start: Any, offsets: Any, sizes: Any, won: Any, won_at: Any, leaf: Any, at: Any, slopes: Any
) -> Any:
    """Add a leaf's gradient times a candidate to the candidate's slope, at the positions that won.

    Args:
        band, start, sizes, won, won_at: as given to `_window_gradient`.
        offsets: of the tree's candidates from the start, [positions, leaves, candidates].
        leaf: the gradients of the leaves, [leaves, lanes].
        at: the candidate's number of all of the tree.
        slopes: [leaves, candidates, lanes].
    """
    leaves, positions, _ = (part.count - 1 for part in sizes)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        v = _Trees(context, builder)
        candidates = builder.extract_value(make_array(offsets)(context, builder, arguments[2]).shape, 2)
        of_tree, lanes = builder.mul(index_of(leaves), candidates), index_of(LANES)
        band, start, first, _, won, won_at, leaf, at, slopes = v.unpack(signature, arguments)
        values = []
        for p in range(positions):
            offset = builder.load(builder.gep(first, [builder.add(builder.mul(index_of(p), of_tree), at)]))
            values.append(v.load(band, builder.add(start, offset)))
        grad = v.load(leaf, builder.mul(builder.udiv(at, candidates), lanes))
        product = builder.fmul(grad, v.of_winner(values, v.masks(won, won_at, positions)))
        v.add(product, slopes, builder.mul(at, lanes))
        return context.get_dummy_value()

    i = types.int64
    return types.void(band, i, offsets, sizes, won, i, leaf, i, slopes), generate


@llvm_intrinsic
def _collect(_: Any, sums: Any, count: Any, total: Any, at: Any) -> Any:
    """Add the lanes of four vectors, group `count` of `sums`, to four numbers, and set the vectors to 0.

    Args:
        sums: [any, 4, lanes].
        count: which.
        total, at: what they are added to: an array of float32, and an index in it.
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
            builder.store(builder.fadd(builder.load(address), builder.extract_element(found, index_of(i))), address)
        return context.get_dummy_value()

    return types.void(sums, types.int64, total, types.int64), generate


@cached_njit(nogil=True)
def _read(rows: Floats, row: int, first: int, count: int, lanes: Floats, at: int) -> None:
    """Copy numbers first to first + count of a row, and zeros, to the lanes from a number on."""
    if count == LANES:
        _move(rows.reshape(-1), row * rows.shape[1] + first, lanes, at, np.float32(1))
    else:
        for lane in range(count):
            lanes[at + lane] = rows[row, first + lane]
        for lane in range(count, LANES):
            lanes[at + lane] = np.float32(0)


@cached_njit(nogil=True)
def _write(lanes: Floats, at: int, factor: np.float32, rows: Floats, row: int, first: int, count: int) -> None:
    """Copy lanes back to where `_read` took them from, times a factor."""
    if count == LANES:
        _move(lanes, at, rows.reshape(-1), row * rows.shape[1] + first, factor)
    else:
        for lane in range(count):
            rows[row, first + lane] = lanes[at + lane] * factor


@cached_njit(nogil=True)
def _rows_of_windows(shape: Geometry) -> int:
    """Return the number of rows of the padded frame that one row of windows reads."""
    return shape.pool + shape.padded_height - shape.height


@cached_njit(nogil=True)
def _row_size(shape: Geometry) -> int:
    """Return the size of one row of a band: channels * padded width * lanes."""
    return shape.channels * shape.padded_width * LANES


@cached_njit(nogil=True)
def _rows_of_band(shape: Geometry) -> int:
    """Return the number of rows of a band: those of a few rows of windows, as many as _BAND_BYTES hold, or of one."""
    more = (_BAND_BYTES // (_row_size(shape) * 4) - _rows_of_windows(shape)) // shape.pool
    return _rows_of_windows(shape) + min(max(more, 0), shape.out_height - 1) * shape.pool


@cached_njit(nogil=True)
def band_size(shape: Geometry) -> int:
    """Return the size of a band, [rows, channels, padded width, lanes] and flat."""
    return _rows_of_band(shape) * _row_size(shape)


@cached_njit(nogil=True)
def _place_in_band(h: int, shape: Geometry) -> int:
    """Return the row of the band where the row h of windows begins."""
    return h * shape.pool % (_rows_of_band(shape) - _rows_of_windows(shape) + shape.pool)


@cached_njit(nogil=True)
def _advance(band: Floats, shape: Geometry) -> None:
    """Move the rows at the end of the band, which the next row of windows reads too, to its front."""
    size = (_rows_of_windows(shape) - shape.pool) * _row_size(shape)
    moved = len(band) - size
    for i in range(0, size, LANES):
        _move(band, moved + i, band, i, np.float32(1))


@cached_njit(nogil=True)
def _fill(band: Floats, h: int, x: Floats, first: int, count: int, shape: Geometry) -> None:
    """Bring the rows that row h of windows reads, of frames first to first + count of x, into the band.

    x is [channels * height * width, batch]. The band is that of row h - 1, and 0 where frames are padded at the sides.
    """
    s = shape
    rows, size, place = _rows_of_windows(s), _row_size(s), _place_in_band(h, s)
    flat, batch, ahead = x.reshape(-1), x.shape[1], _PREFETCHED * s.height * s.width
    if h > 0 and place == 0:
        _advance(band, s)
    for r in range(0 if h == 0 else max(rows - s.pool, 0), rows):
        row, begin = h * s.pool + r - s.before, (place + r) * size
        if not 0 <= row < s.height:
            band[begin : begin + size] = np.float32(0)
            continue
        for channel in range(s.channels):
            pixel = (channel * s.height + row) * s.width
            at = begin + (channel * s.padded_width + s.before) * LANES
            for column in range(s.width):
                _prefetch(flat, (pixel + ahead + column) * batch + first, 0)
                _read(x, pixel + column, first, count, band, at + column * LANES)


@cached_njit(nogil=True)
def _drain(band: Floats, h: int, scale: np.float32, x: Floats, first: int, count: int, shape: Geometry) -> None:
    """Copy the rows that no later row of windows reads from the band to the gradient of x, times scale.

    They are zeros afterwards, and after the last row of windows all of the band is.
    """
    s = shape
    rows, size, place = _rows_of_windows(s), _row_size(s), _place_in_band(h, s)
    zeros = np.zeros(LANES, np.float32)
    flat, batch, ahead = x.reshape(-1), x.shape[1], _PREFETCHED * s.height * s.width
    is_last = h == s.out_height - 1
    for r in range(s.padded_height - h * s.pool if is_last else s.pool):
        row, begin = h * s.pool + r - s.before, (place + r) * size
        if 0 <= row < s.height:
            for channel in range(s.channels):
                pixel = (channel * s.height + row) * s.width
                at = begin + (channel * s.padded_width + s.before) * LANES
                for column in range(s.width):
                    if r < rows:
                        _prefetch(flat, (pixel + ahead + column) * batch + first, 1)
                        _write(band, at + column * LANES, scale, x, pixel + column, first, count)
                    else:
                        _write(zeros, 0, scale, x, pixel + column, first, count)
        if r < rows:
            band[begin : begin + size] = np.float32(0)
    if not is_last and _place_in_band(h + 1, s) == 0:
        _advance(band, s)
        band[(rows - s.pool) * size :] = np.float32(0)


@cached_njit(nogil=True, parallel=True)
def forward(
    x: Floats,
    coefficients: Floats,
    offsets: NDArray[np.int64],
    shape: Geometry,
    leaves: Length,
    positions: Length,
    after: Length,
    bands: Floats,
    y: Floats,
    winners: NDArray[np.uint8],
) -> None:
    """Compute all trees at all positions, and the largest value of each pooling window.

    Args:
        x: activations [channels * height * width, batch].
        coefficients: bilinear forms [kernels * (leaves - 1), 4], kernel by kernel.
        offsets: of `leaf_offsets`.
        shape: the layer's.
        leaves, positions, after: `length` of a tree's leaves, a window's positions, and FORM, SIGMOID or STEP.
        bands: zeros, [threads, band_size].
        y: out, [kernels * out_height * out_width, batch].
        winners: out, [chunks, kernels * out_height * out_width * lanes], the position in its window of the largest,
            the first of equal ones; or [chunks, 0].
    """
    for chunk in numba.prange(len(winners)):
        sizes = (leaves, positions, after)
        band = bands[numba.get_thread_id()]
        _forward_chunk(x, coefficients, offsets, shape, sizes, chunk * LANES, band, y, winners[chunk])


@cached_njit(nogil=True)
def _forward_chunk(
    x: Floats,
    coefficients: Floats,
    offsets: NDArray[np.int64],
    shape: Geometry,
    sizes: tuple[Length, Length, Length],
    first: int,
    band: Floats,
    y: Floats,
    winners: NDArray[np.uint8],
) -> None:
    s = shape
    batch = x.shape[1]
    count, keep = min(LANES, batch - first), len(winners) > 0
    # Where a chunk is full, its lanes go where they belong; else to a place of their own first.
    all_y, lanes = y.reshape(-1), np.empty(LANES, np.float32)
    best = all_y if count == LANES else lanes
    won = winners if keep else np.empty(LANES, np.uint8)
    for h in range(s.out_height):
        _fill(band, h, x, first, count, s)
        begin = _place_in_band(h, s) * _row_size(s)
        for k in range(s.kernels):
            for w in range(s.out_width):
                row, start = (k * s.out_height + h) * s.out_width + w, begin + w * s.pool * LANES
                best_at = row * batch + first if count == LANES else 0
                won_at = row * LANES if keep else 0
                window(band, start, k, offsets, coefficients, sizes, best, best_at, won, won_at)
                if count < LANES:
                    _write(lanes, 0, np.float32(1), y, row, first, count)


@cached_njit(nogil=True, parallel=True)
def backward(
    x: Floats,
    coefficients: Floats,
    offsets: NDArray[np.int64],
    candidates: NDArray[np.int64],
    shape: Geometry,
    leaves: Length,
    positions: Length,
    after: Length,
    winners: NDArray[np.uint8],
    grad_y: Floats,
    scale: float,
    bands: Floats,
    grad_x: Floats,
    grad_coefficients: Floats,
    slopes: Floats,
) -> None:
    """Compute the gradients. A window's goes to the position that won; only that position's tree is computed again.

    Args:
        x, coefficients, offsets, shape, leaves, positions, after, winners: as given to `forward`, and what it gave.
        candidates: where those of each leaf are, int64 [kernels, pool * pool, leaves, candidates]; there may be none.
        grad_y: [kernels * out_height * out_width, batch].
        scale: multiplies grad_x.
        bands: zeros, [threads, band_size], or twice as much where the inputs need a gradient.
        grad_x: out, like x; or of size 0 where the inputs need no gradient.
        grad_coefficients: out, [chunks, kernels * (leaves - 1), 4], to be added up.
        slopes: out, [chunks, kernels, leaves, candidates], to be added up: how the loss grows with the share that each
            candidate has in a leaf.
    """
    for chunk in numba.prange(len(winners)):
        _backward_chunk(
            x,
            coefficients,
            offsets,
            candidates,
            shape,
            (leaves, positions, after),
            winners[chunk],
            grad_y,
            chunk * LANES,
            np.float32(scale),
            bands[numba.get_thread_id()],
            grad_x,
            grad_coefficients[chunk],
            slopes[chunk],
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
    candidates: NDArray[np.int64],
    shape: Geometry,
    sizes: tuple[Length, Length, Length],
    winners: NDArray[np.uint8],
    grad_y: Floats,
    first: int,
    scale: np.float32,
    bands: Floats,
    grad_x: Floats,
    grad_coefficients: Floats,
    slopes: Floats,
) -> None:
    s = shape
    gates, batch, of_tree = s.leaves - 1, x.shape[1], s.leaves * candidates.shape[3]
    count = min(LANES, batch - first)
    band, grad_band = bands[: band_size(s)], bands[band_size(s) :]
    all_grads, lanes = grad_y.reshape(-1), np.empty(LANES, np.float32)
    grads = all_grads if count == LANES else lanes
    sums, leaf_slopes = np.zeros((gates, 4, LANES), np.float32), np.zeros((of_tree, LANES), np.float32)
    leaf_grads = np.empty((s.leaves, LANES), np.float32)
    all_coefficients, all_slopes = grad_coefficients.reshape(-1), slopes.reshape(-1)
    all_coefficients[:] = np.float32(0)
    all_slopes[:] = np.float32(0)
    for h in range(s.out_height):
        _fill(band, h, x, first, count, s)
        begin = _place_in_band(h, s) * _row_size(s)
        for k in range(s.kernels):
            of_leaves = candidates[k]
            for w in range(s.out_width):
                row, start = (k * s.out_height + h) * s.out_width + w, begin + w * s.pool * LANES
                if count < LANES:
                    _read(grad_y, row, first, count, lanes, 0)
                at = row * batch + first if count == LANES else 0
                won = row * LANES
                _window_gradient(
                    band, start, k, offsets, coefficients, sizes, winners, won, grads, at, sums, leaf_grads
                )
                if grad_x.size > 0:
                    _add_to_winners(grad_band, start, k, offsets, sizes, winners, won, leaf_grads)
                for i in range(of_tree):
                    _add_slope(band, start, of_leaves, sizes, winners, won, leaf_grads, i, leaf_slopes)
            for g in range(gates):
                _collect(sums, g, all_coefficients, (k * gates + g) * 4)
            for i in range(of_tree):
                all_slopes[k * of_tree + i] += leaf_slopes[i].sum()
                leaf_slopes[i] = np.float32(0)
        if grad_x.size > 0:
            _drain(grad_band, h, scale, grad_x, first, count, s)
