"""The frame cache's format."""

import dataclasses
import json
import re

import numpy as np
import pytest
from safetensors.numpy import load_file

from src.command_line import UserError
from src.config import Data
from src.events.datasets.dataset import Recording
from src.events.datasets.demo import DEMO
from src.events.datasets.nmnist import NMNIST
from src.frame_cache import cache

PARAMETERS = cache.cache_parameters(Data(), DEMO)


def write(folder, note="", frames=(3, 0, 2)):
    """Return a small cache with these numbers of frames per split."""
    entries = {}
    rng = np.random.default_rng(0)
    for split, count in zip(cache.SPLITS, frames, strict=True):
        pieces = [rng.integers(0, 256, 289).astype(np.uint8).tobytes() for _ in range(count)]
        ones = np.ones(count, np.int64)
        path = folder / f"{split}.safetensors"
        entries[split] = cache.write_split(path, 289, np.arange(count), np.arange(count), ones, pieces)
    manifest = {"format_version": cache.FORMAT_VERSION, "parameters": PARAMETERS, "splits": entries, "note": note}
    cache.write_manifest(folder, manifest)
    return manifest


def test_the_safetensors_library_reads_a_split(tmp_path):
    write(tmp_path)
    tensors = load_file(tmp_path / "train.safetensors")
    assert {name: (t.dtype, t.shape) for name, t in tensors.items()} == {
        "frames": (np.uint8, (3, 289)),
        "labels": (np.int64, (3,)),
        "recordings": (np.int64, (3,)),
    }
    ours = cache.read_split(tmp_path, "train")
    for name, tensor in tensors.items():
        assert np.array_equal(getattr(ours, name), tensor)


def test_a_split_may_be_empty(tmp_path):
    write(tmp_path)
    assert cache.read_split(tmp_path, "val").frames.shape == (0, 289)
    assert load_file(tmp_path / "val.safetensors")["frames"].shape == (0, 289)


def test_a_recording_s_label_and_number_stand_beside_each_of_its_frames(tmp_path):
    counts = np.array([2, 0, 1])
    path = tmp_path / "train.safetensors"
    entry = cache.write_split(path, 2, np.array([7, 8, 9]), np.array([3, 4, 6]), counts, [b"abcd", b"ef"])
    split = cache.read_split(tmp_path, "train")
    assert [frame.tobytes() for frame in split.frames] == [b"ab", b"cd", b"ef"]
    assert split.labels.tolist() == [7, 7, 9]
    assert split.recordings.tolist() == [3, 3, 6]
    assert (entry["frames"], entry["recordings"], entry["frames_a_recording"]) == (3, 2, [0, 1.0, 2])


def test_frames_that_are_not_as_many_as_counted_are_refused(tmp_path):
    with pytest.raises(ValueError, match="bytes written where"):
        cache.write_split(tmp_path / "a", 2, np.array([0]), np.array([0]), np.array([2]), [b"abc"])
    assert not list(tmp_path.iterdir())


def test_a_whole_cache_has_no_damages(tmp_path):
    manifest = write(tmp_path)
    assert cache.read_manifest(tmp_path) == manifest
    assert cache.damages(tmp_path, manifest) == []


def test_only_the_files_of_the_cache_are_left(tmp_path):
    write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["manifest.json", *(f"{split}.safetensors" for split in cache.SPLITS)]
    )


def test_a_flipped_bit_a_lost_byte_and_a_lost_file_are_damages(tmp_path):
    manifest = write(tmp_path)
    path = tmp_path / "train.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "checksum" in cache.damages(tmp_path, manifest)[0]
    assert cache.damages(tmp_path, manifest, fast=True) == []
    path.write_bytes(content[:-1])
    assert f"{len(content) - 1} bytes instead of {len(content)}" in cache.damages(tmp_path, manifest, fast=True)[0]
    path.unlink()
    assert "missing" in cache.damages(tmp_path, manifest, fast=True)[0]


