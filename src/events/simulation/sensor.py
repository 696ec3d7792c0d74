"""A simulated event sensor: images that move before pixels which compare log intensities with thresholds."""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.events.events import Events
from src.kernel_cache import cached_njit


@dataclass(frozen=True)
class Setup:
    """What moves in front of a sensor, how, and how the sensor responds.

    Attributes:
        pixels: of the sensor, both ways.
        image_scale: sensor pixels a pixel of the image.
        corners: (x, y) of the image's top left corner between legs, sensor pixels; the last is the first.
        leg_microseconds: from corner to corner; a leg speeds up and slows down.
        loops: rounds along the corners.
        threshold: of log intensity, the mean of all pixels.
        threshold_spread: standard deviation between pixels.
        noise_events: a recording, anywhere at any time.
        darkest: intensity of the background, where ink is 1.
        step_microseconds: the simulation's step of time; events lie between steps.
    """

    pixels: int
    image_scale: float
    corners: tuple[tuple[float, float], ...]
    leg_microseconds: int
    loops: int
    threshold: float
    threshold_spread: float
    noise_events: int
    darkest: float = 0.12
    step_microseconds: int = 2_000

    @property
    def duration(self) -> int:
        """Return the microseconds of a recording."""
        return self.loops * (len(self.corners) - 1) * self.leg_microseconds


def simulate(image: NDArray[np.float64], setup: Setup, rng: np.random.Generator) -> Events:
    """Return the events of a moving image, ink from 0 to 1; `rng` draws threshold mismatch and noise."""
    shape = (2, setup.pixels, setup.pixels)  # OFF, ON
    thresholds = np.maximum(rng.normal(setup.threshold, setup.threshold_spread, shape), setup.threshold / 2)
    views = _look(image, _path(setup), setup.image_scale, setup.pixels, setup.darkest)
    order = np.append(np.tile(np.arange(len(views)), setup.loops), 0)
    signal = _sense(views, order, thresholds, setup.step_microseconds)
    noise = np.stack(
        [rng.integers(0, below, setup.noise_events) for below in (setup.pixels, setup.pixels, setup.duration, 2)]
    )
    x, y, t, p = np.concatenate([signal, noise], axis=1)
    by_time = np.argsort(t, kind="stable")
    return Events(
        x[by_time].astype(np.uint16),
        y[by_time].astype(np.uint16),
        t[by_time].astype(np.int64),
        p[by_time].astype(np.uint8),
    )


def _path(setup: Setup) -> NDArray[np.float64]:
    """Return the image's top left corner (x, y) at each step of a loop, [steps, 2]."""
    phase = np.arange(0, setup.leg_microseconds, setup.step_microseconds) / setup.leg_microseconds
    moved = (1 - np.cos(np.pi * phase))[:, None] / 2
    return np.concatenate([a + moved * (b - a) for a, b in itertools.pairwise(np.array(setup.corners))])


@cached_njit(nogil=True)
def _look(
    image: NDArray[np.float64], path: NDArray[np.float64], scale: float, pixels: int, darkest: float
) -> NDArray[np.float64]:
    """Return log intensities [steps, pixels, pixels]: the image, interpolated bilinearly, at each place of the path."""
    rows, columns = image.shape
    views = np.empty((len(path), pixels, pixels))
    for step in range(len(path)):
        for y in range(pixels):
            for x in range(pixels):
                u = (x - path[step, 0]) / scale - 0.5
                v = (y - path[step, 1]) / scale - 0.5
                i, j = int(np.floor(v)), int(np.floor(u))
                ink = 0.0
                for di in range(2):
                    for dj in range(2):
                        if 0 <= i + di < rows and 0 <= j + dj < columns:
                            ink += (1 - abs(v - i - di)) * (1 - abs(u - j - dj)) * image[i + di, j + dj]
                views[step, y, x] = np.log(darkest + (1 - darkest) * ink)
    return views


@cached_njit(nogil=True)
def _sense(
    views: NDArray[np.float64], order: NDArray[np.int64], thresholds: NDArray[np.float64], step_microseconds: int
) -> NDArray[np.int64]:
    """Return events [4, N], x, y, t and p, of views: a pixel fires when its log intensity moves by a threshold."""
    pixels = views.shape[1]
    capacity = 4096
    events = np.empty((4, capacity), dtype=np.int64)
    n = 0
    level = views[order[0]].copy()
    for step in range(1, len(order)):
        for y in range(pixels):
            for x in range(pixels):
                before, now = views[order[step - 1], y, x], views[order[step], y, x]
                rising = now > level[y, x]
                threshold = thresholds[np.int64(rising), y, x]
                while abs(now - level[y, x]) >= threshold and (now > level[y, x]) == rising:
                    level[y, x] += threshold if rising else -threshold
                    crossed = (level[y, x] - before) / (now - before)
                    crossed = min(max(crossed, 0.0), 1.0)
                    if n == capacity:
                        capacity *= 2
                        grown = np.empty((4, capacity), dtype=np.int64)
                        grown[:, :n] = events[:, :n]
                        events = grown
                    events[0, n] = x
                    events[1, n] = y
                    events[2, n] = np.int64((step - 1 + crossed) * step_microseconds)
                    events[3, n] = np.int64(rising)
                    n += 1
    return events[:, :n]
