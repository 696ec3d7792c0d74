"""check_and_sync: what it finds, and that it copies in the safe direction only."""

import shutil

import pytest

from src import cache, sync
from src.config import Config
from src.helpers import StopSignals
from src.io_funcs import project_root, scratch_root
from src.prepare import prepare
from tests import small_job


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """The prepared cache's folders on scratch and on project storage."""
    monkeypatch.setenv("PROJECT_STORAGE_DIR", str(tmp_path / "project"))
    monkeypatch.setenv("SCRATCH_STORAGE_DIR", str(tmp_path / "scratch"))
    scratch = prepare(Config.from_yaml(small_job.write_config(tmp_path)), StopSignals())
    return scratch, project_root() / scratch.relative_to(scratch_root())


def states():
    (state,) = sync.survey(fast=False)
    return state.scratch, state.project


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_nothing_prepared_is_well(tmp_path, monkeypatch):
    monkeypatch.setenv("PROJECT_STORAGE_DIR", str(tmp_path / "project"))
    monkeypatch.setenv("SCRATCH_STORAGE_DIR", str(tmp_path / "scratch"))
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
