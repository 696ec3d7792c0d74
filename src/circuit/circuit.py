"""Circuit: a trained logic gate network as gates, simplified, countable, runnable on packed frames."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from src.circuit.packed import PackedCircuit
from src.logic.convolution import LogicConvolution
from src.logic.dense import LogicLayer
from src.logic.gates import GATE_NAMES
from src.logic.votes import VoteSum, lowest_sums

FALSE, AND, AND_NOT, A, NOT_A_AND, B, XOR, OR = range(8)  # a gate's complement is 15 minus it
TRUE, NOT_A = 15, 12


@dataclass(frozen=True, eq=False)
class Circuit:
    """Gates in an order in which each one's inputs come before it.

    A node is a number: i < num_inputs is bit i of a frame, num_inputs + g is gate g.

    Attributes:
        num_inputs: bits of a frame.
        gates: uint8 [G], each in the order of `src.logic.gates` (its truth table).
        first, second: int32 [G], the nodes that are gate g's a and b; a gate that does not depend on one may name any.
        outputs: int32 [O], the nodes that are counted, those of class 0 first.
        starts: int64 [classes + 1], class c counts outputs[starts[c] : starts[c + 1]].
        offsets: int64 [classes], added to the counts: outputs that turned out to be constant.
        tau: class scores are counts divided by it.
    """

    num_inputs: int
    gates: NDArray[np.uint8]
    first: NDArray[np.int32]
    second: NDArray[np.int32]
    outputs: NDArray[np.int32]
    starts: NDArray[np.int64]
    offsets: NDArray[np.int64]
    tau: float = 1.0

    @classmethod
    def from_layers(
        cls,
        layers: Sequence[LogicConvolution | LogicLayer],
        num_classes: int,
        tau: float = 1.0,
        votes: VoteSum | None = None,
    ) -> "Circuit":
        """The discretised network of these layers: each gate is its most likely one, the last layer is counted.

        A convolution becomes its trees at every position, then the ORs of its pooling windows. With votes, outputs are
        counted as often as they have votes, those below 0 behind inverters.
        """
        num_inputs = layers[0].in_dim
        nodes = np.arange(num_inputs, dtype=np.int32)  # that the next layer's inputs are
        parts, size = [], num_inputs
        for layer in layers:
            if isinstance(layer, LogicConvolution):
                part, nodes = _unrolled_convolution(layer, nodes, size)
            else:
                part, nodes = _unrolled_dense(layer, nodes, size)
            parts.append(part)
            size += len(part[0])
        starts = np.arange(num_classes + 1) * (len(nodes) // num_classes)
        offsets = np.zeros(num_classes, np.int64)
        if votes is not None:
            part, nodes, starts, offsets = _unrolled_votes(votes, nodes, size)
            parts.append(part)
        gates, first, second = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        return cls(
            num_inputs,
            gates.astype(np.uint8),
            first.astype(np.int32),
            second.astype(np.int32),
            nodes,
            starts,
            offsets,
            tau,
        )

    @property
    def num_classes(self) -> int:
        """Class counts that come out."""
        return len(self.offsets)

    def __call__(self, frames: NDArray[np.uint8]) -> NDArray[np.int32]:
        """Class counts of packed frames, uint8 [B, ceil(num_inputs / 8)] as in a cache: int32 [B, classes].

        The class of a frame is the argmax, its scores are the counts divided by tau, as the model's in eval mode.
        """
        return self.packed(frames)

    @cached_property
    def packed(self) -> PackedCircuit:
        """The circuit made ready to be run on packed frames."""
        return PackedCircuit(
            self.num_inputs, self.gates, self.first, self.second, self.outputs, self.starts, self.offsets
        )

    def simplified(self) -> "Circuit":
        """A circuit with the same counts for every frame and no more gates.

        Constants, buffers and inverters are folded into the gates that read them, gates that compute the same (or the
        complement of the same) from the same nodes become one, and what no output depends on is removed.
        """
        return _simplified(self)

    def gate_counts(self) -> dict[str, int]:
        """How many gates of each kind, by name; kinds that do not occur are left out."""
        counts = Counter(self.gates.tolist())
        return {GATE_NAMES[gate]: counts[gate] for gate in sorted(counts)}

    def depth(self) -> int:
        """Gates on the longest way from an input to an output; buffers and constants count as gates."""
        levels = self.levels()
        return int(levels[self.outputs].max(initial=0))

    def levels(self) -> NDArray[np.int32]:
        """int32 [num_inputs + G]: 0 for inputs, for a gate one more than for the higher of its inputs."""
        levels = [0] * (self.num_inputs + len(self.gates))
        pairs = zip(self.first.tolist(), self.second.tolist(), strict=True)
        for node, (a, b) in enumerate(pairs, start=self.num_inputs):
            levels[node] = max(levels[a], levels[b]) + 1
        return np.array(levels, np.int32)


_Part = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]  # gates, first and second of some nodes


def _unrolled_dense(layer: LogicLayer, nodes: NDArray[np.int32], size: int) -> tuple[_Part, NDArray[np.int32]]:
    """A layer's gates and the nodes that are its outputs; `nodes` are its inputs, `size` is the first new node."""
    first, second = nodes[layer.indices.cpu().numpy()]
    return (layer.discretised_gates().cpu().numpy(), first, second), _numbered(size, layer.out_dim)


