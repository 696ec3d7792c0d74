"""The models: DiffLogic, CNN, MLP. A new one: write it in a file of its own, register it in MODELS."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from src.bits import unpack_bits
from src.command_line import UserError
from src.config import DiffLogicOptions, Model
from src.logic import LogicConvolution, LogicLayer
from src.logic.dense import unpack_features
from src.logic.parametrisation import GateOptions, initial_weights
from src.logic.thermometer import Thermometer
from src.logic.votes import VoteSum
from src.models.convolutions import convolutions
from src.models.dense_layers import dense_layers

FrameShape = tuple[int, int, int]


@dataclass(frozen=True)
class Size:
    """How large a model is at least.

    Attributes:
        parameters: numbers that it learns, by the option that most of them follow from.
        activations: numbers per frame that a training step keeps.
    """

    parameters: dict[str, int]
    activations: int


def unpack_frames(packed: torch.Tensor, frame_shape: FrameShape, dtype: torch.dtype) -> torch.Tensor:
    """Packed frames uint8 [B, ceil(P*H*W/8)] -> 0 and 1 [B, P, H, W], on the device of the packed ones."""
    return unpack_bits(packed, math.prod(frame_shape)).reshape(-1, *frame_shape).to(dtype)


class FrameModel(nn.Module):
    """A classifier of frames: [B, P, H, W] -> class scores [B, classes].

    Attributes:
        frame_dtype: how `forward_packed` reads a frame's bytes: binary (a bit a pixel) or counts (a byte a pixel).
    """

    frame_shape: FrameShape
    frame_dtype: str

    @staticmethod
    def least_size(frame_shape: FrameShape, num_classes: int, options: Model) -> Size:
        """The size of a model of these options, which need not fit the frames; nothing is allocated."""
        raise NotImplementedError

    def __init__(self, frame_shape: FrameShape, num_classes: int, frame_dtype: str) -> None:
        super().__init__()
        self.frame_shape = frame_shape
        self.num_classes = num_classes
        self.frame_dtype = frame_dtype

    def forward_packed(self, packed: torch.Tensor) -> torch.Tensor:
        """Class scores of frames as the cache holds them: uint8 [B, ceil(P*H*W/8)], or [B, P*H*W] of counts.

        Counts are not scaled: a frame with at most one event a pixel has the scores of the binary one, and others
        have values of the same size, since counts above 10 are rare. Divided by 255, they would nearly vanish.
        """
        if self.frame_dtype == "counts":
            return self(packed.reshape(-1, *self.frame_shape).float())
        return self(unpack_frames(packed, self.frame_shape, torch.float32))

    def forward_training(self, packed: torch.Tensor) -> torch.Tensor:
        """The scores [B, groups, classes] that training gives a loss each; `forward_packed` is their mean.

        Softmax does not tell scores from those that a number has been added to for all classes: it may be left out.
        """
        return self.forward_packed(packed)[:, None]


class DiffLogic(FrameModel):
    """Logic layers of equal width on the bits of a frame; class scores are sums of the last layer's bits, or votes.

    With architecture: convolutional, convolutional logic layers come before them.
    Relaxed in train mode, discretised in eval mode (see LogicLayer). With several members, the kernels are those of as
    many networks that share none: each has a loss of its own, and their votes are added up.

    Attributes:
        thermometer: what makes bits of counts; None for binary frames.
        bits_shape: of the bits that the first layer sees, (channels, H, W).
        votes: what counts the last layer's bits, with readout: votes; None where each class has its own neurons.
    """

    thermometer: Thermometer | None
    votes: VoteSum | None

    @staticmethod
    def least_size(frame_shape: FrameShape, num_classes: int, options: Model) -> Size:
        """Votes are left out."""
        o = options.difflogic
        of_gate = initial_weights(1, _gate_options(o, "normal")).numel()
        of_neuron = of_gate + (2 * o.candidates if o.connections == "learned" else 0)
        parameters = {"model.difflogic.num_neurons": o.num_layers * o.num_neurons * of_neuron}
        if o.architecture == "convolutional":
            gates = (2**o.convolution.tree_depth - 1) * sum(o.convolution.kernels)
            parameters["model.difflogic.convolution.kernels"] = gates * of_gate
        return Size(parameters, max(0, o.num_layers - 1) * o.num_neurons)

    def __init__(self, frame_shape: FrameShape, num_classes: int, frame_dtype: str, options: Model) -> None:
        super().__init__(frame_shape, num_classes, frame_dtype)
        o = options.difflogic
        if o.readout == "sum" and o.num_neurons % num_classes:
            near = max(round(o.num_neurons / num_classes), 1) * num_classes
            raise UserError(
                f"model.difflogic.num_neurons = {o.num_neurons} must be a multiple of the {num_classes} classes, "
                f"such as {near}: the last layer's neurons are divided among them"
            )
        channels, height, width = frame_shape
        levels = o.thermometer_levels
        self.thermometer = Thermometer(levels, channels, o.thermometer == "learnable") if levels else None
        self.bits_shape = max(levels, 1) * channels, height, width
        convolutional = o.architecture == "convolutional"
        if not o.num_layers and not (convolutional and o.readout == "votes"):
            raise UserError(
                "model.difflogic.num_layers = 0: only model.difflogic.architecture=convolutional with "
                "model.difflogic.readout=votes needs no dense layer; use at least 1"
            )
        if o.members > 1 and (o.num_layers or o.readout != "votes"):
            raise UserError(
                f"model.difflogic.members = {o.members}: only model.difflogic.readout=votes without dense layers, "
                "model.difflogic.num_layers=0, has members; use 1"
            )
        first = convolutions(self.bits_shape, o, _gate_options(o, "residual")) if convolutional else []
        shape = first[-1].out_shape if first else self.bits_shape
        gates = _gate_options(o, "normal")
        self.layers = nn.ModuleList([*first, *dense_layers(shape, o, gates)])
        self.tau = o.tau
        last = self.logic_layers()[-1]
        self.votes = VoteSum(last.out_dim, num_classes, gates, o.members) if o.readout == "votes" else None

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """[B, P, H, W] -> [B, classes]."""
        return self._classify(frames.flatten(1).T)

    def forward_packed(self, packed: torch.Tensor) -> torch.Tensor:
        """Class scores of packed frames, uint8 [B, ceil(P*H*W/8)], or [B, P*H*W] of counts."""
        return self._classify(self._features(packed))

    def forward_training(self, packed: torch.Tensor) -> torch.Tensor:
        """Class scores [B, groups, classes] of packed frames, with readout: votes those of each group by itself."""
        if self.votes is None:
            return super().forward_training(packed)
        bits = self._bits(self._features(packed), self.logic_layers())
        return self.votes.forward_groups(bits) * (self.votes.groups / self.tau)

    def _features(self, packed: torch.Tensor) -> torch.Tensor:
        """[B, bytes] -> [P*H*W, B]."""
        if self.thermometer is not None:
            return packed.T
        return unpack_features(packed, math.prod(self.frame_shape), _activation_dtype(packed.device))

    def _classify(self, features: torch.Tensor) -> torch.Tensor:
        """[P*H*W, B] -> [B, classes]."""
        layers = self.logic_layers()
        if self.votes is not None:
            return self.votes.forward_features(self._bits(features, layers)) / self.tau
        *layers, last = layers
        assert isinstance(last, LogicLayer)
        return last.forward_sums(self._bits(features, layers), self.num_classes).T / self.tau

    def _bits(self, features: torch.Tensor, layers: list[LogicConvolution | LogicLayer]) -> torch.Tensor:
        """[P*H*W, B] -> [out_dim, B]: feature-major through the thermometer and layers."""
        if self.thermometer is not None:
            features = self.thermometer(features)
        x = features.to(_activation_dtype(features.device)).contiguous()
        for layer in layers:
            x = layer.forward_features(x)
        return x

    def circuit_inputs(self, packed: torch.Tensor) -> torch.Tensor:
        """Packed frames as `forward_packed` takes them -> the packed bits that the model's circuit reads."""
        return packed if self.thermometer is None else self.thermometer.encode(packed)

    def logic_layers(self) -> list[LogicConvolution | LogicLayer]:
        """The layers, the first one first."""
        return [layer for layer in self.layers if isinstance(layer, LogicConvolution | LogicLayer)]


