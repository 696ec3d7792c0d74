"""FrameModel: what the rest of the project asks of a model, whatever its type."""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from src.bits import unpack_bits
from src.circuit.circuit import Circuit
from src.command_line import UserError
from src.config import Model
from src.logic.temperature import soft_gates
from src.models.onnx_graph import Graph

FrameShape = tuple[int, int, int]


@dataclass(frozen=True)
class Size:
    """The least size of a model.

    Attributes:
        parameters: how many numbers it learns, by the option that most of them follow from.
        activations: how many numbers a training step keeps per frame.
    """

    parameters: dict[str, int]
    activations: int


def unpack_frames(packed: torch.Tensor, frame_shape: FrameShape, dtype: torch.dtype) -> torch.Tensor:
    """Unpack frames uint8 [B, ceil(P*H*W/8)] to 0 and 1, [B, P, H, W], on their device."""
    return unpack_bits(packed, math.prod(frame_shape)).reshape(-1, *frame_shape).to(dtype)


class FrameModel(nn.Module):
    """A classifier of frames: [B, P, H, W] -> class scores [B, classes].

    A new type of model is a subclass in a file of its own, and a line in `src.registry.MODEL_TYPES`. It is created
    with a frame shape, a number of classes, a frame dtype and the options of section `model`. It needs `least_size` and
    `forward`; the other methods are what it can do beside, and raise a UserError or do nothing unless it has its own.

    Attributes:
        frame_shape: (P, H, W).
        num_classes: columns of the scores.
        frame_dtype: how `forward_packed` reads the bytes of a frame: binary (a bit per pixel) or counts (a byte).
    """

    has_circuit = False  # whether it is made of gates, so that `circuit` gives one
    has_relaxed_form = False  # whether it trains in another form than it has in eval mode; see `relaxed`

    @staticmethod
    def least_size(frame_shape: FrameShape, num_classes: int, options: Model) -> Size:
        """Return the least size of a model of these options, which need not fit the frames; nothing is allocated."""
        raise NotImplementedError

    @staticmethod
    def require_fitting_frames(options: Model, frame_dtype: str) -> None:
        """Raise a UserError if a model of these options cannot take frames of this dtype, or cannot be."""

    @staticmethod
    def schedule_over_all_epochs(options: Model) -> str | None:
        """Return the option by which training depends on the number of all epochs, with its value; None if none."""
        return None

    def __init__(self, frame_shape: FrameShape, num_classes: int, frame_dtype: str, options: Model) -> None:
        """Keep the shapes; a subclass draws weights as the options say, from PyTorch's global generator."""
        super().__init__()
        self.frame_shape = frame_shape
        self.num_classes = num_classes
        self.frame_dtype = frame_dtype

    # Training

    def fit_inputs(self, training_frames: Callable[[int], NDArray[np.uint8]]) -> None:
        """Adapt to the frames to learn, before the first step.

        Args:
            training_frames: returns this number of frames at most, spread over the training split, as they are stored.
        """

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        """Change what depends on the epoch, which is counted from 0."""

    def forward_packed(self, packed: torch.Tensor) -> torch.Tensor:
        """Return class scores of frames as the cache holds them: uint8 [B, ceil(P*H*W/8)], or [B, P*H*W] of counts.

        Counts are not scaled: a frame with at most one event per pixel has the scores of the binary one, and others
        have values of the same size, since counts above 10 are rare. Divided by 255, they would nearly vanish.
        """
        if self.frame_dtype == "counts":
            return self(packed.reshape(-1, *self.frame_shape).float())
        return self(unpack_frames(packed, self.frame_shape, torch.float32))

    def forward_with_counts(self, packed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the scores of `forward_packed`, and class counts, int32 [B, classes], of frames in eval mode.

        The class of a recording by vote is that of the largest sum of its frames' counts. A logic gate network counts
        what its circuit counts; a model without counts counts 1 for the class of the largest score.
        Counts of a relaxed form mean nothing.
        """
        scores = self.forward_packed(packed)
        return scores, nn.functional.one_hot(scores.argmax(1), self.num_classes).int()

    def forward_training(self, packed: torch.Tensor) -> torch.Tensor:
        """Return the scores [B, groups, classes] for the training loss; each group has a loss of its own.

        Their mean over groups is `forward_packed`, up to a number that is added to the scores of all classes.
        """
        return self.forward_packed(packed)[:, None]

    def hardware_price(self) -> torch.Tensor:
        """Return about how many gates and votes the model takes in hardware, with a gradient; 0 without gates."""
        return torch.zeros(())

    @property
    def trains_relaxed(self) -> bool:
        """Return whether the scores of a training step are those of the relaxed form."""
        return self.has_relaxed_form

    @contextlib.contextmanager
    def relaxed(self) -> Iterator[None]:
        """Have the model compute its relaxed form, without noise; it is in train mode then and afterwards."""
        self.train()
        with soft_gates(self):
            yield

    # What a trained model becomes

    def circuit(self) -> Circuit:
        """Return the circuit that the model is in eval mode, not simplified.

        Raises:
            UserError: if the model is not made of gates.
        """
        raise UserError(
            f"a {type(self).__name__} is no circuit of gates, as models of model_type difflogic are; ONNX takes it, too"
        )

    def circuit_inputs(self, packed: torch.Tensor) -> torch.Tensor:
        """Return the packed bits that the circuit reads, for frames as `forward_packed` takes them."""
        return packed

    @property
    def circuit_shape(self) -> FrameShape:
        """Return the shape (channels, H, W) of the bits that the circuit reads."""
        return self.frame_shape

    @property
    def thresholds(self) -> tuple[int, ...]:
        """Return whole numbers t such that the circuit reads bits count > t; () if it reads the bits of a frame."""
        return ()

    def truth_tables_by_layer(self) -> list[NDArray[np.bool_]]:
        """Return the truth tables of each layer's gates in eval mode, [gates, 2^k]; [] if there are no gates.

        The number of a corner has a gate's k inputs as binary digits, the first one the highest.
        """
        return []

    def add_to_onnx(self, graph: Graph) -> str:
        """Append nodes that compute class scores from the value "frames"; return the name of the scores.

        Raises:
            UserError: if the model cannot be written as ONNX.
        """
        raise UserError(f"a {type(self).__name__} cannot be written as ONNX")
