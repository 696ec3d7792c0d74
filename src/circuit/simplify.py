"""Simplification of circuits: the same counts for every frame with fewer gates."""

from collections import Counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Numbers of gates in the order of `src.logic.gates`. The complement of a gate is TRUE minus it.
AND_NOT, NOT_A_AND, NOT_A, TRUE = 2, 4, 12, 15

# Gates are simplified on literals: 2 * node is a node, 2 * node + 1 its complement. Node -1 is constantly false.
_FALSE, _TRUE = -2, -1


class Arrays(NamedTuple):
    """The arrays of a circuit; see `Circuit` for each."""

    gates: NDArray[np.uint8]
    first: NDArray[np.int32]
    second: NDArray[np.int32]
    outputs: NDArray[np.int32]
    starts: NDArray[np.int64]
    offsets: NDArray[np.int64]


def simplify(num_inputs: int, circuit: Arrays) -> Arrays:
    """Return a circuit that gives the same counts and has no more gates.

    Constants, buffers and inverters are folded into the gates that read them. Gates that compute the same function of
    the same nodes, or its complement, become one. Gates that no output depends on are removed.
    """
    literals = [2 * node for node in range(num_inputs)]
    kept = _Gates(num_inputs)
    for gate, a, b in zip(circuit.gates.tolist(), circuit.first.tolist(), circuit.second.tolist(), strict=True):
        literals.append(kept.literal(gate, literals[a], literals[b]))

    outputs: list[int] = []
    starts, offsets = [0], circuit.offsets.copy()
    for c in range(len(offsets)):
        counts = Counter(literals[node] for node in circuit.outputs[circuit.starts[c] : circuit.starts[c + 1]].tolist())
        offsets[c] += counts.pop(_TRUE, 0)
        counts.pop(_FALSE, 0)
        for literal in list(counts):
            both = min(counts[literal], counts[literal ^ 1])  # x and not x: one of them is 1 in every frame
            offsets[c] += both
            counts[literal] -= both
            counts[literal ^ 1] -= both
        outputs += [kept.node(literal) for literal in counts.elements()]
        starts.append(len(outputs))
    return kept.used_by(outputs, np.array(starts), offsets)


class _Gates:
    """Gates under construction; each pair of nodes has each kind of gate at most once."""

    def __init__(self, num_inputs: int) -> None:
        self.num_inputs = num_inputs
        self.gates: list[tuple[int, int, int]] = []  # (gate, first, second)
        self.nodes: dict[tuple[int, int, int], int] = {}

    def literal(self, gate: int, a: int, b: int) -> int:
        """Return the literal of a gate on two literals."""
        # f[i][j] is the output for a = i and b = j; complemented inputs are folded into it.
        f = [[gate >> 3 & 1, gate >> 2 & 1], [gate >> 1 & 1, gate & 1]]
        if a & 1:
            f = [f[1], f[0]]
        if b & 1:
            f = [f[0][::-1], f[1][::-1]]
        a, b = a & ~1, b & ~1
        if a == _FALSE:
            return _unary(f[0][0], f[0][1], b)
        if b == _FALSE or (f[0][0] == f[0][1] and f[1][0] == f[1][1]):
            return _unary(f[0][0], f[1][0], a)
        if a == b:
            return _unary(f[0][0], f[1][1], a)
        if f[0] == f[1]:
            return _unary(f[0][0], f[0][1], b)
        complement = f[0][0]  # keep the gate that gives 0 for (0, 0): and, and not, xor, or
        kind = (f[0][1] ^ complement) << 2 | (f[1][0] ^ complement) << 1 | f[1][1] ^ complement
        if kind == NOT_A_AND:
            kind, a, b = AND_NOT, b, a
        elif kind != AND_NOT and a > b:
            a, b = b, a
        return 2 * self._add(kind, a // 2, b // 2) + complement

    def node(self, literal: int) -> int:
        """Return the node of a literal; a complement becomes a gate of its own kind, such as nor for or."""
        node = literal // 2
        if not literal & 1:
            return node
        if node < self.num_inputs:
            return self._add(NOT_A, node, node)
        gate, a, b = self.gates[node - self.num_inputs]
        return self._add(TRUE - gate, a, b)

    def _add(self, gate: int, a: int, b: int) -> int:
        node = self.nodes.setdefault((gate, a, b), self.num_inputs + len(self.gates))
        if node == self.num_inputs + len(self.gates):
            self.gates.append((gate, a, b))
        return node

    def used_by(self, outputs: list[int], starts: NDArray[np.int64], offsets: NDArray[np.int64]) -> Arrays:
        """Return the gates that these outputs depend on, numbered without gaps."""
        used = [False] * (self.num_inputs + len(self.gates))
        for node in outputs:
            used[node] = True
        for node in range(len(used) - 1, self.num_inputs - 1, -1):
            if used[node]:
                _, a, b = self.gates[node - self.num_inputs]
                used[a] = used[b] = True
        number = list(range(self.num_inputs)) + [0] * len(self.gates)
        kept = [node for node in range(self.num_inputs, len(used)) if used[node]]
        for new, node in enumerate(kept, start=self.num_inputs):
            number[node] = new
        gates = [self.gates[node - self.num_inputs] for node in kept]
        return Arrays(
            np.array([gate for gate, _, _ in gates], np.uint8),
            np.array([number[a] for _, a, _ in gates], np.int32),
            np.array([number[b] for _, _, b in gates], np.int32),
            np.array([number[node] for node in outputs], np.int32),
            starts,
            offsets,
        )


def _unary(zero: int, one: int, literal: int) -> int:
    """Return the literal of a function of one literal, given by the function's values for 0 and for 1."""
    if zero == one:
        return _TRUE if zero else _FALSE
    return literal ^ zero
