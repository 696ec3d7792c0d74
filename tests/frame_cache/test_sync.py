"""check_and_sync: what it finds, that it copies in the safe direction only, and what --prune removes."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from src.command_line import Stopped, StopSignals, UserError
from src.config import Config
from src.data import open_cache
from src.frame_cache import cache, sync
from src.frame_cache.prepare import prepare, prepare_shard
from src.io_funcs import file_lock, project_root, scratch_root
from tests import small_job


@pytest.fixture
def folders(prepared, storages):
    """The cache's folders on scratch and on project storage, for this test alone."""
    for name in ("project", "scratch"):
        shutil.copytree(prepared / name, storages / name)
    (scratch,) = scratch_root().glob("data/NMNIST/*/")
    return scratch, project_root() / scratch.relative_to(scratch_root())


def states():
    (state,) = sync.survey(fast=False)
    return state.scratch, state.project


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_nothing_prepared_is_well(storages):
    assert sync.check_and_sync(fast=False, dry_run=False)


@pytest.mark.parametrize("damaged", [0, 1])
def test_a_damaged_copy_is_replaced_by_the_valid_one(folders, damaged):
    flip_a_byte(folders[damaged] / "train.safetensors")
    assert states()[damaged] == "damaged"
    assert sync.check_and_sync(fast=False, dry_run=False)
    assert states() == ("ok", "ok")


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_copy_is_made(folders, missing):
    shutil.rmtree(folders[missing])
    assert states()[missing] == "missing"
    assert sync.check_and_sync(fast=False, dry_run=False)
    assert states() == ("ok", "ok")


def test_a_copy_without_manifest_is_incomplete_and_made_whole(folders):
    (folders[0] / cache.MANIFEST).unlink()
    assert states() == ("incomplete", "ok")
    assert sync.check_and_sync(fast=False, dry_run=False)
    assert states() == ("ok", "ok")


def test_two_damaged_copies_are_reported_and_left_alone(folders):
    for folder in folders:
        flip_a_byte(folder / "test.safetensors")
    assert not sync.check_and_sync(fast=False, dry_run=False)
    assert states() == ("damaged", "damaged")


def test_two_valid_copies_that_differ_are_reported_and_left_alone(folders):
    manifest = cache.read_manifest(folders[0])
    cache.write_manifest(folders[0], {**manifest, "note": "another"})
    assert states() == ("differs", "differs")
    assert not sync.check_and_sync(fast=False, dry_run=False)
    assert states() == ("differs", "differs")


def test_a_dry_run_changes_nothing(folders):
    shutil.rmtree(folders[0])
    assert not sync.check_and_sync(fast=False, dry_run=True)
    assert not folders[0].exists()


def test_fast_trusts_sizes(folders):
    flip_a_byte(folders[0] / "train.safetensors")
    assert sync.survey(fast=True)[0].scratch == "ok"


def run(*options, dry_run=False):
    return sync.check_and_sync(fast=False, dry_run=dry_run, **dict.fromkeys(options, True))


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


# Datasets


def test_only_the_dataset_that_is_named_is_looked_at(folders):
    flip_a_byte(folders[0] / "test.safetensors")
    other = scratch_root() / "data" / "OTHER"
    shutil.copytree(folders[1], other / folders[0].name)
    assert sync.check_and_sync(fast=False, dry_run=False, dataset="OTHER")
    assert states_of("OTHER") == ("ok", "ok")
    assert states_of("NMNIST") == ("damaged", "ok")


def states_of(dataset):
    (state,) = sync.survey(fast=False, dataset=dataset)
    return state.scratch, state.project


def test_the_dataset_that_is_named_is_found_whatever_its_case(folders):
    assert sync.find("nmnist") == sync.find("NMNIST") == sync.find()


def test_an_unknown_dataset_is_a_user_s_error_that_names_those_that_are_there(folders):
    with pytest.raises(UserError, match=r"no frame cache of dataset 'MNIST'; there: NMNIST"):
        sync.check_and_sync(fast=False, dry_run=False, dataset="MNIST")


def test_the_table_says_what_is_in_a_damaged_cache_too(folders):
    for folder in folders:
        flip_a_byte(folder / "test.safetensors")
    header, _, row = sync._table(sync.survey(fast=False)).splitlines()
    assert header.split()[:5] == ["dataset", "parameters", "frames", "recordings", "size"]
    assert row.split()[0] == "NMNIST"
    assert row.split()[-3:] == ["KiB", "damaged", "damaged"]
    assert int(row.split()[3]) == 150


# What is not ours, or not known


