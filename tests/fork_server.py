"""Runs the repository's entry points in processes that have PyTorch and Numba imported already.

A server imports everything once; each command is a fork of it. It is a process of its own, with its own arguments,
folder, environment and exit code, and can be signalled and killed, but it starts in a fraction of the time.
"""

import atexit
import functools
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
THREADS = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}  # read when the server starts
NUMBER = struct.Struct("q")


class Command:
    """A command that a server has started, with the methods of `subprocess.Popen` that tests need.

    Args:
        words: the script, a path within the repository, and its arguments.
        folder: where the command runs.
        environment: its variables. Libraries have read theirs when the server started, so THREADS cannot be changed.
    """

    def __init__(self, words: Sequence[str], folder: Path, environment: dict[str, str]) -> None:
        self.args = list(words)
        self.returncode: int | None = None
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it has been read
        self._status, theirs = socket.socketpair()
        with tempfile.TemporaryFile() as request, theirs:
            request.write(json.dumps([self.args, str(folder), environment]).encode(errors="surrogateescape"))
            request.flush()
            socket.send_fds(_server(), [b"\n"], [request.fileno(), self._output.fileno(), theirs.fileno()])
        self.pid = self._receive()

    def poll(self) -> int | None:
        """Return the exit code; None while the command runs."""
        return self.wait(0) if select.select([self._status], [], [], 0)[0] else self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code, which is negative after a signal, when the command has ended."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = self._receive()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """Return what the command has printed, when it has ended."""
        self.wait(timeout)
        with self._status, self._output:
            self._output.seek(0)
            return self._output.read().decode(errors="backslashreplace"), None

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the command has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End the command by SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _receive(self) -> int:
        message = self._status.recv(NUMBER.size, socket.MSG_WAITALL)
        if len(message) < NUMBER.size:
            raise RuntimeError(f"the server of commands has ended: {self.args}")
        return int(NUMBER.unpack(message)[0])


@functools.cache
def _server() -> socket.socket:
    """Start the server of this process; it ends when this process does."""
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-m", "tests.fork_server", str(theirs.fileno())]
        subprocess.Popen(command, cwd=REPOSITORY, env={**os.environ, **THREADS}, pass_fds=[theirs.fileno()])
    return ours


def _serve(control: socket.socket) -> None:
    """Start a command per request until nobody can ask any more."""
    import src

    for module in pkgutil.walk_packages(src.__path__, "src."):
        importlib.import_module(module.name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while files := socket.recv_fds(control, 1, 3)[1]:
        if os.fork() == 0:
            control.close()
            _start(*files)
            return
        for file in files:
            os.close(file)


def _start(request: int, output: int, status: int) -> None:
    """Run a command in a fork and say its process id and its exit code; return in the fork."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        os.close(status)
        _run(request, output)
        return
    os.write(status, NUMBER.pack(pid))
    os.close(output)
    os.write(status, NUMBER.pack(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
    os._exit(0)


def _run(request: int, output: int) -> None:
    with open(request, "rb") as file:
        file.seek(0)
        words, folder, environment = json.load(file)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    script = str(REPOSITORY / words[0])
    sys.argv = [script, *words[1:]]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:  # the rest is as at the end of an interpreter, but for the unloading of PyTorch
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
