"""The dense part of a DiffLogic model: options -> logic layers."""

import math

from src.command_line import UserError
from src.config import DiffLogicOptions
from src.logic import LogicLayer
from src.logic.parametrisation import GateOptions
from src.registry import CONNECTIONS


def dense_layers(shape: tuple[int, int, int], options: DiffLogicOptions, gates: GateOptions) -> list[LogicLayer]:
    """Return the layers on bits of shape [channels, height, width], the first one first.

    Raises:
        UserError: if the options do not fit the bits.
    """
    o, in_dim = options, math.prod(shape)
    scheme = CONNECTIONS.load(o.connections)(o.connections, shape, o.local_size, o.candidates)
    layers: list[LogicLayer] = []
    try:
        for _ in range(o.num_layers):
            layers.append(
                scheme.layer(
                    in_dim, o.num_neurons, grad_factor=o.grad_factor, implementation=o.implementation, gates=gates
                )
            )
            in_dim = o.num_neurons
    except ValueError as error:
        text = f"model.difflogic.num_neurons = {o.num_neurons}: {error}"
        if not layers and 2 * o.num_neurons < in_dim:
            text += (
                ". Smaller frames need fewer: data.downsample or data.crop makes them; or use "
                "model.difflogic.architecture=convolutional"
            )
        raise UserError(text) from error
    return layers
