"""Packed inference: a circuit run on 512 frames at a time, a bit a frame, as whole vectors of words.

A row is eight words: one bit of each of 512 frames. Frames come packed from a cache, bits beside bits; 64 x 64 bit
transposes turn them into a row a bit. A gate then is one vector operation, on rows that stay near the core: gates of
the same kind and depth run one after the other, and a row that nobody reads any more is used again. The outputs are
counted by bit-sliced adders, and transposed back into numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from src.kernel_cache import cached_njit

WORDS = 8  # of a row; a vector of 512 bits, or two of 256
FRAMES = 64 * WORDS  # of a block
Rows = NDArray[np.uint64]  # rows one after the other, WORDS numbers each

# What runs are made of. Every gate is one of these, its inputs exchanged where needed.
AND, AND_NOT, XOR, OR, NAND, OR_NOT, XNOR, NOR = range(8)
# (kind, whether a and b are exchanged) of a gate; gates of one input get it twice, constants get anything twice.
_KINDS = (
    (XOR, False),  # false: x xor x
    (AND, False),
    (AND_NOT, False),
    (AND, False),  # a
    (AND_NOT, True),
    (AND, True),  # b
    (XOR, False),
    (OR, False),
    (NOR, False),
    (XNOR, False),
    (NAND, True),  # not b
    (OR_NOT, False),
    (NAND, False),  # not a
    (OR_NOT, True),
    (NAND, False),
    (XNOR, False),  # true: x xnor x
)
_OF_ONE = (0, 3, 5, 10, 12, 15)


@dataclass(frozen=True, eq=False)
class _Schedule:
    """In which order gates run, and in which rows their values lie.

    Attributes:
        kinds: uint8 [runs], what the gates of a run are.
        run_starts: int64 [runs + 1].
        first, second, result: int32 [G], rows, in the order of the runs.
        outputs: int32 [O], rows.
        num_rows: how many there are.
    """

    kinds: NDArray[np.uint8]
    run_starts: NDArray[np.int64]
    first: NDArray[np.int32]
    second: NDArray[np.int32]
    result: NDArray[np.int32]
    outputs: NDArray[np.int32]
    num_rows: int


class PackedCircuit:
    """A circuit ready to run; the arguments are those of `Circuit`."""

    def __init__(
        self,
        num_inputs: int,
        gates: NDArray[np.uint8],
        first: NDArray[np.int32],
        second: NDArray[np.int32],
        outputs: NDArray[np.int32],
        starts: NDArray[np.int64],
        offsets: NDArray[np.int64],
    ) -> None:
        self.num_inputs = num_inputs
        self.starts, self.offsets = starts, offsets
        self.schedule = _schedule(num_inputs, gates, first, second, outputs)
        self.planes = max(int(np.diff(starts).max(initial=0)).bit_length(), 1)
        if self.planes > 32:
            raise ValueError("a class cannot count more than 2^32 outputs")

    def __call__(self, frames: NDArray[np.uint8]) -> NDArray[np.int32]:
        """Packed frames uint8 [B, ceil(num_inputs / 8)] -> class counts int32 [B, classes], on numba's threads."""
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


def _schedule(
    num_inputs: int,
    gates: NDArray[np.uint8],
    first: NDArray[np.int32],
    second: NDArray[np.int32],
    outputs: NDArray[np.int32],
) -> _Schedule:
    kinds = np.array([kind for kind, _ in _KINDS], np.uint8)[gates]
    exchanged = np.array([exchange for _, exchange in _KINDS])[gates]
    a, b = np.where(exchanged, second, first), np.where(exchanged, first, second)
    b = np.where(np.isin(gates, _OF_ONE), a, b)
    levels, last_use = _levels_and_last_use(num_inputs, a, b, outputs)
    order = np.lexsort((a, kinds, levels[num_inputs:]))
    row_of, num_rows = _rows(num_inputs, levels, last_use, order)
    runs = np.stack([levels[num_inputs:][order], kinds[order]])
    begins = np.flatnonzero(np.any(np.diff(runs, axis=1, prepend=-1), axis=0))
    return _Schedule(
        kinds[order][begins],
        np.append(begins, len(order)).astype(np.int64),
        row_of[a[order]],
        row_of[b[order]],
        row_of[num_inputs + order],
        row_of[outputs],
        num_rows,
    )


