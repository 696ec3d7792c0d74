"""Compiled kernels are kept on disk; whatever is wrong with the disk costs the time of compiling and no more."""

import importlib.util
import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numba
import pytest

from src import kernel_cache
from tests.small_disk import read_only, small_disk
from tests.small_job import REPOSITORY

MODULE = """
from src.kernel_cache import cached_njit

@cached_njit(nogil=True)
def double(x):
    return 2 * x
"""

# What the cache takes for imports; the kernel needs nothing of it.
IMPORTS = """
_text = '''
from src import (
    parts,
)
'''
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


def taken_by_a_process(folder, x):
    """How often a process of its own takes the code for the type of x from the cache."""
    script = f"import kernels; kernels.double({x!r}); print(sum(kernels.double.stats.cache_hits.values()))"
    variables = {"NUMBA_CACHE_DIR": str(folder), "PYTHONPATH": f"{REPOSITORY}:{folder.parent}"}
    return int(subprocess.check_output([sys.executable, "-c", script], env={**os.environ, **variables}))


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
    kernel_cache._text_and_imports.cache_clear()
    assert double(folder, 2) == (6, 0)


def test_nor_is_code_that_has_inlined_another_version_of_a_module_of_src(folder, monkeypatch):
    # numba looks at the kernel's own module alone.
    root = folder.parent / "clone"
    (root / "src/parts").mkdir(parents=True)
    (root / "src/factor.py").write_text("FACTOR = 2")
    (root / "src/parts/__init__.py").write_text("from src.factor import FACTOR")
    monkeypatch.setattr(kernel_cache, "_ROOT", root)
    (folder.parent / "kernels.py").write_text(MODULE + IMPORTS)
    double(folder, 2)
    kernel_cache._text_and_imports.cache_clear()
    assert double(folder, 2) == (4, 1)
    (root / "src/factor.py").write_text("FACTOR = 3")
    kernel_cache._text_and_imports.cache_clear()
    assert double(folder, 2) == (4, 0)


def test_a_clone_of_the_same_sources_takes_the_code_whenever_its_files_were_written(folder):
    double(folder, 2)
    os.utime(folder.parent / "kernels.py", (0, 0))
    assert double(folder, 2) == (4, 1)


def test_processes_that_compile_at_the_same_time_lose_no_kernel(folder):
    values = [2, 2.5, 2j, True]
    with ThreadPoolExecutor() as pool:
        assert list(pool.map(lambda x: taken_by_a_process(folder, x), values)) == [0, 0, 0, 0]
    assert [taken_by_a_process(folder, x) for x in values] == [1, 1, 1, 1]


def test_a_folder_that_cannot_be_written_to_serves_the_kernels_that_it_has(folder, caplog):
    double(folder, 2)
    with read_only(folder):
        assert double(folder, 2) == (4, 1)
        assert caplog.records == []
        assert double(folder, 2.5) == (5.0, 0)
    assert "compiled kernels cannot be kept" in caplog.text


def test_a_full_disk_is_one_warning(folder, caplog):
    with small_disk(folder, "4k"):
        (folder / "filling").write_bytes(b"\0" * 4096)
        assert [double(folder, 2), double(folder, 2.5)] == [(4, 0), (5.0, 0)]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "NUMBA_CACHE_DIR" in caplog.text


def test_without_a_folder_for_a_cache_kernels_are_compiled_in_memory(folder, caplog, monkeypatch):
    monkeypatch.setattr(kernel_cache._Kernels, "_locator_classes", [])
    assert double(folder, 2) == (4, 0)
    assert "compiled kernels cannot be kept" in caplog.text


def test_a_file_in_the_place_of_the_folder_is_no_error(folder, caplog):
    spec = importlib.util.spec_from_file_location("kernels", folder.parent / "kernels.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder.write_text("no folder")
    assert module.double(2) == 4
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_every_kernel_on_disk_goes_through_cached_njit():
    by_numba = [path.name for path in REPOSITORY.glob("src/**/*.py") if "cache=True" in path.read_text()]
    assert by_numba == ["kernel_cache.py"]  # which names it in its docstring
