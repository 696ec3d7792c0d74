"""A model -> ONNX: frames float32 [batch, P, H, W] -> class scores float32 [batch, classes]."""

import json
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from src.command_line import UserError
from src.export.description import mark_of
from src.helpers import import_optional
from src.logic import LogicConvolution, LogicLayer
from src.logic.thermometer import Thermometer
from src.logic.votes import VoteSum, lowest_sums
from src.model import DiffLogic, FrameModel

OPSET = 13  # the oldest with ReduceSum's axes as an input: what reads it is old, too
IR_VERSION = 7  # the one of that opset
MOST_BYTES = 2_000_000_000  # protobuf's limit is 2^31, and nodes and names come on top


def to_onnx(model: FrameModel, name: str, class_names: list[str], source: str = "") -> bytes:
    """The file's content; a DiffLogic model becomes its discretised network.

    Raises:
        UserError: if the package onnx cannot be imported, or the file would be too large.
    """
    try:
        onnx = import_optional("onnx", "--to onnx asks for ONNX", "install it with pip install --upgrade onnx")
    except ImportError as error:
        raise UserError(str(error)) from error
    graph = _Graph()
    x = _difflogic(graph, model) if isinstance(model, DiffLogic) else _layers(graph, model)
    graph.add("Identity", [x], output="scores")
    float32 = onnx.TensorProto.FLOAT
    content = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            name,
            [onnx.helper.make_tensor_value_info("frames", float32, ["batch", *model.frame_shape])],
            [onnx.helper.make_tensor_value_info("scores", float32, ["batch", model.num_classes])],
            graph.constants,
        ),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="DiffLogic Tonic",
    )
    onnx.helper.set_model_props(content, {"class_names": json.dumps(class_names), "source": mark_of(source)})
    onnx.checker.check_model(content)
    return content.SerializeToString()


class _Graph:
    """Nodes and constants under construction; values are named by their number."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.size = 0  # bytes of the constants

    def add(self, operator: str, inputs: list[str], output: str | None = None, **attributes: Any) -> str:
        """Append a node; return its output's name."""
        from onnx import helper

        output = output or f"x{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, value: torch.Tensor | NDArray[Any]) -> str:
        """Store an array; return its name."""
        from onnx import numpy_helper

        array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value
        self.size += array.nbytes
        if self.size > MOST_BYTES:
            raise UserError(
                "the network is too large for ONNX, whose files hold 2 GiB; --to c and --to json have no limit"
            )
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name


def _layers(graph: _Graph, model: FrameModel) -> str:
    """A CNN or an MLP, layer by layer."""
    x = "frames"
    for layer in model.layers:  # type: ignore[union-attr]
        if isinstance(layer, nn.Conv2d):
            x = graph.add("Conv", [x, *map(graph.constant, layer.parameters())], pads=[*layer.padding, *layer.padding])
        elif isinstance(layer, nn.Linear):
            x = graph.add("Gemm", [x, *map(graph.constant, layer.parameters())], transB=1)
        elif isinstance(layer, nn.MaxPool2d):
            x = graph.add("MaxPool", [x], kernel_shape=[layer.kernel_size] * 2, strides=[layer.stride] * 2)
        elif isinstance(layer, nn.ReLU):
            x = graph.add("Relu", [x])
        elif isinstance(layer, nn.Flatten):
            x = graph.add("Flatten", [x])
        else:
            raise UserError(f"a layer of type {type(layer).__name__} cannot be written as ONNX")
    return x


