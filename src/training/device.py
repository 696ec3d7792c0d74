"""The device, the precision and the memory that a config asks for."""

import contextlib
import errno
import os
import re
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from src.command_line import RunError, UserError
from src.config import Train
from src.helpers import LOG, format_size

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def autocast(options: Train, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Return a context in which activations have the precision of `train.dtype`."""
    dtype = DTYPES[options.dtype]
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def choose_device(name: str) -> torch.device:
    """Return the device of `train.device`; if CUDA is wanted and missing, the CPU, with a warning.

    If it is a GPU, PyTorch uses deterministic kernels from now on: a resumed run must equal an uninterrupted one.
    """
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise UserError(f"train.device = {name!r}: allowed: cuda, cuda:N or cpu")
    if name == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        LOG.warning("train.device = %s, but no CUDA device is available: taking the CPU", name)
        return torch.device("cpu")
    device = torch.device(name)
    if (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"train.device = {name!r}: this machine has {torch.cuda.device_count()} CUDA device(s)")
    if device.index is not None:
        torch.cuda.set_device(device)  # for kernels, and for collectives of several processes
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined] # saves a write per tensor
    return device


def require_gpus(options: Train, processes: int) -> None:
    """Raise UserError if this machine has fewer GPUs than processes; warn if they are to share its cores."""
    gpus, cores = torch.cuda.device_count(), os.cpu_count() or 1
    if options.device == "cuda" and 0 < gpus < processes:
        raise UserError(f"{processes} processes on a machine with {gpus} CUDA device(s): each takes one; lower --nproc")
    if (options.device == "cpu" or gpus == 0) and processes > cores:
        LOG.warning("--nproc %d: the processes share %d cores, and are slower than as many as these", processes, cores)


# Memory

BYTES_PER_PARAMETER = 16  # a weight, its gradient and Adam's two moments, in float32
_CGROUPS, _OWN_CGROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def require_memory(
    options: Train, device: torch.device, parameters: dict[str, int], activations: int, frames: int
) -> None:
    """Raise UserError if a training cannot fit into the memory that this process may use.

    Args:
        options: dtype and batch size.
        device: the device that the model will be on.
        parameters: how many parameters the model learns, by the option that decides it.
        activations: values per frame that a step keeps.
        frames: number of frames per batch, which all processes share.
    """
    most, whose = most_memory(device)
    for_model = BYTES_PER_PARAMETER * sum(parameters.values())
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    for_batch = -(-frames // processes) * activations * DTYPES[options.dtype].itemsize
    if for_model > most:
        option = max(parameters, key=parameters.__getitem__)
        raise UserError(
            f"{option} is too large: training the model takes at least {format_size(for_model)} of memory, and "
            f"{whose.format(format_size(most))}; lower it"
        )
    if for_model + for_batch > most:
        raise UserError(
            f"train.dataloader.batch_size = {options.dataloader.batch_size} is too large: training takes at least "
            f"{format_size(for_model + for_batch)} of memory, and {whose.format(format_size(most))}; lower it"
        )


def most_memory(device: torch.device) -> tuple[int, str]:
    """Return how many bytes of the device's memory this process may use at most, and a sentence to put them into."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0], f"{device} has {{}} free"
    limits = [(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), "this machine has {}")]
    address_space, _ = resource.getrlimit(resource.RLIMIT_AS)
    if address_space != resource.RLIM_INFINITY:
        limits.append((address_space, "this process may have {} (ulimit -v)"))
    limits += [(limit, "this job or container may have {}") for limit in _cgroup_limits()]
    return min(limits)


def _cgroup_limits() -> Iterator[int]:
    """Yield the memory limits of this process's control groups, which SLURM and containers set."""
    with contextlib.suppress(OSError):
        for line in _OWN_CGROUPS.read_text(encoding="utf-8").splitlines():
            _, controllers, group = line.split(":", 2)
            root, name = _CGROUPS, "memory.max"
            if controllers:  # version 1
                root, name = _CGROUPS / "memory", "memory.limit_in_bytes"
            if controllers and "memory" not in controllers.split(","):
                continue
            own = root / group.lstrip("/")
            for folder in (own, *own.parents):
                with contextlib.suppress(OSError, ValueError):  # "max" means no limit
                    yield int((folder / name).read_text(encoding="ascii"))


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether Python, NumPy, PyTorch or the system has raised the error because memory is out."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    words = ("can't allocate memory", "not enough memory", "out of memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    )


@contextlib.contextmanager
def explain_memory_errors() -> Iterator[None]:
    """Turn errors of the block that mean that memory is out into a RunError that says what to do."""
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        amount = re.search(r"\d[\d.]* ?(bytes|[KMGT]i?B)", str(error))
        wanted = f" (it asked for {amount[0]} more)" if amount else ""
        raise RunError(
            f"out of memory{wanted}: lower train.dataloader.batch_size or the model's size, or use a machine with more"
        ) from error
