"""FrameStream: the frames of a recording whose events come a few at a time, each as soon as it is full."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.events.event_filter import EventFilter
from src.events.events import Events
from src.events.frame_stream_kernels import LATEST, NEXT_FRAME, NUM_EVENTS, ORIGIN, STATE_SIZE, fill_frames
from src.events.framing import Framing, frame_bytes
from src.events.kernels import MOST_BYTES
from src.frame_modes import FRAME_MODES

MODES = ("event_count", "time_window")  # those whose frames do not depend on later events
MOST_EVENTS = 1 << 16  # looked at together
FRAMES_BYTES = 1 << 20  # of the frames that are handed out together


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
        events: what becomes of the events, and how many there were so far.
        frame_bytes: bytes of a frame.
        num_frames: frames so far.
    """

    def __init__(self, framing: Framing, sensor_size: tuple[int, int, int]) -> None:
        if framing.mode not in MODES:
            raise ValueError(
                f"the frames of data.frame_mode = {framing.mode} depend on all of a recording's events, so they cannot "
                f"be cut while events come"
            )
        self.framing, self.sensor_size = framing, sensor_size
        self.events = EventFilter(framing, sensor_size)
        self.num_frames = 0
        self._step = framing.size - int(framing.overlap)
        self.frame_bytes, num_open = frame_bytes(framing, sensor_size), -(-framing.size // self._step)
        self._most = MOST_BYTES // self.frame_bytes
        if num_open > self._most:
            option = FRAME_MODES[framing.mode].size
            raise ValueError(
                f"data.overlap = {framing.overlap} with data.{option} = {framing.size} would keep {num_open:,} frames "
                f"open at a time, more than fit into memory"
            )
        self._state = np.zeros(STATE_SIZE, np.int64)
        self._open = np.zeros((num_open, self.frame_bytes), np.uint8)
        self._open_begins = np.zeros(num_open, np.int64)
        self._room = max(1, min(self._most, FRAMES_BYTES // self.frame_bytes))

    def push(self, events: Events) -> Iterator[StreamedFrames]:
        """Take the next events; yield the frames that they make full, FRAMES_BYTES at a time, which may be none.

        The generator has to be used up before the next call.

        Raises:
            ValueError: if a step of time is so long that too many windows lie in it; as `EventFilter.push`.
        """
        for begin in range(0, len(events), MOST_EVENTS):
            for kept in self.events.push(events.chosen(slice(begin, begin + MOST_EVENTS))):
                yield from self._framed(kept)

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

    def _framed(self, events: Events) -> Iterator[StreamedFrames]:
        pixels = self.events.places(events)
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
