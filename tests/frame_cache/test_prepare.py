"""Preparation: splits by recording, the same cache from any number of threads, corrupt recordings, interruptions."""

import dataclasses
import hashlib
import os
import re
import shutil

import numpy as np
import pytest

from src.command_line import Stopped, StopSignals, UserError
from src.config import Config, Data
from src.events import denoise, read_recording, to_frames
from src.events.datasets import get_dataset
from src.events.datasets.dataset import UNPACKED, Recording
from src.events.datasets.nmnist import NMNIST
from src.events.events import Events
from src.events.formats import nmnist_bin
from src.events.framing import frames_of
from src.frame_cache import cache, work_units
from src.frame_cache.framing_options import framing_of
from src.frame_cache.prepare import prepare, prepare_shard
from src.frame_cache.recordings import obtain_recordings
from src.frame_cache.splits import assign_splits
from src.helpers import LOG
from src.io_funcs import project_root, scratch_root
from src.options import with_option
from src.registry import DATASETS
from tests import small_job
from tests.configs import changed
from tests.events.datasets import stand_ins
from tests.small_disk import small_disk


@pytest.fixture
def config(storages):
    return Config.from_yaml(small_job.write_config(storages))


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def recordings_of(folder):
    return {split: set(cache.read_split(folder, split).recordings.tolist()) for split in cache.SPLITS}


def test_the_cache_lies_on_both_storages(config):
    folder = prepare(config, StopSignals())
    assert folder.is_relative_to(scratch_root())
    assert content(folder) == content(project_root() / folder.relative_to(scratch_root()))


def test_a_test_split_is_said_to_be_unused_if_the_dataset_has_its_own(config, caplog, monkeypatch):
    monkeypatch.setattr(LOG, "propagate", True)
    prepare(with_option(config, "data.test_split", 0.3), StopSignals())
    assert "data.test_split is not used with data.name = NMNIST" in caplog.text
    assert "data.url is not used" not in caplog.text


def test_a_url_is_said_to_be_unused_if_there_is_nothing_to_download(config, caplog, monkeypatch):
    monkeypatch.setattr(LOG, "propagate", True)
    monkeypatch.setitem(DATASETS.entries, "NMNIST", "tests.toys.dataset:WITHOUT_ARCHIVES")
    prepare(with_option(config, "data.url", "https://example.org"), StopSignals())
    assert "data.url is not used with data.name = NMNIST, since the dataset has no archives" in caplog.text


def test_frames_are_those_of_the_event_functions_in_the_order_of_the_recordings(config, tmp_path):
    config = with_option(config, "data.denoise_time", 5000)
    split = cache.read_split(prepare(config, StopSignals()), "test")
    found = NMNIST.find_recordings(tmp_path / "recordings" / "NMNIST")
    at = 0
    for number in sorted(set(split.recordings.tolist())):
        frames = to_frames(denoise(read_recording(found[number].path), 5000), (34, 34, 2), 100, 50)
        packed = np.packbits(frames.reshape(len(frames), -1), axis=1, bitorder="little")
        assert np.array_equal(split.frames[at : at + len(frames)], packed)
        assert (split.recordings[at : at + len(frames)] == number).all()
        assert (split.labels[at : at + len(frames)] == found[number].label).all()
        at += len(frames)
    assert at == len(split)


def test_the_manifest_names_the_file_of_each_recording_s_number(config, tmp_path):
    folder = prepare(config, StopSignals())
    root = tmp_path / "recordings" / "NMNIST"
    found = NMNIST.find_recordings(root)
    for storage in (folder, project_root() / folder.relative_to(scratch_root())):
        names = cache.recording_names(cache.read_manifest(storage))
        assert [str(root / name) for name in names] == [recording.path for recording in found]


