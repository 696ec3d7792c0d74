"""Work units: the frames of recordings of any length and format, whatever part of them is decoded at once."""

import dataclasses
import hashlib

import numpy as np
import pytest

from src.command_line import UserError
from src.config import Data
from src.events import Events
from src.events.formats import aedat4, dat, event_stream, evt2, evt3, hdf5, nmnist_bin
from src.frame_cache.framing_options import dataset_of
from src.frame_cache.work_units import frames_per_recording, make_unit, plan_work_units

SENSOR = (34, 30)
RNG = np.random.default_rng(0)
N = 5000
EVENTS = Events(
    RNG.integers(0, 34, N).astype(np.uint16),
    RNG.integers(0, 30, N).astype(np.uint16),
    np.cumsum(RNG.integers(0, 40, N)),
    RNG.integers(0, 2, N).astype(np.uint8),
)
LONG = Events(*(np.tile(array, 60) for array in (EVENTS.x, EVENTS.y, EVENTS.t, EVENTS.p)))
LONG.t.sort()
WHOLE, IN_WINDOWS = 1 << 22, 1000
FILES = {
    "a.aedat4": aedat4.encode(EVENTS, SENSOR),
    "b.dat": dat.encode(EVENTS, SENSOR),
    "c.es": event_stream.encode(EVENTS, SENSOR),
    "d.raw": evt2.encode(EVENTS, SENSOR),
    "e.raw": evt3.encode(EVENTS, SENSOR)[:-1],
    "f.h5": hdf5.encode(EVENTS, "dsec"),
    "g.bin": nmnist_bin.encode(EVENTS)[:-1],
}


@pytest.fixture
def folder(tmp_path):
    for name, content in FILES.items():
        for place in ("one", "two"):
            (tmp_path / "mine" / place).mkdir(parents=True, exist_ok=True)
            (tmp_path / "mine" / place / name).write_bytes(content)
    return tmp_path / "mine"


def made(folder, window_events, **options):
    """The one unit of all recordings of a folder: what is said of it, but for the time, and its frames."""
    framing = {"events_per_frame": 300, "overlap": 100, "denoise_time": 500, **options}
    data = Data(name="FOLDER", folder=str(folder), sensor_size=SENSOR, window_events=window_events, **framing)
    dataset, recordings = dataset_of(data).complete(folder)
    [unit] = plan_work_units({"train": list(range(len(recordings)))}, recordings)
    it = make_unit(unit, dataset, data, folder.parent, check=lambda: None)
    return dataclasses.replace(it, seconds=0), unit.frames_file(folder.parent).read_bytes()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"frame_dtype": "counts", "drop_incomplete": False, "crop": (3, 2, 20, 20)},
        {"frame_mode": "time_window", "time_window": 9000, "overlap": 2000},
        {"frame_mode": "n_time_bins", "n_time_bins": 7, "overlap": 0.5},
        {"frame_mode": "n_event_bins", "n_event_bins": 7, "overlap": 0.5, "polarities": "merged"},
    ],
    ids=lambda options: options.get("frame_mode", "event_count") + options.get("frame_dtype", ""),
)
def test_what_is_decoded_at_once_changes_no_byte(folder, options):
    whole = made(folder, WHOLE, **options)
    assert whole[0].kept == list(range(2 * len(FILES)))
    assert [n for _, n in whole[0].cut_short] == [1, 4, 1, 4]
    assert made(folder, IN_WINDOWS, **options) == whole


def test_parts_of_a_file_do_not_depend_on_what_is_decoded_at_once(folder):
    bounds = [0, 20_000, 60_000, int(EVENTS.t[-1]) + 1]
    lines = [f"one/{name},{i},{bounds[i]},{bounds[i + 1]}" for name in FILES for i in range(3)]
    (folder / "labels.csv").write_text("\n".join(["file,label,start_us,end_us", *lines]))
    whole = made(folder, WHOLE)
    assert made(folder, IN_WINDOWS) == whole
    assert whole[0].num_events == len(FILES) * N - 2  # an event of each of the two files that are cut short


