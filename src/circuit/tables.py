"""Truth tables of up to six inputs -> gates of two: tables are simplified, and become multiplexers that they share.

A table is a number of 64 bits: bit v is the output at corner v, whose binary digit j is input j. A table of fewer
inputs repeats itself, so that it depends on none of the other digits. Inputs and results are literals, as in
`src.circuit.shared_gates`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.circuit.shared_gates import AND, AND_NOT, FALSE, OR, TRUE, XOR, SharedGates

MOST_INPUTS = 6
_ALL = (1 << 64) - 1
# The corners at which digit j is 1.
_ONES = tuple(sum(1 << v for v in range(64) if v >> j & 1) for j in range(MOST_INPUTS))


class Nodes(NamedTuple):
    """Nodes with tables, in an order in which the inputs of a node come before it; i < num_inputs is bit i of a frame.

    Attributes:
        num_inputs: bits per frame.
        tables: uint64 [N].
        inputs: int32 [N, k], the node that is input j of each.
    """

    num_inputs: int
    tables: NDArray[np.uint64]
    inputs: NDArray[np.int32]


def packed_tables(corners: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Return the values at the corners, bool [N, 2^k], as tables, uint64 [N]."""
    repeated = np.tile(corners, 64 // corners.shape[1])
    return np.packbits(repeated, axis=1, bitorder="little").view("<u8")[:, 0]


class SharedTables:
    """Tables that are added one by one; each function of the same nodes exists once, and so does its complement.

    Constants, complements and repeated inputs are folded into the tables, and inputs that do not matter are left out.
    So a table that is left has two inputs or more, and is 0 at corner 0.

    Attributes:
        num_inputs: nodes that are inputs; table t is node num_inputs + t.
        tables: table and input nodes, ascending, of each.
    """

    def __init__(self, num_inputs: int) -> None:
        self.num_inputs = num_inputs
        self.tables: list[tuple[int, tuple[int, ...]]] = []
        self._nodes: dict[tuple[int, tuple[int, ...]], int] = {}

    def literal(self, table: int, literals: Sequence[int]) -> int:
        """Return the literal of a table's output; a new table is made only if no table or literal is the same."""
        table, nodes = _reduced(table, literals)
        complement = table & 1
        if complement:
            table ^= _ALL
        if not nodes:
            return TRUE if complement else FALSE
        if len(nodes) == 1:
            return 2 * nodes[0] + complement
        node = self._nodes.setdefault((table, nodes), self.num_inputs + len(self.tables))
        if node == self.num_inputs + len(self.tables):
            self.tables.append((table, nodes))
        return 2 * node + complement

    def literals(self, nodes: Nodes) -> list[int]:
        """Add nodes; return the literals of the inputs and of the nodes."""
        literals = [2 * node for node in range(self.num_inputs)]
        for table, inputs in zip(nodes.tables.tolist(), nodes.inputs.tolist(), strict=True):
            literals.append(self.literal(table, [literals[node] for node in inputs]))
        return literals

    def as_gates(self, shared: SharedGates) -> list[int]:
        """Add the tables as gates; return the literals of the inputs and of the tables."""
        literals = [2 * node for node in range(self.num_inputs)]
        known: dict[tuple[int, tuple[int, ...]], int] = {}
        for table, inputs in self.tables:
            literals.append(_multiplexers(shared, table, tuple(literals[node] for node in inputs), known))
        return literals


def _reduced(table: int, literals: Sequence[int]) -> tuple[int, tuple[int, ...]]:
    """Return the same function as a table of nodes that are distinct, ascending and all matter."""
    digit_of: dict[int, int] = {}
    for j, literal in enumerate(literals):
        zero, one = _cofactors(table, j)
        if literal & 1:
            zero, one = one, zero
        if literal < 0:  # after the exchange, what the constant selects is `zero`
            table = zero
            continue
        by = digit_of.setdefault(literal // 2, j)  # the digit itself, or an earlier one of the same node
        table = zero & ~_ONES[by] | one & _ONES[by]
    kept = sorted((node, j) for node, j in digit_of.items() if _matters(table, j))
    places = [j for _, j in kept]
    for digit in range(len(places)):
        j = places[digit]
        if j != digit:
            table = _exchanged(table, digit, j)
            places = [digit if place == j else j if place == digit else place for place in places]
    return table, tuple(node for node, _ in kept)


def _cofactors(table: int, j: int) -> tuple[int, int]:
    """Return the tables for digit j = 0 and for digit j = 1, which do not depend on it."""
    zero, one = table & ~_ONES[j], table & _ONES[j]
    return zero | zero << (1 << j), one | one >> (1 << j)


def _matters(table: int, j: int) -> bool:
    """Return whether a table depends on digit j."""
    return (table >> (1 << j) ^ table) & ~_ONES[j] & _ALL != 0


def _exchanged(table: int, i: int, j: int) -> int:
    """Return the table in which digits i < j have changed places."""
    shift = (1 << j) - (1 << i)
    low = _ONES[i] & ~_ONES[j]  # corners with digit i alone; they change places with those with digit j alone
    return table & ~(low | low << shift) | (table & low) << shift | table >> shift & low


def _multiplexers(
    shared: SharedGates, table: int, literals: tuple[int, ...], known: dict[tuple[int, tuple[int, ...]], int]
) -> int:
    """Return the literal of a table as gates; `known` has the tables that are gates already."""
    key = table, literals
    if key not in known:
        known[key] = _new_multiplexers(shared, table, literals, known)
    return known[key]


def _new_multiplexers(
    shared: SharedGates, table: int, literals: tuple[int, ...], known: dict[tuple[int, tuple[int, ...]], int]
) -> int:
    matter = [j for j in range(len(literals)) if _matters(table, j)]
    if len(matter) <= 1:
        complement = table & 1
        return literals[matter[0]] ^ complement if matter else FALSE ^ complement
    if len(matter) == 2:
        low, high = matter
        gate = sum((table >> ((a << high) + (b << low)) & 1) << (3 - 2 * a - b) for a in (0, 1) for b in (0, 1))
        return shared.literal(gate, literals[high], literals[low])
    select = min(matter, key=lambda j: _cost(table, j, matter))
    zero, one = _cofactors(table, select)
    x = literals[select]
    if zero in (0, _ALL) or one in (0, _ALL) or zero == one ^ _ALL:
        return _joined(shared, x, zero, one, literals, known)
    low_half = shared.literal(AND_NOT, _multiplexers(shared, zero, literals, known), x)
    return shared.literal(OR, shared.literal(AND, _multiplexers(shared, one, literals, known), x), low_half)


def _joined(
    shared: SharedGates,
    x: int,
    zero: int,
    one: int,
    literals: tuple[int, ...],
    known: dict[tuple[int, tuple[int, ...]], int],
) -> int:
    """Return the literal of a multiplexer on x that is one gate: a half is constant, or the halves are opposite."""
    if zero == one ^ _ALL:
        return shared.literal(XOR, x, _multiplexers(shared, zero, literals, known))
    if one in (0, _ALL):
        x, zero, one = x ^ 1, one, zero
    rest = _multiplexers(shared, one, literals, known)
    return shared.literal(AND, x, rest) if zero == 0 else shared.literal(OR, x ^ 1, rest)


def _cost(table: int, j: int, matter: list[int]) -> int:
    """Return about how many gates a table takes if digit j selects between halves."""
    zero, one = _cofactors(table, j)
    if zero == one ^ _ALL:
        return 1 + sum(_matters(zero, i) for i in matter)
    halves = [half for half in (zero, one) if half not in (0, _ALL)]
    join = 3 if len(halves) == 2 else 1
    return join + sum(_matters(half, i) for half in halves for i in matter)