def test_each_way_of_framing_has_a_cache_of_its_own_whose_manifest_describes_it(config, tmp_path):
    usual = prepare(config, StopSignals())
    config = with_option(
        config,
        "data",
        dataclasses.replace(
            config.data, frame_mode="n_time_bins", n_time_bins=3, overlap=0, frame_dtype="counts", downsample=0.5
        ),
    )
    folder = prepare(config, StopSignals())
    assert folder.name.startswith("timebins3_overlap0_denoise0_counts_downsample0.5_")
    manifest = cache.read_manifest(folder)
    assert (manifest["frame_dtype"], manifest["frame_shape"]) == ("counts", [2, 17, 17])
    split = cache.read_split(folder, "test")
    first = NMNIST.find_recordings(tmp_path / "recordings" / "NMNIST")[split.recordings[0]]
    expected = frames_of(read_recording(first.path), (34, 34, 2), framing_of(config.data))
    assert split.frames.shape == (90, 578)
    assert np.array_equal(split.frames[:3], expected)
    assert cache.read_manifest(usual)["frame_dtype"] == "binary"


def test_no_recording_is_in_two_splits_and_none_is_missing(config):
    train, val, test = recordings_of(prepare(config, StopSignals())).values()
    assert len(train | val | test) == len(train) + len(val) + len(test) == 150


def test_the_dataset_s_own_test_split_is_kept(config, tmp_path):
    found = NMNIST.find_recordings(tmp_path / "recordings" / "NMNIST")
    numbers = recordings_of(prepare(config, StopSignals()))["test"]
    assert numbers == {i for i, recording in enumerate(found) if recording.is_test}


def made_up(n):
    return [Recording("", label, 0, False) for label in range(4) for _ in range(n)]


