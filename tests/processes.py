"""How far a process that a test has started has come, from Linux's /proc."""

import re
import signal
from pathlib import Path


def handles_sigterm(pid: int) -> bool:
    """Whether the process has a handler of SIGTERM, as Python code installs one."""
    mask = re.search(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return mask is not None and bool(int(mask[1], 16) >> (signal.SIGTERM - 1) & 1)


def has_loaded(pid: int, library: str) -> bool:
    """Whether the process has mapped a shared library, such as libtorch_cpu."""
    return library in Path(f"/proc/{pid}/maps").read_text()
