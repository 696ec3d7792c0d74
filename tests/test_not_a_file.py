"""What is not a file where one should be: nothing waits for it, and the message says where and what it is."""

import os
import signal
import socket
from pathlib import Path

import pytest
import torch

from src import checkpoint, helpers, io_funcs
from src.command_line import UserError
from src.evaluation import inference
from src.events.download.http import download, part_of
from src.events.formats import nmnist_bin
from src.events.simulation.digits import SIMULATION_MARKER, is_current
from src.frame_cache import cache, sync, work_units
from src.helpers import LOG
from src.jobs.folders import Job, remove_results


def a_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


KINDS = {
    "a named pipe": os.mkfifo,
    "a socket": a_socket,
    "a folder": os.mkdir,
    "a device": lambda path: Path(path).symlink_to("/dev/zero"),
}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def place(kind, tmp_path, monkeypatch):
    """A path at which something of this kind lies; the test fails if it waits there."""

    def waited(*_):
        raise TimeoutError

    monkeypatch.chdir(tmp_path)
    KINDS[kind]("x")  # short, as the name of a socket must be
    before = signal.signal(signal.SIGALRM, waited)
    signal.alarm(60)
    yield tmp_path / "x"
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def lock(path):
    with io_funcs.file_lock(path, waiting="waiting"):
        pass


def copy(path):
    io_funcs.copy_verified(path, path.with_name("copy"), "")


def append(path):
    io_funcs.open_regular(path, "ab")


@pytest.mark.parametrize(
    "use",
    [
        io_funcs.open_regular,
        io_funcs.read_text,
        io_funcs.sha256_of,
        append,
        lock,
        copy,
        checkpoint.load_tree,
        checkpoint.load_model_state,
        inference._read,
    ],
)
def test_an_error_names_the_path_and_what_lies_there(use, place, kind):
    with pytest.raises((OSError, UserError, checkpoint.DamagedCheckpointError)) as error:
        use(place)
    assert str(place) in str(error.value)
    assert f"it is {kind}, not a file" in str(error.value)


def test_a_folder_is_not_replaced_by_a_file_and_is_named(tmp_path):
    (tmp_path / "x").mkdir()
    with pytest.raises(OSError, match=r"it is a folder, not a file: '.*/x'"):
        io_funcs.write_atomic(tmp_path / "x", "")


def test_a_job_s_model_is_not_passed_over_for_another(place, kind, storages):
    Job("j").models.mkdir(parents=True)
    place.rename(Job("j").models / "best.safetensors")
    checkpoint.save_model(Job("j").models / "final.safetensors", torch.nn.Linear(1, 1), {})
    with pytest.raises(UserError, match=f"best.safetensors: cannot read the model: .*it is {kind}"):
        inference.load_model("j")


def test_a_lock_that_is_none_is_not_locked_and_is_named(place, kind, caplog):
    with caplog.at_level("WARNING", logger=LOG.name):
        assert not io_funcs.is_locked(place)
    assert f"{place}: it is {kind}, not a file" in caplog.text


def test_no_log_is_kept_there(place, caplog):
    with caplog.at_level("WARNING", logger=LOG.name):
        helpers.log_to_file(place)
    assert f"{place} is not a file" in caplog.text


def test_it_is_no_manifest_and_the_cache_is_unreadable(place, kind, storages, caplog):
    folder = io_funcs.scratch_root() / "data" / "DEMO" / "c"
    folder.mkdir(parents=True)
    place.rename(folder / cache.MANIFEST)
    assert cache.read_manifest(folder) is None
    with caplog.at_level("WARNING", logger=LOG.name):
        (state,) = sync.survey(fast=True)
    assert state.scratch == "unreadable"
    assert f"it is {kind}, not a file: '{folder / cache.MANIFEST}'" in caplog.text


def test_it_is_no_part(place):
    part = work_units.WorkUnit("train", 0, (), ())
    place.rename(part.description_file(place.parent))
    assert work_units.read_unit(place.parent, part) is None


def test_it_is_no_mark_of_a_simulation(place):
    place.rename(place.with_name(SIMULATION_MARKER))
    assert not is_current(place.parent, 0)


def test_a_pipe_is_no_recording(tmp_path):
    os.mkfifo(tmp_path / "x")
    with pytest.raises(OSError, match="not a regular file"):
        nmnist_bin.read(tmp_path / "x")


def test_a_download_does_not_go_on_from_it(place, kind):
    place.rename(part_of(place))
    with pytest.raises(OSError, match=f"it is {kind}"):
        download("http://127.0.0.1:9/x", place, "")


def test_a_folder_in_the_place_of_a_result_is_named_at_a_restart(storages):
    (Job("j").logs / "metrics.csv").mkdir(parents=True)
    with pytest.raises(UserError, match=r"metrics\.csv: cannot be removed for --restart: .*; move it away"):
        remove_results(Job("j"))
