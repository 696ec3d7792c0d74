"""Several processes on one training: the group that they form, and what they agree on.

The processes (ranks) are started by launch.py, or by torchrun, which tells each its number in the environment. All hold
the same model, optimizer and random states, and take the same steps; only the frames of a batch are divided among them.
Rank 0 alone writes. A process that was started by itself is rank 0, and the functions do its work.
"""

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from src.checkpoint import put_tensors, take_tensors
from src.command_line import (
    EXIT_FAILED,
    EXIT_USER_ERROR,
    EndedElsewhere,
    RunError,
    Stopped,
    StopSignals,
    UserError,
    leave,
)
from src.config import Train
from src.distributed.launch import require_divisible
from src.helpers import LAUNCHER, LISTENER, LOG, launched_rank, one_line
from src.training.device import require_gpus

BEGIN_SECONDS = 600  # time to import PyTorch on every machine, from a slow disk
CONNECT_TIMEOUT = timedelta(seconds=10)  # for one attempt to reach the store; stop signals are seen between attempts
PATIENCE = timedelta(days=1)  # rank 0 may prepare a cache meanwhile; if a process is gone, the others notice at once
LEAVE_PATIENCE = timedelta(seconds=100)  # time for what rank 0 still has to end, such as a logger's upload
FOREVER = timedelta(days=3650)
NOTICE_SECONDS = 30  # time in which a process ends by itself if another one is gone, unless it waits for its GPU
LOST = "the connection to another process of this job is lost: it was killed, or its machine is down"
# Keys of the store.
_BEGUN, _JOINED, _ENDED, _LEFT = (f"difflogic_tonic/{name}" for name in ("begun", "joined", "ended", "left"))

# The group for what the ranks agree on; `joined` forms it, and it lasts as long as the block. It takes CPU tensors, by
# gloo, so that nothing waits for a GPU. Gradients take PyTorch's default group.
_agreement: dist.ProcessGroup | None = None


