"""Yosys and nextpnr: found on PATH or among Python's packages, and run with progress, a time limit and a clean stop."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from src.command_line import UserError
from src.helpers import LOG, format_duration

TIME_LIMIT = 1800.0  # seconds, of one run of a tool
_DEBIAN = ("yosys", "nextpnr-ice40")  # packages of Debian 12
_REPORT_EVERY = 60.0  # seconds between lines of the log


class ToolError(Exception):
    """A tool has failed; the text says why."""


class GivenUpError(ToolError):
    """A tool was ended before it was done, by its time limit or by a signal."""


def find_tool(name: str) -> str:
    """Return the path of a tool: the one on PATH, or the Python package's, whose programs begin with yowasp-.

    Raises:
        UserError: if there is neither.
    """
    packaged = f"yowasp-{name}"
    beside_python = str(Path(sys.executable).parent)
    found = shutil.which(name) or shutil.which(packaged) or shutil.which(packaged, path=beside_python)
    if found is None:
        debian = f", or on Debian apt install {name}" if name in _DEBIAN else ""
        raise UserError(f"{name} is not on PATH; install it: {sys.executable} -m pip install {packaged}{debian}")
    return found


def run_tool(
    name: str,
    words: list[str],
    folder: Path,
    timeout: float = TIME_LIMIT,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Run a tool in a folder, and wait for it.

    What it prints goes to NAME.log there. A terminal shows how long it has run and what it does; the log says so
    once per minute.

    Args:
        name: `yosys`, `nextpnr-ice40` or `nextpnr-ecp5`.
        words: its arguments.
        folder: where it runs.
        timeout: seconds until it is given up.
        check: called while waiting; may raise to stop.

    Raises:
        UserError: if it is not installed.
        ToolError: if it fails.
        GivenUpError: if it takes too long, or a signal ends it.
    """
    program = find_tool(name)
    path = folder / f"{name}.log"
    with path.open("wb") as log:
        process = subprocess.Popen(
            [program, *words],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait(process, name, path, timeout, check)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # it and the processes that it has started
            process.wait()
            raise
    if process.returncode < 0:  # SIGKILL is what the system sends where memory runs out
        raise GivenUpError(f"{name} was ended by {signal.Signals(-process.returncode).name}")
    if process.returncode != 0:
        raise ToolError(_reason(path.read_text(errors="replace")))


def _reason(said: str) -> str:
    """Return why a tool has failed: the line that says so, or else the end of what it said."""
    errors = [line for line in said.splitlines() if "ERROR" in line]
    return " ".join(errors[0].split())[:300] if errors else " ".join(said.split())[-300:]


def _wait(process: "subprocess.Popen[bytes]", name: str, log: Path, timeout: float, check: Callable[[], None]) -> None:
    from tqdm import tqdm  # only here: `job.sh export --help` runs without packages

    begin = said = time.monotonic()
    with tqdm(desc=name, bar_format="{desc}: {elapsed}{postfix}", disable=None, leave=False) as bar:
        while True:
            try:
                process.wait(0.2)
                return
            except subprocess.TimeoutExpired:
                check()
                now = time.monotonic()
                bar.set_postfix_str(stage(log))
                if now > begin + timeout:
                    raise GivenUpError(f"{name} was given up after {format_duration(timeout)}") from None
                if now > said + _REPORT_EVERY:
                    said = now
                    LOG.info("%s has run for %s: %s", name, format_duration(now - begin), stage(log))


def stage(log: Path) -> str:
    """Return what a tool does now: the last heading or line that it has printed."""
    with log.open("rb") as file:
        file.seek(max(log.stat().st_size - 4096, 0))
        lines = file.read().decode(errors="replace").splitlines()
    said = [line.removeprefix("Info: ").strip() for line in lines if re.match(r"\d[\d.]*\. |Info: \w", line)]
    return (said or [line.removeprefix("Info:").strip() for line in lines] or [""])[-1][:80]