def test_a_folder_that_is_no_cache_s_is_not_listed_nor_touched(folders):
    recordings = project_root() / "data" / "NMNIST" / "Train"
    (recordings / "0").mkdir(parents=True)
    (recordings / "0" / "1.bin").write_bytes(b"recording")
    assert len(sync.find()) == 1
    assert run("prune")
    assert (recordings / "0" / "1.bin").exists()


def test_what_cannot_be_read_is_neither_replaced_nor_pruned(folders):
    for folder in folders:
        (folder / cache.MANIFEST).unlink()
        (folder / cache.MANIFEST).mkdir()  # what opening it says is as for a failing disk
    before = files(scratch_root())
    assert states() == ("unreadable", "unreadable")
    assert not run("prune")
    assert files(scratch_root()) == before


def test_a_manifest_whose_files_lie_elsewhere_is_damaged(folders):
    manifest = cache.read_manifest(folders[0])
    manifest["splits"]["train"]["file"] = "../train.safetensors"
    cache.write_manifest(folders[0], manifest)
    assert states() == ("damaged", "ok")


def test_a_disk_that_cannot_take_a_copy_is_reported_and_the_others_are_still_settled(folders):
    shutil.copytree(folders[0].parent, scratch_root() / "data" / "A_FIRST")
    (project_root() / "data" / "A_FIRST").write_bytes(b"in the way")
    shutil.rmtree(folders[1])
    assert not run()
    assert states_of("NMNIST") == ("ok", "ok")


# --prune


@pytest.mark.parametrize("how", ["damaged", "incomplete", "missing"])
def test_prune_removes_what_has_no_valid_copy(folders, how):
    flip_a_byte(folders[0] / "train.safetensors")
    flip_a_byte(folders[1] / "train.safetensors")
    if how == "incomplete":
        (folders[1] / cache.MANIFEST).unlink()
    elif how == "missing":
        shutil.rmtree(folders[1])
    assert not run("prune", dry_run=True)
    assert folders[0].exists()
    assert run("prune")
    assert not folders[0].exists()
    assert not folders[1].exists()


def test_prune_replaces_a_damaged_copy_where_there_is_a_valid_one(folders):
    flip_a_byte(folders[0] / "train.safetensors")
    assert run("prune")
    assert states() == ("ok", "ok")


def test_prune_never_removes_a_valid_cache(folders):
    manifest = cache.read_manifest(folders[0])
    cache.write_manifest(folders[0], {**manifest, "note": "another"})
    before = files(scratch_root()), files(project_root())
    assert not run("prune")
    assert (files(scratch_root()), files(project_root())) == before


def test_prune_removes_orphaned_temporary_files_and_nothing_else(folders):
    before = files(scratch_root())
    (folders[0] / ".train.safetensors.17.tmp").write_bytes(b"half")
    (folders[0] / "notes.tmp").write_bytes(b"mine")
    assert run()
    assert run("prune", dry_run=True)
    assert (folders[0] / ".train.safetensors.17.tmp").exists()
    assert run("prune")
    assert files(scratch_root()) == before | {str((folders[0] / "notes.tmp").relative_to(scratch_root())): b"mine"}


def test_prune_leaves_what_is_not_the_cache_s_and_says_so(folders):
    for folder in folders:
        (folder / cache.MANIFEST).unlink()
    (folders[0] / "notes.txt").write_text("mine")
    assert not run("prune")
    assert files(folders[0]) == {"notes.txt": b"mine"}


# Beside other processes


