"""DiffLogic: a network of differentiable logic gates."""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from src.circuit.circuit import Circuit
from src.command_line import UserError
from src.config import DiffLogicOptions, Model
from src.logic import LogicConvolution, LogicLayer
from src.logic.backends import unpack_features
from src.logic.convolution import gates_of_tree
from src.logic.parametrisation import GateOptions
from src.logic.stack import features_of_layers, sums_of_layers
from src.logic.temperature import set_temperature, temperature_of_epoch
from src.logic.thermometer import Thermometer
from src.logic.votes import VoteSum
from src.models.convolutions import convolutions
from src.models.dense_layers import dense_layers, last_width, layer_widths
from src.models.frame_model import FrameModel, FrameShape, Size
from src.models.onnx_graph import Graph
from src.models.to_circuit import circuit_of_layers
from src.models.to_onnx import add_group_sum, add_logic_layers, add_thermometer, add_votes
from src.registry import CONNECTIONS

THERMOMETER_FRAMES = 1000  # training frames whose counts a thermometer's thresholds are fitted to


class DiffLogic(FrameModel):
    """Logic layers on the bits of a frame; class scores are sums of the last layer's bits, or votes.

    With architecture: convolutional, convolutional logic layers come before them.
    Gates are relaxed in train mode and discretised in eval mode; see LogicLayer. With several members, the kernels are
    divided among as many networks, which share nothing: each has a loss of its own, and their votes are added up.

    Attributes:
        thermometer: encodes counts as bits; None for binary frames.
        bits_shape: the shape (channels, H, W) of the bits that the first layer reads.
        votes: counts the last layer's bits, with readout: votes; None if each class has neurons of its own.
    """

    has_circuit = True
    has_relaxed_form = True
    thermometer: Thermometer | None
    votes: VoteSum | None

    @staticmethod
    def least_size(frame_shape: FrameShape, num_classes: int, options: Model) -> Size:
        """Count the parameters of gates and connections; votes are left out."""
        o = options.difflogic
        per_gate = _gate_options(o, "normal").parameters
        per_neuron = per_gate + CONNECTIONS.load(o.connections).parameters(o.candidates, o.fan_in)
        widths = layer_widths(o)
        parameters = {"model.difflogic.num_neurons": sum(widths) * per_neuron}
        if o.architecture == "convolutional":
            gates = gates_of_tree(o.fan_in, o.convolution.tree_depth) * sum(o.convolution.kernels)
            parameters["model.difflogic.convolution.kernels"] = gates * per_gate
        return Size(parameters, sum(widths[:-1]))

    @staticmethod
    def require_fitting_frames(options: Model, frame_dtype: str) -> None:
        """Raise a UserError unless the frames are bits, or a thermometer makes bits of them, and the options agree."""
        _require_options_that_agree(options.difflogic)
        levels = options.difflogic.thermometer_levels
        if frame_dtype != "binary" and not levels:
            raise UserError(
                f"data.frame_dtype = {frame_dtype}: model.model_type = difflogic takes bits; use "
                "data.frame_dtype=binary, or model.difflogic.thermometer_levels=4 to make bits of counts, or cnn or mlp"
            )
        if frame_dtype == "binary" and levels:
            raise UserError(
                f"model.difflogic.thermometer_levels = {levels}: there are no counts to make bits of; "
                f"use data.frame_dtype=counts, or 0 levels"
            )

    @staticmethod
    def schedule_over_all_epochs(options: Model) -> str | None:
        """Return the option by which the temperature of the gates depends on the number of epochs, if it does."""
        final = options.difflogic.final_temperature
        return None if final is None else f"model.difflogic.final_temperature = {final}"

    def __init__(self, frame_shape: FrameShape, num_classes: int, frame_dtype: str, options: Model) -> None:
        super().__init__(frame_shape, num_classes, frame_dtype, options)
        o = options.difflogic
        _require_fitting_readout(o, num_classes)
        channels, height, width = frame_shape
        levels = o.thermometer_levels
        self.thermometer = Thermometer(levels, channels, o.thermometer == "learnable") if levels else None
        self.bits_shape = max(levels, 1) * channels, height, width
        convolutional = o.architecture == "convolutional"
        first = convolutions(self.bits_shape, o, _gate_options(o, "residual")) if convolutional else []
        shape = first[-1].out_shape if first else self.bits_shape
        gates = _gate_options(o, "normal")
        self.layers = nn.ModuleList([*first, *dense_layers(shape, o, gates)])
        self.tau = o.tau
        last = self.logic_layers()[-1]
        self.votes = VoteSum(last.out_dim, num_classes, gates, o.members) if o.readout == "votes" else None
        self.hard = gates.hard
        self.temperatures = o.temperature, o.temperature if o.final_temperature is None else o.final_temperature

    def logic_layers(self) -> list[LogicConvolution | LogicLayer]:
        """Return the layers, the first one first."""
        return [layer for layer in self.layers if isinstance(layer, LogicConvolution | LogicLayer)]

    # Training

    def fit_inputs(self, training_frames: Callable[[int], NDArray[np.uint8]]) -> None:
        """Fit the thermometer to the counts, if there is one."""
        if self.thermometer is not None:
            self.thermometer.fit(training_frames(THERMOMETER_FRAMES))

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        """Give the gates their temperature of this epoch."""
        set_temperature(self, temperature_of_epoch(*self.temperatures, epoch, epochs))

    def hardware_price(self) -> torch.Tensor:
        """Return the sum of what gates cost, see `GateWeights.prices`, at all positions, and of the sizes of votes."""
        layers = self.logic_layers()
        price = torch.stack([layer.gate_weights().prices().sum() * layer.positions for layer in layers]).sum()
        return price if self.votes is None else price + self.votes.weights.abs().sum()

    @property
    def trains_relaxed(self) -> bool:
        """Return whether gates are relaxed in training, rather than discretised as in eval mode."""
        return not self.hard

    # Class scores

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Return class scores: [B, P, H, W] -> [B, classes]."""
        return self._classify(frames.flatten(1).T)

    def forward_packed(self, packed: torch.Tensor) -> torch.Tensor:
        """Return class scores of packed frames, uint8 [B, ceil(P*H*W/8)], or [B, P*H*W] of counts."""
        return self._classify(self._features(packed))

    def forward_with_counts(self, packed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return class scores of packed frames, and the counts before tau, which are whole numbers in eval mode."""
        sums = self._class_sums(self._features(packed))
        return sums / self.tau, sums.int()

    def forward_training(self, packed: torch.Tensor) -> torch.Tensor:
        """Return class scores [B, groups, classes] of packed frames; with readout: votes, a member is a group."""
        if self.votes is None:
            return super().forward_training(packed)
        bits = self._bits(self._features(packed), self.logic_layers())
        return self.votes.forward_groups(bits) * (self.votes.groups / self.tau)

    def _features(self, packed: torch.Tensor) -> torch.Tensor:
        """Unpack frames, [B, bytes] -> [P*H*W, B]."""
        if self.thermometer is not None:
            return packed.T
        return unpack_features(packed, math.prod(self.frame_shape), _activation_dtype(packed.device))

    def _classify(self, features: torch.Tensor) -> torch.Tensor:
        """Return class scores, [P*H*W, B] -> [B, classes]."""
        return self._class_sums(features) / self.tau

    def _class_sums(self, features: torch.Tensor) -> torch.Tensor:
        """Return the sums or votes of each class, [P*H*W, B] -> [B, classes], in float32 or wider."""
        layers = self.logic_layers()
        if self.votes is not None:
            return self.votes.forward_features(self._bits(features, layers))
        return sums_of_layers(layers, self._inputs(features), self.num_classes).T

    def _bits(self, features: torch.Tensor, layers: list[LogicConvolution | LogicLayer]) -> torch.Tensor:
        """Run the thermometer and these layers, feature-major, [P*H*W, B] -> [out_dim, B]."""
        return features_of_layers(layers, self._inputs(features))

    def _inputs(self, features: torch.Tensor) -> torch.Tensor:
        """Return what the first layer reads, feature-major."""
        if self.thermometer is not None:
            features = self.thermometer(features)
        return features.to(_activation_dtype(features.device)).contiguous()

    # What a trained model becomes

    def circuit(self) -> Circuit:
        """Return the discretised network as gates, not simplified; it reads what `circuit_inputs` gives."""
        return circuit_of_layers(self.logic_layers(), self.num_classes, self.tau, self.votes)

    def circuit_inputs(self, packed: torch.Tensor) -> torch.Tensor:
        """Return packed frames as they are, or their counts encoded by the thermometer."""
        return packed if self.thermometer is None else self.thermometer.encode(packed)

    @property
    def circuit_shape(self) -> FrameShape:
        """Return the shape (channels, H, W) of the bits behind the thermometer."""
        return self.bits_shape

    @property
    def thresholds(self) -> tuple[int, ...]:
        """Return the thresholds of the thermometer as whole numbers."""
        return () if self.thermometer is None else self.thermometer.whole_thresholds()

    def truth_tables_by_layer(self) -> list[NDArray[np.bool_]]:
        """Return the truth tables of the discretised gates of each layer, [gates, 2^k]."""
        return [layer.truth_tables().cpu().numpy() for layer in self.logic_layers()]

    def add_to_onnx(self, graph: Graph) -> str:
        """Append the discretised network."""
        x = "frames" if self.thermometer is None else add_thermometer(graph, self.thermometer, "frames")
        layers = self.logic_layers()
        x = add_logic_layers(graph, layers, x)
        if self.votes is not None:
            x = add_votes(graph, self.votes, x)
        else:
            x = add_group_sum(graph, layers[-1].out_dim, self.num_classes, x)
        return graph.add("Div", [x, graph.constant(np.array(self.tau, np.float32))])


