"""StreamDesign: all that a program needs to know to classify events while they come; and what cannot be streamed."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from src.circuit.circuit import Circuit
from src.config import Data
from src.events.frame_stream import MODES, FrameStream
from src.events.framing import Framing, frame_shape, region_size
from src.export.exported import ExportedModel
from src.frame_cache.framing_options import framing_of

LONGEST = 1 << 29  # microseconds; longer times cannot be told from shorter ones by timestamps of 32 bits that wrap


@dataclass(frozen=True, eq=False)
class StreamDesign:
    """A network with the way from events to its inputs.

    Attributes:
        name: of functions and files; an `identifier`.
        circuit: simplified; it reads stacked frames, of which a thermometer has made bits.
        class_names: in the order of the counts.
        framing: what becomes a frame; one of the modes of `FrameStream`.
        sensor_size: (W, H, P).
        stack: frames per sample.
        thresholds: whole numbers, of a thermometer that makes bits of counts; () for binary frames.
        source: what was exported, see `mark_of`.
    """

    name: str
    circuit: Circuit
    class_names: tuple[str, ...]
    framing: Framing
    sensor_size: tuple[int, int, int]
    stack: int = 1
    thresholds: tuple[int, ...] = ()
    source: str = ""

    @property
    def step(self) -> int:
        """Return the events or microseconds from the begin of a frame to that of the next one."""
        return self.framing.size - int(self.framing.overlap)

    @property
    def open_frames(self) -> int:
        """Return the number of frames that an event can belong to."""
        return -(-self.framing.size // self.step)

    @property
    def by_time(self) -> bool:
        """Return whether frames are windows of time."""
        return self.framing.mode == "time_window"

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """Return a frame's (P, H, W)."""
        return frame_shape(self.framing, self.sensor_size)

    @property
    def region(self) -> tuple[int, int]:
        """Return (W, H) of the part of the sensor that frames show."""
        return region_size(self.framing, self.sensor_size)[:2]

    @property
    def pixels(self) -> int:
        """Return the pixels of a frame, over all polarities."""
        return int(np.prod(self.frame_shape))

    @property
    def frame_bits(self) -> int:
        """Return the bits of a frame that the circuit reads."""
        return self.pixels * max(len(self.thresholds), 1)

    @property
    def frame_words(self) -> int:
        """Return the words of 32 bits that hold the bits of a frame."""
        return -(-self.frame_bits // 32)

    @cached_property
    def input_places(self) -> NDArray[np.int64]:
        """Where each input of the circuit lies, int64 [num_inputs]: each of the stacked frames begins a word."""
        inside = np.arange(self.frame_bits)
        return np.concatenate([32 * self.frame_words * frame + inside for frame in range(self.stack)])


def design_of(exported: ExportedModel) -> StreamDesign | str:
    """Return the design of a model that is exported, or why events cannot be classified while they come."""
    data, sensor_size = exported.config.data, exported.sensor_size
    if reason := obstacle(data, exported.model.thresholds):
        return reason
    framing = framing_of(data)
    try:
        FrameStream(framing, sensor_size)
    except ValueError as error:
        return str(error)
    channels, height, width = frame_shape(framing, sensor_size)
    if (data.stack * channels, height, width) != tuple(exported.model.frame_shape):
        return (
            f"frames of {list(sensor_size)} [W, H, P] pixels are not of the shape {list(exported.model.frame_shape)} "
            f"[P, H, W] that the model takes; train the job again"
        )
    return StreamDesign(
        exported.name,
        exported.circuit,
        exported.class_names,
        framing,
        sensor_size,
        data.stack,
        exported.model.thresholds,
        exported.source,
    )


def obstacle(data: Data, thresholds: Sequence[int]) -> str:
    """Return why events cannot be classified while they come, and what to use instead; "" if they can."""
    if data.frame_mode not in MODES:
        return (
            f"data.frame_mode = {data.frame_mode} needs all of a recording's events before its first frame; train "
            f"with data.frame_mode={' or '.join(MODES)}"
        )
    for name in ("stabilize", "first_saccade_only"):
        if getattr(data, name):
            return f"data.{name} = true is only known for whole recordings; train with data.{name}=false"
    longest = {"denoise_time": data.denoise_time}
    if data.frame_mode == "time_window":
        longest["time_window"] = data.time_window or 0
    for name, time in longest.items():
        if time > LONGEST:
            return f"data.{name} = {time} is too long for timestamps of 32 bits; train with at most {LONGEST}"
    if data.frame_dtype == "counts" and not thresholds:
        return "the model takes counts; train with data.frame_dtype=binary"
    return ""