@pytest.fixture
def preparation(prepared, storages):
    """A preparation that stands still in the middle of its work; its folder on scratch."""
    code = (
        "import os, signal, sys; from src.frame_cache import cache, prepare\n"
        "from src.command_line import StopSignals; from src.config import Config\n"
        "def stand_still(folder, manifest): print(folder, flush=True); signal.pause()\n"
        "cache.write_manifest = stand_still\n"
        "prepare.prepare(Config.from_yaml(sys.argv[1]), StopSignals())"
    )
    words = [sys.executable, "-c", code, prepared / "small.yaml"]
    with subprocess.Popen(words, cwd=small_job.REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        yield Path(process.stdout.readline().strip())
        process.kill()


@pytest.mark.parametrize("dry_run", [False, True])
def test_what_is_being_prepared_is_in_progress_and_left_alone(preparation, dry_run):
    (preparation / ".val.frames.17.tmp").write_bytes(b"its own")
    before = files(preparation)
    assert set(before) >= {"train.safetensors", "test.safetensors"}
    assert states() == ("in progress", "missing")
    assert run("prune", dry_run=dry_run)
    assert files(preparation) == before


def test_a_copy_that_is_stopped_leaves_no_cache_and_is_made_the_next_time(folders):
    shutil.rmtree(folders[0])

    def stop():
        if any(folders[0].glob(".test*.tmp")):
            raise Stopped

    with pytest.raises(Stopped):
        sync.check_and_sync(fast=False, dry_run=False, check=stop)
    assert cache.read_manifest(folders[0]) is None
    assert not list(folders[0].glob(".*.tmp"))
    assert run()
    assert states() == ("ok", "ok")


KILLED = """
import os, signal, sys
from src.frame_cache import sync
from src.io_funcs import scratch_root
def kill():
    if any(scratch_root().glob("data/*/*/.test*.tmp")):
        os.kill(os.getpid(), signal.SIGKILL)
sync.check_and_sync(fast=False, dry_run=False, check=kill)
"""


def test_a_copy_that_is_killed_leaves_no_cache_and_is_made_the_next_time(folders):
    shutil.rmtree(folders[0])
    killed = subprocess.run([sys.executable, "-c", KILLED], cwd=small_job.REPOSITORY)
    assert killed.returncode == -signal.SIGKILL
    assert states() == ("incomplete", "ok")
    assert list(folders[0].glob(".*.tmp"))
    assert run()
    assert states() == ("ok", "ok")
    assert not list(folders[0].glob(".*.tmp"))


TRAINING = """
import sys
from src.config import Config
from src.data import open_cache
for _ in range(8):
    opened = open_cache(Config.from_yaml(sys.argv[1]))
    print(int(sum(split.frames.sum(dtype=int) for split in opened.splits.values())))
"""


@pytest.mark.slow
def test_training_may_open_the_cache_while_it_is_copied_again_and_again(prepared, folders):
    opened = open_cache(Config.from_yaml(prepared / "small.yaml"))
    whole = str(sum(int(split.frames.sum(dtype=int)) for split in opened.splits.values()))
    words = [sys.executable, "-c", TRAINING, prepared / "small.yaml"]
    jobs = [
        subprocess.Popen(words, cwd=small_job.REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    while any(job.poll() is None for job in jobs):
        (folders[0] / cache.MANIFEST).unlink(missing_ok=True)
        assert run()
        time.sleep(0.01)
    for job in jobs:
        output, errors = job.communicate()
        assert job.returncode == 0, errors
        assert output.split() == [whole] * 8


@pytest.mark.slow
def test_the_command_ends_with_1_where_something_is_wrong_and_2_for_an_unknown_dataset(folders, tmp_path):
    for folder in folders:
        flip_a_byte(folder / "test.safetensors")
    assert "no valid copy is left" in small_job.run(tmp_path, "check_and_sync_data.py", expect=1)
    output = small_job.run(tmp_path, "check_and_sync_data.py", "--dataset", "MNIST", expect=2)
    assert "there: NMNIST" in output
    assert len(output.splitlines()) == 1
    assert "removing" in small_job.run(tmp_path, "check_and_sync_data.py", "--prune")


def test_shards_that_were_never_put_together_are_shown_with_what_to_do(folders, caplog):
    class Stopping(StopSignals):
        def check(self):
            raise Stopped

    config = Config.from_yaml(small_job.write_config(folders[0].parents[3]), ["data.overlap=7"])
    prepare_shard(config, 1, 3, StopSignals())
    with pytest.raises(Stopped):
        prepare_shard(config, 3, 3, Stopping())
    (folder,) = project_root().glob("data/NMNIST/.*overlap7*.parts")
    with caplog.at_level("INFO", logger="difflogic_tonic"):
        assert sync.check_and_sync(fast=True, dry_run=False)
    (line,) = [record.message for record in caplog.records if "unfinished" in record.message]
    assert str(folder) in line
    assert ": 1 part, " in line
    assert "s ago; shard 1/3 done; shard 3/3 stopped: prepare_data.sh with its config" in line
    with file_lock(folder / ".shard-3-of-3.lock"):
        (line,) = sync.unfinished("NMNIST")
    assert line.endswith("shard 1/3 done; shard 3/3 in progress: in progress")
    assert sync.unfinished("DEMO") == []
    prepare(config, StopSignals())
    assert sync.unfinished() == []


def test_a_sound_cache_of_another_version_is_not_called_damaged_nor_pruned(folders, monkeypatch, caplog):
    before = files(folders[0])
    monkeypatch.setattr(cache, "FORMAT_VERSION", cache.FORMAT_VERSION + 1)
    assert states() == ("other version", "other version")
    with caplog.at_level("INFO", logger="difflogic_tonic"):
        assert sync.check_and_sync(fast=False, dry_run=False, prune=True)
    assert "made by another version of this program" in caplog.text
    assert files(folders[0]) == before
