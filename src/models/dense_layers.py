"""The dense part of a DiffLogic model: options -> logic layers."""

import math
from typing import Any

from src.command_line import UserError
from src.config import DiffLogicOptions
from src.logic import LogicLayer
from src.logic.connections import local_connections, pixel_positions
from src.logic.learned_dense import LearnedLogicLayer
from src.logic.parametrisation import GateOptions


def dense_layers(shape: tuple[int, int, int], options: DiffLogicOptions, gates: GateOptions) -> list[LogicLayer]:
    """Return the layers on bits of shape [channels, height, width], the first one first.

    Raises:
        UserError: if the options do not fit the bits.
    """
    o, in_dim = options, math.prod(shape)
    if o.connections == "learned" and o.candidates > min(in_dim, o.num_neurons):
        raise UserError(
            f"model.difflogic.candidates = {o.candidates}: a layer has only {min(in_dim, o.num_neurons)} inputs to "
            f"choose among; use fewer"
        )
    positions = pixel_positions(shape)
    common: dict[str, Any] = {"grad_factor": o.grad_factor, "implementation": o.implementation, "gates": gates}
    layers: list[LogicLayer] = []
    try:
        for number in range(1, o.num_layers + 1):
            if o.connections == "learned":
                layer: LogicLayer = LearnedLogicLayer(in_dim, o.num_neurons, candidates=o.candidates, **common)
            elif o.connections == "local":
                indices, positions = local_connections(positions, o.num_neurons, number * o.local_size)
                layer = LogicLayer(in_dim, o.num_neurons, connections=indices, **common)
            else:
                layer = LogicLayer(in_dim, o.num_neurons, connections=o.connections, **common)
            layers.append(layer)
            in_dim = o.num_neurons
    except ValueError as error:
        raise UserError(f"model.difflogic.num_neurons = {o.num_neurons}: {error}") from error
    return layers
