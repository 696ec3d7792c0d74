"""The convolutional part of a DiffLogic model: options -> convolutional logic layers."""

from typing import Any

from src.command_line import UserError
from src.config import DiffLogicOptions
from src.logic import LogicConvolution
from src.logic.learned_convolution import LearnedLogicConvolution
from src.logic.parametrisation import GateOptions


def convolutions(shape: tuple[int, int, int], options: DiffLogicOptions, gates: GateOptions) -> list[LogicConvolution]:
    """Return the layers on bits of shape [channels, height, width], the first one first.

    Raises:
        UserError: if options do not have one entry per layer, or do not fit the frames or the members.
    """
    o = options.convolution
    fields = _one_per_layer("receptive_field", o.receptive_field, len(o.kernels))
    pools = _one_per_layer("pooling", o.pooling, len(o.kernels))
    choices = _one_per_layer("candidates", o.candidates, len(o.kernels))
    common: dict[str, Any] = {
        "tree_depth": o.tree_depth,
        "grad_factor": options.grad_factor,
        "implementation": options.implementation,
        "gates": gates,
    }
    layers: list[LogicConvolution] = []
    for kernels, field, pool, candidates in zip(o.kernels, fields, pools, choices, strict=True):
        if kernels % options.members:
            raise UserError(
                f"model.difflogic.convolution.kernels = {list(o.kernels)} must be multiples of "
                f"model.difflogic.members = {options.members}, which share them equally"
            )
        own = {**common, "pool": pool, "groups": options.members if layers else 1}  # all members see the frame
        try:
            if candidates > 1:
                layer: LogicConvolution = LearnedLogicConvolution(shape, kernels, field, candidates, **own)
            else:
                layer = LogicConvolution(shape, kernels, field, **own)
        except ValueError as error:
            raise UserError(f"model.difflogic.convolution, layer {len(layers) + 1}: {error}") from error
        layers.append(layer)
        shape = layer.out_shape
    return layers


def _one_per_layer(name: str, values: tuple[int, ...], layers: int) -> tuple[int, ...]:
    if len(values) not in (1, layers):
        raise UserError(
            f"model.difflogic.convolution.{name} = {list(values)} must have one entry, or one for each of the {layers} "
            f"entries of model.difflogic.convolution.kernels"
        )
    return values * layers if len(values) == 1 else values
