"""Layers of a logic gate network -> nodes of an ONNX graph that compute the discretised network.

Bits are [neurons, batch], so that a neuron reads whole rows.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from src.logic import LogicConvolution, LogicLayer
from src.logic.thermometer import Thermometer
from src.logic.votes import VoteSum, lowest_sums
from src.models.onnx_graph import Graph


def add_thermometer(graph: Graph, thermometer: Thermometer, x: str) -> str:
    """Append the encoding of counts [batch, P, H, W] as bits [batch, channels, levels, pixels]."""
    shape = np.array([0, thermometer.channels, 1, -1], np.int64)  # 0: this dimension stays as it is
    counts = graph.add("Reshape", [x, graph.constant(shape)])
    return graph.add("Greater", [counts, graph.constant(thermometer.thresholds[:, None])])


def add_logic_layers(graph: Graph, layers: Sequence[LogicConvolution | LogicLayer], x: str) -> str:
    """Append layers that read bits [batch, ...], and the cast of the last layer's bits to 0.0 and 1.0."""
    x = graph.add("Flatten", [x])
    x = graph.add("Cast", [x], to=graph.onnx.TensorProto.BOOL)
    x = graph.add("Transpose", [x], perm=[1, 0])
    for layer in layers:
        x = _convolution(graph, layer, x) if isinstance(layer, LogicConvolution) else _dense(graph, layer, x)
    return graph.add("Cast", [x], to=graph.onnx.TensorProto.FLOAT)


def add_group_sum(graph: Graph, width: int, num_classes: int, x: str) -> str:
    """Append the sums of equal groups of bits: [width, batch] -> [batch, num_classes]."""
    groups = np.array([num_classes, width // num_classes, -1], np.int64)
    x = graph.add("Reshape", [x, graph.constant(groups)])
    x = graph.add("ReduceSum", [x, graph.constant(np.array([1], np.int64))], keepdims=0)
    return graph.add("Transpose", [x], perm=[1, 0])


def add_votes(graph: Graph, layer: VoteSum, x: str) -> str:
    """Append the class counts of bits: [in_dim, batch] -> [batch, k]."""
    votes = layer.whole_votes().float()
    x = graph.add("MatMul", [graph.add("Transpose", [x], perm=[1, 0]), graph.constant(votes.T)])
    return graph.add("Sub", [x, graph.constant(lowest_sums(votes).min())])


def _dense(graph: Graph, layer: LogicLayer, x: str) -> str:
    """Append all neurons of a layer at once: [in_dim, batch] -> [out_dim, batch]."""
    inputs = [graph.add("Gather", [x, graph.constant(indices)], axis=0) for indices in layer.indices]
    return _gates(graph, layer.truth_tables().cpu().numpy()[:, None], inputs)


def _convolution(graph: Graph, layer: LogicConvolution, x: str) -> str:
    """Append each gate of the trees at all positions of all kernels at once, then the OR of a pooling window."""
    shape = layer.shape
    row = graph.add("Gather", [x, graph.constant(np.array([0]))], axis=0)
    x = graph.add("Concat", [x, graph.add("Xor", [row, row])], axis=0)  # input in_dim: the zeros around the frame
    positions = shape.pool**2
    inputs = layer.leaf_inputs().reshape(shape.leaves, positions, shape.kernels, -1)
    nodes = [graph.add("Gather", [x, graph.constant(indices)], axis=0) for indices in inputs]
    fan_in = layer.gates.fan_in
    tables = layer.truth_tables().cpu().numpy().reshape(shape.kernels, -1, 1, 1, 2**fan_in)
    for gate in range(tables.shape[1]):
        nodes.append(_gates(graph, tables[:, gate], nodes[fan_in * gate : fan_in * (gate + 1)]))
    # [positions, kernels, height * width, batch]
    x = graph.add("Gather", [nodes[-1], graph.constant(np.array(0))], axis=0)
    for position in range(1, positions):
        x = graph.add("Or", [x, graph.add("Gather", [nodes[-1], graph.constant(np.array(position))], axis=0)])
    return graph.add("Reshape", [x, graph.constant(np.array([layer.out_dim, -1]))])


def _gates(graph: Graph, tables: NDArray[np.bool_], inputs: Sequence[str]) -> str:
    """Append gates with truth tables [..., 2^k] on k inputs, each of a shape to which [...] broadcasts."""
    if len(inputs) > 2:
        return _lookups(graph, tables, inputs)
    # f(a, b) = f00 xor a da xor b db xor ab dab, where each d is one bit per gate.
    a, b = inputs
    f00, f01, f10, f11 = np.moveaxis(tables, -1, 0)
    c = [graph.constant(bits) for bits in (f00, f00 ^ f10, f00 ^ f01, f00 ^ f01 ^ f10 ^ f11)]
    # f00 xor (b and db) xor (a and (da xor (b and dab)))
    of_a = graph.add("And", [a, graph.add("Xor", [c[1], graph.add("And", [b, c[3]])])])
    of_b = graph.add("Xor", [c[0], graph.add("And", [b, c[2]])])
    return graph.add("Xor", [of_a, of_b])


def _lookups(graph: Graph, tables: NDArray[np.bool_], inputs: Sequence[str]) -> str:
    """Append gates that look up the corner of their table, whose number has the inputs as digits, the first highest."""
    corners = tables.shape[-1]
    place = graph.constant(np.arange(tables.size // corners, dtype=np.int32).reshape(tables.shape[:-1]) * corners)
    for i, bit in enumerate(inputs):
        digit = graph.add("Cast", [bit], to=graph.onnx.TensorProto.INT32)
        value = graph.constant(np.array(corners >> (i + 1), np.int32))
        place = graph.add("Add", [place, graph.add("Mul", [digit, value])])
    return graph.add("Gather", [graph.constant(tables.reshape(-1)), place], axis=0)
