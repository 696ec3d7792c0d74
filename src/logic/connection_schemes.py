"""Connection schemes: how the dense layers of a network are connected, one class per scheme.

They are listed in src/registry.py.
"""

import math
from typing import Any, ClassVar

from src.logic.connections import local_connections, pixel_positions, random_connections, unique_connections
from src.logic.dense import LogicLayer
from src.logic.learned_dense import LearnedLogicLayer
from src.logic.parametrisation import GateOptions


class ConnectionScheme:
    """Makes the dense layers of one network, the first one first.

    A scheme either draws each layer's connections by themselves, and sets `draw`, or overrides `layer`.

    Attributes:
        draw: (in_dim, out_dim, fan_in) -> int64 [fan_in, out_dim], the inputs of each neuron, from PyTorch's global
            generator; None if connections depend on more than these numbers.
    """

    draw: ClassVar[Any] = None

    def __init__(self, name: str, shape: tuple[int, int, int], local_size: int, candidates: int) -> None:
        """Begin a network.

        Args:
            name: the scheme's in the registry.
            shape: channels, height and width of the bits that the first layer sees.
            local_size: height and width of a window, in pixels.
            candidates: number of candidates for each input of a neuron.
        """
        self.name, self.shape, self.local_size, self.candidates = name, shape, local_size, candidates

    def layer(self, in_dim: int, out_dim: int, gates: GateOptions, **options: Any) -> LogicLayer:
        """Return the next layer; `gates` and `options` are LogicLayer's. ValueError if there is no such layer."""
        return LogicLayer(in_dim, out_dim, connections=self.name, gates=gates, **options)

    @staticmethod
    def parameters(candidates: int, fan_in: int) -> int:
        """Return the number of values per neuron that a layer learns about its connections."""
        return 0


class Random(ConnectionScheme):
    """Each input is used equally often, up to one; difflogic's `random`."""

    draw = staticmethod(random_connections)


class Unique(ConnectionScheme):
    """No two neurons see the same inputs; difflogic's `unique`."""

    draw = staticmethod(unique_connections)


class Local(ConnectionScheme):
    """The inputs of a neuron lie in one window of the image, which grows by `local_size` per layer."""

    def __init__(self, name: str, shape: tuple[int, int, int], local_size: int, candidates: int) -> None:
        super().__init__(name, shape, local_size, candidates)
        self._positions = pixel_positions(shape)  # the next layer's inputs
        self._layers = 0

    def layer(self, in_dim: int, out_dim: int, gates: GateOptions, **options: Any) -> LogicLayer:
        """Return a layer whose neurons lie between their inputs."""
        self._layers += 1
        size = self._layers * self.local_size
        indices, self._positions = local_connections(self._positions, out_dim, size, gates.fan_in)
        return LogicLayer(in_dim, out_dim, connections=indices, gates=gates, **options)


class Learned(ConnectionScheme):
    """Neurons learn which of `candidates` they see."""

    def layer(self, in_dim: int, out_dim: int, gates: GateOptions, **options: Any) -> LogicLayer:
        """Return a layer that begins with random connections."""
        least = min(math.prod(self.shape), out_dim)
        if self.candidates > least:
            raise ValueError(
                f"candidates = {self.candidates}: a layer has only {least} inputs to choose among; use fewer"
            )
        return LearnedLogicLayer(in_dim, out_dim, candidates=self.candidates, gates=gates, **options)

    @staticmethod
    def parameters(candidates: int, fan_in: int) -> int:
        """Return a logit for each candidate of each input."""
        return fan_in * candidates
