"""The events of a recording, or of the part of a file that it is, window by window."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from src.events.datasets.dataset import Dataset, Recording
from src.events.events import Events
from src.events.formats.errors import CorruptRecordingError, EmptyPartError
from src.events.formats.windows import empty_events, steps_back

MOST_CURSORS = 2  # in a file; frames of bins are made in two passes over a part


def windows_of(recording: Recording, dataset: Dataset, most_events: int) -> Iterator[Events]:
    """Yield the events of a recording, or of the part of a file that it is, in parts of at most `most_events`.

    Parts of one file are read fastest one after the other, in the order of time: the file is decoded twice then,
    however many parts it has, and three times for bins.

    Raises:
        CorruptRecordingError, ForeignRecordingError: if it cannot be used.
        OSError: if it cannot be read from the disk.
    """
    try:
        if recording.begin is None and recording.end is None:
            yield from _windows_of_file(recording.path, dataset, most_events)
        else:
            yield from _windows_of_part(recording, dataset, most_events)
    except ValueError as error:
        raise CorruptRecordingError(str(error)) from error


def _windows_of_file(path: str, dataset: Dataset, most_events: int) -> Iterator[Events]:
    return iter([dataset.read(path)]) if dataset.windows is None else dataset.windows(path, most_events)


def _windows_of_part(recording: Recording, dataset: Dataset, most_events: int) -> Iterator[Events]:
    least, most = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    begin = least if recording.begin is None else recording.begin
    end = most if recording.end is None else recording.end
    num_events, last = 0, None
    file = _file_of_parts(recording.path, dataset, most_events)
    for events in file.windows(begin, end):
        num_back = 0
        if len(events):
            num_back, last = steps_back(events.t, int(events.t[0]) if last is None else last), int(events.t[-1])
        num_events += len(events)
        yield replace(events, num_back=num_back)
    if num_events == 0:
        from_begin = "" if recording.begin is None else f" from {recording.begin}"
        to_end = "" if recording.end is None else f" to {recording.end}"
        first, last = file.times()
        raise EmptyPartError(
            f"it has no events{from_begin}{to_end} microseconds; its own timestamps go from {first} to {last}"
        )


@functools.lru_cache(maxsize=1)  # the parts of a file follow each other
def _file_of_parts(path: str, dataset: Dataset, most_events: int) -> "_FileOfParts":
    return _FileOfParts(path, dataset, most_events)


@dataclass(frozen=True)
class _Span:
    """The times in a window, and what the reader has counted there.

    Attributes:
        first, last: least and largest time; without events, `first` is above `last`.
        is_in_order: whether no time is before the one before it.
        num_unread, num_outside: as in `Events`.
    """

    first: int
    last: int
    is_in_order: bool
    num_unread: int
    num_outside: int

    @classmethod
    def of(cls, events: Events) -> "_Span":
        first, last = (int(events.t.min()), int(events.t.max())) if len(events) else (1, 0)
        is_in_order = steps_back(events.t, first) == 0
        return cls(first, last, is_in_order, events.num_unread, events.num_outside)

    def has(self, begin: int, end: int) -> bool:
        """Return whether there may be events from `begin` to before `end`."""
        return self.first < end and self.last >= begin

    def cut(self, events: Events, begin: int, end: int) -> Events:
        """Return the window's events from `begin` to before `end`, with the counts of the whole window."""
        if not self.has(begin, end):
            kept = Events(*empty_events(0))
        elif self.is_in_order:
            kept = events.chosen(slice(*np.searchsorted(events.t, [begin, end])))
        else:
            kept = events.chosen((events.t >= begin) & (events.t < end))
        return replace(kept, num_unread=self.num_unread, num_outside=self.num_outside)


@dataclass
class _Cursor:
    """A place in a file: the number of its window there, the window, and those that follow."""

    number: int
    events: Events
    following: Iterator[Events]


class _FileOfParts:
    """The windows of a file, for one part of it after the other.

    Whoever comes to a window first notes the times in it, so that later parts decode only those that may hold events of
    theirs. Memory holds a window per cursor.
    """

    def __init__(self, path: str, dataset: Dataset, most_events: int) -> None:
        self._open = functools.partial(_windows_of_file, path, dataset, most_events)
        self._spans: list[_Span] = []  # of the windows so far
        self._are_all = False
        self._cursors: list[_Cursor] = []
        self._error: Exception | None = None

    def windows(self, begin: int, end: int) -> Iterator[Events]:
        """Yield of each window the events from `begin` to before `end`, often none, and the counts."""
        if self._error is not None:
            raise self._error
        nothing = Events(*empty_events(0))
        number = 0
        while number < len(self._spans) or self._find(number):
            span = self._spans[number]
            events = self._window(number) if span.has(begin, end) else nothing
            yield span.cut(events, begin, end)
            number += 1

    def times(self) -> tuple[int, int]:
        """Return the least and the largest time of the windows that are known, which are all after `windows`."""
        spans = [span for span in self._spans if span.first <= span.last]
        return min((span.first for span in spans), default=0), max((span.last for span in spans), default=0)

    def _find(self, number: int) -> bool:
        """Return whether there is a window of this number, which is the first that is not known."""
        if not self._are_all:
            self._move(self._cursor_before(number), number)
        return number < len(self._spans)

    def _window(self, number: int) -> Events:
        cursor = self._cursor_before(number)
        self._move(cursor, number)
        return cursor.events

    def _cursor_before(self, number: int) -> _Cursor:
        """Return the nearest cursor at or before a window, a new one if there is none."""
        behind = [cursor for cursor in self._cursors if cursor.number <= number]
        if behind:
            return max(behind, key=lambda cursor: cursor.number)
        cursor = _Cursor(-1, Events(*empty_events(0)), self._open())
        nearest = sorted(self._cursors, key=lambda cursor: cursor.number)[: MOST_CURSORS - 1]
        self._cursors = [*nearest, cursor]
        return cursor

    def _move(self, cursor: _Cursor, number: int) -> None:
        """Move a cursor on to a window, or to the last one if there is none of this number."""
        while cursor.number < number:
            try:
                events = next(cursor.following, None)
            except (CorruptRecordingError, ValueError) as error:  # it would be the same for each part
                self._error = error
                raise
            if events is None:
                self._are_all = True
                return
            cursor.number, cursor.events = cursor.number + 1, events
            if cursor.number == len(self._spans):
                self._spans.append(_Span.of(events))
