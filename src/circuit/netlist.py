"""A circuit with its readout as gates: the counters of the classes and the comparison that finds the best class."""

import heapq
import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.circuit.circuit import Circuit
from src.circuit.schedule import node_levels
from src.circuit.shared_gates import AND, AND_NOT, FALSE, OR, TRUE, XOR, SharedGates
from src.circuit.simplify import count_literals

ZERO, ONE = FALSE, TRUE  # nodes of buses that are constant
MOST_PAIRED = 16  # classes; for more of them, comparing all pairs takes too many gates


@dataclass(frozen=True, eq=False)
class Netlist:
    """Gates with named results, in an order in which the inputs of a gate come before it.

    A node is a number, as in `Circuit`: i < num_inputs is bit i of a frame, num_inputs + g is gate g.

    Attributes:
        num_inputs: bits per frame.
        gates: uint8 [G], numbers in the order of `src.logic.gates`; none is a constant or a buffer.
        first, second: int32 [G], the nodes that are a and b of gate g, the same one twice if the gate is an inverter.
        buses: the nodes of each result, least significant bit first; ZERO and ONE are constants.
        num_trained: the first gates are the network's, this number; the others count classes and compare the counts.
    """

    num_inputs: int
    gates: NDArray[np.uint8]
    first: NDArray[np.int32]
    second: NDArray[np.int32]
    buses: dict[str, list[int]]
    num_trained: int = 0

    def levels(self) -> NDArray[np.int64]:
        """Return int64 [num_inputs + G]: 0 for inputs; for a gate, one more than the higher level of its inputs."""
        return node_levels(self.num_inputs, self.first, self.second)

    def depth(self) -> int:
        """Return the number of gates on the longest way from an input to a bus."""
        return int(self.levels().max(initial=0))


def netlist_of(circuit: Circuit, with_best_class: bool = True, counter_inputs: int = 3) -> Netlist:
    """Return the gates of a circuit, of the counter of each class, and of the comparison of the counts.

    Every gate exists once, and some bus depends on it.

    Args:
        circuit: any circuit; it need not be simplified.
        with_best_class: whether the class of the largest count, the first one of equals, is found as well.
        counter_inputs: what the counters are made of: 3 for full adders, which take the fewest LUTs of four inputs, or
            6 for counters of six bits, which take the fewest LUTs of six inputs.

    Returns:
        A netlist with the buses count0, count1 and so on, all of them as wide as the largest count can be, and
        best_class.
    """
    shared = SharedGates(circuit.num_inputs)
    literals = shared.literals(circuit.gates, circuit.first, circuit.second)
    num_trained = len(shared.gates)
    counts = []
    for c in range(circuit.num_classes):
        nodes = circuit.outputs[circuit.starts[c] : circuit.starts[c + 1]].tolist()
        weights, constant = count_literals(literals[node] for node in nodes)
        counts.append(_sum(shared, weights, constant + int(circuit.offsets[c]), counter_inputs))
    width = max(map(len, counts))
    counts = [count + [FALSE] * (width - len(count)) for count in counts]
    buses = {f"count{c}": count for c, count in enumerate(counts)}
    if with_best_class:
        buses["best_class"] = _best_class(shared, counts)
    return _netlist(shared, buses, num_trained)


def _netlist(shared: SharedGates, buses: dict[str, list[int]], num_trained: int) -> Netlist:
    nodes = {
        name: [literal if literal in (ZERO, ONE) else shared.node(literal) for literal in bus]
        for name, bus in buses.items()
    }
    used = [node for bus in nodes.values() for node in bus if node >= 0]
    gates, first, second, number = shared.used_by(used)
    new = {name: [int(number[node]) if node >= 0 else node for node in bus] for name, bus in nodes.items()}
    used_trained = np.count_nonzero(number[shared.num_inputs :][:num_trained] >= 0)
    return Netlist(shared.num_inputs, gates, first, second, new, int(used_trained))


def _sum(shared: SharedGates, weights: dict[int, int], constant: int, counter_inputs: int) -> list[int]:
    """Return literals of the sum of weighted literals and a constant, least significant first; at least one.

    Bits of the same weight are a column. Counters take its earliest bits, by level, and put their sums there and their
    carries into the next columns, until one bit is left. A literal of weight 5 is a bit in the columns 0 and 2.
    """
    width = max((constant + sum(weights.values())).bit_length(), 1)
    columns: list[list[tuple[int, int]]] = [[] for _ in range(width + 2)]  # heaps of (level, literal)

    def put(place: int, literal: int) -> None:
        if literal != FALSE:
            heapq.heappush(columns[place], (shared.level(literal), literal))

    for place in range(width):
        put(place, TRUE if constant >> place & 1 else FALSE)
        for literal, weight in weights.items():
            put(place, literal if weight >> place & 1 else FALSE)
    digits = []
    for place, column in enumerate(columns[:width]):
        while len(column) > 1:
            size = counter_inputs if len(column) >= counter_inputs else min(3, len(column))
            earliest = [heapq.heappop(column)[1] for _ in range(size)]
            counter = _counter_of_six if size == 6 else _full_adder
            for carry, literal in enumerate(counter(shared, *earliest)):
                put(place + carry, literal)
        digits.append(column[0][1] if column else FALSE)
    return digits


