"""Waiting for other processes, and how far they have come, from Linux's /proc."""

import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

MOST_SECONDS = 120  # on a busy machine, for whatever a test waits for


def wait_until(ready: Callable[[], object], seconds: float = MOST_SECONDS) -> None:
    """Wait for something that must come; TimeoutError if it does not."""
    last = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > last:
            raise TimeoutError(f"nothing came in {seconds} s")
        time.sleep(0.02)


def handles_sigterm(pid: int) -> bool:
    """Whether the process has a handler of SIGTERM, as Python code installs one."""
    mask = re.search(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return mask is not None and bool(int(mask[1], 16) >> (signal.SIGTERM - 1) & 1)


def has_loaded(pid: int, library: str) -> bool:
    """Whether the process has mapped a shared library, such as libtorch_cpu."""
    return library in Path(f"/proc/{pid}/maps").read_text()
