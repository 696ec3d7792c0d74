"""CircuitModel: a model that is a circuit already, which can run and be exported, but not be trained."""

import numpy as np
import torch
from numpy.typing import NDArray

from src.circuit.circuit import Circuit
from src.command_line import UserError
from src.config import Model
from src.logic.gates import PLACES
from src.logic.thermometer import encode_counts
from src.models.frame_model import FrameModel, FrameShape
from src.models.onnx_graph import Graph


class CircuitModel(FrameModel):
    """The model of a circuit's file, on the CPU; its scores are those of the model that the circuit came from.

    Args:
        circuit: what computes the class counts.
        frame_shape: (P, H, W) of the stacked frames, before the thermometer.
        thresholds: of the thermometer, which makes bits of counts; () for binary frames.
    """

    has_circuit = True

    def __init__(self, circuit: Circuit, frame_shape: FrameShape, thresholds: tuple[int, ...]) -> None:
        super().__init__(frame_shape, circuit.num_classes, "counts" if thresholds else "binary", Model())
        self._circuit = circuit
        self._thresholds = thresholds

    def forward_packed(self, packed: torch.Tensor) -> torch.Tensor:
        """Return the class scores of frames, [B, classes]."""
        return self.forward_with_counts(packed)[0]

    def forward_with_counts(self, packed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return class scores of frames, and the counts before tau."""
        counts = torch.from_numpy(self._circuit(self.circuit_inputs(packed).numpy()))
        return counts.float() / self._circuit.tau, counts

    def circuit(self) -> Circuit:
        """Return the circuit as it was given."""
        return self._circuit

    def circuit_inputs(self, packed: torch.Tensor) -> torch.Tensor:
        """Return packed frames as they are, or their counts encoded by the thermometer."""
        if not self._thresholds:
            return packed
        return encode_counts(packed, self.frame_shape[0], torch.tensor(self._thresholds))

    @property
    def circuit_shape(self) -> FrameShape:
        """Return the shape (channels, H, W) of the bits behind the thermometer."""
        channels, height, width = self.frame_shape
        return max(len(self._thresholds), 1) * channels, height, width

    @property
    def thresholds(self) -> tuple[int, ...]:
        """Return the thresholds of the thermometer."""
        return self._thresholds

    def truth_tables_by_layer(self) -> list[NDArray[np.bool_]]:
        """Return the truth tables of all gates, as if they were one layer."""
        return [(self._circuit.gates[:, None] & np.array(PLACES)).astype(bool)]

    def add_to_onnx(self, graph: Graph) -> str:
        """Raise a UserError: ONNX is written from layers."""
        raise UserError("a circuit has no layers to write as ONNX; export the job or .safetensors file it came from")
