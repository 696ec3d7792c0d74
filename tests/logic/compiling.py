"""What a script prints with kernels freshly compiled, loaded from numba's cache, and not compiled at all."""

import os
import subprocess
import sys

from tests.small_job import REPOSITORY


def printed_three_ways(script, cache):
    """The three outputs; numba's cache, in this empty folder, is written by the first run and read by the second."""
    outputs = []
    for variable in ({}, {}, {"NUMBA_DISABLE_JIT": "1"}):
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), **variable}
        command = [sys.executable, "-c", script]
        outputs.append(subprocess.check_output(command, cwd=REPOSITORY, env=environment, text=True))
    assert list(cache.iterdir())
    return outputs