def _difflogic(graph: _Graph, model: DiffLogic) -> str:
    """Layers of bits, [neurons, batch], so that a neuron reads whole rows; then sums a class."""
    from onnx import TensorProto

    x = _thermometer(graph, model.thermometer) if model.thermometer is not None else "frames"
    x = graph.add("Flatten", [x])
    x = graph.add("Cast", [x], to=TensorProto.BOOL)
    x = graph.add("Transpose", [x], perm=[1, 0])
    layers = model.logic_layers()
    for layer in layers:
        x = _convolution(graph, layer, x) if isinstance(layer, LogicConvolution) else _dense(graph, layer, x)
    x = graph.add("Cast", [x], to=TensorProto.FLOAT)
    if model.votes is not None:
        x = _votes(graph, model.votes, x)
    else:
        groups = np.array([model.num_classes, layers[-1].out_dim // model.num_classes, -1], np.int64)
        x = graph.add("Reshape", [x, graph.constant(groups)])
        x = graph.add("ReduceSum", [x, graph.constant(np.array([1], np.int64))], keepdims=0)
        x = graph.add("Transpose", [x], perm=[1, 0])
    return graph.add("Div", [x, graph.constant(np.array(model.tau, np.float32))])


def _thermometer(graph: _Graph, thermometer: Thermometer) -> str:
    """Counts -> bits, [batch, channels, levels, pixels]."""
    shape = np.array([0, thermometer.channels, 1, -1], np.int64)  # 0: as it is
    counts = graph.add("Reshape", ["frames", graph.constant(shape)])
    return graph.add("Greater", [counts, graph.constant(thermometer.thresholds[:, None])])


def _dense(graph: _Graph, layer: LogicLayer, x: str) -> str:
    """All neurons of a layer at once, [in_dim, batch] -> [out_dim, batch]."""
    a, b = (graph.add("Gather", [x, graph.constant(indices)], axis=0) for indices in layer.indices)
    return _gates(graph, layer.discretised_gates().cpu().numpy()[:, None], a, b)


def _votes(graph: _Graph, layer: VoteSum, x: str) -> str:
    """Bits [in_dim, batch] -> class counts [batch, k]."""
    votes = layer.whole_votes().float()
    x = graph.add("MatMul", [graph.add("Transpose", [x], perm=[1, 0]), graph.constant(votes.T)])
    return graph.add("Sub", [x, graph.constant(lowest_sums(votes).min())])


def _convolution(graph: _Graph, layer: LogicConvolution, x: str) -> str:
    """Each gate of the trees at all positions of all kernels at once, then the OR of a pooling window."""
    s = layer.shape
    row = graph.add("Gather", [x, graph.constant(np.array([0]))], axis=0)
    x = graph.add("Concat", [x, graph.add("Xor", [row, row])], axis=0)  # the zeros around the frame are input in_dim
    positions = s.pool**2
    inputs = layer.leaf_inputs().reshape(s.leaves, positions, s.kernels, -1)
    nodes = [graph.add("Gather", [x, graph.constant(indices)], axis=0) for indices in inputs]
    gates = layer.discretised_gates().cpu().numpy().reshape(s.kernels, -1, 1, 1)
    for gate in range(s.leaves - 1):
        nodes.append(_gates(graph, gates[:, gate], nodes[2 * gate], nodes[2 * gate + 1]))
    # [positions, kernels, height * width, batch]
    x = graph.add("Gather", [nodes[-1], graph.constant(np.array(0))], axis=0)
    for position in range(1, positions):
        x = graph.add("Or", [x, graph.add("Gather", [nodes[-1], graph.constant(np.array(position))], axis=0)])
    return graph.add("Reshape", [x, graph.constant(np.array([layer.out_dim, -1]))])


def _gates(graph: _Graph, gates: NDArray[np.int64], a: str, b: str) -> str:
    """Gates of these kinds on a and b: f(a, b) = f00 xor a da xor b db xor ab dab, each d one bit a gate."""
    f00, f01, f10, f11 = (gates >> place & 1 for place in (3, 2, 1, 0))
    c = [graph.constant(bits.astype(bool)) for bits in (f00, f00 ^ f10, f00 ^ f01, f00 ^ f01 ^ f10 ^ f11)]
    # f00 xor (b and db) xor (a and (da xor (b and dab)))
    of_a = graph.add("And", [a, graph.add("Xor", [c[1], graph.add("And", [b, c[3]])])])
    of_b = graph.add("Xor", [c[0], graph.add("And", [b, c[2]])])
    return graph.add("Xor", [of_a, of_b])
