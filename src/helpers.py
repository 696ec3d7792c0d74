"""Logging, seeding, and numbers and tables for people."""

import contextlib
import copy
import ctypes
import importlib
import logging.handlers
import os
import random
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import Any

LOG = logging.getLogger("difflogic_tonic")
_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # a terminal


# Variables that distributed/launch.py sets for the processes of a job.
LAUNCHER = "DIFFLOGIC_LAUNCHER"  # its process id
LISTENER = "DIFFLOGIC_LISTENER"  # for rank 0: the file descriptor of a socket that listens on MASTER_PORT


def launched_rank() -> int | None:
    """Return this process's number among those of its job; None if it was started by itself.

    Processes of a job are started by distributed/launch.py or by torchrun.
    """
    return int(os.environ["RANK"]) if LAUNCHER in os.environ or "TORCHELASTIC_RUN_ID" in os.environ else None


class _Formatter(logging.Formatter):
    """Keeps a file's name within a line, and characters that would steer a terminal out of all lines."""

    def format(self, record: logging.LogRecord) -> str:
        if isinstance(record.args, tuple):
            args = tuple(printable(str(it)) if isinstance(it, PurePath) else it for it in record.args)
            record = copy.copy(record)
            record.args = args
        return _STEERING.sub(lambda match: repr(match[0])[1:-1], super().format(record))


class _TqdmHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Handler that writes log lines above a running progress bar, not through it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            from tqdm import tqdm  # only here: `job.sh COMMAND --help` runs without packages

            tqdm.write(self.format(record), file=sys.stderr)
        except Exception:  # no line is worth a run
            self.handleError(record)


def set_up_logging(debug: bool = False) -> None:
    """Log to stderr from INFO on, with `debug` from DEBUG on.

    If several processes work on one job, only the first logs more than errors.
    """
    handler = _TqdmHandler()
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    LOG.handlers[:] = [handler, logging.handlers.MemoryHandler(0, logging.CRITICAL + 1)]  # see `log_to_file`
    LOG.setLevel(logging.ERROR if launched_rank() else logging.DEBUG if debug else logging.INFO)
    LOG.propagate = False
    logging.raiseExceptions = False  # a full disk under the log file must not end the run


def log_to_file(path: Path) -> None:
    """Append all log lines to `path` too, with dates: those so far and those to come.

    If the file cannot be written to, a warning says so.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():  # opening a pipe would wait
            raise OSError(f"{path} is not a file")
        handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        LOG.warning("the log is not kept in a file: %s", error)
        return
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    for earlier in list(LOG.handlers):
        if isinstance(earlier, logging.handlers.MemoryHandler):
            earlier.setTarget(handler)
            LOG.removeHandler(earlier)
            earlier.close()
    LOG.addHandler(handler)


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and PyTorch's (CPU and CUDA) global generators."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def keep_freed_memory() -> None:
    """Have glibc's malloc keep freed memory: every step frees its activations, and each new page costs a fault.

    Nothing happens if the C library is not glibc.
    """
    trim_threshold, most_mmaps = -1, -4  # M_TRIM_THRESHOLD, M_MMAP_MAX of malloc.h
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(trim_threshold, 2**31 - 1)
        libc.mallopt(most_mmaps, 0)


def available_cores() -> int:
    """Return the number of cores that this process may use: SLURM and taskset may grant fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def match_choice(text: str, choices: Iterable[str]) -> str | None:
    """Return the choice that `text` names, whatever its case; None if there is none."""
    return next((choice for choice in choices if choice.lower() == text.lower()), None)


def import_optional(module: str, wanted: str, remedy: str) -> Any:
    """Import a module of a package that may be missing, too old or too new for another one.

    Raises:
        ImportError: for whatever the import raised; `wanted` says what asks for the package, `remedy` what to do.
    """
    try:
        return importlib.import_module(module)
    except Exception as error:
        reason = one_line(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {one_line(error)}"
        raise ImportError(f"{wanted}, but its package cannot be imported ({reason}): {remedy}") from error


def how_to_install(package: str) -> str:
    """Return the command that installs an optional package into the environment of this process."""
    repository = Path(__file__).resolve().parents[1]
    if Path(sys.prefix) == repository / ".venv":  # the one that the wrappers make; its versions are those of the locks
        return f"{sys.prefix}/bin/python -m pip install -r {repository}/requirements-extras.lock"
    return f"pip install --upgrade {package}"


def one_line(error: Exception) -> str:
    """Return an error's text without its line breaks."""
    return " ".join(str(error).split())


def first_of(names: Sequence[str], most: int) -> str:
    """Return the first `most` names, printable, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(printable, names[:most])) + more


def printable(text: str) -> str:
    """Return a text, such as a file's name, as it can stand in one line: in quotes, with escapes, if need be."""
    return text if text.isprintable() else repr(text)


def format_duration(seconds: float) -> str:
    """Return seconds as a person says them: '0.4 s', '12 s', '3 min 05 s', '2 h 07 min'."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def format_size(size: float) -> str:
    """Return bytes as a person says them, in binary units: '512 B', '3.4 MiB'."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def format_percent(fraction: float | None) -> str:
    """Return a fraction in percent without the sign, such as '91.36'; a dash for None."""
    return "-" if fraction is None else f"{100 * fraction:.2f}"


def format_table(header: list[str], rows: list[list[str]], groups: dict[str, int] | None = None) -> str:
    """Return a plain-text table: the first column aligned left, the others right.

    Args:
        header: the columns' names.
        rows: as many cells each.
        groups: titles above the columns, in order, each with the number of its columns.
    """
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    titles = ""
    first = 0
    for title, columns in (groups or {}).items():
        end = first + columns
        widths[first] += max(0, len(title) - sum(widths[first:end]) - 2 * (columns - 1))
        titles += title.center(sum(widths[first:end]) + 2 * (columns - 1)) + "  "
        first = end

    def line(row: list[str]) -> str:
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        return "  ".join(cells).rstrip()

    lines = [line(header), "  ".join("-" * width for width in widths), *map(line, rows)]
    return "\n".join([titles.rstrip(), *lines] if groups else lines)
