"""--inspect: what recordings there are, before anything is made of them."""

import contextlib
import dataclasses

import numpy as np
import pytest

from src.command_line import UserError
from src.config import Config, Data, DiffLogicOptions, Model
from src.events import Events
from src.events.formats import evt3, nmnist_bin
from src.frame_cache.inspect import inspect


@pytest.fixture
def folder(tmp_path):
    """Two classes, three recordings each of 1,000 events in 0.1 s, and one that is broken."""
    n = np.arange(1000)
    events = Events((n % 30).astype(np.uint16), (n % 20).astype(np.uint16), 100 * n, (n % 4 == 0).astype(np.uint8))
    for name in ("car/1.bin", "car/2.bin", "car/3.bin", "bus 10/1.bin", "bus 10/2.bin", "bus 10/3.bin"):
        path = tmp_path / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(nmnist_bin.encode(events))
    (tmp_path / "mine/car/broken.bin").write_bytes(b"abc")
    return tmp_path / "mine"


def told(folder, model=None, **options):
    """The text that is shown, whether or not an error follows it."""
    options = {"sensor_size": (34, 34), "denoise_time": 0, "events_per_frame": 250, "overlap": 0, **options}
    shown = []
    with contextlib.suppress(UserError):
        inspect(Config(data=Data(name="FOLDER", folder=str(folder), **options), model=model or Model()), shown.append)
    return shown[0]


def refused(folder, **options):
    """The error that follows the text."""
    options = {"sensor_size": (34, 34), "denoise_time": 0, "events_per_frame": 250, "overlap": 0, **options}
    shown = []
    with pytest.raises(UserError) as caught:
        inspect(Config(data=Data(name="FOLDER", folder=str(folder), **options)), shown.append)
    assert len(shown) == 1
    return str(caught.value)


def test_classes_are_listed_with_formats_durations_and_events(folder):
    first, _, _, bus, car, *_ = told(folder).splitlines()
    assert first == f"7 recordings in {folder}, sensor 34 x 34"
    assert bus.split() == ["bus", "10", "3", "N-MNIST's", ".bin", "0.10", "1,000", "10,010", "25", "100"]
    assert car.startswith("car")


def test_a_file_that_cannot_be_read_is_a_warning_with_the_reason(folder, caplog):
    told(folder)
    assert f"recording left out: {folder}/car/broken.bin: its length, 3 bytes, is not a multiple of 5" in caplog.text
    assert "1 of 7 recordings are corrupt and were left out" in caplog.text


def test_what_is_lost_of_a_recording_is_a_warning(folder, caplog):
    path = folder / "car/1.bin"
    path.write_bytes(path.read_bytes() + bytes([200, 9, 0, 0, 1]))
    told(folder)
    assert f"1 of 7 recordings have events outside the sensor; 1 events were left out: {path} (1)" in caplog.text


def test_when_recordings_begin_is_told(folder):
    assert "First timestamps: 0 s;" in told(folder)
    path = folder / "car/1.bin"
    events = nmnist_bin.read(path)
    path.write_bytes(nmnist_bin.encode(dataclasses.replace(events, t=events.t + 2_500_000)))
    assert "First timestamps: 0 to 2.5 s; start and end in a labels.csv count as these do" in told(folder)


def test_splits_that_the_folder_gives_are_counted(folder):
    assert "each split" not in told(folder)
    for name in ("car", "bus 10"):
        (folder / "test" / name).mkdir(parents=True)
        (folder / "train").mkdir(exist_ok=True)
        (folder / name / "1.bin").rename(folder / "test" / name / "1.bin")
        (folder / name).rename(folder / "train" / name)
    assert "Recordings of each split: 3 train, 2 val (drawn), 2 test" in told(folder)


def test_a_size_of_frames_is_suggested(folder):
    assert "Suggested: data.events_per_frame=250 data.overlap=125" in told(folder)


def test_what_denoising_removes_does_not_count_for_the_suggested_size(folder):
    text = told(folder, denoise_time=1200)
    assert "Suggested: data.events_per_frame=3 data.overlap=1; 12 of their 1,000 events become frames, by" in text


def test_a_frame_that_is_too_large_for_dense_layers_is_told_with_the_ways_out(folder):
    assert told(folder).endswith("2,312 bits")
    ways = "by data.downsample or data.crop, or set model.difflogic.architecture=convolutional"
    assert told(folder, sensor_size=(346, 260)).endswith(ways)


def test_the_clock_of_evt3_files_is_told_unless_it_is_the_camera_s(folder):
    (folder / "car/broken.bin").unlink()
    for path in folder.rglob("*.bin"):
        path.with_suffix(".raw").write_bytes(evt3.encode(nmnist_bin.read(path), (34, 34)))
        path.unlink()
    assert "data.evt3_clock=metavision gives the camera's" in told(folder)
    assert "evt3_clock" not in told(folder, evt3_clock="metavision")


def test_a_convolutional_network_takes_large_frames_as_they_are(folder):
    convolutional = Model(difflogic=DiffLogicOptions(architecture="convolutional"))
    assert told(folder, convolutional, sensor_size=(346, 260)).endswith("179,920 bits")


@pytest.mark.parametrize(
    ("options", "suggested"),
    [
        ({"frame_mode": "time_window", "time_window": 9000}, "Suggested: data.time_window=25000 data.overlap=12500"),
        ({"frame_mode": "n_time_bins", "n_time_bins": 4}, ""),
        ({"frame_mode": "n_event_bins", "n_event_bins": 4}, ""),
    ],
)
def test_the_suggestion_is_for_the_way_in_which_frames_are_cut(folder, options, suggested):
    text = told(folder, **options)
    assert suggested in text
    assert "events_per_frame" not in text


def test_recordings_of_another_sensor_are_an_error_after_the_table_that_names_the_option(folder):
    text = refused(folder, sensor_size=(10, 10))
    assert "7 of 7 recordings cannot be used" in text
    assert text.endswith(
        "outside the sensor (10 x 10 pixels): it is another sensor's, or damaged. Correct data.sensor_size = [10, 10]"
    )


def test_too_many_files_that_cannot_be_read_are_an_error_and_each_is_named_once(folder, caplog):
    for number in range(2):
        (folder / f"car/broken {number}.bin").write_bytes(b"abc")
    text = refused(folder)
    assert "3 of 9 recordings cannot be used, more than 1% and more than 2; 3 are corrupt, the first: " in text
    for name in ("broken.bin", "broken 0.bin", "broken 1.bin"):
        assert (text + caplog.text).count(f"car/{name}") == 1


def test_a_class_that_nothing_is_left_of_is_an_error(folder):
    for path in (folder / "bus 10").iterdir():
        path.write_bytes(b"abc")
    (folder / "car/broken.bin").unlink()
    (folder / "bus 10/3.bin").unlink()
    assert "class 'bus 10' has no recording left for training" in refused(folder)


def test_frames_that_take_too_much_space_are_an_error(folder):
    assert "Choose values that give fewer frames" in refused(folder, frame_mode="n_event_bins", n_event_bins=10**7)


def test_nothing_is_written(folder):
    before = sorted(folder.rglob("*"))
    told(folder)
    assert sorted(folder.rglob("*")) == before