def test_splits_are_stratified():
    data = Data(val_split=0.25, test_split=0.2)
    splits = assign_splits(made_up(20), data, own_test_split=False)
    labels = {split: np.bincount([number // 20 for number in numbers]) for split, numbers in splits.items()}
    assert {split: counts.tolist() for split, counts in labels.items()} == {
        "train": [12] * 4,
        "val": [4] * 4,
        "test": [4] * 4,
    }


def test_splits_follow_the_data_seed():
    one, same, other = (assign_splits(made_up(20), Data(seed=seed), False) for seed in (1, 1, 2))
    assert one == same
    assert one != other


@pytest.fixture
def small_parts(monkeypatch):
    """Cut the preparation into about fifteen parts."""
    monkeypatch.setattr(work_units, "UNIT_BYTES", 20_000)


@pytest.mark.slow
def test_neither_processes_nor_parts_change_a_byte(config, monkeypatch):
    whole = content(prepare(config, StopSignals()))
    monkeypatch.setattr(work_units, "UNIT_BYTES", 20_000)
    monkeypatch.setattr(work_units, "WORTH_PROCESSES", 0)
    config = changed(config, {"data.num_threads": 3, "data.reset_cache": True})
    assert content(prepare(config, StopSignals())) == whole


def interrupt(config, after):
    """Prepare until this number of recordings are read; then a signal comes."""

    class Later(StopSignals):
        asked = 0

        def check(self):
            self.asked += 1
            if self.asked > after:
                raise Stopped

    with pytest.raises(Stopped):
        prepare(config, Later())


def forget():
    """Remove the caches."""
    for root in (scratch_root(), project_root()):
        shutil.rmtree(root)


def reads(monkeypatch):
    """Counts the recordings that are read from now on."""
    numbers = []
    make_unit = work_units.make_unit
    monkeypatch.setattr(
        work_units, "make_unit", lambda part, *rest: (numbers.extend(part.numbers), make_unit(part, *rest))[1]
    )
    return numbers


def test_an_interrupted_preparation_goes_on_where_it_was(config, small_parts, monkeypatch):
    whole = content(prepare(config, StopSignals()))
    forget()
    interrupt(config, after=100)
    numbers = reads(monkeypatch)
    folder = prepare(config, StopSignals())
    assert 0 < len(numbers) < 80
    assert content(folder) == whole
    assert not list(folder.parent.glob(".*.parts"))


def test_reset_cache_forgets_what_an_interrupted_preparation_made(config, small_parts, monkeypatch):
    interrupt(config, after=100)
    config = with_option(config, "data.reset_cache", True)
    numbers = reads(monkeypatch)
    prepare(config, StopSignals())
    assert len(numbers) == 150


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda raw: raw[:-1], id="cut"),
        pytest.param(lambda raw: bytes([raw[0] ^ 1]) + raw[1:], id="a bit"),
        pytest.param(lambda raw: bytes(len(raw)), id="zeros, as after a power cut", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("suffix", ["frames", "json"])
def test_a_damaged_part_is_made_again(config, small_parts, damage, suffix):
    whole = content(prepare(config, StopSignals()))
    forget()
    interrupt(config, after=100)
    path = sorted(scratch_root().glob(f"data/NMNIST/.*.parts/train-*.{suffix}"))[1]
    path.write_bytes(damage(path.read_bytes()))
    assert content(prepare(config, StopSignals())) == whole


@pytest.mark.parametrize(
    "shards", [pytest.param(1, marks=pytest.mark.slow), 4, pytest.param(40, marks=pytest.mark.slow)]
)
def test_shards_put_together_are_the_unsharded_cache(config, small_parts, monkeypatch, shards):
    whole = prepare(config, StopSignals())
    expected = content(whole)
    shutil.rmtree(scratch_root())
    shutil.rmtree(project_root())
    for shard in range(shards, 0, -1):
        prepare_shard(config, shard, shards, StopSignals())
        shutil.rmtree(scratch_root(), ignore_errors=True)  # each machine has a scratch of its own
    assert cache.read_manifest(project_root() / whole.relative_to(scratch_root())) is None
    numbers = reads(monkeypatch)
    assert content(prepare(config, StopSignals())) == expected
    assert numbers == []
    assert not list(project_root().glob("data/*/.*.parts"))


def test_a_lost_shard_is_made_when_the_cache_is_put_together(config, small_parts, monkeypatch):
    expected = content(prepare(config, StopSignals()))
    for root in (scratch_root(), project_root()):
        shutil.rmtree(root)
    prepare_shard(config, 1, 2, StopSignals())
    numbers = reads(monkeypatch)
    assert content(prepare(config, StopSignals())) == expected
    assert 0 < len(numbers) < 150


def test_a_shard_does_not_reset_what_others_have_made(config, small_parts):
    config = with_option(config, "data.reset_cache", True)
    with pytest.raises(UserError, match=r"reset_cache = true with --shard .* move /.*\.parts aside.* leave it out"):
        prepare_shard(config, 1, 2, StopSignals())


def test_a_shard_without_parts_says_so(config, caplog):
    with caplog.at_level("INFO", logger="difflogic_tonic"):
        prepare_shard(config, 9, 9, StopSignals())
    assert "nothing to do for shard 9 of 9: there are only 3 parts" in caplog.text


def test_a_shard_of_a_cache_that_is_there_makes_nothing(config, small_parts, monkeypatch):
    prepare(config, StopSignals())
    numbers = reads(monkeypatch)
    prepare_shard(config, 1, 2, StopSignals())
    assert numbers == []


def test_a_cache_that_is_there_is_not_prepared_again(config, caplog):
    folder = prepare(config, StopSignals())
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    with caplog.at_level("INFO", logger="difflogic_tonic"):
        prepare(config, StopSignals())
    assert [record.message for record in caplog.records if "already there" in record.message]
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


@pytest.mark.slow
@pytest.mark.parametrize("changed", ["scratch", "project"])
def test_a_reset_that_is_stopped_leaves_the_cache_that_was_there(config, small_parts, changed):
    folder = prepare(config, StopSignals())
    damaged = folder if changed == "scratch" else project_root() / folder.relative_to(scratch_root())
    whole = content(folder)
    config = with_option(config, "data.reset_cache", True)
    interrupt(config, after=100)
    assert content(folder) == content(project_root() / folder.relative_to(scratch_root())) == whole
    (damaged / "train.safetensors").write_bytes(whole["train.safetensors"][:-1] + b"!")
    assert content(prepare(config, StopSignals())) == whole
    assert content(project_root() / folder.relative_to(scratch_root())) == whole


def test_parts_of_a_reset_that_was_stopped_go_when_the_cache_is_used(config, small_parts):
    folder = prepare(config, StopSignals())
    config = with_option(config, "data.reset_cache", True)
    interrupt(config, after=100)
    assert list(folder.parent.glob(".*.parts"))
    config = with_option(config, "data.reset_cache", False)
    prepare(config, StopSignals())
    assert not list(folder.parent.glob(".*.parts"))


def test_a_folder_that_recordings_come_from_is_not_called_unused(storages, caplog):
    stand_ins.write_original_gestures(storages, {"user01": False, "user24": True}, events=100)
    data = Data(name="DVSGESTURE", data_root=str(storages))
    with caplog.at_level("WARNING", logger="difflogic_tonic"):
        _, _, recordings = obtain_recordings(data, get_dataset("DVSGESTURE"))
    assert len(recordings) == 24
    assert "nothing is taken from" not in caplog.text


def test_a_misnamed_folder_of_recordings_is_named(config, tmp_path, caplog):
    recordings = tmp_path / "recordings" / "NMNIST"
    (recordings / "test").mkdir()
    with caplog.at_level("WARNING", logger="difflogic_tonic"):
        prepare(config, StopSignals())
    assert f"nothing is taken from test in {recordings}: not a folder of NMNIST" in caplog.text


def test_a_class_without_a_recording_in_a_split_is_named(config, tmp_path, caplog):
    shutil.rmtree(tmp_path / "recordings" / "NMNIST" / "Test" / "3")
    with caplog.at_level("WARNING", logger="difflogic_tonic"):
        prepare(config, StopSignals())
    (line,) = [record.message for record in caplog.records if "no recording of class" in record.message]
    assert line == "no recording of class 3 is in test: the test says nothing about it"


def test_misnamed_folders_alone_start_no_download(config, tmp_path):
    recordings = tmp_path / "recordings" / "NMNIST"
    for name in ("Train", "Test"):
        (recordings / name).rename(recordings / name.lower())
    with pytest.raises(UserError, match=r"NMNIST, where NMNIST has Train, Test, but test, train; correct their names"):
        prepare(config, StopSignals())


def test_the_recordings_folder_itself_as_data_root_starts_no_download(config):
    config = with_option(config, "data.data_root", config.data.data_root + "/NMNIST")
    with pytest.raises(
        UserError, match=r"is itself the folder of the recordings of NMNIST: .* the folder that it lies"
    ):
        prepare(config, StopSignals())


def test_reset_cache_prepares_it_again(config):
    folder = prepare(config, StopSignals())
    before = (folder / "train.safetensors").stat().st_mtime_ns
    config = with_option(config, "data.reset_cache", True)
    prepare(config, StopSignals())
    assert (folder / "train.safetensors").stat().st_mtime_ns > before


@pytest.mark.parametrize("root", [project_root, scratch_root])
def test_a_storage_that_lacks_the_cache_gets_a_copy(config, root):
    folder = prepare(config, StopSignals())
    shutil.rmtree(root() / "data")
    prepare(config, StopSignals())
    assert content(root() / folder.relative_to(scratch_root())) == content(folder)


def test_other_parameters_make_another_cache_beside_it(config):
    first = prepare(config, StopSignals())
    config = with_option(config, "data.overlap", 10)
    assert prepare(config, StopSignals()) != first
    assert cache.read_manifest(first)


@pytest.fixture
def many(config, tmp_path):
    """Enough recordings that one may be corrupt."""
    shutil.rmtree(tmp_path / "recordings")
    small_job.write_recordings(tmp_path / "recordings", train=18, test=2)
    return config


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: raw[:4], "not a multiple of 5"),
        (lambda raw: b"", "holds no events"),
    ],
)
def test_a_corrupt_recording_is_named_counted_and_left_out(many, tmp_path, caplog, damage, message):
    path = tmp_path / "recordings" / "NMNIST" / "Train" / "5" / "00003.bin"
    path.write_bytes(damage(path.read_bytes()))
    with caplog.at_level("WARNING", logger="difflogic_tonic"):
        folder = prepare(many, StopSignals())
    told = "\n".join(record.message for record in caplog.records)
    assert str(path) in told
    assert message in told
    assert "1 of 200 recordings are corrupt and were left out" in told
    assert sum(map(len, recordings_of(folder).values())) == 199


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: raw[:-1], "are cut short; what is whole was read, 8 B were left out or are missing: {0} (4 B), "),
        (lambda raw: bytes([34]) + raw[1:], "have events outside the sensor; 2 events were left out: {0} (1), "),
        (
            lambda raw: raw[:1] + bytes([99]) + raw[2:],
            "have events outside the sensor; 2 events were left out: {0} (1)",
        ),
    ],
    ids=["cut short", "x outside", "y outside"],
)
def test_what_is_sound_of_a_recording_is_used_and_the_rest_counted(config, tmp_path, caplog, damage, message):
    paths = [tmp_path / "recordings" / "NMNIST" / "Train" / "5" / f"0000{number}.bin" for number in (1, 3)]
    for path in paths:
        path.write_bytes(damage(path.read_bytes()))
    with caplog.at_level("WARNING", logger="difflogic_tonic"):
        folder = prepare(config, StopSignals())
    (line,) = [record.message for record in caplog.records if "2 of 150 recordings" in record.message]
    assert message.format(paths[0]) in line
    assert sum(map(len, recordings_of(folder).values())) == 150


