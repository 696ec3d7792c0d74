"""Packed inference: a circuit runs on 512 frames at a time, one bit per frame, in whole vectors of words.

A row is eight words: one bit of each of 512 frames. Frames come packed from a cache, where the bits of a frame lie side
by side; transposes of 64 x 64 bits turn them into one row per bit. A gate is then one vector operation, on rows that
stay near the core: see `src.circuit.schedule`. The outputs are counted by bit-sliced adders, and the sums are
transposed back into numbers.
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
Rows = NDArray[np.uint64]  # rows one after the other, WORDS numbers each


class PackedCircuit:
    """A circuit ready to run."""

    def __init__(
        self, num_inputs: int, schedule: Schedule, starts: NDArray[np.int64], offsets: NDArray[np.int64]
    ) -> None:
        """Take the schedule of a circuit's gates; the other arguments are those of `Circuit`."""
        self.num_inputs, self.schedule = num_inputs, schedule
        self.starts, self.offsets = starts, offsets
        self.planes = count_bits(starts)

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


def _full_adder(builder: ir.IRBuilder, rows: list[Any]) -> list[Any]:
    x, y, z = rows
    half = builder.xor(x, y)
    return [builder.xor(half, z), builder.or_(builder.and_(x, y), builder.and_(half, z))]


_add = _row_operation(_full_adder, 3, 2)  # x, y, z -> sum, carry


def _exchange(distance: int) -> Any:
    """Return a step of a transpose: exchange the high half of 2 * distance bits of x with the low half of y."""
    low = sum(1 << bit for bit in range(64) if not bit & distance)

    def operation(builder: ir.IRBuilder, rows: list[Any]) -> list[Any]:
        x, y = rows
        vector = ir.VectorType(ir.IntType(64), WORDS)
        by, mask = ir.Constant(vector, [distance] * WORDS), ir.Constant(vector, [low] * WORDS)
        change = builder.and_(builder.xor(builder.lshr(x, by), y), mask)
        return [builder.xor(x, builder.shl(change, by)), builder.xor(y, change)]

    return _row_operation(operation, 2, 2)


_exchange32, _exchange16, _exchange8 = _exchange(32), _exchange(16), _exchange(8)
_exchange4, _exchange2, _exchange1 = _exchange(4), _exchange(2), _exchange(1)


@cached_njit(nogil=True)
def _transpose(rows: Rows, begin: int) -> None:
    """Transpose 64 x 64 bits in each of the 8 words of 64 rows: bit i of row j and bit j of row i change places."""
    for i in range(32):
        x = begin + i
        _exchange32(rows, (x, x + 32, x, x + 32))
    for i in range(32):
        x = begin + (i & 16) * 2 + (i & 15)
        _exchange16(rows, (x, x + 16, x, x + 16))
    for i in range(32):
        x = begin + (i & 24) * 2 + (i & 7)
        _exchange8(rows, (x, x + 8, x, x + 8))
    for i in range(32):
        x = begin + (i & 28) * 2 + (i & 3)
        _exchange4(rows, (x, x + 4, x, x + 4))
    for i in range(32):
        x = begin + (i & 30) * 2 + (i & 1)
        _exchange2(rows, (x, x + 2, x, x + 2))
    for i in range(32):
        x = begin + i * 2
        _exchange1(rows, (x, x + 1, x, x + 1))


def _loads_word(typing_context: Any, content: Any, at: Any) -> Any:
    """Load eight bytes of a uint8 array [N] as a little-endian number; they may begin at any byte."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        place = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(64).as_pointer())
        return builder.load(place, align=1)

    return types.uint64(content, at), generate


_load_word: Any = intrinsic(_loads_word)


@cached_njit(nogil=True)
def _load_frames(frames: NDArray[np.uint8], first_frame: int, rows: Rows) -> None:
    """Write a block of frames to rows, one row per bit, from row 0 on; frames that a last block lacks are zeros."""
    num_frames, num_bytes = frames.shape
    content = frames.reshape(-1)
    present = min(num_frames - first_frame, FRAMES)
    for column in range((num_bytes + 7) // 8):
        begin = 64 * column
        whole = 8 * column + 8 <= num_bytes
        for frame in range(FRAMES):
            word = np.uint64(0)
            if frame < present:
                at = (first_frame + frame) * num_bytes + 8 * column
                if whole:
                    word = _load_word(content, at)
                else:
                    for i in range(num_bytes - 8 * column):
                        word |= np.uint64(content[at + i]) << np.uint64(8 * i)
            rows[(begin + frame % 64) * WORDS + frame // 64] = word
        _transpose(rows, begin)


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

    Row sums + p adds two rows of weight 2^p at a time and hands on a carry. The carry waits in row carries + p + 1
    until there is a second one, in row carries + planes + p + 2.
    """
    waits = np.zeros(planes + 1, np.bool_)
    for p in range(planes):
        _xor(rows, (zero, zero, sums + p))
    for i in range(0, len(outputs), 2):
        y: Any = np.int64(outputs[i + 1]) if i + 1 < len(outputs) else zero
        x: Any = np.int64(outputs[i])
        p = 0
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

    As many classes as fit in 64 bits are transposed together, in the 64 rows from `back` on.
    """
    together = 64 // planes
    mask = np.uint64((1 << planes) - 1)
    for first_class in range(0, len(offsets), together):
        classes = min(together, len(offsets) - first_class)
        for i in range(64):
            row = sums + planes * first_class + min(i, planes * classes - 1)
            _and(rows, (row, row, back + i))
        _transpose(rows, back)
        for word in range((len(counts) + 63) // 64):
            for i in range(min(64, len(counts) - 64 * word)):
                number = rows[(back + i) * WORDS + word]
                for c in range(classes):
                    counts[64 * word + i, first_class + c] = np.int64(number & mask) + offsets[first_class + c]
                    number >>= np.uint64(planes)


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
    num_blocks = (len(frames) + FRAMES - 1) // FRAMES
    # Behind the rows of the gates: zero, the sums of each class, carries that wait, new carries, 64 rows to transpose.
    zero = num_rows
    sums = zero + 1
    carries = sums + planes * len(offsets)
    back = carries + 2 * (planes + 1)
    for thread in numba.prange(threads):
        rows = np.zeros((back + 64) * WORDS, np.uint64)
        for block in range(thread, num_blocks, threads):
            first_frame = block * FRAMES
            _load_frames(frames, first_frame, rows)
            _run_gates(rows, kinds, run_starts, first, second, result)
            for c in range(len(offsets)):
                _count(rows, outputs[starts[c] : starts[c + 1]], sums + planes * c, planes, carries, zero)
            _store_counts(rows, sums, planes, back, offsets, counts[first_frame : first_frame + FRAMES])