def _unrolled_convolution(
    layer: LogicConvolution, nodes: NDArray[np.int32], size: int
) -> tuple[_Part, NDArray[np.int32]]:
    """Like `_unrolled_dense`; one gate more is the constant 0 around the frames."""
    leaves = layer.shape.leaves
    gates = layer.discretised_gates().cpu().numpy().reshape(-1, leaves - 1)
    tree = list(np.append(nodes, size)[layer.leaf_inputs().numpy()])  # nodes [pool * pool, kernels, height, width]
    part = [(np.array([FALSE]), nodes[:1], nodes[:1])]
    end = size + 1
    for gate in range(leaves - 1):
        shape = tree[0].shape
        kinds = np.broadcast_to(gates[:, gate, None, None], shape)
        part.append((kinds.ravel(), tree[2 * gate].ravel(), tree[2 * gate + 1].ravel()))
        tree.append(_numbered(end, kinds.size).reshape(shape))
        end += kinds.size
    window = list(tree[-1].reshape(layer.shape.pool**2, -1))
    while len(window) > 1:
        first, second, *window = window
        part.append((np.full(len(first), OR), first, second))
        window.append(_numbered(end, len(first)))
        end += len(first)
    kinds, first, second = (np.concatenate(columns) for columns in zip(*part, strict=True))
    return (kinds, first, second), window[0]


def _unrolled_votes(
    layer: VoteSum, nodes: NDArray[np.int32], size: int
) -> tuple[_Part, NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Inverters of the nodes that have votes below 0; then a circuit's outputs, starts and offsets."""
    whole = layer.whole_votes().cpu()
    votes = whole.numpy()
    inverted = np.flatnonzero((votes < 0).any(0))
    inverters = np.zeros(len(nodes), np.int32)
    inverters[inverted] = _numbered(size, len(inverted))
    outputs = [np.repeat(np.where(row < 0, inverters, nodes), np.abs(row)) for row in votes]
    starts = np.cumsum([0, *map(len, outputs)])
    lowest = lowest_sums(whole).numpy()
    read = nodes[inverted].astype(np.int64)
    part = (np.full(len(inverted), NOT_A, np.int64), read, read)
    return part, np.concatenate(outputs), starts, lowest - lowest.min()


def _numbered(start: int, count: int) -> NDArray[np.int32]:
    return np.arange(start, start + count, dtype=np.int32)


# Simplification works on literals: 2 * node + 1 is the complement of 2 * node. The node -1 is constantly false.
_FALSE, _TRUE = -2, -1


def _simplified(circuit: Circuit) -> Circuit:
    literals = [2 * node for node in range(circuit.num_inputs)]
    kept = _Gates(circuit.num_inputs)
    for gate, a, b in zip(circuit.gates.tolist(), circuit.first.tolist(), circuit.second.tolist(), strict=True):
        literals.append(kept.literal(gate, literals[a], literals[b]))

    outputs: list[int] = []
    starts, offsets = [0], circuit.offsets.copy()
    for c in range(circuit.num_classes):
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
    return kept.used_by(outputs, np.array(starts), offsets, circuit.tau)


class _Gates:
    """Gates under construction, each pair of nodes and kind once."""

    def __init__(self, num_inputs: int) -> None:
        self.num_inputs = num_inputs
        self.gates: list[tuple[int, int, int]] = []  # (gate, first, second)
        self.nodes: dict[tuple[int, int, int], int] = {}

    def literal(self, gate: int, a: int, b: int) -> int:
        """The literal of a gate on two literals."""
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
        """The node of a literal; a complement becomes a gate of its own kind, such as nor for or."""
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

    def used_by(self, outputs: list[int], starts: NDArray[np.int64], offsets: NDArray[np.int64], tau: float) -> Circuit:
        """The circuit of the gates that these outputs depend on."""
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
        return Circuit(
            self.num_inputs,
            np.array([gate for gate, _, _ in gates], np.uint8),
            np.array([number[a] for _, a, _ in gates], np.int32),
            np.array([number[b] for _, _, b in gates], np.int32),
            np.array([number[node] for node in outputs], np.int32),
            starts,
            offsets,
            tau,
        )


def _unary(zero: int, one: int, literal: int) -> int:
    """The literal of a function of one literal, given by its values."""
    if zero == one:
        return _TRUE if zero else _FALSE
    return literal ^ zero