def test_a_recording_of_another_sensor_is_not_called_corrupt(config, tmp_path, caplog):
    path = tmp_path / "recordings" / "NMNIST" / "Train" / "5" / "00003.bin"
    path.write_bytes(bytes([200, 9, 0, 0, 1]) * 50)
    with caplog.at_level("WARNING", logger="difflogic_tonic"):
        prepare(config, StopSignals())
    told = "\n".join(record.message for record in caplog.records)
    assert f"recording left out: {path}: 50 of its 50 events lie outside the sensor (34 x 34 pixels)" in told
    assert "1 of 150 recordings are of another sensor and were left out" in told
    assert "corrupt" not in told


def test_one_corrupt_recording_among_few_is_left_out(config, tmp_path):
    few = tmp_path / "few"
    small_job.write_recordings(few, train=2, test=1)
    (few / "NMNIST" / "Train" / "5" / "00001.bin").write_bytes(b"123")
    config = with_option(config, "data.data_root", str(few))
    assert sum(map(len, recordings_of(prepare(config, StopSignals())).values())) == 29


def test_more_than_a_few_and_one_in_a_hundred_corrupt_fails_and_leaves_no_cache(many, tmp_path):
    for number in range(3):
        (tmp_path / "recordings" / "NMNIST" / "Train" / "5" / f"{number:05d}.bin").write_bytes(b"123")
    with pytest.raises(
        UserError, match=r"3 of 200 recordings cannot be used \(180 were read\), more than 1%.*3 are corrupt"
    ):
        prepare(many, StopSignals())
    assert not list(tmp_path.glob("*/data/*/*/manifest.json"))


