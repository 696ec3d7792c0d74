"""Gates under construction: each exists once; constants, buffers and inverters are folded into those that read them.

Gates are built on literals: 2 * node is a node, 2 * node + 1 its complement. Node -1 is constantly false.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

FALSE, TRUE = -2, -1  # literals

# Numbers of gates in the order of `src.logic.gates`. The complement of a gate is _TRUE_GATE minus it.
_FALSE_GATE, AND, AND_NOT, NOT_A_AND, XOR, OR, NOT_A, _TRUE_GATE = 0, 1, 2, 4, 6, 7, 12, 15


class SharedGates:
    """Gates that are added one by one; each pair of nodes has each kind of gate at most once.

    Attributes:
        num_inputs: nodes that are inputs; gate g is node num_inputs + g.
        gates: (kind, first node, second node) of each gate.
    """

    def __init__(self, num_inputs: int) -> None:
        self.num_inputs = num_inputs
        self.gates: list[tuple[int, int, int]] = []
        self._levels = [0] * num_inputs
        self._nodes: dict[tuple[int, int, int], int] = {}

    def literal(self, gate: int, a: int, b: int) -> int:
        """Return the literal of a gate on two literals; a new gate is made only if no gate or constant is the same."""
        # f[i][j] is the output for a = i and b = j; complemented inputs are folded into it.
        f = [[gate >> 3 & 1, gate >> 2 & 1], [gate >> 1 & 1, gate & 1]]
        if a & 1:
            f = [f[1], f[0]]
        if b & 1:
            f = [f[0][::-1], f[1][::-1]]
        a, b = a & ~1, b & ~1
        if a == FALSE:
            return _unary(f[0][0], f[0][1], b)
        if b == FALSE or (f[0][0] == f[0][1] and f[1][0] == f[1][1]):
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

    def literals(self, gates: NDArray[np.uint8], first: NDArray[np.int32], second: NDArray[np.int32]) -> list[int]:
        """Add the gates of a circuit; return the literals of its inputs and gates."""
        literals = [2 * node for node in range(self.num_inputs)]
        for gate, a, b in zip(gates.tolist(), first.tolist(), second.tolist(), strict=True):
            literals.append(self.literal(gate, literals[a], literals[b]))
        return literals

    def node(self, literal: int) -> int:
        """Return the node of a literal; a complement becomes a gate of its own kind, such as nor for or."""
        node = literal // 2
        if not literal & 1:
            return node
        if node < self.num_inputs:
            return self._add(NOT_A, node, node)
        gate, a, b = self.gates[node - self.num_inputs]
        return self._add(_TRUE_GATE - gate, a, b)

    def constant_node(self, literal: int) -> int:
        """Return a gate that is constant, for what cannot take a constant; TRUE or FALSE."""
        return self._add(_FALSE_GATE if literal == FALSE else _TRUE_GATE, 0, 0)

    def level(self, literal: int) -> int:
        """Return the number of gates on the longest way to a literal; 0 for inputs and constants."""
        return self._levels[literal // 2] if literal >= 0 else 0

    def _add(self, gate: int, a: int, b: int) -> int:
        node = self._nodes.setdefault((gate, a, b), self.num_inputs + len(self.gates))
        if node == self.num_inputs + len(self.gates):
            self.gates.append((gate, a, b))
            self._levels.append(max(self._levels[a], self._levels[b]) + 1)
        return node

    def used_by(
        self, outputs: Iterable[int]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
        """Return the gates that these nodes depend on, numbered without gaps: their kinds, first and second nodes.

        The fourth array has the new number of every node, -1 for a gate that is left out.
        """
        used = [False] * (self.num_inputs + len(self.gates))
        for node in outputs:
            used[node] = True
        for node in range(len(used) - 1, self.num_inputs - 1, -1):
            if used[node]:
                _, a, b = self.gates[node - self.num_inputs]
                used[a] = used[b] = True
        used[: self.num_inputs] = [True] * self.num_inputs
        number = np.where(used, np.cumsum(used) - 1, -1).astype(np.int32)
        table = np.array(self.gates, np.int32).reshape(-1, 3)[used[self.num_inputs :]]
        return table[:, 0].astype(np.uint8), number[table[:, 1]], number[table[:, 2]], number


def _unary(zero: int, one: int, literal: int) -> int:
    """Return the literal of a function of one literal, given by the function's values for 0 and for 1."""
    if zero == one:
        return TRUE if zero else FALSE
    return literal ^ zero
