"""The time that kernels take to compile: told once, and not counted as work."""

import logging
import time

import numba
import pytest

from src import compiling, kernel_cache  # noqa: F401 - the second has numba's compiler timed


@pytest.fixture
def log(caplog, monkeypatch):
    """What is logged; nothing has been told yet."""
    monkeypatch.setattr(compiling.LOG, "propagate", True)
    monkeypatch.setattr(compiling.LOG, "level", logging.INFO)
    compiling._tell_once.cache_clear()
    caplog.set_level(logging.INFO)
    return caplog


def compile_two():
    """Compile a kernel that calls another one."""

    @numba.njit
    def inner(x):
        return x + 1

    @numba.njit
    def outer(x):
        return inner(x) * 2

    return outer(3)


def test_compiling_is_told_once(log):
    compile_two()
    compile_two()
    assert log.text.count("compiling kernels, once per installation") == 1


def test_the_working_clock_stands_still_while_kernels_are_compiled(log):
    worked, began = compiling.working_clock(), time.perf_counter()
    compile_two()
    elapsed = time.perf_counter() - began
    assert 0 <= compiling.working_clock() - worked < 0.7 * elapsed


def test_a_kernel_that_is_compiled_for_another_one_is_timed_once(log, monkeypatch):
    monkeypatch.setattr(compiling, "_seconds", 0.0)
    began = time.perf_counter()
    compile_two()
    assert 0 < compiling._seconds <= time.perf_counter() - began


def test_a_compilation_that_fails_ends_the_timing(log):
    @numba.njit
    def broken(x):
        return x.no_such_attribute

    with pytest.raises(numba.TypingError):
        broken(1)
    before = compiling._seconds
    compile_two()
    assert compiling._seconds > before


def test_another_kind_of_work_tells_it_again(log):
    compile_two()
    compiling.tell_again()
    compile_two()
    assert log.text.count("compiling kernels") == 2
