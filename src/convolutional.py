"""The convolutional part of a DiffLogic model: its options -> convolutional logic layers, one after the other."""

from typing import Any

from src.config import DiffLogicOptions
from src.helpers import UserError
from src.logic import LogicConvolution
from src.logic.convolution import Part
from src.logic.convolution_selection import LearnedLogicConvolution
from src.logic.parametrisation import GateOptions


def convolutions(
    shape: tuple[int, int, int], options: DiffLogicOptions, gates: GateOptions, seen: list[range] | None = None
) -> list[LogicConvolution]:
    """The layers on bits [channels, height, width], the first one first.

    Args:
        shape: of the bits.
        options: of the model.
        gates: how these are learned.
        seen: the channels that each member sees; without, all of them.

    Raises:
        UserError: if options have another number of entries than there are layers, or do not fit the frames or members.
    """
    o = options.convolution
    seen = seen or [range(shape[0])] * options.members
    fields = _receptive_fields(o.receptive_field, len(o.kernels), options.members)
    pools = _one_a_layer("pooling", o.pooling, len(o.kernels))
    choices = _one_a_layer("candidates", o.candidates, len(o.kernels))
    common: dict[str, Any] = {
        "tree_depth": o.tree_depth,
        "grad_factor": options.grad_factor,
        "implementation": options.implementation,
        "gates": gates,
    }
    layers: list[LogicConvolution] = []
    for kernels, of_members, pool, candidates in zip(o.kernels, fields, pools, choices, strict=True):
        if kernels % options.members:
            raise UserError(
                f"model.difflogic.convolution.kernels = {o.kernels} must be multiples of model.difflogic.members = "
                f"{options.members}, which share them equally"
            )
        parts = [Part(channels, field) for channels, field in zip(seen, of_members, strict=True)]
        if len(set(parts)) == 1:  # which are drawn together: all channels are seen equally often
            parts = parts[:1]
        field, own = max(of_members), {**common, "pool": pool, "parts": parts}
        try:
            if candidates > 1:
                layer: LogicConvolution = LearnedLogicConvolution(shape, kernels, field, candidates, **own)
            else:
                layer = LogicConvolution(shape, kernels, field, **own)
        except ValueError as error:
            raise UserError(f"model.difflogic.convolution, layer {len(layers) + 1}: {error}") from error
        layers.append(layer)
        shape = layer.out_shape
        share = kernels // options.members
        seen = [range(member * share, (member + 1) * share) for member in range(options.members)]
    return layers


def _receptive_fields(values: list[int], layers: int, members: int) -> list[list[int]]:
    """Of each layer those of its members, from one value, one a layer, or one a layer of so many members, in turn."""
    different = len(values) // layers
    if len(values) == 1:
        return [values * members] * layers
    if len(values) % layers or not different or members % different:
        raise UserError(
            f"model.difflogic.convolution.receptive_field = {values} must have one entry, or one for each of the "
            f"{layers} entries of model.difflogic.convolution.kernels, or so many for each of 2 or more members, whose "
            f"number divides model.difflogic.members = {members}"
        )
    return [[values[(member % different) * layers + layer] for member in range(members)] for layer in range(layers)]


def _one_a_layer(name: str, values: list[int], layers: int) -> list[int]:
    if len(values) not in (1, layers):
        raise UserError(
            f"model.difflogic.convolution.{name} = {values} must have one entry, or one for each of the {layers} "
            f"entries of model.difflogic.convolution.kernels"
        )
    return values * layers if len(values) == 1 else values
