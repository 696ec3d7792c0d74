"""Start several processes of a command by torchrun's agent, pass stop signals on to them, and their exit code back."""

import logging
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerSpec
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.rendezvous import RendezvousParameters
from torch.distributed.elastic.rendezvous.registry import get_rendezvous_handler

from src.command_line import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_USER_ERROR,
    LAUNCHER,
    STOP_SIGNALS,
    StopSignals,
    handle_stop_signals,
)
from src.helpers import LOG, available_cores

THREAD_VARIABLES = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Nodes:
    """The machines of a job, each of which starts its own processes.

    Attributes:
        count: how many.
        rank: this one's number, from 0; that of number 0 has the process that writes.
        endpoint: HOST:PORT on number 0, by which they find each other; not used by one alone.
    """

    count: int = 1
    rank: int = 0
    endpoint: str = "localhost:0"


def launch(command: Sequence[str], processes: int, nodes: Nodes, stop: StopSignals) -> int:
    """Run the Python command in so many processes of this machine until all have ended; return their exit code.

    Processes that have not ended 30 s after one has failed are killed.

    Raises:
        Stopped: a signal came before they had begun.
    """
    share = max(1, available_cores() // processes)
    for variable in THREAD_VARIABLES:
        os.environ.setdefault(variable, str(share))
    os.environ[LAUNCHER] = str(os.getpid())
    os.environ["TORCHELASTIC_SIGNALS_TO_HANDLE"] = "SIGQUIT"  # the others are handled here
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # a lost process is a warning with a stack of C++
    agent_log = logging.getLogger("torch.distributed.elastic")  # what it says is said here, in a line
    agent_log.addHandler(logging.NullHandler())
    agent_log.propagate = False
    with tempfile.TemporaryDirectory() as folder:
        spec = WorkerSpec(
            role="training",
            local_world_size=processes,
            entrypoint=sys.executable,
            args=tuple(command),
            rdzv_handler=get_rendezvous_handler(_rendezvous(nodes)),
            max_restarts=0,
            local_addr="localhost" if nodes.count == 1 else None,
            **_master(nodes),
        )
        agent = _Agent(spec, DefaultLogsSpecs(log_dir=folder), stop)
        handle_stop_signals(agent.forward)
        stop.check()  # it noted signals until now
        try:
            result = agent.run()
        finally:
            for number in STOP_SIGNALS:
                signal.signal(number, signal.SIG_IGN)
    return _exit_code(result, processes * nodes.count, stop.received is not None)


def _rendezvous(nodes: Nodes) -> RendezvousParameters:
    """Of several machines each knows its number, so that rank 0 is where it was before, with its scratch."""
    if nodes.count == 1:
        return RendezvousParameters("c10d", nodes.endpoint, uuid.uuid4().hex, 1, 1)
    return RendezvousParameters("static", nodes.endpoint, "training", nodes.count, nodes.count, rank=nodes.rank)


def _master(nodes: Nodes) -> dict[str, Any]:
    """Where the agents keep the store that the processes find each other by."""
    if nodes.count == 1:
        return {}
    host, _, port = nodes.endpoint.rpartition(":")
    return {"master_addr": host, "master_port": int(port)}


class _Agent(LocalElasticAgent):
    """torchrun's agent, but signals are passed on as they come: its own handler gives up at the second.

    The processes begin with stop signals blocked, until `StopSignals` handles them: none comes too early.
    """

    def __init__(self, spec: WorkerSpec, logs: DefaultLogsSpecs, stop: StopSignals) -> None:
        super().__init__(spec, logs)
        self.pids: list[int] = []
        self._stop = stop

    def forward(self, number: int, frame: FrameType | None) -> None:
        """The handler of stop signals."""
        self._stop.note(number)
        if not self.pids:
            self._stop.check()
        for pid in self.pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:  # it has just ended
                continue

    def _start_workers(self, worker_group: WorkerGroup) -> dict[int, Any]:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        workers = super()._start_workers(worker_group)
        self.pids = list(workers.values())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        return workers


def _exit_code(result: RunResult, processes: int, stopped: bool) -> int:
    """The exit code of what ended the processes, with a line about it if it was a kill.

    The others' ends stand beside it: they failed by it, or were stopped by the agent, or killed 30 s later. `stopped`
    says whether a stop signal was passed on to them.
    """
    if not result.is_failed():
        return EXIT_DONE
    codes = {rank: int(failure.exitcode) for rank, failure in result.failures.items()}
    rank, lowest = min(codes.items(), key=lambda end: end[1])
    if EXIT_USER_ERROR in codes.values():
        return EXIT_USER_ERROR
    if lowest > 0:  # EXIT_FAILED is below the codes of a stop
        return lowest
    if stopped and max(codes.values()) > 0:
        return max(codes.values())
    LOG.error(
        "process %d of %d was killed by %s, and the others have ended: run again with --resume to go on from the "
        "newest checkpoint",
        rank + 1,
        processes,
        signal.Signals(-lowest).name,
    )
    return EXIT_FAILED
