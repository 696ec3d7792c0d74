"""A warning if frames are too large for most recordings, with a size that gives each a few."""

import re

import numpy as np
import pytest

from src.command_line import StopSignals
from src.config import Config, Data
from src.events import Events
from src.events.formats import nmnist_bin
from src.frame_cache.few_frames import two_digits
from src.frame_cache.inspect import inspect
from src.frame_cache.prepare import prepare

N = np.arange(1200)
NOISE = Events((7 * N % 34).astype(np.uint16), (5 * N % 33).astype(np.uint16), 1000 * N, (N % 2).astype(np.uint8))


@pytest.fixture
def warning(storages, caplog):
    """A function: options of the data section -> what is said of few frames."""
    for name in ("a/0", "a/1", "a/2", "b/0", "b/1", "b/2"):
        path = storages / "mine" / f"{name}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(nmnist_bin.encode(NOISE))

    def of(**options):
        given = {"sensor_size": (34, 34), "events_per_frame": 2000, "overlap": 1000, "denoise_time": 0, **options}
        caplog.clear()
        with caplog.at_level("WARNING", logger="difflogic_tonic"):
            prepare(Config(data=Data(name="FOLDER", folder=str(storages / "mine"), **given)), StopSignals())
        return next((line for line in caplog.messages if "single frame" in line), "")

    return of


def test_a_size_of_frames_above_that_of_most_recordings_is_told_with_one_that_fits(warning):
    assert warning() == (
        "6 of 6 recordings give a single frame; data.events_per_frame = 2000 and data.overlap = 1000 are too large: "
        "try data.events_per_frame=50 data.overlap=25"
    )


def test_the_suggested_size_gives_several_frames_each(warning):
    options = dict(re.findall(r"data\.(\w+)=(\d+)", warning()))
    assert warning(**{name: int(value) for name, value in options.items()}) == ""


def test_windows_of_time_are_suggested_in_microseconds(warning):
    text = warning(frame_mode="time_window", time_window=2_000_000, overlap=0)
    assert text.endswith("try data.time_window=50000 data.overlap=25000")


def test_denoising_that_leaves_few_events_is_told(warning):
    text = warning(denoise_time=40_000)
    assert re.search(r"[0-9]+ of their 1,200 events become frames, by data.denoise_time = 40000 \(0: no den", text)


def inspected(storages, **options):
    shown = []
    data = Data(name="FOLDER", folder=str(storages / "mine"), sensor_size=(34, 34), **{"denoise_time": 0, **options})
    inspect(Config(data=data), shown.append)
    return shown[0]


@pytest.mark.parametrize("options", [{}, {"denoise_time": 40_000}, {"crop": (0, 0, 10, 10)}])
def test_what_an_inspection_suggests_gives_several_frames_each(warning, storages, options):
    suggested = dict(re.findall(r"data\.(\w+)=(\d+)", inspected(storages, **options)))
    assert warning(**options, **{name: int(value) for name, value in suggested.items()}) == ""


def test_an_inspection_suggests_nothing_if_denoising_leaves_next_to_nothing(warning, storages):
    text = inspected(storages, denoise_time=1)
    assert "too few events for frames: 1 of their 1,200 events become frames, by data.denoise_time = 1" in text


@pytest.mark.parametrize("options", [{"events_per_frame": 600}, {"frame_mode": "n_event_bins", "n_event_bins": 1}])
def test_nothing_is_said_of_recordings_of_several_frames_or_of_bins(warning, options):
    assert warning(overlap=0, **options) == ""


@pytest.mark.parametrize(("value", "rounded"), [(0.2, 1), (7.4, 7), (99, 99), (101, 100), (12_345, 12_000)])
def test_a_suggestion_has_two_digits(value, rounded):
    assert two_digits(value) == rounded
