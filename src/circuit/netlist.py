"""Netlist: a circuit all of gates, its class counts and the best class included, for hardware."""

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.circuit.circuit import Circuit
from src.circuit.shared_gates import AND, AND_NOT, FALSE, OR, TRUE, XOR, SharedGates

ZERO, ONE = -2, -1  # nodes of a bus that are constant


@dataclass(frozen=True, eq=False)
class Netlist:
    """Gates in an order in which the inputs of a gate come before it, and numbers that they give.

    Attributes:
        num_inputs: bits per frame.
        gates, first, second: as of `Circuit`.
        buses: name -> the nodes of a number, its lowest bit first; a node may be ZERO or ONE. There are count0, count1
            and so on, the counts of the classes, all of the same number of bits, and best_class.
    """

    num_inputs: int
    gates: NDArray[np.uint8]
    first: NDArray[np.int32]
    second: NDArray[np.int32]
    buses: dict[str, list[int]]


def netlist_of(circuit: Circuit) -> Netlist:
    """Return a circuit with its counters as full adders, and the first of the largest counts by a tournament."""
    shared = SharedGates(circuit.num_inputs)
    literals = shared.literals(circuit.gates, circuit.first, circuit.second)
    largest = int((np.diff(circuit.starts) + circuit.offsets).max())
    width = max(largest.bit_length(), 1)
    counts = []
    for c, offset in enumerate(circuit.offsets.tolist()):
        outputs = circuit.outputs[circuit.starts[c] : circuit.starts[c + 1]].tolist()
        counts.append(_count(shared, [literals[node] for node in outputs], offset, width))
    buses = {f"count{c}": count for c, count in enumerate(counts)}
    buses["best_class"] = _best_class(shared, counts)
    nodes = {name: [_node(shared, literal) for literal in bus] for name, bus in buses.items()}
    gates, first, second, number = shared.used_by([node for bus in nodes.values() for node in bus if node >= 0])
    numbered = {name: [int(number[node]) if node >= 0 else node for node in bus] for name, bus in nodes.items()}
    return Netlist(circuit.num_inputs, gates, first, second, numbered)


def _node(shared: SharedGates, literal: int) -> int:
    return literal if literal < 0 else shared.node(literal)


def _count(shared: SharedGates, bits: list[int], offset: int, width: int) -> list[int]:
    """Return the literals of a number, lowest bit first: how many bits are 1, plus the offset.

    Three bits of the same weight become a sum and a carry until one is left. Those that are there first are taken
    first, so that the way through the adders is short.
    """
    weights: list[list[tuple[int, int]]] = [[] for _ in range(width + 1)]  # heaps of (level, literal)
    for literal in bits:
        heapq.heappush(weights[0], (shared.level(literal), literal))
    number = []
    for weight in range(width):
        heap = weights[weight]
        if offset >> weight & 1:
            heapq.heappush(heap, (0, TRUE))
        while len(heap) > 1:
            a, b = heapq.heappop(heap)[1], heapq.heappop(heap)[1]
            c = heapq.heappop(heap)[1] if heap else FALSE
            half = shared.literal(XOR, a, b)
            total = shared.literal(XOR, half, c)
            carry = shared.literal(OR, shared.literal(AND, a, b), shared.literal(AND, half, c))
            if total != FALSE:
                heapq.heappush(heap, (shared.level(total), total))
            if carry != FALSE:
                heapq.heappush(weights[weight + 1], (shared.level(carry), carry))
        number.append(heap[0][1] if heap else FALSE)
    return number


def _best_class(shared: SharedGates, counts: list[list[int]]) -> list[int]:
    """Return the literals of the number of the first of the largest counts; a later one wins only if it is larger."""
    bits = max((len(counts) - 1).bit_length(), 1)
    players = [(count, [TRUE if c >> bit & 1 else FALSE for bit in range(bits)]) for c, count in enumerate(counts)]
    while len(players) > 1:
        winners = []
        for (count, number), (later_count, later_number) in zip(players[::2], players[1::2], strict=False):
            later = _is_larger(shared, later_count, count)
            pairs = (zip(later_count, count, strict=True), zip(later_number, number, strict=True))
            most, winner = ([_choice(shared, later, a, b) for a, b in pair] for pair in pairs)
            winners.append((most, winner))
        players = winners + players[2 * len(winners) :]
    return players[0][1]


def _is_larger(shared: SharedGates, a: list[int], b: list[int]) -> int:
    """Return whether a number is larger than another one; halves are compared side by side, for a short way."""

    def compare(low: int, high: int) -> tuple[int, int]:
        """Return whether bits low to high - 1 are larger, and whether they are equal."""
        if high - low == 1:
            return shared.literal(AND_NOT, a[low], b[low]), shared.literal(XOR, a[low], b[low]) ^ 1
        middle = (low + high) // 2
        larger, equal = compare(middle, high)
        lower_larger, lower_equal = compare(low, middle)
        return (
            shared.literal(OR, larger, shared.literal(AND, equal, lower_larger)),
            shared.literal(AND, equal, lower_equal),
        )

    return compare(0, len(a))[0]


def _choice(shared: SharedGates, condition: int, a: int, b: int) -> int:
    """Return a if the condition is true, else b."""
    return shared.literal(OR, shared.literal(AND, condition, a), shared.literal(AND_NOT, b, condition))
