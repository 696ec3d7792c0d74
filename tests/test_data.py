"""Opening caches, the order of batches, loading them."""

import contextlib
import dataclasses
import shutil
import threading

import numpy as np
import pytest
import torch

from src import data
from src.command_line import StopSignals, UserError
from src.config import Config, Data, DataLoader
from src.data import ResidentSplit, load_batches, open_cache, place_splits, train_order
from src.frame_cache import cache
from src.frame_cache.cache import MissingCacheError
from src.frame_cache.framing_options import dataset_of
from src.frame_cache.prepare import prepare
from src.io_funcs import project_root, scratch_root
from src.options import with_option
from src.train import train
from tests import small_job
from tests.small_disk import small_disk

CPU = torch.device("cpu")


@pytest.fixture
def config(storages):
    return Config.from_yaml(small_job.write_config(storages))


@pytest.fixture
def prepared(prepared_once, storages):
    """The config, with copies of the prepared storages that the test may damage."""
    small_job.copy_prepared(prepared_once, storages)
    return Config.from_yaml(storages / "small.yaml")


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


def test_a_manifest_that_another_job_takes_away_after_it_was_found_is_no_error(prepared, monkeypatch):
    find_caches = cache.find_caches

    def found_and_gone(root, parameters):
        found = find_caches(root, parameters)
        if root == scratch_root():
            (found[0] / cache.MANIFEST).unlink()
        return found

    monkeypatch.setattr(cache, "find_caches", found_and_gone)
    opened = open_cache(prepared)
    assert opened.folder.is_relative_to(scratch_root())
    assert cache.is_whole(opened.folder)


def test_a_damaged_cache_without_another_copy_is_an_error(prepared):
    opened = open_cache(prepared)
    shutil.rmtree(project_root())
    (opened.folder / "val.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=r"val.safetensors has 0 bytes instead of \d+.*reset_cache"):
        open_cache(prepared)


def test_a_damaged_cache_on_project_storage_alone_is_to_be_prepared_again(prepared):
    opened = open_cache(prepared)
    damaged = project_root() / opened.folder.relative_to(scratch_root()) / "val.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    shutil.rmtree(scratch_root())
    with pytest.raises(UserError, match=r"cannot copy the frame cache to scratch: .*val\.safetensors.*reset_cache"):
        open_cache(prepared)


def parent_is_a_file(folder, disks):
    (folder / "file").touch()
    return folder / "file" / "scratch"


def full(folder, disks):
    scratch = disks.enter_context(small_disk(folder / "full", "64k"))
    with contextlib.suppress(OSError), (scratch / "others").open("wb") as file:
        while file.write(bytes(1 << 12)):
            file.flush()
    return scratch


def read_only(folder, disks):
    return disks.enter_context(small_disk(folder / "read_only", "64k", "ro"))


@pytest.fixture(params=[parent_is_a_file, full, read_only])
def unusable_scratch(request, prepared, tmp_path, monkeypatch):
    """The config; its cache is on project storage, and scratch cannot take a copy of it."""
    with contextlib.ExitStack() as disks:
        monkeypatch.setenv("SCRATCH_STORAGE_DIR", str(request.param(tmp_path, disks)))
        yield prepared


def test_where_scratch_cannot_take_the_cache_it_is_read_from_project_storage(unusable_scratch, caplog):
    with caplog.at_level("WARNING", logger="difflogic_tonic"):
        opened = open_cache(unusable_scratch)
    assert opened.folder.is_relative_to(project_root())
    assert len(opened.splits["train"]) > 0
    assert ["SCRATCH_STORAGE_DIR" in record.message for record in caplog.records] == [True]


def test_a_damaged_cache_is_not_read_where_scratch_cannot_take_it(unusable_scratch):
    (damaged,) = project_root().glob("data/*/*/val.safetensors")
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=r"val\.safetensors.*reset_cache"):
        open_cache(unusable_scratch)


# The quick tier trains once.
@pytest.mark.parametrize(
    "unusable_scratch",
    [full, *(pytest.param(other, marks=pytest.mark.slow) for other in (parent_is_a_file, read_only))],
    indirect=True,
)
def test_a_job_trains_and_saves_all_where_scratch_cannot_take_anything(unusable_scratch, caplog):
    config = with_option(unusable_scratch, "train.checkpoint_interval_minutes", 0)
    train(config, "j", StopSignals(), resume=False, restart=False, debug=False)
    models = project_root() / "models" / "j"
    assert {"best.safetensors", "final.safetensors", "checkpoints"} <= {path.name for path in models.iterdir()}
    assert (project_root() / "logs" / "j" / "result.json").exists()
    assert caplog.text.count("cannot save a checkpoint on scratch (SCRATCH_STORAGE_DIR)") == 1
    config = with_option(config, "train.epochs", config.train.epochs + 1)
    train(config, "j", StopSignals(), resume=True, restart=False, debug=False)


