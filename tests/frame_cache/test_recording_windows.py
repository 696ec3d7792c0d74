"""Parts of one file: the same events as from the whole file, which is decoded a few times however many there are."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from src.events import Events
from src.events.datasets.dataset import Recording
from src.events.datasets.folder import FOLDER
from src.events.formats.errors import CorruptRecordingError
from src.events.formats.windows import joined
from src.frame_cache.recording_windows import windows_of

RNG = np.random.default_rng(0)
N = 10_000
EVENTS = Events(
    RNG.integers(0, 30, N, np.uint16),
    RNG.integers(0, 30, N, np.uint16),
    np.cumsum(RNG.integers(0, 20, N)),
    RNG.integers(0, 2, N, np.uint8),
)
BOUNDS = np.linspace(0, int(EVENTS.t[-1]) + 1, 21).astype(int).tolist()
PARTS = list(itertools.pairwise([None, *BOUNDS[1:-1], None]))
numbers = itertools.count()


class File:
    """A file of these events, which counts how many windows were decoded."""

    def __init__(self, events=EVENTS, error=None):
        self.path, self.events, self.error, self.num_decoded = f"file {next(numbers)}", events, error, 0
        self.dataset = replace(FOLDER, windows=self.windows)

    def windows(self, path, most_events):
        for begin in range(0, len(self.events), most_events):
            self.num_decoded += 1
            yield replace(self.events.chosen(slice(begin, begin + most_events)), num_unread=1, num_outside=2)
        if self.error is not None:
            raise self.error

    def read(self, part, most_events):
        """The windows of a part that have events."""
        recording = Recording(self.path, 0, 0, False, begin=part[0], end=part[1])
        return list(windows_of(recording, self.dataset, most_events))


def of_time(events, part):
    begin, end = part
    return events.chosen((events.t >= (begin or 0)) & (events.t < (end or events.t.max() + 1)))


def equal(one, other):
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in "xytp")


@pytest.mark.parametrize("most_events", [N, 300])
@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)], ids=["in order", "backwards"])
def test_each_part_has_the_file_s_events_of_its_time(most_events, order):
    file = File()
    for part in PARTS[order]:
        assert equal(joined(iter(file.read(part, most_events))), of_time(EVENTS, part))


def test_times_that_go_back_over_many_windows_put_no_event_into_a_wrong_part():
    file = File(replace(EVENTS, t=RNG.permutation(EVENTS.t)))
    for part in PARTS:
        windows = file.read(part, 300)
        assert equal(joined(iter(windows)), of_time(file.events, part))
        assert sum(window.num_back for window in windows) == np.sum(np.diff(of_time(file.events, part).t) < 0)


def test_each_part_has_the_counts_of_the_whole_file():
    file = File()
    for part in PARTS:
        windows = file.read(part, 1000)
        assert [sum(getattr(window, name) for window in windows) for name in ("num_unread", "num_outside")] == [10, 20]


def test_a_file_of_one_window_is_decoded_once():
    file = File()
    for part in PARTS * 2:
        file.read(part, N)
    assert file.num_decoded == 1


def test_a_long_file_is_decoded_twice_for_parts_in_the_order_of_time():
    file = File()
    for part in PARTS:
        file.read(part, 100)
    assert file.num_decoded <= 2 * N // 100


def test_a_long_file_is_decoded_three_times_if_each_part_is_read_twice():
    file = File()
    for part in PARTS:
        assert equal(joined(iter(file.read(part, 100))), joined(iter(file.read(part, 100))))
    assert file.num_decoded <= 3 * N // 100 + 100


def test_a_file_that_turns_out_damaged_is_decoded_once_for_all_parts():
    file = File(error=CorruptRecordingError("its end is damaged"))
    for part in PARTS:
        with pytest.raises(CorruptRecordingError, match="its end is damaged"):
            file.read(part, 100)
    assert file.num_decoded == N // 100


def test_a_part_without_events_is_refused():
    file = File()
    for most_events in (N, 100):
        with pytest.raises(CorruptRecordingError, match="it has no events from 9000000000 microseconds"):
            file.read((9_000_000_000, None), most_events)
