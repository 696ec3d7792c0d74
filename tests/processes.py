"""Waiting for other processes, and how far they have come, from Linux's /proc."""

import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

MOST_SECONDS = 120  # on a busy machine, for whatever a test waits for


def wait_until(
    ready: Callable[[], T],
    seconds: float = MOST_SECONDS,
    process: subprocess.Popen[str] | None = None,
    situation: Callable[[], object] = str,
) -> T:
    """Wait for what `ready` returns when it is true.

    Raises:
        TimeoutError: if it does not come; tells the situation.
        AssertionError: if the process that should bring it ends first; tells its output.
    """
    last = time.monotonic() + seconds
    while not (found := ready()):
        assert process is None or process.poll() is None, process.communicate()[0]
        if time.monotonic() > last:
            raise TimeoutError(f"nothing came in {seconds} s {situation()}")
        time.sleep(0.02)
    return found


def handles_sigterm(pid: int) -> bool:
    """Whether the process has a handler of SIGTERM, as Python code installs one."""
    mask = re.search(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return mask is not None and bool(int(mask[1], 16) >> (signal.SIGTERM - 1) & 1)


def has_loaded(pid: int, library: str) -> bool:
    """Whether the process has mapped a shared library, such as libtorch_cpu."""
    return library in Path(f"/proc/{pid}/maps").read_text()