def test_a_manifest_with_any_byte_altered_is_none_or_means_the_same(tmp_path):
    manifest = write(tmp_path)
    content = (tmp_path / "manifest.json").read_bytes()
    for position in range(len(content)):
        (tmp_path / "manifest.json").write_bytes(content[:position] + b"7" + content[position + 1 :])
        assert cache.read_manifest(tmp_path) in (None, manifest), position


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"manifest_sha256": 1}', "not json"])
def test_nonsense_is_no_manifest(tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    assert cache.read_manifest(tmp_path) is None


def test_a_manifest_of_another_format_version_is_none(tmp_path):
    cache.write_manifest(tmp_path, {**write(tmp_path), "format_version": cache.FORMAT_VERSION + 1})
    assert cache.read_manifest(tmp_path) is None


@pytest.mark.parametrize(
    "change",
    [
        {"frame_mode": "time_window", "time_window": 1500},
        {"frame_mode": "n_time_bins", "n_time_bins": 8, "overlap": 0},
        {"events_per_frame": 1009},
        {"overlap": 9},
        {"drop_incomplete": False},
        {"frame_dtype": "counts"},
        {"polarities": "merged"},
        {"downsample": 0.5},
        {"denoise_time": 9},
        {"first_saccade_only": True},
        {"stabilize": True},
        {"val_split": 0.3},
        {"seed": 9},
    ],
)
def test_each_parameter_of_the_frames_and_splits_is_in_the_identity(change):
    usual, other = (cache.cache_parameters(dataclasses.replace(Data(), **options), NMNIST) for options in ({}, change))
    assert cache.cache_identity(other, "f") != cache.cache_identity(usual, "f")


@pytest.mark.parametrize(
    "change",
    [
        {"num_threads": 9},
        {"data_root": "x"},
        {"reset_cache": True},
        {"time_window": 9, "n_time_bins": 9, "n_event_bins": 9},  # options of frame modes that are not in use
        {"overlap": 1000.0},
    ],
)
def test_what_changes_no_bit_is_not_in_the_identity(change):
    other = cache.cache_parameters(dataclasses.replace(Data(), **change), DEMO)
    assert cache.cache_identity(other, "f") == cache.cache_identity(PARAMETERS, "f")


def test_what_only_other_frame_modes_use_is_not_in_the_identity():
    bins = Data(frame_mode="n_event_bins", n_event_bins=8)
    other = dataclasses.replace(bins, events_per_frame=9, drop_incomplete=False)
    assert cache.cache_parameters(bins, DEMO) == cache.cache_parameters(other, DEMO)


def test_test_split_counts_only_where_the_dataset_has_no_test_split_of_its_own():
    without = dataclasses.replace(DEMO, own_test_split=False)
    assert "test_split" in cache.cache_parameters(Data(), without)
    assert "test_split" not in PARAMETERS


FRAMINGS = pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "events1500_overlap1000_denoise1200"),
        ({"frame_mode": "time_window", "time_window": 50_000}, "window50000_overlap0_denoise1200"),
        ({"frame_mode": "n_time_bins", "n_time_bins": 8, "overlap": 0.1}, "timebins8_overlap0.1_denoise1200"),
        ({"frame_mode": "n_event_bins", "n_event_bins": 8, "overlap": 0.0}, "eventbins8_overlap0_denoise1200"),
        (
            {"drop_incomplete": False, "frame_dtype": "counts", "polarities": "merged", "downsample": 0.5},
            "events1500_overlap1000_denoise1200_incomplete_counts_merged_downsample0.5",
        ),
        (
            {"first_saccade_only": True, "stabilize": True, "denoise_time": 0},
            "events1500_overlap1000_denoise0_firstsaccade_stabilized",
        ),
        (
            {"frame_mode": "n_time_bins", "n_time_bins": 8, "overlap": 1e-7, "downsample": 1e-5},
            "timebins8_overlap1e-07_denoise1200_downsample1e-05",
        ),
    ],
)


@FRAMINGS
def test_the_identity_can_be_read(options, name):
    identity = cache.cache_identity(cache.cache_parameters(Data(**options), NMNIST), "f")
    assert re.fullmatch(rf"{re.escape(name)}_[0-9a-f]{{10}}", identity)


@FRAMINGS
def test_an_empty_folder_with_a_cache_s_name_is_a_cache_s_folder(tmp_path, options, name):
    folder = tmp_path / cache.cache_identity(cache.cache_parameters(Data(**options), NMNIST), "f")
    folder.mkdir()
    assert cache.is_cache_folder(folder)


@pytest.mark.parametrize("name", ["notes_0123456789", "events1500_0123456789", "denoise", "events1500_overlap1000"])
def test_an_empty_folder_with_another_name_is_not_a_cache_s_folder(tmp_path, name):
    (tmp_path / name).mkdir()
    assert not cache.is_cache_folder(tmp_path / name)


@pytest.mark.parametrize("manifest", [{}, {"recording_names": None}, {"recording_names": "Train/0/1.bin"}])
def test_a_cache_without_recording_names_gives_none(manifest):
    assert cache.recording_names(manifest) is None


def test_other_recordings_or_sizes_give_another_fingerprint(tmp_path):
    a, longer, b = (Recording(str(tmp_path / name), 0, size, False) for name, size in (("a", 1), ("a", 2), ("b", 1)))
    prints = [cache.source_fingerprint(recordings, tmp_path) for recordings in ([a], [longer], [b], [a, b])]
    assert len(set(prints)) == 4


def test_the_fingerprint_does_not_depend_on_where_the_recordings_lie(tmp_path):
    here, there = (Recording(str(folder / "x" / "a.bin"), 0, 1, False) for folder in (tmp_path, tmp_path / "y"))
    assert cache.source_fingerprint([here], tmp_path) == cache.source_fingerprint([there], tmp_path / "y")


def test_caches_are_found_by_their_parameters(tmp_path):
    folder = tmp_path / "data" / "DEMO"
    write(folder / "one")
    write(folder / "two")
    (folder / "no_cache").mkdir()
    assert cache.find_caches(tmp_path, PARAMETERS) == [folder / "one", folder / "two"]
    assert cache.find_caches(tmp_path, {**PARAMETERS, "overlap": 1}) == []


def test_a_copied_cache_is_equal(tmp_path):
    write(tmp_path / "a")
    cache.copy_cache(tmp_path / "a", tmp_path / "b")
    for path in (tmp_path / "a").iterdir():
        assert (tmp_path / "b" / path.name).read_bytes() == path.read_bytes()


def test_a_damaged_cache_is_not_copied(tmp_path):
    write(tmp_path / "a")
    (tmp_path / "a" / "test.safetensors").write_bytes(b"")
    with pytest.raises(OSError, match="checksum"):
        cache.copy_cache(tmp_path / "a", tmp_path / "b")
    assert cache.read_manifest(tmp_path / "b") is None
    (tmp_path / "a" / "manifest.json").write_text(json.dumps({}))
    with pytest.raises(UserError, match="no valid cache manifest"):
        cache.copy_cache(tmp_path / "a", tmp_path / "b")
