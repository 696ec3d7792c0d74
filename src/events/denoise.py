"""Denoise: drop events with no recent event beside them."""

import itertools

from src.events.events import Events
from src.events.kernels import denoise_events
from src.helpers import LOG

_EMPTY_RECORDINGS = itertools.count(1)


def denoise(events: Events, filter_time: int) -> Events:
    """Keep the events that have an event at one of the four neighbouring pixels less than filter_time before.

    Bit-identical to `tonic.transforms.Denoise(filter_time)`, its quirks included: the memory of a pixel without an
    event is filter_time, so an event with t < filter_time passes wherever it has a neighbouring pixel; the memory is
    as large as the data's largest x and y, so pixels beyond are no neighbours. Where tonic raises, on no events, the
    result is empty.

    Args:
        events: N events.
        filter_time: microseconds.
    """
    if len(events) == 0:
        LOG.warning("denoise: a recording has no events, so nothing is denoised (%d so far)", next(_EMPTY_RECORDINGS))
        return events
    return Events(*denoise_events(events.x, events.y, events.t, events.p, filter_time))
