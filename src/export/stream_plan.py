"""StreamPlan: how a stream of events becomes the bits that a circuit reads, in numbers that C and hardware share."""

from collections.abc import Callable
from dataclasses import dataclass

from src.command_line import UserError
from src.events.frame_stream import FrameStream
from src.events.frames import framed_size
from src.events.framing import Framing, region_size
from src.export.exported import ExportedModel
from src.frame_cache.framing_options import framing_of

TIME_BITS = 32  # of a timestamp in microseconds
LONGEST = 1 << 29  # microseconds; longer times cannot be told from shorter ones by timestamps that wrap
MOST_UNARY = 8  # ones per pixel; a bit of such a count takes one LUT and no other to be compared

# An option that needs more than the events so far -> whether a framing uses it, and what to train with instead.
_CANNOT_STREAM: dict[str, tuple[Callable[[Framing], bool], str]] = {
    "data.frame_mode = n_time_bins": (lambda it: it.mode == "n_time_bins", "data.frame_mode=time_window"),
    "data.frame_mode = n_event_bins": (lambda it: it.mode == "n_event_bins", "data.frame_mode=event_count"),
    "data.stabilize = true": (lambda it: it.stabilize, "data.stabilize=false"),
    "data.first_saccade_only = true": (lambda it: it.first_saccade_only, "data.first_saccade_only=false"),
}


@dataclass(frozen=True)
class StreamPlan:
    """What becomes of a stream of events, in numbers.

    Attributes:
        framing: which events become frames; see `require_streamable`.
        sensor_size: (W, H, P) of the events.
        thresholds: of the thermometer; () if frames are binary.
        stack: frames per sample.
    """

    framing: Framing
    sensor_size: tuple[int, int, int]
    thresholds: tuple[int, ...] = ()
    stack: int = 1

    @property
    def region(self) -> tuple[int, int, int, int]:
        """Return the region of the sensor that frames show: x, y, width, height."""
        width, height, _ = self.sensor_size
        return self.framing.crop or (0, 0, width, height)

    @property
    def frame_size(self) -> tuple[int, int, int]:
        """Return (W, H, P) of a frame."""
        region = region_size(self.framing, self.sensor_size)
        return framed_size(region, self.framing.polarities == "merged", self.framing.downsample)

    @property
    def pixels(self) -> int:
        """Return the pixels of a frame, over all polarities."""
        width, height, polarities = self.frame_size
        return polarities * height * width

    @property
    def step(self) -> int:
        """Return the events or microseconds from one frame to the next."""
        return self.framing.size - int(self.framing.overlap)

    @property
    def num_open(self) -> int:
        """Return how many frames are open at a time, at most."""
        return -(-self.framing.size // self.step)

    @property
    def by_time(self) -> bool:
        """Return whether frames are windows of time."""
        return self.framing.mode == "time_window"

    @property
    def most_counted(self) -> int:
        """Return where a pixel's count stops, since more events do not matter: one above the highest threshold."""
        return min(max(*self.thresholds, 0) + 1, 255) if self.thresholds else 1

    @property
    def counts_in_unary(self) -> bool:
        """Return whether a pixel's count is as many ones, which are shifted in; otherwise it is a binary number."""
        return self.most_counted <= MOST_UNARY

    @property
    def count_bits(self) -> int:
        """Return the bits of a pixel's count; 1 for binary frames."""
        return self.most_counted if self.counts_in_unary else self.most_counted.bit_length()

    @property
    def bits_per_frame(self) -> int:
        """Return the bits of a frame behind the thermometer."""
        return max(len(self.thresholds), 1) * self.pixels


def plan_of(exported: ExportedModel) -> StreamPlan:
    """Return the plan of a model that is exported.

    Raises:
        UserError: its frames need more than the events so far, or are not of the shape that the model takes.
    """
    data, sensor_size = exported.config.data, exported.sensor_size
    framing = framing_of(data)
    require_streamable(framing)
    try:
        FrameStream(framing, sensor_size)
    except ValueError as error:
        raise UserError(str(error)) from error
    plan = StreamPlan(framing, sensor_size, exported.model.thresholds, data.stack)
    width, height, polarities = plan.frame_size
    if (data.stack * polarities, height, width) != tuple(exported.model.frame_shape):
        raise UserError(
            f"frames of {list(sensor_size)} [W, H, P] pixels are not of the shape {list(exported.model.frame_shape)} "
            f"[P, H, W] that the model takes; train the job again"
        )
    return plan


def require_streamable(framing: Framing) -> None:
    """Raise UserError if frames depend on more than the events so far, or on times that are too long."""
    for option, (is_used, instead) in _CANNOT_STREAM.items():
        if is_used(framing):
            raise UserError(
                f"{option}: such frames need all events of a recording, or their place in it, so no stream of events "
                f"gives them; train with {instead}"
            )
    times = {"denoise_time": framing.denoise_time}
    if framing.mode == "time_window":
        times["time_window"] = framing.size
    for name, time in times.items():
        if time > LONGEST:
            raise UserError(
                f"data.{name} = {time} is too long for timestamps of {TIME_BITS} bits; train with at most {LONGEST}"
            )