def _gate_options(options: DiffLogicOptions, auto: str) -> GateOptions:
    """The options of a layer's gates, whose initialisation is `auto` unless the user chose one."""
    o = options
    initialisation = auto if o.initialisation == "auto" else o.initialisation
    return GateOptions(o.parametrisation, initialisation, o.forward_sampling, o.temperature)


class CNN(FrameModel):
    """Two convolutions with pooling, then two dense layers."""

    @staticmethod
    def least_size(frame_shape: FrameShape, num_classes: int, options: Model) -> Size:
        """Weights alone, and what comes out of the convolutions."""
        o = options.cnn
        channels, height, width = frame_shape
        pooled = o.conv2_channels * (height // 4) * (width // 4)
        parameters = {
            "model.cnn.conv1_channels": 9 * channels * o.conv1_channels,
            "model.cnn.conv2_channels": 9 * o.conv1_channels * o.conv2_channels,
            "model.cnn.fc_hidden_size": (pooled + num_classes) * o.fc_hidden_size,
        }
        return Size(parameters, o.conv1_channels * height * width + o.conv2_channels * (height // 2) * (width // 2))

    def __init__(self, frame_shape: FrameShape, num_classes: int, frame_dtype: str, options: Model) -> None:
        super().__init__(frame_shape, num_classes, frame_dtype)
        o = options.cnn
        channels, height, width = frame_shape
        if min(height, width) < 4:
            raise UserError(f"model.model_type = cnn: frames of {width} x {height} pixels are too small to pool twice")
        self.layers = nn.Sequential(
            nn.Conv2d(channels, o.conv1_channels, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(o.conv1_channels, o.conv2_channels, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(o.conv2_channels * (height // 4) * (width // 4), o.fc_hidden_size),
            nn.ReLU(),
            nn.Linear(o.fc_hidden_size, num_classes),
        )

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """[B, P, H, W] -> [B, classes]."""
        return self.layers(frames)


class MLP(FrameModel):
    """Dense layers with ReLU."""

    @staticmethod
    def least_size(frame_shape: FrameShape, num_classes: int, options: Model) -> Size:
        """Weights alone, and what comes out of the hidden layers."""
        o = options.mlp
        weights = (math.prod(frame_shape) + (o.num_hidden_layers - 1) * o.hidden_size + num_classes) * o.hidden_size
        return Size({"model.mlp.hidden_size": weights}, o.num_hidden_layers * o.hidden_size)

    def __init__(self, frame_shape: FrameShape, num_classes: int, frame_dtype: str, options: Model) -> None:
        super().__init__(frame_shape, num_classes, frame_dtype)
        o = options.mlp
        layers: list[nn.Module] = [nn.Flatten()]
        width = math.prod(frame_shape)
        for _ in range(o.num_hidden_layers):
            layers += [nn.Linear(width, o.hidden_size), nn.ReLU()]
            width = o.hidden_size
        self.layers = nn.Sequential(*layers, nn.Linear(width, num_classes))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """[B, P, H, W] -> [B, classes]."""
        return self.layers(frames)


MODELS: dict[str, type[DiffLogic] | type[CNN] | type[MLP]] = {
    "difflogic": DiffLogic,
    "cnn": CNN,
    "mlp": MLP,
}


def create_model(options: Model, frame_shape: FrameShape, num_classes: int, frame_dtype: str = "binary") -> FrameModel:
    """The model that `model.model_type` names, its weights drawn from PyTorch's global generator.

    Raises:
        UserError: if the options do not fit the frames or the classes.
    """
    require_fitting_frames(options, frame_dtype)
    return MODELS[options.model_type](frame_shape, num_classes, frame_dtype, options)


def least_size(options: Model, frame_shape: FrameShape, num_classes: int) -> Size:
    """How large the model that `create_model` gives is at least."""
    return MODELS[options.model_type].least_size(frame_shape, num_classes, options)


def require_fitting_frames(options: Model, frame_dtype: str) -> None:
    """UserError if the model cannot take frames of this dtype."""
    if options.model_type != "difflogic":
        return
    levels = options.difflogic.thermometer_levels
    if frame_dtype != "binary" and not levels:
        raise UserError(
            f"data.frame_dtype = {frame_dtype}: model.model_type = difflogic takes bits; use data.frame_dtype=binary, "
            f"or model.difflogic.thermometer_levels=4 to make bits of counts, or cnn or mlp"
        )
    if frame_dtype == "binary" and levels:
        raise UserError(
            f"model.difflogic.thermometer_levels = {levels}: there are no counts to make bits of; "
            f"use data.frame_dtype=counts, or 0 levels"
        )


def _activation_dtype(device: torch.device) -> torch.dtype:
    """Logic layers are no operation that autocast knows: take its dtype at the input, where it is on."""
    if torch.is_autocast_enabled(device.type):
        return torch.get_autocast_dtype(device.type)
    return torch.float32