def rank() -> int:
    """Return this process's number; only rank 0 writes files."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def device_name(wanted: str) -> str:
    """Return `train.device` for this rank: each rank of a machine takes a GPU of its own."""
    several_gpus = world_size() > 1 and wanted == "cuda" and torch.cuda.is_available()
    return f"cuda:{os.environ['LOCAL_RANK']}" if several_gpus else wanted


@contextlib.contextmanager
def joined(options: Train, stop: StopSignals) -> Iterator[None]:
    """Be one of several processes inside the block, if this process was started as one of several.

    A rank that fails writes its exit code into the store before its connections break. The others can then end with the
    same code, and leave it to that rank to say why.

    Args:
        options: the device, and the batches that the processes share.
        stop: the signals of this process.

    Raises:
        UserError: the options do not suit this number of processes.
        EndedElsewhere: another rank has ended, or is gone.
    """
    if launched_rank() is None or os.environ["WORLD_SIZE"] == "1":
        yield
        return
    number, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    store = _connect(number, size, stop)
    part_ways = _form_group(options, store, number, size, stop)
    try:
        _wait_for_all(_JOINED, store, size, stop)  # ending before all have connected would look like a lost connection
        require_divisible(options, size)
        require_gpus(options, int(os.environ["LOCAL_WORLD_SIZE"]))
        yield
        part_ways()
    except Stopped:
        _first_to_end(store, number, stop.exit_code)
        if number:  # as soon as one process has ended, the launcher gives the others 30 s
            with contextlib.suppress(RuntimeError):
                store.wait([_LEFT], LEAVE_PATIENCE)
        raise
    except Exception as error:
        code = EXIT_USER_ERROR if isinstance(error, UserError) else EXIT_FAILED
        first, code = _first_to_end(store, number, code)
        if not first:
            raise EndedElsewhere(f"another process has ended first; here: {error}", code) from error
        if _is_lost_connection(error):
            LOG.warning(LOST)
            raise EndedElsewhere(str(error), code) from error
        raise
    finally:
        if number == 0:
            with contextlib.suppress(RuntimeError):
                store.set(_LEFT, "")
    _dissolve_groups()


def _connect(number: int, size: int, stop: StopSignals) -> dist.Store:
    """Return the store that all processes share: rank 0 holds it, or torchrun.

    PyTorch alone would try for longer, and not look at signals meanwhile.
    """
    last = time.monotonic() + BEGIN_SECONDS
    while True:
        stop.check()
        try:
            store = _store(number, size)
        except RuntimeError as error:
            if time.monotonic() > last:
                raise RunError(f"cannot reach the first of the processes: {one_line(error)}") from error
        else:
            store.set_timeout(dist.constants.default_pg_timeout)
            return store


def _store(number: int, size: int) -> dist.Store:
    if LAUNCHER not in os.environ:
        return next(dist.rendezvous("env://", timeout=CONNECT_TIMEOUT))[0]
    listener = os.environ.get(LISTENER)
    return dist.TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        size,
        is_master=number == 0,
        timeout=CONNECT_TIMEOUT,
        wait_for_workers=False,
        master_listen_fd=None if listener is None else int(listener),
    )


def _form_group(options: Train, store: dist.Store, number: int, size: int, stop: StopSignals) -> Callable[[], None]:
    """Form the groups of processes; return what `watch_others` returns.

    Raises:
        Stopped: a signal came meanwhile.
        EndedElsewhere: another rank has ended meanwhile, which PyTorch reports as a lost connection.
    """
    global _agreement
    backend = "nccl" if options.device != "cpu" and torch.cuda.is_available() else "gloo"
    try:
        _wait_for_all(_BEGUN, store, size, stop)  # PyTorch would not look at signals while it forms the group
        dist.init_process_group(backend, store=store, rank=number, world_size=size)
        _agreement = dist.new_group(backend="gloo", timeout=PATIENCE)
        return watch_others(lambda: _first_to_end(store, number, EXIT_FAILED))
    except RuntimeError as error:
        stop.check()
        first, code = _first_to_end(store, number, EXIT_FAILED)
        if not first:
            raise EndedElsewhere(f"another process has ended first; here: {error}", code) from error
        raise


def _dissolve_groups() -> None:
    global _agreement
    dist.destroy_process_group()
    _agreement = None


def _wait_for_all(key: str, store: dist.Store, size: int, stop: StopSignals) -> None:
    """Count this process under the key, and wait until all processes are counted."""
    last = time.monotonic() + BEGIN_SECONDS
    store.add(key, 1)
    while (here := store.add(key, 0)) < size:
        stop.check()
        if time.monotonic() > last:
            raise RunError(f"only {here} of {size} processes have {key.split('/')[1]} within {BEGIN_SECONDS} s")
        time.sleep(0.05)
    stop.check()  # the others may have got the signal and gone before this process began


def watch_others(end: Callable[[], tuple[bool, int]]) -> Callable[[], None]:
    """End this process if another one is gone, even if its GPU waits for the other's gradients and never returns.

    Rank 0 watches all others, and they watch rank 0. All ranks call this at the same point.

    Args:
        end: notes that this process ends; returns what `_first_to_end` returns.

    Returns:
        A function that all ranks call when their work is done, so that their ends raise no alarm.
    """
    group = dist.new_group(backend="gloo", timeout=FOREVER)
    others = range(1, world_size()) if rank() == 0 else [0]

    def watch(other: int) -> None:
        try:
            dist.recv(torch.zeros(1), other, group)
        except RuntimeError:
            time.sleep(NOTICE_SECONDS)
            first, code = end()
            if first:
                LOG.warning(LOST)
            leave(code)

    watchers = [threading.Thread(target=watch, args=[other], daemon=True) for other in others]
    for watcher in watchers:
        watcher.start()

    def part_ways() -> None:
        for other in others:
            dist.send(torch.zeros(1), other, group)
        for watcher in watchers:
            watcher.join()

    return part_ways


def _first_to_end(store: dist.Store, number: int, code: int) -> tuple[bool, int]:
    """Return whether rank `number`, which is this one, is the first to end, and the exit code of the first.

    Without the store, rank 0 has ended already, or torchrun has.
    """
    mine = f"{number} {code}"
    try:
        first = store.compare_set(_ENDED, "", mine).decode()
    except RuntimeError:
        return number == 0, code
    return first == mine, int(first.split()[1])


def _is_lost_connection(error: Exception) -> bool:
    """Return whether NCCL or gloo has raised the error; gloo raises plain RuntimeErrors."""
    words = ("gloo", "Connection closed by peer", "Connection reset by peer")
    return isinstance(error, RuntimeError) and (
        isinstance(error, dist.DistError) or any(word in str(error) for word in words)
    )


# Agreement: all ranks call each of these at the same point.


def barrier() -> None:
    """Wait until all ranks are here."""
    if world_size() > 1:
        dist.all_reduce(torch.zeros(1), group=_agreement)


@contextlib.contextmanager
def rank_zero_first() -> Iterator[None]:
    """Run the block on rank 0, and then on all others at once.

    What the block makes is therefore made once, and what it finds wrong is reported once.
    """
    if rank():
        barrier()
    yield
    if rank() == 0:
        barrier()


def agree(stop: StopSignals, due: bool = False) -> tuple[bool, bool]:
    """Return whether a stop signal has come to any rank, and rank 0's `due`; every rank then notes the signal."""
    if world_size() == 1:
        return stop.received is not None, due
    flags = torch.tensor([stop.received or 0, due and rank() == 0])
    dist.all_reduce(flags, dist.ReduceOp.MAX, group=_agreement)
    received, is_due = flags.tolist()
    if received:
        stop.note(received)
    return received > 0, is_due > 0


def check(stop: StopSignals) -> None:
    """Raise Stopped on all ranks if a signal has come to any."""
    if world_size() == 1 or agree(stop)[0]:
        stop.check()


def total(tensor: torch.Tensor) -> torch.Tensor:
    """Return the sum of a tensor over all ranks; the tensor is overwritten."""
    if world_size() > 1:
        dist.all_reduce(tensor, group=_agreement if tensor.device.type == "cpu" else None)
    return tensor


def from_rank_zero(task: Callable[[], Any]) -> Any:
    """Run a task on rank 0 only, and return its result on all ranks.

    Args:
        task: returns what `checkpoint.save_tree` takes: dicts with text keys, lists, JSON values, tensors on the CPU.
    """
    if world_size() == 1:
        return task()
    if rank() == 0:
        tree = task()
        tensors: dict[str, torch.Tensor] = {}
        values = take_tensors(tree, "", tensors)
        about = [[name, str(tensor.dtype), list(tensor.shape)] for name, tensor in tensors.items()]
        _broadcast_text(json.dumps([values, about]))
    else:
        values, about = json.loads(_broadcast_text(""))
        tensors = {
            name: torch.empty(shape, dtype=getattr(torch, dtype.removeprefix("torch."))) for name, dtype, shape in about
        }
    for tensor in tensors.values():
        if tensor.numel():
            dist.broadcast(tensor.reshape(-1).view(torch.uint8), 0, group=_agreement)
    return tree if rank() == 0 else put_tensors(values, tensors)


def _broadcast_text(text: str) -> str:
    content = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8) if text else torch.empty(0)
    size = torch.tensor(content.numel())
    dist.broadcast(size, 0, group=_agreement)
    if rank():
        content = torch.empty(int(size), dtype=torch.uint8)
    dist.broadcast(content, 0, group=_agreement)
    return content.numpy().tobytes().decode()
