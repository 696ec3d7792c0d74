"""The compilation of kernels while a command works: reported, and timed, so that it does not count as work."""

import functools
import multiprocessing
import time

from src.helpers import LOG

_seconds = 0.0  # that this process has compiled
_kernels = 0  # that it has compiled


@functools.cache
def _tell_once() -> None:
    LOG.info("compiling kernels, once per installation and kind of work; this takes seconds to a minute")


def tell() -> None:
    """Say that kernels are compiled, the first time and in a command's main process only."""
    if multiprocessing.parent_process() is None:
        _tell_once()


def tell_again() -> None:
    """Say it again when the next kernel is compiled: another kind of work begins, which may take as long."""
    _tell_once.cache_clear()


def count(seconds: float) -> None:
    """Add a kernel, and the time that it took to compile."""
    global _seconds, _kernels
    _seconds += seconds
    _kernels += 1


def compiled() -> int:
    """Return how many kernels this process has compiled; those that a kernel calls are parts of it."""
    return _kernels


def working_clock() -> float:
    """Return seconds, as time.perf_counter() does, on a clock that stands still while kernels are compiled.

    Waiting for another process of the job that compiles its own kernels counts.
    """
    return time.perf_counter() - _seconds
