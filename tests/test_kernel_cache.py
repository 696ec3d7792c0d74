"""Compiled kernels are kept on disk; whatever is wrong with the disk costs the time of compiling and no more."""

import importlib.util
import logging
import shutil

import numba
import pytest

from src import kernel_cache
from tests.small_disk import small_disk
from tests.small_job import REPOSITORY

MODULE = """
from src.kernel_cache import cached_njit

@cached_njit(nogil=True)
def double(x):
    return 2 * x
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of the cache, empty; the warning has not been given yet."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(kernel_cache.LOG, "propagate", True)
    kernel_cache._warn_once.cache_clear()
    (tmp_path / "kernels.py").write_text(MODULE)
    return tmp_path / "cache"


def double(folder, x):
    """Twice x, as a process that has just started computes it, and how often it took the code from the cache."""
    spec = importlib.util.spec_from_file_location("kernels", folder.parent / "kernels.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.double(x), sum(module.double.stats.cache_hits.values())


def cache_file(folder):
    (path,) = (path for path in folder.rglob("*") if path.is_file())
    return path


def test_a_second_process_takes_every_signature_from_the_cache(folder):
    assert [double(folder, 2), double(folder, 2.5)] == [(4, 0), (5.0, 0)]
    assert [double(folder, 2), double(folder, 2.5)] == [(4, 1), (5.0, 1)]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-1],
        lambda content: content[:40],
        lambda content: b"garbage" * 100,
        lambda content: content[: len(content) // 2] + b"\0\1\2\3" + content[len(content) // 2 + 4 :],
    ],
    ids=["empty", "cut", "nearly all cut", "garbage", "other bytes"],
)
def test_a_damaged_file_is_made_again(folder, damage):
    double(folder, 2)
    path = cache_file(folder)
    path.write_bytes(damage(path.read_bytes()))
    assert double(folder, 2) == (4, 0)
    assert double(folder, 2) == (4, 1)


def test_code_of_another_source_is_not_used(folder):
    double(folder, 2)
    (folder.parent / "kernels.py").write_text(MODULE.replace("2 * x", "3 * x"))
    assert double(folder, 2) == (6, 0)


def test_a_full_disk_is_one_warning(folder, caplog):
    with small_disk(folder, "4k"):
        (folder / "filling").write_bytes(b"\0" * 4096)
        assert [double(folder, 2), double(folder, 2.5)] == [(4, 0), (5.0, 0)]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "NUMBA_CACHE_DIR" in caplog.text


def test_without_a_folder_for_a_cache_kernels_are_compiled_in_memory(folder, caplog, monkeypatch):
    monkeypatch.setattr("numba.core.caching.CacheImpl._locator_classes", [])
    assert double(folder, 2) == (4, 0)
    assert "compiled kernels cannot be kept" in caplog.text


def test_a_folder_that_vanishes_or_a_file_in_its_place_is_no_error(folder, caplog):
    spec = importlib.util.spec_from_file_location("kernels", folder.parent / "kernels.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    shutil.rmtree(folder)
    folder.write_text("no folder")
    assert module.double(2) == 4
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_every_kernel_on_disk_goes_through_cached_njit():
    by_numba = [path.name for path in REPOSITORY.glob("src/**/*.py") if "cache=True" in path.read_text()]
    assert by_numba == ["kernel_cache.py"]  # which names it in its docstring
