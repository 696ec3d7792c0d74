"""Test vectors: real frames of the test split where they are, else pseudo-random ones that are the same every time."""

import numpy as np
import pytest

from src.command_line import StopSignals
from src.config import Config
from src.events.datasets import get_dataset
from src.export.example_frames import example_frames
from src.frame_cache.cache import cache_parameters, read_manifest, read_split
from src.frame_cache.prepare import prepare
from src.options import with_option
from tests import small_job

SHAPE = (2, 34, 34)


@pytest.fixture
def config(storages):
    return Config.from_yaml(small_job.write_config(storages))


@pytest.fixture
def folder(config, tmp_path):
    """A prepared cache, on scratch."""
    prepare(config, StopSignals())
    (path,) = (tmp_path / "scratch/data/NMNIST").glob("*/manifest.json")
    assert read_manifest(path.parent)["parameters"] == cache_parameters(config.data, get_dataset("NMNIST"))
    return path.parent


def test_real_frames_are_of_every_part_of_the_test_split(config, folder):
    split = read_split(folder, "test")
    frames, what = example_frames(config, SHAPE, 10)
    assert what == f"10 frames of the test split of NMNIST/{folder.name}"
    assert np.array_equal(frames[[0, -1]], split.frames[[0, -1]])
    assert len(np.unique([np.flatnonzero((split.frames == frame).all(1))[0] for frame in frames])) == 10


def test_frames_of_a_model_that_takes_several_are_stacked(config, folder):
    config = with_option(config, "data.stack", 2)
    frames, what = example_frames(config, (4, 34, 34), 10**6)
    assert what.startswith(f"{len(frames)} frames of the test split")
    assert np.array_equal(frames[:, 289:], read_split(folder, "test").frames)


def test_no_more_frames_than_there_are(config, folder):
    split = read_split(folder, "test")
    frames, what = example_frames(config, SHAPE, 10**6)
    assert np.array_equal(frames, split.frames)
    assert what.startswith(f"{len(split)} frames")


def test_frames_of_another_shape_are_not_taken(config, folder):
    assert example_frames(config, (1, 8, 8), 5)[1].startswith(
        "5 pseudo-random frames (./prepare_data.sh makes real ones"
    )


def test_pseudo_random_frames_are_packed_and_always_the_same(config):
    frames, what = example_frames(config, (1, 3, 3), 50)
    assert what.startswith("50 pseudo-random frames (./prepare_data.sh makes real ones")
    assert (frames.shape, frames.dtype) == ((50, 2), np.uint8)
    assert frames[:, 1].max() <= 1  # nine bits: the rest of the second byte is zero
    assert np.array_equal(example_frames(config, (1, 3, 3), 50)[0], frames)


def test_pseudo_random_frames_of_counts_have_a_byte_a_pixel(config):
    config = with_option(config, "data.frame_dtype", "counts")
    frames, what = example_frames(config, (1, 3, 3), 50)
    assert what.startswith("50 pseudo-random frames (./prepare_data.sh makes real ones")
    assert (frames.shape, frames.dtype) == ((50, 9), np.uint8)
    assert frames.max() > 1
