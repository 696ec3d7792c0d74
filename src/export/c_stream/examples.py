"""The recordings in a self-test: real ones, cut to what a file of C can hold, and the counts of their frames."""

from src.events.events import Events
from src.events.frame_stream import FrameStream
from src.export.c_stream.design import StreamDesign
from src.export.c_stream.self_test import StreamExamples
from src.export.example_recordings import example_recordings
from src.export.exported import ExportedModel
from src.export.stream_plan import StreamPlan
from src.export.stream_samples import stream_samples

RECORDINGS = 10  # at most
EVENTS = 50_000  # of all of them
FRAMES = 2_000  # of each one
WRAP = 1 << 32  # microseconds


def stream_examples(exported: ExportedModel, design: StreamDesign) -> StreamExamples:
    """Return example recordings, each `cut`, with first times below 2^32, and the counts of their frames."""
    plan = design.plan
    recordings, kind = example_recordings(exported.config, plan.sensor_size, RECORDINGS)
    parts = [cut(events, plan) for events in recordings]
    early = [Events(it.x, it.y, it.t - it.t[:1].sum() // WRAP * WRAP, it.p) for it in parts]
    counts = [exported.full_circuit(stream_samples(events, plan)) for events in early]
    return StreamExamples(early, counts, f"{len(early)} {kind}")


def cut(events: Events, plan: StreamPlan) -> Events:
    """Return the first events: a recording's share of EVENTS, but at least two frames, and no more than FRAMES."""
    two_frames = 0 if plan.by_time else 2 * plan.framing.size
    events = events.chosen(slice(max(EVENTS // RECORDINGS, two_frames)))
    while len(events) and _has_many_frames(events, plan):
        events = events.chosen(slice(len(events) // 2))
    return events


def _has_many_frames(events: Events, plan: StreamPlan) -> bool:
    stream = FrameStream(plan.framing, plan.sensor_size)
    try:
        return any(stream.num_frames >= FRAMES for _ in stream.push(events))
    except ValueError:  # far too many
        return True
