"""Opening caches, the order of batches, loading them."""

import shutil

import numpy as np
import pytest
import torch

from src.config import Config, DataLoader
from src.data import MissingCacheError, load_batches, open_cache, train_order
from src.helpers import StopSignals, UserError
from src.io_funcs import project_root, scratch_root
from src.prepare import prepare
from tests import small_job

CPU = torch.device("cpu")


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("PROJECT_STORAGE_DIR", str(tmp_path / "project"))
    monkeypatch.setenv("SCRATCH_STORAGE_DIR", str(tmp_path / "scratch"))
    return Config.from_yaml(small_job.write_config(tmp_path))


@pytest.fixture
def prepared(config):
    prepare(config, StopSignals())
    return config


def loaded(split, order, first=0, **options):
    return list(load_batches(split, order, DataLoader(batch_size=16, **options), CPU, first))


def test_a_missing_cache_is_an_error_that_says_how_to_prepare_it(config):
    with pytest.raises(MissingCacheError, match=r"\./prepare_data\.sh"):
        open_cache(config)


def test_a_wiped_scratch_is_filled_from_project_storage(prepared):
    shutil.rmtree(scratch_root())
    opened = open_cache(prepared)
    assert opened.folder.is_relative_to(scratch_root())
    assert len(opened.splits["train"]) > 0


def test_a_damaged_cache_on_scratch_is_replaced_by_the_one_on_project_storage(prepared):
    opened = open_cache(prepared)
    before = (opened.folder / "train.safetensors").read_bytes()
    (opened.folder / "train.safetensors").write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    open_cache(prepared)
    assert (opened.folder / "train.safetensors").read_bytes() == before


def test_a_damaged_cache_without_another_copy_is_an_error(prepared):
    opened = open_cache(prepared)
    shutil.rmtree(project_root())
    (opened.folder / "val.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=r"val.safetensors has 0 bytes instead of \d+.*reset_cache"):
        open_cache(prepared)


def test_a_cache_of_other_parameters_is_not_taken(prepared):
    prepared.data.overlap += 1
    with pytest.raises(MissingCacheError):
        open_cache(prepared)


def test_of_caches_from_different_recordings_the_one_under_data_root_is_taken(prepared, tmp_path):
    first = open_cache(prepared).folder
    small_job.write_recordings(tmp_path / "others", train=5, test=2)
    prepared.data.data_root = str(tmp_path / "others")
    second = prepare(prepared, StopSignals())
    assert second != first
    assert open_cache(prepared).folder == second
    prepared.data.data_root = str(tmp_path / "nowhere")
    with pytest.raises(UserError, match="several caches fit"):
        open_cache(prepared)


def test_an_epoch_s_order_is_a_permutation_that_seed_and_epoch_decide():
    order = train_order(100, seed=3, epoch=5, shuffle=True)
    assert sorted(order) == list(range(100))
    assert (order == train_order(100, 3, 5, True)).all()
    assert (order != train_order(100, 3, 6, True)).any()
    assert (order != train_order(100, 4, 5, True)).any()


def test_without_shuffling_the_order_is_that_of_the_cache():
    assert train_order(4, 0, 9, shuffle=False).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_are_the_frames_of_the_cache_in_the_asked_for_order(prepared, num_workers):
    split = open_cache(prepared).splits["train"]
    order = train_order(len(split), 0, 0, True)
    batches = loaded(split, order, num_workers=num_workers)
    assert all(len(labels) == 16 for _, labels in batches[:-1])
    assert (torch.cat([packed for packed, _ in batches]).numpy() == split.frames[order]).all()
    assert (torch.cat([labels for _, labels in batches]).numpy() == split.labels[order]).all()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_loading_can_begin_in_the_middle(prepared, num_workers):
    split = open_cache(prepared).splits["train"]
    order = train_order(len(split), 0, 0, True)
    whole, rest = loaded(split, order), loaded(split, order, first=2, num_workers=num_workers)
    assert len(rest) == len(whole) - 2
    for ours, theirs in zip(rest, whole[2:], strict=True):
        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[1], theirs[1])


def test_loading_does_not_draw_from_the_global_generator(prepared):
    split = open_cache(prepared).splits["val"]
    before = torch.get_rng_state()
    loaded(split, np.arange(len(split)))
    assert torch.equal(torch.get_rng_state(), before)
