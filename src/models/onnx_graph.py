"""Graph: an ONNX graph under construction, and the nodes of PyTorch's layers in it."""

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from src.command_line import UserError
from src.helpers import how_to_install, import_optional

MOST_BYTES = 2_000_000_000  # protobuf's limit is 2^31 bytes, which nodes and names count towards too


class Graph:
    """Nodes and constants under construction; values are named by their number."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.size = 0  # bytes of the constants

    @cached_property
    def onnx(self) -> Any:
        """The package onnx.

        Raises:
            UserError: if it cannot be imported.
        """
        try:
            return import_optional("onnx", "--to onnx asks for ONNX", f"install it with {how_to_install('onnx')}")
        except ImportError as error:
            raise UserError(str(error)) from error

    def add(self, operator: str, inputs: list[str], output: str | None = None, **attributes: Any) -> str:
        """Append a node; return the name of its output."""
        output = output or f"x{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, value: torch.Tensor | NDArray[Any]) -> str:
        """Store an array; return its name.

        Raises:
            UserError: if the constants are too large for a file.
        """
        array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value
        self.size += array.nbytes
        if self.size > MOST_BYTES:
            raise UserError(
                "the network is too large for ONNX, whose files hold 2 GiB; --to c and --to json have no limit"
            )
        name = f"c{len(self.constants)}"
        self.constants.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add_layers(self, layers: Iterable[nn.Module], x: str) -> str:
        """Append layers of PyTorch, one after the other, that read the value x; return the name of the last output.

        Raises:
            UserError: for layers that have no nodes here.
        """
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                pads = [*layer.padding, *layer.padding]
                x = self.add("Conv", [x, *map(self.constant, layer.parameters())], pads=pads)
            elif isinstance(layer, nn.Linear):
                x = self.add("Gemm", [x, *map(self.constant, layer.parameters())], transB=1)
            elif isinstance(layer, nn.MaxPool2d):
                x = self.add("MaxPool", [x], kernel_shape=[layer.kernel_size] * 2, strides=[layer.stride] * 2)
            elif isinstance(layer, nn.ReLU):
                x = self.add("Relu", [x])
            elif isinstance(layer, nn.Flatten):
                x = self.add("Flatten", [x])
            else:
                raise UserError(f"a layer of type {type(layer).__name__} cannot be written as ONNX")
        return x
