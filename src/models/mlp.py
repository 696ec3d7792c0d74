"""MLP: dense layers with ReLU."""

import math

import torch
from torch import nn

from src.config import Model
from src.models.frame_model import FrameModel, FrameShape, Size
from src.models.onnx_graph import Graph


class MLP(FrameModel):
    """Dense layers with ReLU."""

    @staticmethod
    def least_size(frame_shape: FrameShape, num_classes: int, options: Model) -> Size:
        """Count the weights without biases, and the outputs of the hidden layers."""
        mlp = options.mlp
        inputs = math.prod(frame_shape) + (mlp.num_hidden_layers - 1) * mlp.hidden_size + num_classes
        return Size({"model.mlp.hidden_size": inputs * mlp.hidden_size}, mlp.num_hidden_layers * mlp.hidden_size)

    def __init__(self, frame_shape: FrameShape, num_classes: int, frame_dtype: str, options: Model) -> None:
        super().__init__(frame_shape, num_classes, frame_dtype, options)
        mlp = options.mlp
        layers: list[nn.Module] = [nn.Flatten()]
        width = math.prod(frame_shape)
        for _ in range(mlp.num_hidden_layers):
            layers += [nn.Linear(width, mlp.hidden_size), nn.ReLU()]
            width = mlp.hidden_size
        self.layers = nn.Sequential(*layers, nn.Linear(width, num_classes))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Return class scores: [B, P, H, W] -> [B, classes]."""
        return self.layers(frames)

    def add_to_onnx(self, graph: Graph) -> str:
        """Append the layers."""
        return graph.add_layers(self.layers, "frames")