def test_a_cache_of_other_parameters_is_not_taken(prepared):
    prepared = with_option(prepared, "data.overlap", prepared.data.overlap + 1)
    with pytest.raises(MissingCacheError):
        open_cache(prepared)


def test_of_caches_from_different_recordings_the_one_under_data_root_is_taken(prepared, tmp_path):
    first = open_cache(prepared).folder
    small_job.write_recordings(tmp_path / "others", train=5, test=2)
    prepared = with_option(prepared, "data.data_root", str(tmp_path / "others"))
    second = prepare(prepared, StopSignals())
    assert second != first
    assert open_cache(prepared).folder == second
    prepared = with_option(prepared, "data.data_root", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="several caches fit"):
        open_cache(prepared)


def test_a_missing_cache_is_told_with_the_nearest_few(prepared):
    parameters = cache.cache_parameters(prepared.data, dataset_of(prepared.data))
    [folder] = cache.find_caches(project_root(), parameters)
    for size in (1000, 1500, 2000, 2500):
        shutil.copytree(folder, folder.with_name(f"events{size}_overlap0_denoise0_0123456789"))
    prepared = with_option(prepared, "data.events_per_frame", 1999)
    with pytest.raises(MissingCacheError, match=r"\(the nearest of 5: events[^)]*\)") as caught:
        open_cache(prepared)
    assert str(caught.value).count("_denoise") == 3


def test_a_cache_of_other_recordings_than_lie_under_data_root_is_not_taken(prepared, tmp_path):
    small_job.write_recordings(tmp_path / "others", train=2, test=1)
    prepared = with_option(prepared, "data.data_root", str(tmp_path / "others"))
    with pytest.raises(MissingCacheError, match=r"data\.data_root = .*no frame cache was made from its 30 recordings"):
        open_cache(prepared)


def test_a_recording_that_has_another_size_makes_another_cache(prepared, tmp_path):
    root = tmp_path / "others"
    shutil.copytree(prepared.data.data_root, root)
    prepared = with_option(prepared, "data.data_root", str(root))
    open_cache(prepared)
    changed = next(root.glob("NMNIST/Test/*/*.bin"))
    changed.write_bytes(changed.read_bytes() + bytes(5))
    with pytest.raises(MissingCacheError):
        open_cache(prepared)


def test_without_a_fitting_cache_recordings_are_not_listed(config, monkeypatch):
    monkeypatch.setattr(cache, "_recordings_there", lambda *_: pytest.fail("listed"))
    with pytest.raises(MissingCacheError):
        open_cache(config)


def test_where_there_are_no_recordings_the_cache_that_fits_is_taken_and_said(prepared, tmp_path, caplog):
    prepared = with_option(prepared, "data.data_root", str(tmp_path))
    with caplog.at_level("INFO", logger="difflogic_tonic"):
        open_cache(prepared)
    assert "no recordings to compare with" in caplog.text


def test_a_cache_on_project_storage_is_found_by_its_recordings_beside_another_on_scratch(prepared, tmp_path):
    first = open_cache(prepared).folder
    small_job.write_recordings(tmp_path / "others", train=5, test=2)
    other = dataclasses.replace(prepared, data=dataclasses.replace(prepared.data, data_root=str(tmp_path / "others")))
    second = prepare(other, StopSignals())
    shutil.rmtree(first)
    assert open_cache(other).folder == second
    assert open_cache(prepared).folder == first


def test_a_data_root_that_is_not_there_is_told_although_its_cache_is(prepared, tmp_path, caplog):
    prepared = with_option(prepared, "data.data_root", str(tmp_path / "nowhere"))
    with caplog.at_level("WARNING", logger="difflogic_tonic"):
        open_cache(prepared)
    assert f"data.data_root = {tmp_path}/nowhere: no such folder" in caplog.text


def test_a_cache_of_other_recordings_is_told_with_the_option_that_names_own_recordings(tmp_path, storages):
    small_job.write_recordings(tmp_path)
    data = Data(name="FOLDER", folder=str(tmp_path / "NMNIST"), sensor_size=(34, 34), events_per_frame=100, overlap=50)
    prepare(Config(data=data), StopSignals())
    (tmp_path / "NMNIST/Train/3/00000.bin").unlink()
    with pytest.raises(MissingCacheError, match=r"^data.folder = /.*, only from others; .* or correct data.folder$"):
        open_cache(Config(data=data))


def test_a_folder_of_own_recordings_that_is_missing_is_told_before_the_caches_that_are_there(storages):
    with pytest.raises(
        MissingCacheError, match=r"^data.folder = mnie: there is no folder .*/data/mnie; a relative path"
    ):
        open_cache(Config(data=Data(name="FOLDER", folder="mnie")))