def test_a_signal_in_the_middle_leaves_no_cache_and_nothing_temporary(config, tmp_path):
    interrupt(config, after=3)
    assert not list(tmp_path.glob("*/data/*/*/manifest.json"))
    assert not list(tmp_path.glob("**/*.tmp"))


@pytest.fixture
def offline(config, tmp_path):
    """Return a config whose recordings would be downloaded from an address that has none."""
    (tmp_path / "empty").mkdir()
    return changed(config, {"data.data_root": str(tmp_path / "empty"), "data.url": str(tmp_path / "nowhere")})


def test_no_recordings_and_no_download_is_a_user_s_error_that_leaves_nothing(offline, tmp_path):
    with pytest.raises(UserError, match=r"nowhere/train.zip: No such file or directory. Fetch by hand train.zip"):
        prepare(offline, StopSignals())
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_data_root_that_does_not_exist_starts_no_download(offline, tmp_path):
    offline = with_option(offline, "data.data_root", str(tmp_path / "mistyped"))
    with pytest.raises(UserError, match=r"data.data_root = .*/mistyped: there is no such folder"):
        prepare(offline, StopSignals())
    assert not (tmp_path / "mistyped").exists()


def test_the_default_data_root_is_made_for_a_download_and_goes_if_nothing_came(offline, tmp_path, monkeypatch):
    monkeypatch.setattr("src.io_funcs.REPOSITORY", tmp_path)
    offline = with_option(offline, "data.data_root", Data().data_root)
    with pytest.raises(UserError, match="Fetch by hand"):
        prepare(offline, StopSignals())
    assert not (tmp_path / "data").exists()


