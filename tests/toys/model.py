"""A toy type of model: one linear layer, without options of its own."""

import math

import torch
from torch import nn

from src.config import Model
from src.models.frame_model import FrameModel, FrameShape, Size
from src.models.onnx_graph import Graph


class Toy(FrameModel):
    """Class scores are weighted sums of the pixels."""

    @staticmethod
    def least_size(frame_shape: FrameShape, num_classes: int, options: Model) -> Size:
        """Count the weights without biases."""
        return Size({"model.model_type": math.prod(frame_shape) * num_classes}, 0)

    def __init__(self, frame_shape: FrameShape, num_classes: int, frame_dtype: str, options: Model) -> None:
        super().__init__(frame_shape, num_classes, frame_dtype, options)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(frame_shape), num_classes))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Return class scores: [B, P, H, W] -> [B, classes]."""
        return self.layers(frames)

    def add_to_onnx(self, graph: Graph) -> str:
        """Append the layer."""
        return graph.add_layers(self.layers, "frames")
