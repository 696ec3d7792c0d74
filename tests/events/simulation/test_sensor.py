"""The simulated sensor: deterministic, in order, plausible."""

from dataclasses import replace

import numpy as np

from src.events.simulation.digits import CIFAR10DVS_SETUP, DEMO_SETUP
from src.events.simulation.sensor import simulate
from tests.recordings import same


def simulated(seed, image=None, setup=DEMO_SETUP):
    return simulate(np.eye(8) if image is None else image, setup, np.random.default_rng(seed))


def test_a_recording_is_a_function_of_image_and_seed():
    assert same(simulated(1), simulated(1))
    assert not same(simulated(1), simulated(2))


def test_events_are_in_order_on_the_sensor_and_of_both_polarities():
    for setup in (DEMO_SETUP, replace(CIFAR10DVS_SETUP, loops=1)):
        events = simulated(0, setup=setup)
        assert (np.diff(events.t) >= 0).all()
        assert events.t[0] >= 0
        assert events.t[-1] < setup.duration
        assert max(events.x.max(), events.y.max()) < setup.pixels
        assert 0.3 < events.p.mean() < 0.7


def test_a_blank_image_gives_noise_events_only():
    assert len(simulated(0, np.zeros((8, 8)))) == DEMO_SETUP.noise_events


def test_events_come_from_legs_with_rests_between():
    counts = np.histogram(simulated(0).t, bins=30, range=(0, 300_000))[0]
    for rest in (0, 10, 20, 29):
        assert counts[rest] < counts.max() / 3


def test_a_loop_ends_where_it_began():
    quiet = replace(CIFAR10DVS_SETUP, noise_events=0, threshold_spread=0.0)
    once, twice = (simulated(0, setup=replace(quiet, loops=loops)) for loops in (1, 2))
    assert np.array_equal(once.t, twice.t[: len(once)])
    assert len(twice) > 1.9 * len(once)
