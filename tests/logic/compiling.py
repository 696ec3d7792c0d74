"""What tests compile: what a script prints with fresh kernels and with those of numba's cache, and for which layers."""

import os
import subprocess
import sys

import pytest

from tests.small_job import REPOSITORY

# Depth of trees, and pooling: the convolutions' kernels for the CPU are compiled for each, which takes seconds.
# The quick tier has one of them everywhere.
TREES_AND_WINDOWS = [(3, 2), (1, 1), (2, 2), (4, 3)]
FEW_OR_ALL = pytest.mark.parametrize(
    "trees", [TREES_AND_WINDOWS[:1], pytest.param(TREES_AND_WINDOWS, marks=pytest.mark.slow)], ids=["few", "all"]
)


def printed_by_each(script, cache, *variables):
    """A run's output for each of these; numba's cache, in this empty folder, is written by the first that compiles."""
    outputs = []
    for variable in variables:
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), **variable}
        command = [sys.executable, "-c", script]
        outputs.append(subprocess.check_output(command, cwd=REPOSITORY, env=environment, text=True))
    assert list(cache.iterdir())
    return outputs
