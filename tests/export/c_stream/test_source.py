"""NAME_stream: events in C give the bits, counts and classes of FrameStream, the thermometer and the circuit."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.events import Events
from src.events.framing import Framing, frame_shape
from src.export.c_stream.design import StreamDesign
from src.export.stream_plan import StreamPlan
from src.logic import LogicLayer
from src.logic.votes import VoteSum
from src.models.to_circuit import circuit_of_layers
from tests.events.test_frame_stream import framings
from tests.export.c_stream.streams import (
    BEGIN,
    COMMAND,
    QUIET_EVENT,
    SANITIZED,
    assert_same,
    commands,
    expected,
    program,
    streamed,
    whole,
)
from tests.export.exports import COMPILERS, need
from tests.recordings import event_streams

CLASSES = 3
WRAP = 2**32


def designed(framing, sensor_size, stack=1, thresholds=(), votes=False):
    """A design with a random network."""
    torch.manual_seed(0)
    channels, height, width = frame_shape(framing, sensor_size)
    inputs = stack * channels * max(len(thresholds), 1) * height * width
    neurons = CLASSES * max(20, -(-inputs // (2 * CLASSES)))
    layers = [LogicLayer(inputs, neurons), LogicLayer(neurons, neurons)]
    sums = VoteSum(neurons, CLASSES) if votes else None
    if sums is not None:
        torch.nn.init.normal_(sums.weights, std=3)
    circuit = circuit_of_layers(layers, CLASSES, votes=sums).simplified()
    names = tuple(f"class {c}" for c in range(CLASSES))
    return StreamDesign("net", circuit, names, StreamPlan(framing, sensor_size, tuple(thresholds), stack))


def random_events(number=300, seed=0, start=0, step=9, sensor_size=(6, 5, 2)):
    """Events that come to the corner (0, 0) late only."""
    rng = np.random.default_rng(seed)
    x, y, p = (rng.integers(0, most, number) for most in sensor_size)
    x[:1] = 1
    t = start + np.cumsum(rng.integers(0, step, number))
    return Events(x.astype(np.uint16), y.astype(np.uint16), t.astype(np.int64), p.astype(np.uint8))


COUNTED = Framing(size=20, overlap=10, denoise_time=30)
TIMED = Framing(mode="time_window", size=100, overlap=40, denoise_time=30, drop_incomplete=False)
CASES = {
    "events, with overlap": (COUNTED, {}),
    "events, the last ones too": (dataclasses.replace(COUNTED, drop_incomplete=False, denoise_time=0), {}),
    "windows of time": (TIMED, {}),
    "counts": (dataclasses.replace(COUNTED, dtype="counts"), {"thresholds": (0, 1, 3)}),
    "counts of windows, stacked": (dataclasses.replace(TIMED, dtype="counts"), {"thresholds": (-1, 2), "stack": 3}),
    "a smaller, merged region": (
        dataclasses.replace(COUNTED, downsample=0.5, polarities="merged", crop=(1, 1, 5, 4)),
        {},
    ),
    "stacked": (COUNTED, {"stack": 2}),
    "votes": (COUNTED, {"votes": True}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_recording_in_c_is_that_of_training(tmp_path, case):
    need("gcc")
    framing, options = CASES[case]
    design = designed(framing, (6, 5, 2), **options)
    recordings = [random_events(seed=seed) for seed in range(4)]
    found = streamed(program(tmp_path / "c", design), design, *map(whole, recordings))
    for each, events in zip(found, recordings, strict=True):
        assert_same(each, expected(design, events))
    assert len(np.unique(np.concatenate([each.counts for each in found]), axis=0)) > 4


@settings(max_examples=10, deadline=None)
@given(st.data())
def test_any_recording_in_c_is_that_of_training(tmp_path_factory, data):
    need("gcc")
    events, sensor_size = data.draw(event_streams(least=0))
    framing = data.draw(framings(sensor_size))
    if len(events):  # see the header's comment on events at pixel (0, 0)
        left, top, width, height = framing.crop or (0, 0, *sensor_size[:2])
        events.x[-1], events.y[-1] = left + width - 1, top + height - 1
    thresholds = data.draw(st.sampled_from([(0,), (0, 2), (-1, 3, 300)])) if framing.dtype == "counts" else ()
    stack = data.draw(st.integers(1, 3))
    design = designed(framing, sensor_size, stack, thresholds)
    runner = program(tmp_path_factory.mktemp("any") / "c", design, flags=SANITIZED)
    (found,) = streamed(runner, design, whole(events))
    assert_same(found, expected(design, events))


@pytest.fixture(scope="module", params=["event_count", "time_window"])
def counted(request, tmp_path_factory):
    """A program, its design and what makes its inputs, with denoising, of frames of each kind."""
    need("gcc")
    framing = COUNTED if request.param == "event_count" else TIMED
    design = designed(framing, (6, 5, 2), stack=2)
    runner = program(tmp_path_factory.mktemp(request.param) / "c", design, flags=SANITIZED)
    return lambda *parts: streamed(runner, design, *parts), lambda events: expected(design, events)


@pytest.mark.parametrize("before_wrap", [10, 700, 2**31])
def test_timestamps_of_32_bits_may_wrap(counted, before_wrap):
    run_c, expect = counted
    events = random_events(start=WRAP - before_wrap)
    assert_same(run_c(whole(events))[0], expect(events))


@pytest.mark.parametrize("framing", [COUNTED, Framing(mode="time_window", size=2**29, overlap=2**28)])
def test_a_recording_may_last_for_hours(tmp_path, framing):
    need("gcc")
    design = designed(framing, (6, 5, 2))
    parts = [random_events(90, seed, start=seed * 2**29 + 5) for seed in range(20)]
    events = Events(*(np.concatenate([getattr(part, name) for part in parts]) for name in "xytp"))
    assert events.t[-1] > 2 * WRAP
    (found,) = streamed(program(tmp_path / "c", design, flags=SANITIZED), design, whole(events))
    assert_same(found, expected(design, events))


def test_times_that_go_back_count_as_in_training(counted):
    run_c, expect = counted
    events = random_events()
    t = events.t.copy()
    t[::7] -= 40
    events = Events(events.x, events.y, np.maximum(t, 0), events.p)
    assert_same(run_c(whole(events))[0], expect(events))


@pytest.mark.parametrize("number", [0, 1, 5, 19, 20, 21])
def test_a_recording_of_few_events_has_a_class(counted, number):
    run_c, expect = counted
    events = random_events(number)
    assert_same(run_c(whole(events))[0], expect(events))


def test_begin_in_mid_recording_forgets_all(counted):
    run_c, expect = counted
    events, other = random_events(), random_events(seed=1)
    begin = np.zeros(1, COMMAND)
    begin["kind"] = BEGIN
    assert_same(run_c(begin, commands(other), whole(events))[0], expect(events))


def test_events_outside_the_sensor_are_left_out_and_counted(counted):
    run_c, expect = counted
    events = random_events(sensor_size=(8, 6, 3))
    assert expect(events).outside > 50
    assert_same(run_c(whole(events))[0], expect(events))


def test_votes_have_the_frames_that_nobody_asked_for(counted):
    run_c, expect = counted
    events = random_events(step=60)
    found, wanted = run_c(whole(events, QUIET_EVENT))[0], expect(events)
    assert (found.label, found.votes) == (wanted.label, wanted.votes)


def test_frames_without_events_are_counted(counted):
    run_c, expect = counted
    events = random_events(step=600)
    assert_same(run_c(whole(events))[0], expect(events))


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("flag", ["-O0", "-O2"])
def test_compilers_agree(tmp_path, compiler, flag):
    need(compiler)
    framing = dataclasses.replace(TIMED, dtype="counts", downsample=0.5)
    design = designed(framing, (6, 5, 2), 2, (0, 1))
    events = random_events()
    (found,) = streamed(program(tmp_path / "c", design, compiler, (flag,)), design, whole(events))
    assert_same(found, expected(design, events))
