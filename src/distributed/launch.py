"""Start the processes of a job on this machine, pass stop signals on to them, and return their exit code.

No PyTorch is imported here: the processes import it once they have begun.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from src.command_line import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_USER_ERROR,
    STOP_SIGNALS,
    RunError,
    StopSignals,
    UserError,
    handle_stop_signals,
    stop_signals_blocked,
)
from src.config import Train
from src.helpers import LAUNCHER, LISTENER, LOG, available_cores

THREAD_VARIABLES = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")
GRACE_SECONDS = 30  # between SIGTERM and SIGKILL for processes that remain after one has failed
POLL_SECONDS = 0.1
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Nodes:
    """The machines of a job. Each starts its own processes.

    Attributes:
        count: number of machines.
        rank: this machine's number, from 0. The first process of number 0 writes the files.
        endpoint: HOST:PORT on number 0 where the processes find each other; a single machine chooses one itself.
    """

    count: int = 1
    rank: int = 0
    endpoint: str | None = None


def require_divisible(options: Train, processes: int) -> None:
    """Raise UserError if these options do not suit the number of processes on all machines together."""
    batch_size = options.dataloader.batch_size
    if batch_size < processes:
        raise UserError(f"train.dataloader.batch_size = {batch_size} is less than the {processes} processes")
    if options.device.startswith("cuda:"):
        raise UserError(f"train.device = {options.device}: each process takes a GPU of its own; give cuda, or cpu")


def launch(command: Sequence[str], processes: int, nodes: Nodes, stop: StopSignals) -> int:
    """Run the Python command in `processes` processes of this machine until all have ended; return their exit code.

    When one fails, the others get SIGTERM, and SIGKILL 30 s later.

    Raises:
        Stopped: a signal came before they had begun.
        RunError: this machine cannot listen on the port of the endpoint.
    """
    with stop_signals_blocked():  # the processes inherit this, and unblock them when StopSignals handles them
        stop.check()
        running = _start(command, processes, nodes)
        handle_stop_signals(lambda number, frame: _forward(number, running, stop))
    try:
        while None in (codes := [process.poll() for process in running]) and not any(codes):
            time.sleep(POLL_SECONDS)
        _end(running)
    finally:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
    ended = {
        rank: -signal.SIGKILL if process.returncode is None else process.returncode
        for rank, process in enumerate(running, start=processes * nodes.rank)
    }
    return _exit_code(ended, processes * nodes.count, stop.received is not None)


def _start(command: Sequence[str], processes: int, nodes: Nodes) -> list[subprocess.Popen[bytes]]:
    """Start the processes, each in a session of its own: the terminal's signals reach them through this one alone."""
    variables = {
        **_default_variables(processes),
        LAUNCHER: str(os.getpid()),
        "WORLD_SIZE": str(processes * nodes.count),
        "LOCAL_WORLD_SIZE": str(processes),
    }
    running: list[subprocess.Popen[bytes]] = []
    with contextlib.ExitStack() as stack:
        variables["MASTER_ADDR"], _, variables["MASTER_PORT"] = (nodes.endpoint or f"{LOOPBACK}:").rpartition(":")
        if nodes.rank == 0:
            listener = stack.enter_context(_listen(nodes))  # this process's copy is closed once rank 0 has its own
            variables["MASTER_PORT"] = str(listener.getsockname()[1])
        for local_rank in range(processes):
            rank = processes * nodes.rank + local_rank
            own, descriptors = {"RANK": str(rank), "LOCAL_RANK": str(local_rank)}, []
            if rank == 0:
                own[LISTENER], descriptors = str(listener.fileno()), [listener.fileno()]
            try:
                process = subprocess.Popen(
                    [sys.executable, *command], env=variables | own, pass_fds=descriptors, start_new_session=True
                )
            except OSError:
                _end(running)
                raise
            running.append(process)
    return running


def _default_variables(processes: int) -> dict[str, str]:
    """Return this process's environment, and what the processes need in it unless the user has set it."""
    share = str(max(1, available_cores() // processes))
    return {
        **dict.fromkeys(THREAD_VARIABLES, share),
        "TORCH_CPP_LOG_LEVEL": "ERROR",  # PyTorch's warning about a lost process is a stack of C++
        "TORCH_NCCL_ASYNC_ERROR_HANDLING": "1",  # a process whose collective fails ends, as under torchrun
        **os.environ,
    }


def _listen(nodes: Nodes) -> socket.socket:
    """Return a socket that listens where the processes find each other, for rank 0 to take connections from.

    It is opened before they start, so no other program can take the port, and none of them comes too early.
    """
    if nodes.endpoint is None:
        return socket.create_server((LOOPBACK, 0))
    port = int(nodes.endpoint.rpartition(":")[2])
    both = socket.has_dualstack_ipv6()
    try:
        return socket.create_server(("", port), family=socket.AF_INET6 if both else socket.AF_INET, dualstack_ipv6=both)
    except (OSError, OverflowError) as error:
        raise RunError(f"--endpoint {nodes.endpoint}: this machine cannot listen on port {port}: {error}") from error


def _forward(number: int, running: Sequence[subprocess.Popen[bytes]], stop: StopSignals) -> None:
    """Handle a stop signal by passing it on, each time that it comes."""
    stop.note(number)
    for process in running:
        process.send_signal(number)


def _end(running: Sequence[subprocess.Popen[bytes]]) -> None:
    """End those that still run: SIGTERM, and SIGKILL 30 s later; do not wait for ever for one that the kernel holds."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in running:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
        last = time.monotonic() + GRACE_SECONDS
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0, last - time.monotonic()))


def _exit_code(codes: dict[int, int], processes: int, stopped: bool) -> int:
    """Return the exit code of what ended the processes. If it was a kill, log a line about it.

    The other processes' codes stand beside it: they failed because of it, were stopped, or were killed 30 s later.

    Args:
        codes: each rank's exit code; the number of a signal, negative, if it was killed.
        processes: number of processes on all machines.
        stopped: whether a stop signal was passed on to them.
    """
    failed = {rank: code for rank, code in codes.items() if code}
    if not failed:
        return EXIT_DONE
    rank, lowest = min(failed.items(), key=lambda end: end[1])
    if EXIT_USER_ERROR in failed.values():
        return EXIT_USER_ERROR
    if lowest > 0:  # EXIT_FAILED is below the codes of a stop
        return lowest
    if stopped and max(failed.values()) > 0:
        return max(failed.values())
    LOG.error(
        "process %d of %d was killed by %s, and the others have ended: run again with --resume to go on from the "
        "newest checkpoint",
        rank + 1,
        processes,
        signal.Signals(-lowest).name,
    )
    return EXIT_FAILED
