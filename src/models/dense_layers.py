"""The dense part of a DiffLogic model: options -> logic layers."""

import math

from src.command_line import UserError
from src.config import DiffLogicOptions
from src.logic import LogicLayer
from src.logic.parametrisation import GateOptions
from src.registry import CONNECTIONS


def layer_widths(options: DiffLogicOptions) -> list[int]:
    """Return the number of neurons of each dense layer, the first one first."""
    _, last = last_width(options)
    return [*[options.num_neurons] * (options.num_layers - 1), last][: options.num_layers]


def last_width(options: DiffLogicOptions) -> tuple[str, int]:
    """Return the option that gives the last dense layer's neurons, and their number."""
    if options.last_neurons is None:
        return "model.difflogic.num_neurons", options.num_neurons
    return "model.difflogic.last_neurons", options.last_neurons


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
        option, neurons = last_width(o) if is_last else ("model.difflogic.num_neurons", o.num_neurons)
        text = f"{option} = {neurons}: {error}"
        if not layers and 2 * width < in_dim:
            text += (
                ". Smaller frames need fewer: data.downsample or data.crop makes them; or use "
                "model.difflogic.architecture=convolutional"
            )
        raise UserError(text) from error
    return layers