def test_a_disk_error_while_recordings_are_brought_is_a_user_s_error(config, tmp_path, monkeypatch):
    def obtain(folder, seed):
        raise OSError("no space")

    config = with_option(config, "data.data_root", str(tmp_path / "nothing"))
    simulated = dataclasses.replace(NMNIST, archives=(), obtain=obtain)
    monkeypatch.setattr("src.frame_cache.plan.dataset_of", lambda data: simulated)
    with pytest.raises(UserError, match=r"cannot bring the recordings of NMNIST to .*: no space"):
        prepare(config, StopSignals())
    assert not (tmp_path / "nothing").exists()


def test_recordings_that_are_half_moved_to_their_places_are_moved_on_first(config, tmp_path):
    folder = tmp_path / "recordings" / "NMNIST"
    (folder / UNPACKED).mkdir()
    (folder / "Test").rename(folder / UNPACKED / "Test")
    assert sum(map(len, recordings_of(prepare(config, StopSignals())).values())) == 150


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"frame_mode": "n_time_bins", "n_time_bins": 10**6}, "data.n_time_bins = 1000000"),
        ({"frame_mode": "n_event_bins", "n_event_bins": 10**6}, "data.n_event_bins = 1000000"),
        ({"frame_mode": "time_window", "time_window": 1, "frame_dtype": "counts"}, "data.time_window = 1"),
    ],
)
def test_the_option_is_named_by_which_most_recordings_give_too_many_frames(config, options, named):
    config = with_option(config, "data", dataclasses.replace(config.data, overlap=0, **options))
    with pytest.raises(UserError, match=f"32 of 32 .* by {named} and data.overlap = 0.* fewer frames per recording"):
        prepare(config, StopSignals())


def test_the_option_is_named_where_a_minority_gives_too_many_frames(config, tmp_path):
    config = changed(config, {"data.frame_mode": "time_window", "data.time_window": 10, "data.overlap": 0})
    zeros = np.zeros(2, np.uint16)
    for number, path in enumerate(sorted((tmp_path / "recordings").rglob("*.bin"))):
        times = np.array([0, 1000 if number % 4 else nmnist_bin.LARGEST_TIMESTAMP])
        path.write_bytes(nmnist_bin.encode(Events(zeros, zeros, times, zeros.astype(np.uint8))))
    config = with_option(config, "data.frame_dtype", "counts")
    with pytest.raises(UserError, match=r"cannot be used.* are of more than 256.* by data.time_window = 10 and"):
        prepare(config, StopSignals())


@pytest.fixture
def small_scratch(tmp_path):
    """Scratch on a temporary file system of 1 MiB, where this process may mount one; the cache takes 230 KiB."""
    with small_disk(tmp_path / "scratch", "1m") as folder:
        yield folder


def test_what_cannot_fit_is_refused_before_anything_is_made(config, small_scratch):
    config = changed(config, {"data.frame_mode": "time_window", "data.time_window": 1000, "data.overlap": 0})
    with pytest.raises(UserError, match=r"not enough space for .*window1000.* MiB needed, .* free; see SCRATCH"):
        prepare(config, StopSignals())
    assert not [path for root in (small_scratch, project_root()) for path in root.rglob("*.frames")]


@pytest.mark.parametrize("make", [prepare, lambda config, stop: prepare_shard(config, 1, 2, stop)])
def test_what_project_storage_cannot_take_is_refused_before_anything_is_made(
    config, small_scratch, tmp_path, monkeypatch, make
):
    monkeypatch.setenv("PROJECT_STORAGE_DIR", str(small_scratch))
    monkeypatch.setenv("SCRATCH_STORAGE_DIR", str(tmp_path / "large"))
    config = changed(config, {"data.frame_mode": "time_window", "data.time_window": 1000, "data.overlap": 0})
    with pytest.raises(UserError, match=r"not enough space for .*window1000.* needed, .* free; see PROJECT"):
        make(config, StopSignals())
    assert not list(tmp_path.rglob("*.frames"))


