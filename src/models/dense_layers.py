"""The dense part of a DiffLogic model: options -> logic layers."""

import math

from src.command_line import UserError
from src.config import DiffLogicOptions
from src.logic import LogicLayer
from src.logic.parametrisation import GateOptions
from src.registry import CONNECTIONS


def layer_widths(options: DiffLogicOptions) -> list[int]:
    """Return the number of neurons of each dense layer, the first one first."""
    o = options
    return [*[o.num_neurons] * (o.num_layers - 1), o.last_neurons or o.num_neurons][: o.num_layers]


def last_width_option(options: DiffLogicOptions) -> str:
    """Return the option that gives the last dense layer's neurons, and its value, for a message."""
    o = options
    is_own = o.last_neurons is not None
    return f"model.difflogic.{f'last_neurons = {o.last_neurons}' if is_own else f'num_neurons = {o.num_neurons}'}"


def dense_layers(shape: tuple[int, int, int], options: DiffLogicOptions, gates: GateOptions) -> list[LogicLayer]:
    """Return the layers on bits of shape [channels, height, width], the first one first.

    Raises:
        UserError: if the options do not fit the bits.
    """
    o, in_dim = options, math.prod(shape)
    scheme = CONNECTIONS.load(o.connections)(o.connections, shape, o.local_size, o.candidates)
    layers: list[LogicLayer] = []
    try:
        for width in layer_widths(o):
            layers.append(
                scheme.layer(in_dim, width, grad_factor=o.grad_factor, implementation=o.implementation, gates=gates)
            )
            in_dim = width
    except ValueError as error:
        is_last = len(layers) == o.num_layers - 1
        text = f"{last_width_option(o) if is_last else f'model.difflogic.num_neurons = {o.num_neurons}'}: {error}"
        if not layers and 2 * width < in_dim:
            text += (
                ". Smaller frames need fewer: data.downsample or data.crop makes them; or use "
                "model.difflogic.architecture=convolutional"
            )
        raise UserError(text) from error
    return layers
