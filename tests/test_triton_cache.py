"""Triton's kernels are kept in files that are verified; a disk that takes none is one warning."""

import logging
import time
from pathlib import Path

import pytest

from src import compiling, kernel_cache
from src.command_line import AT_LEAVING
from tests.small_disk import small_disk

triton = pytest.importorskip("triton", reason="needs Triton", minversion="3.4")
triton_cache = pytest.importorskip("src.triton_cache")

KEY = "ab" * 32


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """TRITON_CACHE_DIR, used; the warning has not been given, and there is no temporary folder yet."""
    triton_cache.use()
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    kernel_cache._warn_once.cache_clear()
    triton_cache._temporary_folder.cache_clear()
    yield tmp_path / "cache"
    for call in AT_LEAVING:
        call()
    AT_LEAVING.clear()


def cache():
    return triton.runtime.cache.get_cache_manager(KEY)


def put_kernel():
    """What the compiler does: a file of each kind, then the group of them; the files' contents."""
    manager = cache()
    group = {name: manager.put(content, name) for name, content in (("k.json", '{"a": 1}'), ("k.cubin", b"\0code"))}
    manager.put_group("k.json", group)
    return {name: Path(path).read_bytes() for name, path in group.items()}


CONTENTS = {"k.json": b'{"a": 1}', "k.cubin": b"\0code"}


def test_a_kernel_that_is_compiled_is_told_and_timed(folder, monkeypatch, caplog):
    monkeypatch.setattr(compiling, "_seconds", 0.0)
    monkeypatch.setattr(compiling.LOG, "propagate", True)
    compiling.tell_again()
    manager = cache()
    with caplog.at_level(logging.INFO, logger=compiling.LOG.name):
        assert manager.get_group("k.json") is None
        time.sleep(0.05)
        manager.put_group("k.json", {"k.cubin": manager.put(b"code", "k.cubin")})
        assert 0.05 <= compiling._seconds < 5
        seconds = compiling._seconds
        assert cache().get_group("k.json") is not None
    assert compiling._seconds == seconds
    assert caplog.text.count("compiling kernels") == 1


def test_the_modules_of_kernels_use_it():
    from src.circuit import packed_triton_kernels

    assert packed_triton_kernels.triton.knobs.cache.manager_class is triton_cache.LastingCache


def test_kernels_are_found_again(folder):
    assert put_kernel() == CONTENTS
    assert {name: Path(path).read_bytes() for name, path in cache().get_group("k.json").items()} == CONTENTS
    assert Path(cache().get_file("k.cubin")).read_bytes() == b"\0code"


@pytest.mark.parametrize("name", ["__grp__k.json", "k.json", "k.cubin"])
@pytest.mark.parametrize("damage", [lambda content: b"", lambda content: content[:-1] + b"!"], ids=["empty", "bytes"])
def test_damaged_kernels_are_compiled_again(folder, name, damage):
    put_kernel()
    (path,) = folder.rglob(name)
    path.write_bytes(damage(path.read_bytes()))
    assert cache().get_group("k.json") is None
    assert cache().get_file(name) is None
    assert put_kernel() == CONTENTS
    assert cache().get_group("k.json") is not None


def test_a_full_disk_is_one_warning(folder, caplog):
    with small_disk(folder, "4k"):
        (folder / "filling").write_bytes(b"\0" * 4096)
        assert [put_kernel(), put_kernel()] == [CONTENTS, CONTENTS]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "TRITON_CACHE_DIR" in caplog.text


def test_without_a_folder_for_a_cache_kernels_are_temporary(folder, caplog):
    folder.write_text("no folder")
    assert put_kernel() == CONTENTS
    assert "compiled kernels cannot be kept" in caplog.text
    temporary = triton_cache._temporary_folder()
    assert temporary.is_dir()
    for call in AT_LEAVING:
        call()
    assert not temporary.exists()