def test_a_disk_that_fills_up_is_named_with_what_stays_and_is_gone_on_from(config, small_parts, small_scratch):
    filler = small_scratch / "others"
    filler.write_bytes(bytes(900_000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("src.frame_cache.prepare.require_free_space", lambda folder, size: None)
        with pytest.raises(UserError) as error:
            prepare(config, StopSignals())
    expected = r"\.frames: No space left on device; see SCRATCH_STORAGE_DIR\. What is made stays in"
    assert re.search(expected, str(error.value))
    assert f"{small_scratch}/data/NMNIST/." in str(error.value)
    filler.unlink()
    assert cache.is_whole(prepare(config, StopSignals()))


def test_fewer_recordings_than_the_full_set_are_said_in_one_warning(config, caplog):
    with caplog.at_level("WARNING", logger="difflogic_tonic"):
        prepare(config, StopSignals())
    assert ["150 of 70000 recordings found" in record.message for record in caplog.records] == [True]


def test_hidden_files_beside_recordings_are_no_recordings(config, tmp_path, caplog):
    folder = tmp_path / "recordings" / "NMNIST" / "Train" / "5"
    expected = prepare(config, StopSignals()).name
    for name in ("._00001.bin", ".DS_Store", "Thumbs.db", ".hidden.bin"):
        (folder / name).write_bytes(b"x")
    assert prepare(config, StopSignals()).name == expected
    assert "left out" not in caplog.text


def test_links_that_lead_nowhere_are_counted_and_named(config, tmp_path, caplog):
    folder = tmp_path / "recordings" / "NMNIST" / "Train"
    for number in (1, 2):
        path = folder / "5" / f"0000{number}.bin"
        path.unlink()
        path.symlink_to("../../../.git/annex/objects/a.bin")
    (folder / "5" / "loop.bin").symlink_to("loop.bin")
    with caplog.at_level("WARNING", logger="difflogic_tonic"):
        prepare(config, StopSignals())
    (line,) = [record.message for record in caplog.records if "that lead nowhere" in record.message]
    assert f"links that lead nowhere: 3, such as {folder}/5/00001.bin -> ../../../.git/annex/objects/a.bin" in line
    assert "git annex get" in line


@pytest.mark.parametrize("name", ["", "NMNIST", "NMNIST/Train", "NMNIST/Train/5"])
def test_links_alone_start_no_download(config, tmp_path, name):
    root = tmp_path / "other"
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).symlink_to(tmp_path / "nowhere")
    config = with_option(config, "data.data_root", str(root))
    with pytest.raises(
        UserError, match=r"no recordings in .*NMNIST, only links that lead nowhere: 1, such as .*nowhere"
    ):
        prepare(config, StopSignals())


@pytest.mark.parametrize(("name", "folder"), [(b"a\xff.bin", b""), (b"\x80\t\n.bin", b"folder\xff")])
def test_a_recording_may_have_any_name(config, tmp_path, caplog, name, folder):
    root = tmp_path / os.fsdecode(folder)
    root.mkdir(exist_ok=True)
    (tmp_path / "recordings" / "NMNIST").rename(root / "NMNIST")
    (tmp_path / "recordings" / "NMNIST").symlink_to(root / "NMNIST")
    named = root / "NMNIST" / "Train" / "5" / os.fsdecode(name)
    (root / "NMNIST" / "Train" / "5" / "00001.bin").rename(named)
    (root / "NMNIST" / "Train" / "5" / "00002.bin").rename(named.with_suffix(".corrupt.bin"))
    named.with_suffix(".corrupt.bin").write_bytes(b"123")
    config = with_option(config, "data.data_root", str(root))
    with caplog.at_level("WARNING", logger="difflogic_tonic"):
        assert sum(map(len, recordings_of(prepare(config, StopSignals())).values())) == 149
    assert "1 of 150 recordings are corrupt" in caplog.text


def test_the_fingerprint_of_usual_names_stays_and_other_names_have_another(tmp_path):
    usual, strange = (
        [Recording(f"{tmp_path}/{name}", 0, 5, False)]
        for name in ("Train/0/\u00e4.bin", os.fsdecode(b"Train/0/\xe4.bin"))
    )
    expected = hashlib.sha256("Train/0/\u00e4.bin\0005\n".encode()).hexdigest()
    assert cache.source_fingerprint(usual, tmp_path) == expected != cache.source_fingerprint(strange, tmp_path)
