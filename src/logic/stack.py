"""Layers that follow each other, computed in as few calls of a backend as it can take them."""

import itertools
from collections.abc import Sequence
from typing import cast

import torch

from src.logic.backends.backend import StackedLayer
from src.logic.convolution import LogicConvolution
from src.logic.dense import LogicLayer, require_equal_groups
from src.logic.gate_layer import GateLayer


def features_of_layers(layers: Sequence[GateLayer], x: torch.Tensor) -> torch.Tensor:
    """Return the last layer's outputs: [in_dim, batch] -> [out_dim, batch].

    Convolutional layers of gates of two inputs that are neighbours are computed in one call.

    Raises:
        ValueError: if a layer does not take what the one before gives.
    """
    for are_stackable, group in itertools.groupby(layers, _is_stackable_convolution):
        neighbours = list(group)
        if are_stackable:
            backend, convolutions = neighbours[0]._backend(x), [cast(LogicConvolution, layer) for layer in neighbours]
            for one, following in itertools.pairwise(convolutions):
                if one.out_shape != following.in_shape:
                    raise ValueError(f"a convolution of {following.in_shape} follows one that gives {one.out_shape}")
            x = backend.convolutions(x, [layer.stacked(backend) for layer in convolutions])
        else:
            for layer in neighbours:
                x = layer.forward_features(x)
    return x


def sums_of_layers(layers: Sequence[GateLayer], x: torch.Tensor, k: int) -> torch.Tensor:
    """Return the sums of k equal groups of the last layer's neurons: [in_dim, batch] -> [k, batch].

    The last layer is a LogicLayer. Those at the end that can be stacked are computed in one call.

    Raises:
        ValueError: if the groups cannot be equal.
    """
    require_equal_groups(layers[-1].out_dim, k)
    begin = len(layers)
    while begin and layers[begin - 1].stackable:
        begin -= 1
    stack = layers[begin:]
    if not stack:
        last = layers[-1]
        assert isinstance(last, LogicLayer)
        return last.forward_sums(features_of_layers(layers[:-1], x), k)
    x = features_of_layers(layers[:begin], x)
    backend = stack[0]._backend(x)
    described = [StackedLayer(each.gate_weights(), each._connections(backend), each.grad_factor) for each in stack]
    return backend.stack_sums(x, described, k)


def _is_stackable_convolution(layer: GateLayer) -> bool:
    return isinstance(layer, LogicConvolution) and not layer.gates.has_tables
