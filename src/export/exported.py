"""What an export target gets, and what it returns.

A target is a function ExportedModel -> Export in a file of its own, and a line in `src.registry.EXPORT_TARGETS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from src.circuit.circuit import Circuit
from src.config import Config
from src.export.description import Description, channel_names, identifier
from src.export.example_frames import example_frames
from src.export.synthesis import Design
from src.models.frame_model import FrameModel

LEVELS_PER_STAGE = 2  # LUTs of six inputs, about 8 ns on an ECP5


@dataclass(frozen=True)
class Export:
    """The files of an export.

    Attributes:
        files: contents by file name.
        what: what they hold, for people.
        microcontroller: bytes on a microcontroller, see `measured_size`; None if they are not known.
        design: returns what `job.sh export --synthesize` synthesises for an FPGA family; None if there is nothing.
        is_pipelined: whether `levels_per_stage` decides how the network is divided by registers.
    """

    files: dict[str, str | bytes]
    what: str
    microcontroller: dict[str, int] | None = None
    design: Callable[[str], Design] | None = None
    is_pipelined: bool = False


@dataclass(frozen=True)
class Examples:
    """Frames that test an export.

    Attributes:
        frames: packed as the circuit reads them, uint8 [N, bytes].
        counts: int32 [N, classes], the counts that the model has for them.
        what: what the frames are, for people.
    """

    frames: NDArray[np.uint8]
    counts: NDArray[np.int32]
    what: str


@dataclass(frozen=True)
class ExportedModel:
    """A trained model that is to be exported; what a target does not ask for is not computed.

    Attributes:
        model: in eval mode.
        config: what it was trained with.
        class_names: in the order of its scores.
        step: the training step that it is from.
        source: a job id or the name of a file, which the exported files name.
        sensor_size: (W, H, P) of the recordings.
        most_frames: example frames are at most this number.
        levels_per_stage: LUTs of six inputs in a row between two registers of a pipeline; trained gates count twice.
        circuit_name: the name in a circuit's file, an `identifier`; "" if the model has none.
    """

    model: FrameModel
    config: Config
    class_names: tuple[str, ...]
    step: int
    source: str
    sensor_size: tuple[int, int, int]
    most_frames: int = 100
    levels_per_stage: int = LEVELS_PER_STAGE
    circuit_name: str = ""

    @property
    def name(self) -> str:
        """Return the name of files, functions and modules: that of the circuit's file, or else the source's."""
        return self.circuit_name or identifier(self.source)

    @cached_property
    def full_circuit(self) -> Circuit:
        """The circuit, not simplified; a UserError if the model is not made of gates."""
        return self.model.circuit()

    @cached_property
    def circuit(self) -> Circuit:
        """The simplified circuit; a UserError if the model is not made of gates."""
        return self.full_circuit.simplified()

    @property
    def size(self) -> str:
        """Return the size of the circuit, for people."""
        size, before = len(self.circuit.gates), len(self.full_circuit.gates)
        return f"{size:,} gates" if size == before else f"{size:,} gates, of {before:,} before simplification"

    @property
    def description(self) -> Description:
        """Return the names in the exported files."""
        stack, thresholds = self.config.data.stack, self.model.thresholds
        plain = stack == 1 and not thresholds
        channels = () if plain else channel_names(stack, self.model.frame_shape[0] // stack, thresholds)
        return Description(self.name, self.model.circuit_shape, self.class_names, channels, self.source)

    @cached_property
    def examples(self) -> Examples:
        """Example frames; see `example_frames`."""
        packed, what = example_frames(self.config, self.model.frame_shape, self.most_frames)
        frames = self.model.circuit_inputs(torch.from_numpy(packed)).numpy()
        return Examples(frames, self.full_circuit(frames), what)
