"""RecordingFrames: the frames of a recording that is read window by window, in bounded memory."""

import itertools
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from src.events.event_filter import EventFilter
from src.events.events import Events
from src.events.formats.errors import CorruptRecordingError
from src.events.frame_stream import MODES, FrameStream, StreamedFrames
from src.events.frame_stream_kernels import fill_bins
from src.events.frames import OutsideSensorError, keep_inside
from src.events.framing import MODE_NUMBERS, Framing, frame_bytes, frame_times, frames_of
from src.events.kernels import most_frames, slices, time_bins


class RecordingFrames:
    """The frames of a recording, bit for bit those that `frames_of` makes of all its events at once.

    A recording of one window is framed as a whole. Of a longer one, memory holds two or three windows and the frames
    that are not full: those of bins are made in a second pass over the windows.

    Args:
        windows: called for each pass over the recording; gives its events in parts.
        sensor_size: (W, H, P).
        framing: how.
        with_times: without, the frames' times may be zeros, which saves time.
        check: called for each window; may raise to stop.

    Attributes, which are known after an iteration:
        num_events: events on the sensor.
        num_frames: frames.
        num_unread, num_outside, num_back: as in `Events`, of the whole recording.
        is_blank: whether no frame holds an event.
    """

    def __init__(
        self,
        windows: Callable[[], Iterator[Events]],
        sensor_size: tuple[int, int, int],
        framing: Framing,
        with_times: bool = False,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._windows, self._sensor_size, self._framing = windows, sensor_size, framing
        self._with_times, self._check = with_times, check
        self.num_events = self.num_frames = self.num_unread = self.num_outside = self.num_back = 0
        self.is_blank = True

    def __iter__(self) -> Iterator[StreamedFrames]:
        """Yield the frames in their order, some at a time.

        Raises:
            CorruptRecordingError: if the recording has no events, or times that go back where the frames depend on
                their order, which is found out on the way only.
            ForeignRecordingError: if more than a few events lie outside the sensor, which is found out at the end.
            ValueError: if the frames are more than `kernels.most_frames`, which is found out at the end.
            Whatever `windows` raises.
        """
        self.num_events = self.num_frames = self.num_unread = self.num_outside = self.num_back = 0
        self.is_blank = True
        windows = self._counted()
        first = next(windows, None)
        if first is None:
            raise CorruptRecordingError("it holds no events")
        second = next(windows, None)
        if second is None:
            frames = self._whole(first)
        else:
            make = self._streamed if self._framing.mode in MODES else self._binned
            frames = make(itertools.chain((first, second), windows))
        del first, second  # a window's memory is free once it is framed
        for part in frames:
            self.num_frames += len(part)
            self.is_blank = self.is_blank and not part.frames.any()
            yield part

    def _counted(self) -> Iterator[Events]:
        """Yield the windows that have events; add up what the reader counts."""
        for events in self._windows():
            self._check()
            self.num_unread += events.num_unread
            self.num_outside += events.num_outside
            self.num_back += events.num_back
            if len(events):
                yield events

    def _whole(self, events: Events) -> Iterator[StreamedFrames]:
        try:
            frames = frames_of(events, self._sensor_size, self._framing)
        except OutsideSensorError:
            inside = keep_inside(events, self._sensor_size)
            self.num_outside += len(events) - len(inside)
            events = inside
            frames = frames_of(events, self._sensor_size, self._framing)
        self.num_events = len(events)
        if self._with_times:
            times = frame_times(events, self._sensor_size, self._framing)
        else:
            times = np.zeros((len(frames), 2), np.int64)
        yield StreamedFrames(frames, times)

    def _streamed(self, windows: Iterator[Events]) -> Iterator[StreamedFrames]:
        stream = FrameStream(self._framing, self._sensor_size)
        for events in windows:
            yield from stream.push(events)
            self._require_order(stream.events)
        yield stream.finish()
        self._finish(stream.events)
        self._require_room(stream.num_frames, stream.events.num_in_region)

    def _binned(self, windows: Iterator[Events]) -> Iterator[StreamedFrames]:
        passed = EventFilter(self._framing, self._sensor_size)
        num_kept, first_time, last_time = 0, 0, 0
        for events in windows:
            for kept in passed.push(events):
                if len(kept):
                    first_time = first_time if num_kept else int(kept.t[0])
                    num_kept, last_time = num_kept + len(kept), int(kept.t[-1])
            self._require_order(passed)
        self._finish(passed)
        size = self._framing.size
        self._require_room(size, passed.num_in_region)
        begins, ends, times = self._bins(num_kept, first_time, last_time)
        frames = np.zeros((size, frame_bytes(self._framing, self._sensor_size)), np.uint8)
        again = EventFilter(self._framing, self._sensor_size)
        done = first = 0
        is_counts = self._framing.dtype == "counts"
        for events in self._windows():
            self._check()
            for kept in again.push(events):
                if self._framing.mode == "n_time_bins":
                    keys = kept.t.astype(np.float64)
                else:
                    keys = np.arange(done, done + len(kept), dtype=np.float64)
                    _note_times(times, begins, ends, kept, done)
                first = fill_bins(keys, again.places(kept), begins, ends, first, is_counts, frames)
                done += len(kept)
        yield StreamedFrames(frames, times)

    def _bins(
        self, num_kept: int, first_time: int, last_time: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """Return where each bin begins and ends, in time or in numbers of events, and its times as far as known."""
        size, overlap = self._framing.size, float(self._framing.overlap)
        times = np.zeros((size, 2), np.int64)
        if num_kept and self._framing.mode == "n_time_bins":
            begins, length = time_bins(first_time, last_time, size, overlap)
            times = np.ceil(np.stack([begins, begins + length], axis=1)).astype(np.int64)
            return begins, begins + length, times
        mode = MODE_NUMBERS["n_event_bins"]
        starts, stops = slices(mode, np.empty(0, np.int64), num_kept, size, overlap, True, size)
        return starts.astype(np.float64), np.minimum(stops, num_kept).astype(np.float64), times

    def _require_order(self, passed: EventFilter) -> None:
        if passed.num_back and self._framing.mode in ("time_window", "n_time_bins"):
            raise CorruptRecordingError(
                "its times go back, so it cannot be cut into windows of time part by part; give data.window_events a "
                "number above that of its events, or cut it by data.frame_mode = event_count"
            )

    def _finish(self, passed: EventFilter) -> None:
        """Take over what was counted; raise an error if too many events lie outside the sensor."""
        if passed.num_outside:
            passed.check_outside()
        self.num_events = passed.num_events
        self.num_outside += passed.num_outside

    def _require_room(self, num_frames: int, num_events: int) -> None:
        num_bytes = frame_bytes(self._framing, self._sensor_size)
        if num_frames > most_frames(MODE_NUMBERS[self._framing.mode], num_events, num_bytes):
            raise ValueError("it gives too many frames; are its timestamps damaged, or is the overlap too large?")


def _note_times(
    times: NDArray[np.int64], begins: NDArray[np.float64], ends: NDArray[np.float64], kept: Events, done: int
) -> None:
    """Write the times of first and last events of bins that are among these events; `done` events were before."""
    for column, numbers in enumerate((begins, ends - 1)):
        here = (ends > begins) & (numbers >= done) & (numbers < done + len(kept))
        times[here, column] = kept.t[numbers[here].astype(np.int64) - done]
