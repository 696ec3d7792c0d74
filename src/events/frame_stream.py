"""FrameStream: the frames of a recording whose events come a few at a time, each as soon as it is full."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.events.events import Events
from src.events.frame_stream_kernels import (
    LATEST,
    NEXT_FRAME,
    NUM_EVENTS,
    ORIGIN,
    STATE_SIZE,
    fill_frames,
    keep_supported_next,
)
from src.events.frames import framed_size
from src.events.framing import Framing, frame_bytes, of_region, region_size
from src.events.kernels import MOST_BYTES, empty_memory, find_pixels
from src.frame_modes import FRAME_MODES

MODES = ("event_count", "time_window")  # those whose frames do not depend on later events
MOST_EVENTS = 1 << 16  # looked at together
FRAMES_BYTES = 1 << 20  # of the frames that are handed out together
MOST_WAITING = 1 << 20  # events of which denoising cannot know yet whether it keeps them


@dataclass(frozen=True, eq=False)
class StreamedFrames:
    """Frames that became full one after the other.

    Attributes:
        frames: uint8 [F, frame_bytes], as of `frames_of`.
        times: int64 [F, 2], as of `frame_times`.
    """

    frames: NDArray[np.uint8]
    times: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.frames)


class FrameStream:
    """Cuts events that come part by part into the frames that `frames_of` cuts all of them into, bit for bit.

    Memory holds the frames that have begun and are not full, and the latest time of each pixel for denoising, however
    many events there are. Events outside the sensor are left out. Unlike `frames_of`, it has no limit to the number of
    frames. A window of time that was handed out takes no more events, so frames are those of the whole only if times
    do not go back: an event that does so counts as if it came at the latest time so far.

    Args:
        framing: of the modes MODES.
        sensor_size: (W, H, P).

    Raises:
        ValueError: for another mode, or if the frames that are open at a time take more than MOST_BYTES.

    Attributes:
        num_events: events so far, without those outside.
        num_outside: events outside the sensor so far.
        num_back: events so far whose time is before that of the event before them.
        num_frames: frames so far.
    """

    def __init__(self, framing: Framing, sensor_size: tuple[int, int, int]) -> None:
        if framing.mode not in MODES:
            raise ValueError(
                f"the frames of data.frame_mode = {framing.mode} depend on all of a recording's events, so they cannot "
                f"be cut while events come"
            )
        self.framing, self.sensor_size = framing, sensor_size
        self.num_events = self.num_outside = self.num_back = self.num_frames = 0
        width, height, _ = region_size(framing, sensor_size)
        self._width, rows, _ = framed_size(sensor_size=(width, height, 1), merged=True, downsample=framing.downsample)
        self._polarity_pixels = 0 if framing.polarities == "merged" else self._width * rows
        self._stride = height + 2
        denoises = framing.denoise_time > 0
        self._memory = empty_memory(width, self._stride, framing.denoise_time) if denoises else np.empty(0, np.int64)
        self._waiting: list[Events] | None = [] if denoises else None
        self._last_time: int | None = None
        self._step = framing.size - int(framing.overlap)
        num_bytes, num_open = frame_bytes(framing, sensor_size), -(-framing.size // self._step)
        self._most = MOST_BYTES // num_bytes
        if num_open > self._most:
            option = FRAME_MODES[framing.mode].size
            raise ValueError(
                f"data.overlap = {framing.overlap} with data.{option} = {framing.size} would keep {num_open:,} frames "
                f"open at a time, more than fit into memory"
            )
        self._state = np.zeros(STATE_SIZE, np.int64)
        self._open = np.zeros((num_open, num_bytes), np.uint8)
        self._open_begins = np.zeros(num_open, np.int64)
        self._room = max(1, min(self._most, FRAMES_BYTES // num_bytes))

    def push(self, events: Events) -> Iterator[StreamedFrames]:
        """Take the next events; yield the frames that they make full, FRAMES_BYTES at a time, which may be none.

        The generator has to be used up before the next call.

        Raises:
            ValueError: if a step of time is so long that too many windows lie in it, or if the first MOST_WAITING
                events all lie at pixel (0, 0), which leaves open whether denoising keeps them.
        """
        for begin in range(0, len(events), MOST_EVENTS):
            part = slice(begin, begin + MOST_EVENTS)
            yield from self._push(Events(events.x[part], events.y[part], events.t[part], events.p[part]))

    def finish(self) -> StreamedFrames:
        """Return the frames that the end of the events leaves: at most one."""
        size, by_time = self.framing.size, self.framing.mode == "time_window"
        num, following = int(self._state[NUM_EVENTS]), int(self._state[NEXT_FRAME])
        origin, latest = int(self._state[ORIGIN]), int(self._state[LATEST])
        reached = latest - origin if by_time else num
        is_left = following == 0 or (not self.framing.drop_incomplete and reached - size > (following - 1) * self._step)
        frames = self._open[following % len(self._open)][None].copy()
        if not is_left:
            return StreamedFrames(frames[:0], np.zeros((0, 2), np.int64))
        self.num_frames += 1
        begin = origin + following * self._step if by_time else int(self._open_begins[following % len(self._open)])
        end = begin + size if by_time else latest
        return StreamedFrames(frames, np.array([[begin, end] if num else [0, 0]], np.int64))

    def _push(self, events: Events) -> Iterator[StreamedFrames]:
        width, height, polarities = self.sensor_size
        inside = (events.x < width) & (events.y < height) & (events.p < polarities)
        if not inside.all():
            self.num_outside += len(events) - int(np.count_nonzero(inside))
            events = _chosen(events, inside)
        if len(events) == 0:
            return
        self.num_events += len(events)
        before = events.t[0] if self._last_time is None else np.int64(self._last_time)
        self.num_back += int(np.count_nonzero(np.diff(events.t, prepend=before) < 0))
        self._last_time = int(events.t[-1])
        for kept in self._denoised(of_region(events, self.sensor_size, self.framing)):
            yield from self._framed(kept)

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
        supported = _chosen(events, kept[:number])
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

    def _framed(self, events: Events) -> Iterator[StreamedFrames]:
        pixels = np.empty(len(events), np.uint32)
        find_pixels(
            events.x, events.y, events.p, self._width, self._polarity_pixels, float(self.framing.downsample), pixels
        )
        done = 0
        while done < len(events):
            frames = np.empty((self._room, self._open.shape[1]), np.uint8)
            begins, ends = np.empty(self._room, np.int64), np.empty(self._room, np.int64)
            done, number = fill_frames(
                self.framing.mode == "time_window",
                pixels,
                events.t,
                done,
                self.framing.size,
                self._step,
                self.framing.dtype == "counts",
                self._most,
                self._state,
                self._open,
                self._open_begins,
                frames,
                begins,
                ends,
            )
            if number:
                self.num_frames += number
                yield StreamedFrames(frames[:number], np.stack([begins[:number], ends[:number]], axis=1))


def _chosen(events: Events, places: NDArray[np.bool_] | NDArray[np.uint32]) -> Events:
    return Events(events.x[places], events.y[places], events.t[places], events.p[places])
