"""Layers of a logic gate network -> Circuit: every gate of every layer, at every position, as a node of its own."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.circuit.circuit import Circuit
from src.circuit.shared_gates import SharedGates
from src.circuit.tables import Nodes, SharedTables, packed_tables
from src.logic import LogicConvolution, LogicLayer
from src.logic.gates import PLACES
from src.logic.votes import VoteSum, lowest_sums

# Truth tables of two inputs, at (0, 0), (0, 1), (1, 0) and (1, 1).
FALSE, OR, NOT_A = (0, 0, 0, 0), (0, 1, 1, 1), (1, 1, 0, 0)


class _Part(NamedTuple):
    """New nodes of k inputs: their values at the corners, bool [N, 2^k], and their inputs, [k, N]."""

    corners: NDArray[np.bool_]
    inputs: NDArray[np.int32]


def circuit_of_layers(
    layers: Sequence[LogicConvolution | LogicLayer],
    num_classes: int,
    tau: float = 1.0,
    votes: VoteSum | None = None,
) -> Circuit:
    """Return the discretised network of these layers: each neuron is its most likely gate.

    A convolution becomes its trees at every position, then the ORs of its pooling windows. The bits of the last layer
    are divided equally among the classes; with votes, a class counts each bit as often as it has votes for it, and
    bits with votes below 0 behind inverters. Gates of more than two inputs become gates of two, see
    `src.circuit.tables`.
    """
    num_inputs, fan_in = layers[0].in_dim, layers[0].gates.fan_in
    nodes = np.arange(num_inputs, dtype=np.int32)  # the inputs of the next layer
    parts, size = [], num_inputs
    for layer in layers:
        if isinstance(layer, LogicConvolution):
            part, nodes = _unrolled_convolution(layer, nodes, size)
        else:
            part, nodes = _unrolled_dense(layer, nodes, size)
        parts.append(part)
        size += len(part.corners)
    starts = np.arange(num_classes + 1) * (len(nodes) // num_classes)
    offsets = np.zeros(num_classes, np.int64)
    if votes is not None:
        part, nodes, starts, offsets = _unrolled_votes(votes, nodes, size, fan_in)
        parts.append(part)
    corners, inputs = _joined(parts)
    if fan_in == 2:
        gates, first, second = (corners @ np.array(PLACES)).astype(np.uint8), *inputs
    else:
        # The first input of a layer's gate is the highest digit of a corner, and in a table it is the last one.
        tables = Nodes(num_inputs, packed_tables(corners), np.ascontiguousarray(inputs[::-1].T))
        gates, first, second, nodes = _as_gates(tables, nodes)
    return Circuit(num_inputs, gates, first, second, nodes, starts, offsets, tau)


def _as_gates(
    tables: Nodes, outputs: NDArray[np.int32]
) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Return the gates that compute the outputs of tables, their first and second inputs, and the outputs' nodes."""
    shared_tables, shared = SharedTables(tables.num_inputs), SharedGates(tables.num_inputs)
    literals = shared_tables.literals(tables)
    of_tables = shared_tables.as_gates(shared)
    found = {}
    for output in np.unique(outputs).tolist():
        literal = literals[output]
        if literal >= 0:
            literal = of_tables[literal // 2] ^ literal & 1
        found[output] = shared.node(literal) if literal >= 0 else shared.constant_node(literal)
    gates, first, second, number = shared.used_by(found.values())
    return gates, first, second, number[[found[output] for output in outputs.tolist()]]


def _unrolled_dense(layer: LogicLayer, nodes: NDArray[np.int32], size: int) -> tuple[_Part, NDArray[np.int32]]:
    """Return the gates of a layer and the nodes that are its outputs.

    Args:
        layer: the layer.
        nodes: its inputs.
        size: the number of the first new node.
    """
    inputs = nodes[layer.indices.cpu().numpy()]
    return _Part(layer.truth_tables().cpu().numpy(), inputs), _numbered(size, layer.out_dim)


def _unrolled_convolution(
    layer: LogicConvolution, nodes: NDArray[np.int32], size: int
) -> tuple[_Part, NDArray[np.int32]]:
    """Do as `_unrolled_dense` does; the first gate is the constant 0 that stands around the frames."""
    fan_in = layer.gates.fan_in
    tables = layer.truth_tables().cpu().numpy().reshape(layer.shape.kernels, -1, 2**fan_in)
    tree = list(np.append(nodes, size)[layer.leaf_inputs().cpu().numpy()])  # nodes [pool^2, kernels, height, width]
    shape = tree[0].shape
    parts = [_gate(FALSE, nodes[:1], nodes[:1], fan_in)]
    end = size + 1
    for gate in range(tables.shape[1]):
        corners = np.broadcast_to(tables[:, gate, None, None], (*shape, 2**fan_in)).reshape(-1, 2**fan_in)
        parts.append(_Part(corners, np.stack(tree[fan_in * gate : fan_in * (gate + 1)]).reshape(fan_in, -1)))
        tree.append(_numbered(end, len(corners)).reshape(shape))
        end += len(corners)
    window = list(tree[-1].reshape(layer.shape.pool**2, -1))
    while len(window) > 1:
        first, second, *window = window
        parts.append(_gate(OR, first, second, fan_in))
        window.append(_numbered(end, len(first)))
        end += len(first)
    return _joined(parts), window[0]


def _unrolled_votes(
    layer: VoteSum, nodes: NDArray[np.int32], size: int, fan_in: int
) -> tuple[_Part, NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Return inverters of the nodes that have votes below 0, then the outputs, starts and offsets of the circuit."""
    whole = layer.whole_votes().cpu()
    votes = whole.numpy()
    inverted = np.flatnonzero((votes < 0).any(0))
    inverters = np.zeros(len(nodes), np.int32)
    inverters[inverted] = _numbered(size, len(inverted))
    outputs = [np.repeat(np.where(row < 0, inverters, nodes), np.abs(row)) for row in votes]
    starts = np.cumsum([0, *map(len, outputs)])
    lowest = lowest_sums(whole).numpy()
    part = _gate(NOT_A, nodes[inverted], nodes[inverted], fan_in)
    return part, np.concatenate(outputs), starts, lowest - lowest.min()


def _gate(table: tuple[int, int, int, int], first: NDArray[np.int32], second: NDArray[np.int32], fan_in: int) -> _Part:
    """Return nodes that compute a gate of their first two inputs, and have others which they ignore."""
    corners = np.repeat(np.array(table, bool), 2 ** (fan_in - 2))
    inputs = np.stack([first, second, *[first] * (fan_in - 2)])
    return _Part(np.broadcast_to(corners, (len(first), len(corners))), inputs)


def _joined(parts: Sequence[_Part]) -> _Part:
    return _Part(np.concatenate([part.corners for part in parts]), np.concatenate([part.inputs for part in parts], 1))


def _numbered(start: int, count: int) -> NDArray[np.int32]:
    return np.arange(start, start + count, dtype=np.int32)