def _full_adder(shared: SharedGates, a: int, b: int, c: int = FALSE) -> tuple[int, int]:
    """Return literals of the sum of three bits modulo 2, and of its carry; c should be the latest bit."""
    either = shared.literal(XOR, a, b)
    carry = shared.literal(OR, shared.literal(AND, a, b), shared.literal(AND, either, c))
    return shared.literal(XOR, either, c), carry


def _counter_of_six(shared: SharedGates, a: int, b: int, c: int, d: int, e: int, f: int) -> tuple[int, int, int]:
    """Return literals of the three binary digits of the number of bits that are 1."""
    sums, carries = zip(_full_adder(shared, a, b, c), _full_adder(shared, d, e, f), strict=True)
    total, carry = _full_adder(shared, *sums)
    return total, *_full_adder(shared, *carries, carry)


def _best_class(shared: SharedGates, counts: list[list[int]]) -> list[int]:
    """Return literals of the number of the largest count, the first one of equals."""
    return (_by_all_pairs if len(counts) <= MOST_PAIRED else _by_tournament)(shared, counts)


def _by_all_pairs(shared: SharedGates, counts: list[list[int]]) -> list[int]:
    """Compare each class with each other one: few levels, and comparisons that grow with the square of the classes."""
    later_wins = {
        (c, later): _larger(shared, counts[later], counts[c])
        for c, later in itertools.combinations(range(len(counts)), 2)
    }
    wins = []
    for c in range(len(counts)):
        against_earlier = [later_wins[earlier, c] for earlier in range(c)]
        against_later = [later_wins[c, later] ^ 1 for later in range(c + 1, len(counts))]
        wins.append(_joined(shared, AND, [*against_earlier, *against_later]))
    width = max((len(counts) - 1).bit_length(), 1)
    return [_joined(shared, OR, [win for c, win in enumerate(wins) if c >> bit & 1]) for bit in range(width)]


def _joined(shared: SharedGates, gate: int, literals: list[int]) -> int:
    """Return the literal of AND or OR of any number of literals, those that are known first joined first."""
    heap = [(shared.level(literal), literal) for literal in literals]
    heapq.heapify(heap)
    while len(heap) > 1:
        literal = shared.literal(gate, heapq.heappop(heap)[1], heapq.heappop(heap)[1])
        heapq.heappush(heap, (shared.level(literal), literal))
    return heap[0][1] if heap else {AND: TRUE, OR: FALSE}[gate]


def _by_tournament(shared: SharedGates, counts: list[list[int]]) -> list[int]:
    """Compare the classes in rounds: a later class wins only with a larger count."""
    width = max((len(counts) - 1).bit_length(), 1)
    players = [(count, [TRUE if c >> bit & 1 else FALSE for bit in range(width)]) for c, count in enumerate(counts)]
    while len(players) > 1:
        winners = [_winner(shared, *pair) for pair in zip(players[::2], players[1::2], strict=False)]
        players = winners + players[2 * len(winners) :]
    return players[0][1]


_Player = tuple[list[int], list[int]]  # a count and the number of its class


def _winner(shared: SharedGates, player: _Player, later: _Player) -> _Player:
    is_later = _larger(shared, later[0], player[0])

    def choose(bits: list[int], bits_of_later: list[int]) -> list[int]:
        return [
            shared.literal(OR, shared.literal(AND_NOT, bit, is_later), shared.literal(AND, later_bit, is_later))
            for bit, later_bit in zip(bits, bits_of_later, strict=True)
        ]

    return choose(player[0], later[0]), choose(player[1], later[1])


def _larger(shared: SharedGates, count: list[int], other: list[int]) -> int:
    """Return the literal of count > other.

    Ranges of digits that lie beside each other are joined, those that are known first; a range is larger if its higher
    part is, or if that is equal and its lower part is larger.
    """
    ranges = [
        (shared.literal(AND_NOT, digit, others), shared.literal(XOR, digit, others) ^ 1)
        for digit, others in zip(count, other, strict=True)
    ]
    while len(ranges) > 1:
        at = min(range(len(ranges) - 1), key=lambda i: max(map(shared.level, ranges[i] + ranges[i + 1])))
        (low_larger, low_equal), (high_larger, high_equal) = ranges[at : at + 2]
        larger = shared.literal(OR, high_larger, shared.literal(AND, high_equal, low_larger))
        ranges[at : at + 2] = [(larger, shared.literal(AND, high_equal, low_equal))]
    return ranges[0][0]