def test_an_epoch_s_order_is_a_permutation_that_seed_and_epoch_decide():
    order = train_order(100, seed=3, epoch=5, shuffle=True)
    assert sorted(order) == list(range(100))
    assert (order == train_order(100, 3, 5, True)).all()
    assert (order != train_order(100, 3, 6, True)).any()
    assert (order != train_order(100, 4, 5, True)).any()


def test_without_shuffling_the_order_is_that_of_the_cache():
    assert train_order(4, 0, 9, shuffle=False).tolist() == [0, 1, 2, 3]


PLACEMENTS = [("auto", 0), ("device", 0), ("device", 2), ("host", 0), ("host", 2)]


def placed(opened, placement, num_workers, device=CPU):
    options = DataLoader(batch_size=16, placement=placement, num_workers=num_workers)
    return place_splits(opened, options, device).splits["train"], options


@pytest.mark.parametrize(("placement", "num_workers"), PLACEMENTS)
@pytest.mark.parametrize("gather_bytes", [1, 50_000, data.GATHER_BYTES])
def test_batches_are_the_frames_of_the_cache_in_the_asked_for_order(
    prepared, monkeypatch, placement, num_workers, gather_bytes
):
    monkeypatch.setattr(data, "GATHER_BYTES", gather_bytes)
    split, options = placed(open_cache(prepared), placement, num_workers)
    order = train_order(len(split), 0, 0, True)
    batches = list(load_batches(split, order, options, CPU))
    assert [len(labels) for _, labels in batches] == [16] * (len(order) // 16) + [len(order) % 16][: len(order) % 16]
    assert (torch.cat([packed for packed, _ in batches]).numpy() == split.frames[order]).all()
    assert (torch.cat([labels for _, labels in batches]).numpy() == split.labels[order]).all()


@pytest.mark.parametrize(("placement", "num_workers"), PLACEMENTS)
def test_loading_can_begin_in_the_middle_and_at_the_end(prepared, placement, num_workers):
    split, options = placed(open_cache(prepared), placement, num_workers)
    order = train_order(len(split), 0, 0, True)
    whole, rest = list(load_batches(split, order, options, CPU)), list(load_batches(split, order, options, CPU, 2))
    assert len(rest) == len(whole) - 2
    for ours, theirs in zip(rest, whole[2:], strict=True):
        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[1], theirs[1])
    assert not list(load_batches(split, order, options, CPU, first=len(whole)))


def test_a_loader_that_is_left_in_the_middle_ends_its_threads(prepared):
    split, options = placed(open_cache(prepared), "host", 2)
    before = threading.active_count()
    batches = load_batches(split, train_order(len(split), 0, 0, True), options, CPU)
    next(batches)
    assert threading.active_count() > before
    batches.close()
    assert threading.active_count() == before


def test_a_split_on_the_device_is_a_copy_that_needs_its_file_no_more(prepared, monkeypatch):
    monkeypatch.setattr(data, "COPY_BYTES", 1000)
    opened = open_cache(prepared)
    split, _ = placed(opened, "device", 0)
    assert isinstance(split, ResidentSplit)
    assert (split.on_device[0].numpy() == split.frames).all()
    assert not np.shares_memory(split.on_device[0].numpy(), split.frames)


def test_frames_that_do_not_fit_on_the_device_are_a_user_s_error(prepared):
    opened = open_cache(prepared)
    huge = np.broadcast_to(np.zeros(1, np.uint8), (2**42, 289))
    opened.splits["train"] = cache.Split(huge, np.zeros(1, np.int64), np.zeros(1, np.int64))
    with pytest.raises(UserError, match=r"do not fit into the memory of cpu: set train.dataloader.placement to host"):
        placed(opened, "device", 0)


def test_on_the_cpu_auto_reads_the_mapped_files(prepared):
    assert not isinstance(placed(open_cache(prepared), "auto", 0)[0], ResidentSplit)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("pin_memory", [True, False])
@pytest.mark.parametrize(("placement", "num_workers"), PLACEMENTS)
def test_on_a_gpu_every_placement_gives_the_batches_of_the_cache(prepared, placement, num_workers, pin_memory):
    device = torch.device("cuda")
    split, options = placed(open_cache(prepared), placement, num_workers, device)
    options = with_option(options, "pin_memory", pin_memory)
    assert isinstance(split, ResidentSplit) == (placement != "host")
    order = train_order(len(split), 0, 0, True)
    batches = list(load_batches(split, order, options, device))
    assert all(packed.is_cuda and labels.is_cuda for packed, labels in batches)
    assert (torch.cat([packed for packed, _ in batches]).cpu().numpy() == split.frames[order]).all()
    assert (torch.cat([labels for _, labels in batches]).cpu().numpy() == split.labels[order]).all()


def test_loading_does_not_draw_from_the_global_generator(prepared):
    split = open_cache(prepared).splits["val"]
    before = torch.get_rng_state()
    list(load_batches(split, np.arange(len(split)), DataLoader(batch_size=16), CPU))
    assert torch.equal(torch.get_rng_state(), before)
