"""CNN: two convolutions with pooling, then two dense layers."""

import torch
from torch import nn

from src.command_line import UserError
from src.config import Model
from src.models.frame_model import FrameModel, FrameShape, Size
from src.models.onnx_graph import Graph


class CNN(FrameModel):
    """Two convolutions with pooling, then two dense layers."""

    @staticmethod
    def least_size(frame_shape: FrameShape, num_classes: int, options: Model) -> Size:
        """Count the weights without biases, and the outputs of the convolutions."""
        cnn = options.cnn
        channels, height, width = frame_shape
        pooled = cnn.conv2_channels * (height // 4) * (width // 4)
        parameters = {
            "model.cnn.conv1_channels": 9 * channels * cnn.conv1_channels,
            "model.cnn.conv2_channels": 9 * cnn.conv1_channels * cnn.conv2_channels,
            "model.cnn.fc_hidden_size": (pooled + num_classes) * cnn.fc_hidden_size,
        }
        halved = (height // 2) * (width // 2)
        return Size(parameters, cnn.conv1_channels * height * width + cnn.conv2_channels * halved)

    def __init__(self, frame_shape: FrameShape, num_classes: int, frame_dtype: str, options: Model) -> None:
        super().__init__(frame_shape, num_classes, frame_dtype, options)
        cnn = options.cnn
        channels, height, width = frame_shape
        if min(height, width) < 4:
            raise UserError(f"model.model_type = cnn: frames of {width} x {height} pixels are too small to pool twice")
        self.layers = nn.Sequential(
            nn.Conv2d(channels, cnn.conv1_channels, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(cnn.conv1_channels, cnn.conv2_channels, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(cnn.conv2_channels * (height // 4) * (width // 4), cnn.fc_hidden_size),
            nn.ReLU(),
            nn.Linear(cnn.fc_hidden_size, num_classes),
        )

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Return class scores: [B, P, H, W] -> [B, classes]."""
        return self.layers(frames)

    def add_to_onnx(self, graph: Graph) -> str:
        """Append the layers."""
        return graph.add_layers(self.layers, "frames")