def _require_fitting_readout(o: DiffLogicOptions, num_classes: int) -> None:
    option, last = last_width(o)
    if o.readout == "sum" and last % num_classes:
        near = max(round(last / num_classes), 1) * num_classes
        raise UserError(
            f"{option} = {last} must be a multiple of the {num_classes} classes, "
            f"such as {near}: the last layer's neurons are divided among them"
        )


def _require_options_that_agree(o: DiffLogicOptions) -> None:
    _gate_options(o, "normal")
    if not o.num_layers and not (o.architecture == "convolutional" and o.readout == "votes"):
        raise UserError(
            "model.difflogic.num_layers = 0: only model.difflogic.architecture=convolutional with "
            "model.difflogic.readout=votes needs no dense layer; use at least 1"
        )
    if o.members > 1 and (o.num_layers or o.readout != "votes"):
        raise UserError(
            f"model.difflogic.members = {o.members}: only model.difflogic.readout=votes without dense layers, "
            "model.difflogic.num_layers=0, has members; use 1"
        )


def _gate_options(o: DiffLogicOptions, auto: str) -> GateOptions:
    """Return the options of a layer's gates; their initialisation is `auto` unless the user chose one."""
    initialisation = auto if o.initialisation == "auto" else o.initialisation
    try:
        return GateOptions(o.parametrisation, initialisation, o.forward_sampling, o.temperature, o.fan_in)
    except ValueError as error:
        raise UserError(f"model.difflogic.fan_in = {o.fan_in}: {error}") from error


def _activation_dtype(device: torch.device) -> torch.dtype:
    """Return autocast's dtype if it is on, which logic layers must apply themselves: autocast does not know them."""
    if torch.is_autocast_enabled(device.type):
        return torch.get_autocast_dtype(device.type)
    return torch.float32
