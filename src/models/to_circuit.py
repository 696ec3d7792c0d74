"""Layers of a logic gate network -> Circuit: every gate of every layer, at every position, as a node of its own."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from src.circuit.circuit import Circuit
from src.logic import LogicConvolution, LogicLayer
from src.logic.gates import GATE_NAMES
from src.logic.votes import VoteSum, lowest_sums

FALSE, OR, NOT_A = (GATE_NAMES.index(name) for name in ("false", "a or b", "not a"))

_Gates = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]  # gates, first and second of new nodes


def circuit_of_layers(
    layers: Sequence[LogicConvolution | LogicLayer],
    num_classes: int,
    tau: float = 1.0,
    votes: VoteSum | None = None,
) -> Circuit:
    """Return the discretised network of these layers: each neuron is its most likely gate.

    A convolution becomes its trees at every position, then the ORs of its pooling windows. The bits of the last layer
    are divided equally among the classes; with votes, a class counts each bit as often as it has votes for it, and
    bits with votes below 0 behind inverters.
    """
    num_inputs = layers[0].in_dim
    nodes = np.arange(num_inputs, dtype=np.int32)  # the inputs of the next layer
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
    return Circuit(
        num_inputs,
        gates.astype(np.uint8),
        first.astype(np.int32),
        second.astype(np.int32),
        nodes,
        starts,
        offsets,
        tau,
    )


def _unrolled_dense(layer: LogicLayer, nodes: NDArray[np.int32], size: int) -> tuple[_Gates, NDArray[np.int32]]:
    """Return the gates of a layer and the nodes that are its outputs.

    Args:
        layer: the layer.
        nodes: its inputs.
        size: the number of the first new node.
    """
    first, second = nodes[layer.indices.cpu().numpy()]
    return (layer.discretised_gates().cpu().numpy(), first, second), _numbered(size, layer.out_dim)


def _unrolled_convolution(
    layer: LogicConvolution, nodes: NDArray[np.int32], size: int
) -> tuple[_Gates, NDArray[np.int32]]:
    """Do as `_unrolled_dense` does; the first gate is the constant 0 that stands around the frames."""
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
) -> tuple[_Gates, NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Return inverters of the nodes that have votes below 0, then the outputs, starts and offsets of the circuit."""
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
