"""The device and the precision that a config asks for."""

import contextlib
import os
import re
from typing import Any

import torch

from src.config import Train
from src.helpers import LOG, UserError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def autocast(options: Train, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """The activations' precision of `train.dtype`."""
    dtype = DTYPES[options.dtype]
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def choose_device(name: str) -> torch.device:
    """The device of `train.device`; cuda without CUDA becomes the CPU, with a warning.

    On CUDA, deterministic kernels are chosen wherever there are any: a resumed run must equal an uninterrupted one.
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
        torch.cuda.set_device(device)  # where kernels are launched, and collectives of several processes
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined] # a write a new tensor
    return device


def require_processes_fit(options: Train, processes: int, everywhere: int) -> None:
    """Raise UserError if so many processes on this machine, and on all, cannot train with these options."""
    batch_size, gpus = options.dataloader.batch_size, torch.cuda.device_count()
    if batch_size < everywhere:
        raise UserError(f"train.dataloader.batch_size = {batch_size} is less than the {everywhere} processes")
    if everywhere > 1 and options.batch_parts not in (1, everywhere):
        raise UserError(
            f"train.batch_parts = {options.batch_parts}, but {everywhere} processes take a part each: leave it out"
        )
    if options.device.startswith("cuda:"):
        raise UserError(f"train.device = {options.device}: each process takes a GPU of its own; give cuda, or cpu")
    if options.device == "cuda" and 0 < gpus < processes:
        raise UserError(f"{processes} processes on a machine with {gpus} CUDA device(s): each takes one; lower --nproc")
    cores = os.cpu_count() or 1
    if (options.device == "cpu" or gpus == 0) and processes > cores:
        LOG.warning("--nproc %d: the processes share %d cores, and are slower than as many as these", processes, cores)
