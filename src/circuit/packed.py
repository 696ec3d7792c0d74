"""Packed inference: a circuit runs on 512 frames at a time, one bit per frame, in whole vectors of words.

A row is eight words, a line of the processor's cache: one bit of each of 512 frames. Frames come packed, the bits of a
frame side by side; transposes of words and of bits turn them into one row per bit. A gate is then one vector operation,
on rows that stay near the core: see `src.circuit.schedule`. The outputs are counted by bit-sliced adders, eight at a
time, and the sums are transposed back into numbers.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from src.circuit.schedule import (
    AND,
    AND_NOT,
    NAND,
    OR,
    OR_NOT,
    XNOR,
    XOR,
    Schedule,
    count_bits,
)
from src.kernel_cache import cached_njit

WORDS = 8  # per row: a vector of 512 bits, or two of 256
FRAMES = 64 * WORDS  # per block
SPACING = 65  # rows from a word of a frame to the next
Rows = NDArray[np.uint64]  # rows one after the other, WORDS numbers each


class PackedCircuit:
    """A circuit ready to run."""

    def __init__(
        self, num_inputs: int, schedule: Schedule, starts: NDArray[np.int64], offsets: NDArray[np.int64]
    ) -> None:
        """Take the schedule of a circuit's gates; the other arguments are those of `Circuit`."""
        self.num_inputs, self.starts, self.offsets = num_inputs, starts, offsets
        self.planes = count_bits(starts)
        s = schedule
        first, second, result, outputs = map(_with_gaps, (s.first, s.second, s.result, s.outputs))
        self.schedule = Schedule(s.kinds, s.run_starts, first, second, result, outputs, s.num_rows + s.num_rows // 64)

    def __call__(self, frames: NDArray[np.uint8]) -> NDArray[np.int32]:
        """Return the class counts of packed frames, int32 [B, classes]; the work is done by numba's threads."""
        num_bytes = -(-self.num_inputs // 8)
        if frames.ndim != 2 or frames.shape[1] != num_bytes or frames.dtype != np.uint8:
            raise ValueError(f"expected packed frames, uint8 [B, {num_bytes}], got {frames.dtype} {list(frames.shape)}")
        counts = np.empty((len(frames), len(self.offsets)), np.int32)
        s = self.schedule
        _run(
            np.ascontiguousarray(frames),
            s.kinds,
            s.run_starts,
            s.first,
            s.second,
            s.result,
            s.num_rows,
            s.outputs,
            self.starts,
            self.offsets,
            self.planes,
            counts,
            numba.get_num_threads(),
        )
        return counts


def _with_gaps(rows: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the numbers of rows when a row is left out behind each 64.

    Frames are loaded into rows that are a multiple of 64 apart, which would share a few lines of the first-level cache.
    """
    return rows + rows // 64


def _row_operation(operation: Callable[[ir.IRBuilder, list[Any]], list[Any]], reads: int, writes: int) -> Any:
    """Return an operation for kernels on rows: f(rows, (row numbers to read..., row numbers to write...)).

    It is written as LLVM vectors because LLVM does not turn loops over the words of a row into vector operations here.
    """

    def typed(typing_context: Any, rows: Any, numbers: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            vector = ir.VectorType(ir.IntType(64), WORDS)
            data = context.make_array(signature.args[0])(context, builder, arguments[0]).data

            def pointer(i: int) -> Any:
                number = context.cast(builder, builder.extract_value(arguments[1], i), numbers[i], types.intp)
                place = builder.gep(data, [builder.mul(number, ir.Constant(ir.IntType(64), WORDS))])
                return builder.bitcast(place, vector.as_pointer())

            results = operation(builder, [builder.load(pointer(i), align=8) for i in range(reads)])
            for i, result in enumerate(results):
                builder.store(result, pointer(reads + i), align=8)
            return context.get_dummy_value()

        return types.void(rows, numbers), generate

    return intrinsic(typed)


_and = _row_operation(lambda b, r: [b.and_(*r)], 2, 1)
_and_not = _row_operation(lambda b, r: [b.and_(r[0], b.not_(r[1]))], 2, 1)
_xor = _row_operation(lambda b, r: [b.xor(*r)], 2, 1)
_or = _row_operation(lambda b, r: [b.or_(*r)], 2, 1)
_nand = _row_operation(lambda b, r: [b.not_(b.and_(*r))], 2, 1)
_or_not = _row_operation(lambda b, r: [b.or_(r[0], b.not_(r[1]))], 2, 1)
_xnor = _row_operation(lambda b, r: [b.not_(b.xor(*r))], 2, 1)
_nor = _row_operation(lambda b, r: [b.not_(b.or_(*r))], 2, 1)


def _full_adder(builder: ir.IRBuilder, x: Any, y: Any, z: Any) -> tuple[Any, Any]:
    half = builder.xor(x, y)
    return builder.xor(half, z), builder.or_(builder.and_(x, y), builder.and_(half, z))


def _add_eight(builder: ir.IRBuilder, rows: list[Any]) -> list[Any]:
    """Return the new sums of weight 1, 2 and 4, and a carry of weight 8; the sums so far are the last three rows."""

    def add(x: Any, y: Any, z: Any) -> tuple[Any, Any]:
        return _full_adder(builder, x, y, z)

    *x, ones, twos, fours = rows
    (a, a2), (b, b2) = add(*x[:3]), add(*x[3:6])
    c, c2 = add(a, b, x[6])
    ones, d2 = add(c, x[7], ones)
    e, e4 = add(a2, b2, c2)
    twos, f4 = add(e, d2, twos)
    fours, eight = add(e4, f4, fours)
    return [ones, twos, fours, eight]


_add = _row_operation(lambda b, r: list(_full_adder(b, *r)), 3, 2)  # x, y, z -> sum, carry
_add8 = _row_operation(_add_eight, 11, 4)


def _three_exchanges(distance: int) -> Any:
    """Return three steps of a transpose of 64 x 64 bits, on eight rows that lie `distance` apart.

    A step exchanges the high half of 2 * d bits of a row with the low half of the row d further on, for d of
    4 * distance, 2 * distance and distance. Whole bytes are exchanged by shuffles.
    """

    def operation(builder: ir.IRBuilder, rows: list[Any]) -> list[Any]:
        rows = list(rows)
        exchange = _exchange_bytes if distance >= 8 else _exchange_bits
        for step in (4, 2, 1):
            for i in range(8):
                if not i & step:
                    rows[i], rows[i + step] = exchange(builder, rows[i], rows[i + step], step * distance)
        return rows

    return _row_operation(operation, 8, 8)


def _exchange_bytes(builder: ir.IRBuilder, x: Any, y: Any, bits: int) -> tuple[Any, Any]:
    """Exchange the odd numbers of x, of so many bits each, with the even ones of y."""
    count = FRAMES // bits
    parts = [builder.bitcast(row, ir.VectorType(ir.IntType(bits), count)) for row in (x, y)]
    evens = [i if i % 2 == 0 else count + i - 1 for i in range(count)]
    odds = [i + 1 if i % 2 == 0 else count + i for i in range(count)]
    masks = (ir.Constant(ir.VectorType(ir.IntType(32), count), order) for order in (evens, odds))
    x, y = (builder.bitcast(builder.shuffle_vector(*parts, mask), x.type) for mask in masks)
    return x, y


def _exchange_bits(builder: ir.IRBuilder, x: Any, y: Any, bits: int) -> tuple[Any, Any]:
    """Exchange the odd groups of so many bits of x with the even ones of y."""
    by = ir.Constant(x.type, [bits] * WORDS)
    low = ir.Constant(x.type, [sum(1 << bit for bit in range(64) if not bit & bits)] * WORDS)
    change = builder.and_(builder.xor(builder.lshr(x, by), y), low)
    return builder.xor(x, builder.shl(change, by)), builder.xor(y, change)


_exchange_wide, _exchange_near = _three_exchanges(8), _three_exchanges(1)


@cached_njit(nogil=True)
def _transpose(rows: Rows, begin: int) -> None:
    """Transpose 64 x 64 bits in each of the 8 words of 64 rows: bit i of row j and bit j of row i change places."""
    for i in range(8):
        a = begin + i
        b, c, d, e, f, g, h = a + 8, a + 16, a + 24, a + 32, a + 40, a + 48, a + 56
        _exchange_wide(rows, (a, b, c, d, e, f, g, h, a, b, c, d, e, f, g, h))
    for i in range(8):
        a = begin + 8 * i
        b, c, d, e, f, g, h = a + 1, a + 2, a + 3, a + 4, a + 5, a + 6, a + 7
        _exchange_near(rows, (a, b, c, d, e, f, g, h, a, b, c, d, e, f, g, h))


def _loads_words(typing_context: Any, content: Any, at: Any, step: Any, rows: Any, row: Any) -> Any:
    """Load 8 words from each of 8 places of a uint8 array, `step` bytes apart; word j becomes row + SPACING * j."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(ir.IntType(64), WORDS)
        source = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        target = context.make_array(signature.args[3])(context, builder, arguments[3]).data
        found = []
        for i in range(8):
            place = builder.add(arguments[1], builder.mul(arguments[2], ir.Constant(ir.IntType(64), i)))
            found.append(builder.load(builder.bitcast(builder.gep(source, [place]), vector.as_pointer()), align=1))
        for step in (4, 2, 1):  # a transpose of 8 x 8 words
            low = [k + 8 - step if k & step else k for k in range(8)]
            high = [k + 8 if k & step else k + step for k in range(8)]
            for i in range(8):
                if not i & step:
                    x, y = found[i], found[i + step]
                    for number, order in ((i, low), (i + step, high)):
                        mask = ir.Constant(ir.VectorType(ir.IntType(32), 8), order)
                        found[number] = builder.shuffle_vector(x, y, mask)
        for j, words in enumerate(found):
            number = builder.add(arguments[4], ir.Constant(ir.IntType(64), SPACING * j))
            place = builder.gep(target, [builder.mul(number, ir.Constant(ir.IntType(64), WORDS))])
            builder.store(words, builder.bitcast(place, vector.as_pointer()), align=8)
        return context.get_dummy_value()

    return types.void(content, types.int64, types.int64, rows, types.int64), generate


_load_words: Any = intrinsic(_loads_words)


@cached_njit(nogil=True)
def _load_frames(content: NDArray[np.uint8], begin: int, num_bytes: int, rows: Rows) -> None:
    """Write a block of frames to rows, one row per bit, from row 0 on, with a row left out behind each 64.

    Bits behind a frame's last byte, up to a multiple of 512, are those of the next frame.

    Args:
        content: frames of `num_bytes` bytes, one after the other, with 64 bytes more behind the block's last frame.
        begin: where the block begins.
        num_bytes: bytes per frame.
        rows: what is written.
    """
    for frame in range(64):
        at = begin + frame * num_bytes
        for column in range(0, num_bytes, 64):
            _load_words(content, at + column, 64 * num_bytes, rows, column // 8 * SPACING + frame)
    for word in range((num_bytes + 7) // 8):
        _transpose(rows, SPACING * word)


@cached_njit(nogil=True)
def _run_gates(
    rows: Rows,
    kinds: NDArray[np.uint8],
    run_starts: NDArray[np.int64],
    first: NDArray[np.int32],
    second: NDArray[np.int32],
    result: NDArray[np.int32],
) -> None:
    """Run the gates of a schedule."""
    for run in range(len(kinds)):
        kind = kinds[run]
        gates = range(run_starts[run], run_starts[run + 1])
        if kind == AND:
            for g in gates:
                _and(rows, (first[g], second[g], result[g]))
        elif kind == AND_NOT:
            for g in gates:
                _and_not(rows, (first[g], second[g], result[g]))
        elif kind == XOR:
            for g in gates:
                _xor(rows, (first[g], second[g], result[g]))
        elif kind == OR:
            for g in gates:
                _or(rows, (first[g], second[g], result[g]))
        elif kind == NAND:
            for g in gates:
                _nand(rows, (first[g], second[g], result[g]))
        elif kind == OR_NOT:
            for g in gates:
                _or_not(rows, (first[g], second[g], result[g]))
        elif kind == XNOR:
            for g in gates:
                _xnor(rows, (first[g], second[g], result[g]))
        else:
            for g in gates:
                _nor(rows, (first[g], second[g], result[g]))


@cached_njit(nogil=True)
def _count(rows: Rows, outputs: NDArray[np.int32], sums: int, planes: int, carries: int, zero: int) -> None:
    """Add up the rows `outputs`: bit p of the sum of each frame is then in row sums + p.

    Sixteen outputs give two carries of weight 8. From there on, and for the outputs that are left from the start, row
    sums + p adds two rows of weight 2^p at a time and hands on a carry. The carry waits in row carries + p + 1 until
    there is a second one, in row carries + planes + p + 2.
    """
    waits = np.zeros(planes + 1, np.bool_)
    for p in range(planes):
        _xor(rows, (zero, zero, sums + p))
    i = 0
    while i < len(outputs):
        p = 0
        x: Any = np.int64(outputs[i])
        y: Any = zero
        if i + 16 <= len(outputs):
            p, x, y = 3, carries + 2 * planes + 2, carries + 2 * planes + 3
            for first, carry in ((i, x), (i + 8, y)):
                a, b, c, d = outputs[first], outputs[first + 1], outputs[first + 2], outputs[first + 3]
                e, f, g, h = outputs[first + 4], outputs[first + 5], outputs[first + 6], outputs[first + 7]
                s0, s1, s2 = sums, sums + 1, sums + 2
                _add8(rows, (a, b, c, d, e, f, g, h, s0, s1, s2, s0, s1, s2, carry))
            i += 16
        else:
            if i + 1 < len(outputs):
                y = np.int64(outputs[i + 1])
            i += 2
        while True:
            carry = carries + p + 1
            if waits[p + 1]:  # the next round adds the carry that waits there and the new one beside it
                carry += planes + 1
            _add(rows, (sums + p, x, y, sums + p, carry))
            p += 1
            if p == planes:
                break
            if not waits[p]:
                waits[p] = True
                break
            waits[p] = False
            x, y = carries + p, carry
    for p in range(1, planes):
        if waits[p]:  # a single carry, which may change all higher bits
            x = carries + p
            for q in range(p, planes):
                carry = carries + planes + q + 2
                _add(rows, (sums + q, x, zero, sums + q, carry))
                x = carry


@cached_njit(nogil=True)
def _store_counts(
    rows: Rows, sums: int, planes: int, back: int, offsets: NDArray[np.int64], counts: NDArray[np.int32]
) -> None:
    """Write the sums to counts [frames, classes]; bit p of class c is in row sums + planes * c + p.

    The counts of four classes, or of two if they take more than 16 bits, are transposed together, in the 64 rows from
    `back` on.
    """
    bits = 16 if planes <= 16 else 32
    together = 64 // bits
    for first_class in range(0, len(offsets), together):
        classes = min(together, len(offsets) - first_class)
        rows[back * WORDS : (back + 64) * WORDS] = 0
        for c in range(classes):
            for p in range(planes):
                row = sums + planes * (first_class + c) + p
                _and(rows, (row, row, back + bits * c + p))
        _transpose(rows, back)
        for c in range(classes):
            column = first_class + c
            shift, mask, offset = np.uint64(bits * c), np.uint64((1 << bits) - 1), offsets[column]
            for frame in range(len(counts)):
                number = rows[(back + frame % 64) * WORDS + frame // 64] >> shift & mask
                counts[frame, column] = np.int64(number) + offset


@cached_njit(nogil=True, parallel=True)
def _run(
    frames: NDArray[np.uint8],
    kinds: NDArray[np.uint8],
    run_starts: NDArray[np.int64],
    first: NDArray[np.int32],
    second: NDArray[np.int32],
    result: NDArray[np.int32],
    num_rows: int,
    outputs: NDArray[np.int32],
    starts: NDArray[np.int64],
    offsets: NDArray[np.int64],
    planes: int,
    counts: NDArray[np.int32],
    threads: int,
) -> None:
    """Count all frames: blocks of 512 frames are dealt out to threads, each of which has rows of its own."""
    num_frames, num_bytes = frames.shape
    num_blocks = (num_frames + FRAMES - 1) // FRAMES
    content = frames.reshape(-1)
    block_bytes = FRAMES * num_bytes
    # Behind the rows of the gates: zero, the sums of each class, carries that wait, new carries, two carries of eight
    # outputs, 64 rows to transpose. Frames are loaded 512 bits at a time, which may be more than all of these.
    zero = num_rows
    sums = zero + 1
    carries = sums + planes * len(offsets)
    back = carries + 2 * (planes + 2)
    size = max(back + 64, (num_bytes + 63) // 64 * 8 * SPACING)
    for thread in numba.prange(threads):
        memory = np.empty((size + 1) * WORDS, np.uint64)
        aligned = -memory.ctypes.data // 8 % WORDS  # a row is a line of the cache then; others would take two
        rows = memory[aligned : aligned + size * WORDS]
        for block in range(thread, num_blocks, threads):
            first_frame = block * FRAMES
            begin = block * block_bytes
            if begin + block_bytes + 64 <= len(content):
                _load_frames(content, begin, num_bytes, rows)
            else:
                last = np.zeros(block_bytes + 64, np.uint8)
                present = min(len(content) - begin, len(last))
                last[:present] = content[begin : begin + present]
                _load_frames(last, 0, num_bytes, rows)
            rows[zero * WORDS : (zero + 1) * WORDS] = 0
            _run_gates(rows, kinds, run_starts, first, second, result)
            for c in range(len(offsets)):
                _count(rows, outputs[starts[c] : starts[c + 1]], sums + planes * c, planes, carries, zero)
            _store_counts(rows, sums, planes, back, offsets, counts[first_frame : first_frame + FRAMES])
