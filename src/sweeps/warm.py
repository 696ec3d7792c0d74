"""Starts a sweep's jobs as forks of this process, once it has imported what they need.

The imports take a job seconds of the CPU: PyTorch, its optimizers, numba, matplotlib. A job is a process of its own all
the same, with the memory that a fresh one would have.
"""

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

from src.command_line import EXIT_FAILED, leave, stop_signals_blocked
from src.config import Config
from src.distributed.launch import THREAD_VARIABLES

# What a machine with a GPU has. CUDA and ROCm do not work in the fork of a process that has asked them anything.
_GPUS = [Path("/dev/nvidiactl"), Path("/dev/kfd"), Path("/dev/dxg")]

# What jobs import; the optimizers of PyTorch import the second.
_IMPORTS = (
    "src.train",
    "torch._dynamo",
    "src.reports.report",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "main",
)


@dataclass
class Fork:
    """A job's process, with the methods of a subprocess.Popen.

    Attributes:
        pid: its number.
        returncode: its exit code, or the negative number of the signal that ended it; None while it runs, as far as
            `poll` and `wait` have seen.
    """

    pid: int
    returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code if the process has ended."""
        return self._look(os.WNOHANG)

    def wait(self) -> int:
        """Wait for the end and return the exit code."""
        code = self._look(0)
        assert code is not None
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def _look(self, flags: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, flags)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def can_fork(config: Config) -> bool:
    """Return whether a job may be a fork: on Linux, if it takes no GPU."""
    return sys.platform == "linux" and (config.train.device == "cpu" or not any(map(Path.exists, _GPUS)))


def import_for_jobs() -> None:
    """Import what every job does, so that forks find it imported; no thread starts and no kernel runs."""
    for name in _IMPORTS:
        importlib.import_module(name)


def fork(command: Sequence[str], output: BinaryIO, locks: Sequence[int], threads: int | None) -> Fork:
    """Run `main.py` in a fork of this process.

    Args:
        command: the words of its command line, the first one main.py itself.
        output: gets what it prints and logs.
        locks: open files that lock something for this process alone; the fork closes them.
        threads: how many it uses, unless the user has set that; None: as many as this process.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    with stop_signals_blocked():  # until the job handles them
        pid = os.fork()
        if pid == 0:
            _run(command, output, locks, threads)
    return Fork(pid)


def _run(command: Sequence[str], output: BinaryIO, locks: Sequence[int], threads: int | None) -> NoReturn:
    """Do what a fresh process would, and end; nothing of the caller's goes on in the fork."""
    code: object = EXIT_FAILED
    try:
        for number in (1, 2):
            os.dup2(output.fileno(), number)
        for number in locks:
            os.close(number)
        if threads is not None:
            _use_threads(threads)
        sys.argv = [*command]
        code = importlib.import_module("main").main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    leave(code if isinstance(code, int) else EXIT_FAILED)


def _use_threads(number: int) -> None:
    """Let PyTorch and numba use this many threads; they have read their environment variables already."""
    import numba
    import torch

    own = [name for name in THREAD_VARIABLES if name not in os.environ]
    os.environ.update(dict.fromkeys(own, str(number)))
    if "OMP_NUM_THREADS" in own:
        torch.set_num_threads(number)
    numba.config.reload_config()
