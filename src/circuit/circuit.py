"""Circuit: a trained logic gate network as gates, which can be simplified, counted, and run on packed frames."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from src.circuit.packed import PackedCircuit
from src.circuit.schedule import Schedule, node_levels, schedule_gates
from src.circuit.simplify import Arrays, simplify
from src.logic.gates import GATE_NAMES


@dataclass(frozen=True, eq=False)
class Circuit:
    """Gates in an order in which the inputs of a gate come before it.

    A node is a number: i < num_inputs is bit i of a frame, num_inputs + g is gate g.

    Attributes:
        num_inputs: bits per frame.
        gates: uint8 [G], numbers in the order of `src.logic.gates`, which are truth tables.
        first, second: int32 [G], the nodes that are a and b of gate g; an input that a gate ignores may be any node.
        outputs: int32 [O], the nodes that are counted, those of class 0 first.
        starts: int64 [classes + 1]; class c counts outputs[starts[c] : starts[c + 1]].
        offsets: int64 [classes], added to the counts: outputs that turned out to be constant.
        tau: class scores are counts divided by tau.
    """

    num_inputs: int
    gates: NDArray[np.uint8]
    first: NDArray[np.int32]
    second: NDArray[np.int32]
    outputs: NDArray[np.int32]
    starts: NDArray[np.int64]
    offsets: NDArray[np.int64]
    tau: float = 1.0

    @property
    def num_classes(self) -> int:
        """Return the number of class counts."""
        return len(self.offsets)

    def __call__(self, frames: NDArray[np.uint8]) -> NDArray[np.int32]:
        """Return the class counts of packed frames.

        The class of a frame is the argmax; its scores are the counts divided by tau, as the model gives in eval mode.

        Args:
            frames: uint8 [B, ceil(num_inputs / 8)], as in a frame cache.

        Returns:
            int32 [B, classes].
        """
        return self.packed(frames)

    @cached_property
    def packed(self) -> PackedCircuit:
        """The circuit made ready to run on packed frames."""
        return PackedCircuit(self.num_inputs, self.schedule, self.starts, self.offsets)

    @cached_property
    def schedule(self) -> Schedule:
        """The order in which the gates run, and where their values lie."""
        return schedule_gates(self.num_inputs, self.gates, self.first, self.second, self.outputs)

    def simplified(self) -> "Circuit":
        """Return a circuit with the same counts for every frame and no more gates; see `simplify`."""
        arrays = Arrays(self.gates, self.first, self.second, self.outputs, self.starts, self.offsets)
        return Circuit(self.num_inputs, *simplify(self.num_inputs, arrays), self.tau)

    def gate_counts(self) -> dict[str, int]:
        """Return how many gates there are of each kind, by name; kinds that do not occur are left out."""
        counts = Counter(self.gates.tolist())
        return {GATE_NAMES[gate]: counts[gate] for gate in sorted(counts)}

    def depth(self) -> int:
        """Return the number of gates on the longest way from an input to an output, buffers and constants included."""
        levels = self.levels()
        return int(levels[self.outputs].max(initial=0))

    def levels(self) -> NDArray[np.int64]:
        """Return int64 [num_inputs + G]: 0 for inputs; for a gate, one more than the higher level of its inputs."""
        return node_levels(self.num_inputs, self.first, self.second)
