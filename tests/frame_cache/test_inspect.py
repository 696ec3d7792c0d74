"""--inspect: what recordings there are, before anything is made of them."""

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


def told(folder, **options):
    options = {"sensor_size": (34, 34), "denoise_time": 0, **options}
    return inspect(Config(data=Data(name="FOLDER", folder=str(folder), **options)))


def test_classes_are_listed_with_formats_durations_and_events(folder):
    first, _, _, bus, car, *_ = told(folder).splitlines()
    assert first == f"7 recordings in {folder}, sensor 34 x 34"
    assert bus.split() == ["bus", "10", "3", "N-MNIST's", ".bin", "0.10", "1,000", "10,010", "25", "100"]
    assert car.startswith("car")


def test_a_file_that_cannot_be_read_is_named_with_the_reason(folder):
    assert f"{folder}/car/broken.bin: its length, 3 bytes, is not a multiple of 5" in told(folder)


def test_a_size_of_frames_is_suggested(folder):
    assert "Suggested: data.events_per_frame=250 data.overlap=125" in told(folder)


def test_what_denoising_removes_does_not_count_for_the_suggested_size(folder):
    text = told(folder, denoise_time=1200)
    assert "Suggested: data.events_per_frame=3 data.overlap=1; of their 1,000 events, 12 become frames, by" in text


def test_a_frame_that_is_too_large_for_dense_layers_is_told_with_the_ways_out(folder):
    assert told(folder).endswith("2,312 bits")
    config = Config(data=Data(name="FOLDER", folder=str(folder), sensor_size=(346, 260)))
    ways = "by data.downsample or data.crop, or set model.difflogic.architecture=convolutional"
    assert inspect(config).endswith(ways)


def test_the_clock_of_evt3_files_is_told_unless_it_is_the_camera_s(folder):
    (folder / "car/broken.bin").unlink()
    for path in folder.rglob("*.bin"):
        path.with_suffix(".raw").write_bytes(evt3.encode(nmnist_bin.read(path), (34, 34)))
        path.unlink()
    assert "data.evt3_clock=metavision gives the camera's" in told(folder)
    assert "evt3_clock" not in told(folder, evt3_clock="metavision")


def test_a_convolutional_network_takes_large_frames_as_they_are(folder):
    convolutional = Model(difflogic=DiffLogicOptions(architecture="convolutional"))
    config = Config(data=Data(name="FOLDER", folder=str(folder), sensor_size=(346, 260)), model=convolutional)
    assert inspect(config).endswith("179,920 bits")


def test_events_outside_the_sensor_are_named(folder):
    with pytest.raises(UserError, match=r"none of 7 recordings can be read, the first: .*outside the sensor"):
        told(folder, sensor_size=(10, 10))


def test_many_files_that_cannot_be_read_are_counted(folder):
    for number in range(14):
        (folder / f"car/broken {number}.bin").write_bytes(b"abc")
    assert told(folder).count("its length, 3 bytes") == 10
    assert "and 5 more cannot be read" in told(folder)


def test_nothing_is_written(folder):
    before = sorted(folder.rglob("*"))
    told(folder)
    assert sorted(folder.rglob("*")) == before
