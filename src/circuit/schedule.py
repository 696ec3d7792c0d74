"""Schedule: in which order the gates of a circuit run, and in which rows of a small working memory their values lie.

Gates of the same kind and depth run one after the other. A row that no later gate reads is used again.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.kernel_cache import cached_njit

# The kinds of runs. Every gate is one of these, with its inputs exchanged if needed.
AND, AND_NOT, XOR, OR, NAND, OR_NOT, XNOR, NOR = range(8)
# (kind, whether a and b are exchanged) per gate; gates of one input read it twice, constants read any node twice.
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
_ONE_INPUT = (0, 3, 5, 10, 12, 15)


@dataclass(frozen=True, eq=False)
class Schedule:
    """The gates of a circuit as runs of one kind; a run reads only inputs and results of earlier runs.

    Attributes:
        kinds: uint8 [runs], the kind of each run: AND, AND_NOT and so on.
        run_starts: int64 [runs + 1]; run r holds gates run_starts[r] to run_starts[r + 1] - 1.
        first, second, result: int32 [G], the rows that each gate reads and writes, in the order of the runs.
        outputs: int32 [O], the rows of the circuit's outputs.
        num_rows: rows of the working memory; bit i of a frame is in row i at first.
    """

    kinds: NDArray[np.uint8]
    run_starts: NDArray[np.int64]
    first: NDArray[np.int32]
    second: NDArray[np.int32]
    result: NDArray[np.int32]
    outputs: NDArray[np.int32]
    num_rows: int


def schedule_gates(
    num_inputs: int,
    gates: NDArray[np.uint8],
    first: NDArray[np.int32],
    second: NDArray[np.int32],
    outputs: NDArray[np.int32],
) -> Schedule:
    """Return the schedule of a circuit's gates; the arguments are those of `Circuit`."""
    kinds, a, b = gates_by_kind(gates, first, second)
    levels = node_levels(num_inputs, a, b)
    last_use = _last_use(num_inputs, levels, a, b, outputs)
    order = np.lexsort((a, kinds, levels[num_inputs:]))
    row_of, num_rows = _rows(num_inputs, levels, last_use, order)
    runs = np.stack([levels[num_inputs:][order], kinds[order]])
    begins = np.flatnonzero(np.any(np.diff(runs, axis=1, prepend=-1), axis=0))
    return Schedule(
        kinds[order][begins],
        np.append(begins, len(order)).astype(np.int64),
        row_of[a[order]],
        row_of[b[order]],
        row_of[num_inputs + order],
        row_of[outputs],
        num_rows,
    )


def gates_by_kind(
    gates: NDArray[np.uint8], first: NDArray[np.int32], second: NDArray[np.int32]
) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.int32]]:
    """Return the kind of each gate, and the nodes that are its a and b; the arguments are those of `Circuit`."""
    kinds = np.array([kind for kind, _ in _KINDS], np.uint8)[gates]
    exchanged = np.array([exchange for _, exchange in _KINDS])[gates]
    a, b = np.where(exchanged, second, first), np.where(exchanged, first, second)
    return kinds, a, np.where(np.isin(gates, _ONE_INPUT), a, b)


def count_bits(starts: NDArray[np.int64]) -> int:
    """Return how many bits hold the number of outputs of any class; `starts` is that of `Circuit`.

    Raises:
        ValueError: if a class has more than 2^32 outputs.
    """
    bits = max(int(np.diff(starts).max(initial=0)).bit_length(), 1)
    if bits > 32:
        raise ValueError("a class cannot count more than 2^32 outputs")
    return bits


@cached_njit()
def node_levels(num_inputs: int, first: NDArray[np.int32], second: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the level of each node: 0 for inputs; for a gate, one more than the higher level of its inputs."""
    levels = np.zeros(num_inputs + len(first), np.int64)
    for g in range(len(first)):
        levels[num_inputs + g] = max(levels[first[g]], levels[second[g]]) + 1
    return levels


@cached_njit()
def _last_use(
    num_inputs: int,
    levels: NDArray[np.int64],
    first: NDArray[np.int32],
    second: NDArray[np.int32],
    outputs: NDArray[np.int32],
) -> NDArray[np.int64]:
    """Return the highest level that reads each node, 0 if none does; outputs are read after all levels."""
    last_use = np.zeros(len(levels), np.int64)
    for g in range(len(first)):
        level = levels[num_inputs + g]
        last_use[first[g]] = max(last_use[first[g]], level)
        last_use[second[g]] = max(last_use[second[g]], level)
    for node in outputs:
        last_use[node] = len(levels)
    return last_use


@cached_njit()
def _rows(
    num_inputs: int, levels: NDArray[np.int64], last_use: NDArray[np.int64], order: NDArray[np.int64]
) -> tuple[NDArray[np.int32], int]:
    """Return the row of each node, and the number of rows; a row is free after the level that reads it last."""
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
            # A gate that nothing reads has last use 0, and may have no row yet; an unread input does have one.
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
