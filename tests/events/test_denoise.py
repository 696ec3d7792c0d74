"""Denoising: bit-identical to tonic's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tonic.transforms import Denoise

from src.events import Events, denoise
from tests.recordings import event_streams, same


@settings(max_examples=200, deadline=None)
@given(event_streams(), st.sampled_from([0, 1, 5, 30, 1000, 20_000]))
def test_the_same_events_stay_as_with_tonic(stream, filter_time):
    events, _ = stream
    expected = Denoise(filter_time)(events.to_structured())
    assert same(denoise(events, filter_time), Events.from_structured(expected))


def column(*rows):
    x, y, t = np.array(rows).T
    return Events(x.astype(np.uint16), y.astype(np.uint16), t, np.ones(len(t), np.uint8))


def test_an_isolated_event_goes_and_a_supported_one_stays():
    events = column((5, 5, 10_000), (6, 5, 10_100), (0, 0, 20_000))
    assert denoise(events, 1000).t.tolist() == [10_100]


def test_a_pixel_without_events_supports_its_neighbours_before_filter_time():
    # tonic's memory begins at filter_time: whatever happens before then has support, unless no pixel is beside it.
    assert len(denoise(column((0, 0, 5), (1, 1, 6)), 1000)) == 2
    assert len(denoise(column((0, 0, 5)), 1000)) == 0


@pytest.mark.parametrize("filter_time", [0, 1200])
def test_no_events_stay_none_with_a_warning(filter_time, caplog):
    empty = column((0, 0, 0))
    empty = Events(empty.x[:0], empty.y[:0], empty.t[:0], empty.p[:0])
    with caplog.at_level("WARNING", logger="difflogic_tonic"):
        assert len(denoise(empty, filter_time)) == 0
    assert "has no events" in caplog.text


def test_polarities_stay_with_their_events():
    events = column((3, 3, 10), (3, 4, 20), (3, 3, 30))
    events = Events(events.x, events.y, events.t, np.array([0, 1, 0], np.uint8))
    assert denoise(events, 1000).p.tolist() == [0, 1, 0]
