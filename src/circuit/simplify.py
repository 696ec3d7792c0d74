"""Simplification of circuits: the same counts for every frame with fewer gates."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.circuit.shared_gates import FALSE, TRUE, SharedGates


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
    kept = SharedGates(num_inputs)
    literals = kept.literals(circuit.gates, circuit.first, circuit.second)
    outputs: list[int] = []
    starts, offsets = [0], circuit.offsets.copy()
    for c in range(len(offsets)):
        nodes = circuit.outputs[circuit.starts[c] : circuit.starts[c + 1]].tolist()
        counts, constant = count_literals(literals[node] for node in nodes)
        offsets[c] += constant
        outputs += [kept.node(literal) for literal in counts.elements()]
        starts.append(len(outputs))
    gates, first, second, number = kept.used_by(outputs)
    return Arrays(gates, first, second, number[outputs], np.array(starts), offsets)


def count_literals(literals: Iterable[int]) -> tuple[Counter[int], int]:
    """Return how often each literal must be counted, and a constant to be added, for the number that are 1.

    Constants are left out, and so are pairs of a literal and its complement, of which one is 1 in every frame.
    """
    counts = Counter(literals)
    constant = counts.pop(TRUE, 0)
    counts.pop(FALSE, 0)
    for literal in list(counts):
        both = min(counts[literal], counts[literal ^ 1])
        constant += both
        counts[literal] -= both
        counts[literal ^ 1] -= both
    return counts, constant