def test_parts_in_any_order_have_the_frames_of_parts_in_the_order_of_time(folder):
    bounds = np.linspace(0, int(EVENTS.t[-1]) + 1, 9).astype(int)
    frames = []
    for order in (range(8), (3, 0, 6, 1, 5, 7, 2, 4)):
        lines = [f"one/a.aedat4,{i % 2},{bounds[i]},{bounds[i + 1]}" for i in order]
        (folder / "labels.csv").write_text("\n".join(["file,label,start_us,end_us", *lines, "one/d.raw,0,,"]))
        it, content = made(folder, IN_WINDOWS)
        assert it.labels == [*(i % 2 for i in order), 0]
        assert hashlib.sha256(content).hexdigest() == it.sha256
        ends = np.cumsum(it.counts) * (len(content) // sum(it.counts))
        parts = np.split(np.frombuffer(content, np.uint8), ends)
        frames.append({i: part.tobytes() for i, part in zip(order, parts, strict=False)})
    assert frames[0] == frames[1]


def test_a_file_that_changes_between_its_listing_and_its_reading_is_refused(folder):
    data = Data(name="FOLDER", folder=str(folder), sensor_size=SENSOR, events_per_frame=300, overlap=0)
    dataset, recordings = dataset_of(data).complete(folder)
    [unit] = plan_work_units({"train": list(range(len(recordings)))}, recordings)
    (folder / "two/d.raw").write_bytes(FILES["d.raw"][:-400])
    with pytest.raises(UserError, match=r"two/d\.raw: cannot read the recording: its size has changed from"):
        make_unit(unit, dataset, data, folder.parent, check=lambda: None)
    assert list(folder.parent.glob("*.json")) == []


def test_a_file_that_becomes_shorter_while_it_is_read_is_refused(tmp_path):
    content = evt2.encode(LONG, SENSOR)
    for name in ("a/0.raw", "a/1.raw", "b/0.raw", "b/1.raw"):
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_bytes(content)
    data = Data(name="FOLDER", folder=str(tmp_path / "mine"), sensor_size=SENSOR, window_events=10_000)
    dataset, recordings = dataset_of(data).complete(tmp_path / "mine")
    [unit] = plan_work_units({"train": [0]}, recordings)
    cuts = iter([lambda: None, lambda: (tmp_path / "mine/a/0.raw").write_bytes(content[:5000])])
    with pytest.raises(UserError, match=r"a/0\.raw: cannot read the recording: it became shorter while it was read"):
        make_unit(unit, dataset, data, tmp_path, check=lambda: next(cuts, lambda: None)())


def test_a_recording_that_turns_out_unusable_at_its_end_leaves_no_frames(folder):
    expected, frames = made(folder, IN_WINDOWS)
    x = EVENTS.x.copy()
    x[3000:] = 99
    (folder / "one/e2.bin").write_bytes(nmnist_bin.encode(dataclasses.replace(EVENTS, x=x)))
    it, frames_then = made(folder, IN_WINDOWS)
    assert [line.partition(":")[0] for line in it.other_sensor] == [f"{folder}/one/e2.bin"]
    assert (frames_then, it.sha256, it.counts) == (frames, expected.sha256, expected.counts)


@pytest.mark.parametrize("window_events", [WHOLE, IN_WINDOWS])
def test_times_that_go_back_are_counted(folder, window_events):
    t = EVENTS.t.copy()
    t[[100, 3000]] = 0
    (folder / "one/g.bin").write_bytes(nmnist_bin.encode(dataclasses.replace(EVENTS, t=t)))
    assert made(folder, window_events)[0].back == [(f"{folder}/one/g.bin", 2)]


def test_the_space_of_long_recordings_is_estimated_by_their_first_windows(folder):
    data = Data(name="FOLDER", folder=str(folder), sensor_size=SENSOR, events_per_frame=100, overlap=0, denoise_time=0)
    dataset, recordings = dataset_of(data).complete(folder)
    assert frames_per_recording(recordings, dataset, data) > 49
    assert frames_per_recording(recordings, dataset, dataclasses.replace(data, window_events=1000)) == 10


@pytest.mark.parametrize(("clock", "constant"), [("expelliarmus", evt3.EXPELLIARMUS), ("metavision", evt3.METAVISION)])
@pytest.mark.parametrize("window_events", [WHOLE, IN_WINDOWS])
def test_evt3_files_have_the_timestamps_of_the_clock_that_was_asked_for(tmp_path, clock, constant, window_events):
    events = dataclasses.replace(EVENTS, t=EVENTS.t * 10)  # over many rises of TIME_HIGH
    (tmp_path / "mine/one").mkdir(parents=True)
    (tmp_path / "mine/one/a.raw").write_bytes(evt3.encode(events, SENSOR, constant))
    data = Data(name="FOLDER", folder=str(tmp_path / "mine"), sensor_size=SENSOR, evt3_clock=clock)
    windows = dataset_of(data).windows(tmp_path / "mine/one/a.raw", window_events)
    assert np.array_equal(np.concatenate([window.t for window in windows]), events.t)
