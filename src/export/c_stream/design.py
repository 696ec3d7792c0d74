"""StreamDesign: all that a C program needs to know to classify events while they come."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from src.circuit.circuit import Circuit
from src.export.exported import ExportedModel
from src.export.stream_plan import StreamPlan, plan_of


@dataclass(frozen=True, eq=False)
class StreamDesign:
    """A network with the way from events to its inputs.

    Attributes:
        name: of functions and files; an `identifier`.
        circuit: simplified; it reads stacked frames, of which a thermometer has made bits.
        class_names: in the order of the counts.
        plan: what becomes of events.
        source: what was exported, see `mark_of`.
    """

    name: str
    circuit: Circuit
    class_names: tuple[str, ...]
    plan: StreamPlan
    source: str = ""

    @property
    def frame_words(self) -> int:
        """Return the words of 32 bits that hold the bits of a frame."""
        return -(-self.plan.bits_per_frame // 32)

    @cached_property
    def input_places(self) -> NDArray[np.int64]:
        """Where each input of the circuit lies, int64 [num_inputs]: each of the stacked frames begins a word."""
        inside = np.arange(self.plan.bits_per_frame)
        return np.concatenate([32 * self.frame_words * frame + inside for frame in range(self.plan.stack)])


def design_of(exported: ExportedModel) -> StreamDesign:
    """Return the design of a model that is exported; a UserError as `plan_of`."""
    plan = plan_of(exported)
    return StreamDesign(exported.name, exported.circuit, exported.class_names, plan, exported.source)