@cached_njit()
def _levels_and_last_use(
    num_inputs: int, a: NDArray[np.int32], b: NDArray[np.int32], outputs: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each node: its level, and the highest level that reads it; outputs are read at the end."""
    levels = np.zeros(num_inputs + len(a), np.int64)
    last_use = np.zeros(num_inputs + len(a), np.int64)
    for g in range(len(a)):
        level = max(levels[a[g]], levels[b[g]]) + 1
        levels[num_inputs + g] = level
        last_use[a[g]] = max(last_use[a[g]], level)
        last_use[b[g]] = max(last_use[b[g]], level)
    for node in outputs:
        last_use[node] = len(levels)
    return levels, last_use


@cached_njit()
def _rows(
    num_inputs: int, levels: NDArray[np.int64], last_use: NDArray[np.int64], order: NDArray[np.int64]
) -> tuple[NDArray[np.int32], int]:
    """A row for each node; rows are given back after the level that reads them last."""
    num_nodes = len(levels)
    row_of = np.empty(num_nodes, np.int32)
    top = (num_inputs + 63) // 64 * 64  # transposes write whole 64 rows
    free = np.empty(num_nodes, np.int32)
    num_free = 0
    by_last_use = np.argsort(last_use, kind="mergesort")
    given_back = 0
    for node in range(num_inputs):
        row_of[node] = node
    for g in order:
        node = num_inputs + g
        while given_back < num_nodes and last_use[by_last_use[given_back]] < levels[node]:
            old = by_last_use[given_back]
            # Nodes that are never read are of no level's last use: theirs were not given yet, or are input rows.
            if levels[old] < levels[node] and (old < num_inputs or last_use[old] > 0):
                free[num_free] = row_of[old]
                num_free += 1
            given_back += 1
        if num_free > 0:
            num_free -= 1
            row_of[node] = free[num_free]
        else:
            row_of[node] = top
            top += 1
    return row_of, top


def _row_operation(operation: Callable[[ir.IRBuilder, list[Any]], list[Any]], reads: int, writes: int) -> Any:
    """An operation for kernels on rows: f(rows, row numbers to read..., row numbers to write...).

    LLVM makes a vector operation of it; loops over the words it would not turn into one here.
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
    """A step of a transpose: of each 2 * distance bits, the high half of x changes places with the low half of y."""
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
    """Transpose the 64 x 64 bits of each of the 8 words of 64 rows: bit i of row j and bit j of row i change places."""
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
    """Eight bytes of a uint8 array [N], from any place, as a little-endian number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        place = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(64).as_pointer())
        return builder.load(place, align=1)

    return types.uint64(content, at), generate


_load_word: Any = intrinsic(_loads_word)


@cached_njit(nogil=True)
def _load_frames(frames: NDArray[np.uint8], first_frame: int, rows: Rows) -> None:
    """A block of frames to rows, a bit each, from row 0 on; rows that a last block lacks frames for get zeros there."""
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
    """Add up the rows `outputs` into binary numbers, bit p of each frame's in row sums + p.

    As one counts on fingers: sums + p adds two rows of weight 2^p at a time and hands on a carry, which waits in row
    carries + p + 1 until there are two, the second in row carries + planes + p + 2.
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
            if waits[p + 1]:  # what waits there is added in the next round; the new carry stands beside it
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
        if waits[p]:  # a carry that is alone: it may ripple through all higher bits
            x = carries + p
            for q in range(p, planes):
                carry = carries + planes + q + 2
                _add(rows, (sums + q, x, zero, sums + q, carry))
                x = carry


@cached_njit(nogil=True)
def _store_counts(
    rows: Rows, sums: int, planes: int, back: int, offsets: NDArray[np.int64], counts: NDArray[np.int32]
) -> None:
    """Binary numbers, bit p of class c in row sums + planes * c + p, to counts [frames, classes].

    As many classes as there is room for in 64 bits are transposed together, in the 64 rows from `back` on.
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
    """Class counts of all frames: blocks of 512 are dealt out to the threads, each with rows of its own."""
    num_blocks = (len(frames) + FRAMES - 1) // FRAMES
    # Behind the gates' rows: a zero, the sums of each class, waiting carries and new ones, and 64 rows to transpose.
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
