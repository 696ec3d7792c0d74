"""Events: equal lengths, to and from tonic's structured arrays."""

import numpy as np
import pytest
from hypothesis import given

from src.events import Events
from tests.recordings import event_streams, same


@given(event_streams(least=0))
def test_events_survive_the_way_to_a_structured_array_and_back(stream):
    events, _ = stream
    assert same(Events.from_structured(events.to_structured()), events)


def test_structured_arrays_of_any_field_types_and_order_are_taken():
    array = np.zeros(3, dtype=[("t", np.float64), ("p", bool), ("y", np.int8), ("x", np.int16)])
    array["x"], array["t"], array["p"] = [1, 2, 3], [10, 20, 30], [True, False, True]
    events = Events.from_structured(array)
    assert (events.x.dtype, events.y.dtype, events.t.dtype, events.p.dtype) == (
        np.uint16,
        np.uint16,
        np.int64,
        np.uint8,
    )
    assert events.x.tolist() == [1, 2, 3]
    assert events.p.tolist() == [1, 0, 1]


def test_unequal_lengths_are_an_error():
    with pytest.raises(ValueError, match="equal lengths"):
        Events(np.zeros(2, np.uint16), np.zeros(2, np.uint16), np.zeros(3, np.int64), np.zeros(2, np.uint8))
