"""EventFilter: of events that come part by part, those that become frames, and their places in a frame."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from src.events.events import Events
from src.events.formats.errors import check_outside
from src.events.formats.windows import steps_back
from src.events.frame_stream_kernels import keep_supported_next
from src.events.frames import framed_size
from src.events.framing import Framing, of_region, region_size
from src.events.kernels import empty_memory, find_pixels

MOST_WAITING = 1 << 20  # events of which denoising cannot know yet whether it keeps them


class EventFilter:
    """Takes a recording's events part by part; keeps those on the sensor, in the framing's region, and not noise.

    All parts together keep the events that `frames_of` cuts into frames. Memory holds the latest time of each pixel.

    Args:
        framing: which events become frames.
        sensor_size: (W, H, P).

    Attributes:
        num_events: events so far, without those outside the sensor.
        num_outside: events outside the sensor so far.
        num_back: events so far whose time is before that of the event before them.
        num_in_region: events so far that lie in the framing's region of the sensor.
    """

    def __init__(self, framing: Framing, sensor_size: tuple[int, int, int]) -> None:
        self.framing, self.sensor_size = framing, sensor_size
        self.num_events = self.num_outside = self.num_back = self.num_in_region = 0
        width, height, _ = region_size(framing, sensor_size)
        self._width, rows, _ = framed_size(sensor_size=(width, height, 1), merged=True, downsample=framing.downsample)
        self._polarity_pixels = 0 if framing.polarities == "merged" else self._width * rows
        self._stride = height + 2
        denoises = framing.denoise_time > 0
        self._memory = empty_memory(width, self._stride, framing.denoise_time) if denoises else np.empty(0, np.int64)
        self._waiting: list[Events] | None = [] if denoises else None
        self._last_time: int | None = None

    def push(self, events: Events) -> Iterator[Events]:
        """Take the next events; yield those that are kept, at their places in the region.

        Raises:
            ValueError: if the first MOST_WAITING events all lie at pixel (0, 0), which leaves open whether denoising
                keeps them.
        """
        width, height, polarities = self.sensor_size
        inside = (events.x < width) & (events.y < height) & (events.p < polarities)
        if not inside.all():
            self.num_outside += len(events) - int(np.count_nonzero(inside))
            events = events.chosen(inside)
        if len(events) == 0:
            return
        self.num_events += len(events)
        before = int(events.t[0]) if self._last_time is None else self._last_time
        self.num_back += steps_back(events.t, before)
        self._last_time = int(events.t[-1])
        events = of_region(events, self.sensor_size, self.framing)
        self.num_in_region += len(events)
        yield from self._denoised(events)

    def check_outside(self) -> None:
        """Raise ForeignRecordingError if too many of the events so far lie outside the sensor to be noise."""
        width, height, _ = self.sensor_size
        check_outside(self.num_outside, self.num_events + self.num_outside, f"{width} x {height} pixels")

    def places(self, events: Events) -> NDArray[np.uint32]:
        """Return the place in a frame of each event that `push` has kept, uint32 [N]."""
        pixels = np.empty(len(events), np.uint32)
        downsample = float(self.framing.downsample)
        find_pixels(events.x, events.y, events.p, self._width, self._polarity_pixels, downsample, pixels)
        return pixels

    def _denoised(self, events: Events) -> Iterator[Events]:
        """Yield the events that denoising keeps.

        `keep_supported` has a memory that ends at the largest column and row of all events. That matters for an early
        event at pixel (0, 0) only: it has a neighbour if there is an event at another pixel, even a later one. Such
        events wait until there is one.
        """
        if self.framing.denoise_time == 0:
            yield events
            return
        kept = np.empty(len(events), np.uint32)
        number = keep_supported_next(
            events.x, events.y, events.t, self.framing.denoise_time, self._memory, self._stride, kept
        )
        supported = events.chosen(kept[:number])
        if self._waiting is not None:
            if len(supported):
                self._waiting.append(supported)
            if not (events.x.any() or events.y.any()):
                if sum(map(len, self._waiting)) > MOST_WAITING:
                    raise ValueError(f"its first {MOST_WAITING:,} events all lie at pixel (0, 0)")
                return
            yield from self._waiting
            self._waiting = None
        else:
            yield supported
