"""Atomic files, verified copies, locks, names, storage roots."""

import hashlib
import re
import subprocess
import sys
import threading
import time

import pytest

from src import io_funcs
from src.command_line import UserError
from tests.small_job import REPOSITORY


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_atomic_file_replaces_the_old_one(tmp_path):
    io_funcs.write_atomic(tmp_path / "a", "old")
    io_funcs.write_atomic(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"
    assert names(tmp_path) == ["a"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    io_funcs.write_atomic(tmp_path / "a", "old")
    with pytest.raises(TypeError), io_funcs.atomic_file(tmp_path / "a") as file:
        file.writelines([b"half", "not bytes"])
    assert (tmp_path / "a").read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_missing_folders_are_made(tmp_path):
    io_funcs.write_json(tmp_path / "b" / "c" / "a.json", {"x": 1})
    assert (tmp_path / "b" / "c" / "a.json").read_text() == '{\n  "x": 1\n}\n'


def test_the_checksum_is_sha256(tmp_path):
    content = bytes(range(256)) * 40_000  # more than a chunk
    (tmp_path / "a").write_bytes(content)
    assert io_funcs.sha256_of(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_a_copy_with_the_right_checksum_is_made(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    io_funcs.copy_verified(tmp_path / "a", tmp_path / "to" / "b", hashlib.sha256(b"content").hexdigest())
    assert (tmp_path / "to" / "b").read_bytes() == b"content"


def test_a_copy_with_a_wrong_checksum_is_not_made(tmp_path):
    (tmp_path / "a").write_bytes(b"damaged")
    with pytest.raises(OSError, match="does not have the checksum"):
        io_funcs.copy_verified(tmp_path / "a", tmp_path / "b", hashlib.sha256(b"content").hexdigest())
    assert names(tmp_path) == ["a"]


def test_a_copy_can_be_stopped_and_leaves_nothing(tmp_path):
    (tmp_path / "a").write_bytes(b"content")

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        io_funcs.copy_verified(tmp_path / "a", tmp_path / "b", "", stop)
    assert names(tmp_path) == ["a"]


def test_an_error_in_writing_names_the_file_not_the_temporary_one(tmp_path):
    path = tmp_path / ("x" * 250)
    with pytest.raises(OSError, match="too long") as error:
        io_funcs.write_atomic(path, "text")
    assert error.value.filename == str(path)


def test_too_little_space_is_a_user_s_error(tmp_path):
    io_funcs.require_free_space(tmp_path / "not" / "yet", 1)
    with pytest.raises(UserError, match=r"not enough space for .*: 1024\.0 TiB needed"):
        io_funcs.require_free_space(tmp_path / "not" / "yet", 2**50)


@pytest.mark.parametrize("name", ["a", "job_001", "A.b-c", "0...", "x" * 128])
def test_a_harmless_name_is_taken(name):
    assert io_funcs.check_name(name, "job id") == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "../a", "a b", "a\n", "ä", "a;b", "$(a)", "x" * 129, "a\0", ".x.lock", "-a", "_a"]
)
def test_a_name_that_leads_elsewhere_is_refused(name):
    with pytest.raises(UserError, match="job id"):
        io_funcs.check_name(name, "job id")


def test_storage_roots_are_the_variables_or_beside_the_code(monkeypatch, tmp_path):
    monkeypatch.setenv("PROJECT_STORAGE_DIR", str(tmp_path))
    monkeypatch.delenv("SCRATCH_STORAGE_DIR", raising=False)
    assert io_funcs.project_root() == tmp_path
    assert io_funcs.scratch_root() == REPOSITORY / "scratch"


@pytest.mark.parametrize(
    ("path", "expanded"),
    [
        ("~", "/home/me"),
        ("~/data", "/home/me/data"),
        ("$PLACE/data", "/a b/data"),
        ("x${PLACE}y", "x/a by"),
        ("~/$PLACE", "/home/me//a b"),
        ("a~/b", "a~/b"),
        ("$", "$"),
        ("a$1$-", "a$1$-"),
        ("./~nobody", "./~nobody"),
        ("https://host/$PLACE/~", "https://host/$PLACE/~"),
    ],
)
def test_a_path_has_the_home_folder_and_variables_expanded(monkeypatch, path, expanded):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("PLACE", "/a b")
    assert io_funcs.expand_path(path, "x") == expanded


def test_what_is_in_a_variable_is_not_expanded_again(monkeypatch):
    monkeypatch.setenv("PLACE", "~/$PLACE")
    assert io_funcs.expand_path("$PLACE", "x") == "~/$PLACE"


@pytest.mark.parametrize("path", ["$NOT_SET", "a/${NOT_SET}/b", "$EMPTY/b", "~nobody", "~root/x"])
def test_a_path_that_cannot_be_expanded_is_refused_with_its_name(monkeypatch, path):
    monkeypatch.delenv("NOT_SET", raising=False)
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.setenv("SCRATCH_STORAGE_DIR", path)
    with pytest.raises(UserError, match=re.escape(f"SCRATCH_STORAGE_DIR = {path}: ")):
        io_funcs.scratch_root()


def test_storage_roots_and_paths_of_a_config_are_expanded_alike(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PROJECT_STORAGE_DIR", "$HOME/x")
    assert io_funcs.project_root() == io_funcs.from_repository("~/x") == tmp_path / "x"


def test_paths_of_a_config_start_at_the_repository(tmp_path):
    assert io_funcs.from_repository("data") == REPOSITORY / "data"
    assert io_funcs.from_repository(tmp_path) == tmp_path


HOLD = """
import sys, time
from pathlib import Path
from src.io_funcs import file_lock
with file_lock(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds tmp_path/lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / "lock"], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.communicate()


def test_a_held_lock_is_refused_without_waiting(holder, tmp_path):
    with pytest.raises(BlockingIOError), io_funcs.file_lock(tmp_path / "lock"):
        pass


def test_a_held_lock_is_waited_for_and_ends_with_its_holder_s_kill(holder, tmp_path):
    asked = []

    def check():
        asked.append(time.monotonic())
        holder.kill()

    with io_funcs.file_lock(tmp_path / "lock", "waiting", check):
        assert asked


def test_waiting_for_a_lock_can_be_stopped(holder, tmp_path):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), io_funcs.file_lock(tmp_path / "lock", "waiting", stop):
        pass


def test_a_lock_can_be_taken_again(tmp_path):
    for _ in range(2):
        with io_funcs.file_lock(tmp_path / "lock"):
            pass


def test_a_lock_that_is_removed_leaves_nothing(tmp_path):
    with io_funcs.file_lock(tmp_path / "lock", remove=True):
        assert (tmp_path / "lock").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_is_removed_is_held_by_one_at_a_time(tmp_path):
    inside, most = [], []

    def work():
        for _ in range(20):
            with io_funcs.file_lock(tmp_path / "lock", "waiting", remove=True):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.001)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 80


def test_text_with_what_utf_8_lacks_is_written_with_escapes(tmp_path):
    io_funcs.write_atomic(tmp_path / "a.txt", "a\u00e4\udcff")
    assert (tmp_path / "a.txt").read_bytes() == "a\u00e4".encode() + rb"\udcff"
