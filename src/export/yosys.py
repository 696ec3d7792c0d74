"""The size of a circuit on an FPGA, as Yosys synthesises it."""

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from src.command_line import UserError
from src.helpers import LOG, format_duration


@dataclass(frozen=True)
class Target:
    """An FPGA family: how Yosys synthesises for it, and its largest device with the number of LUTs there."""

    script: str
    largest: str
    luts: int


TARGETS = {
    # 7 series, LUTs of six inputs, as a part of a design. AMD DS180: 305,400 slices of four LUTs each.
    "xilinx": Target("synth_xilinx -flatten -noiopad -noclkbuf", "Virtex-7 XC7V2000T", 1_221_600),
    # LUTs of four inputs. Lattice FPGA-DS-02029: 7,680 logic cells of one LUT each.
    "ice40": Target("synth_ice40", "iCE40 HX8K", 7_680),
}


def estimate_luts(
    verilog: Path, target: str, timeout: float = 3600.0, check: Callable[[], None] = lambda: None
) -> dict[str, int]:
    """Synthesise a Verilog file; return the number of cells of each kind, and `luts`, the number of all LUTs.

    The log says that it begins and, on a terminal, a bar shows how long it has run.

    Args:
        verilog: a file with one module.
        target: the FPGA family, one of TARGETS.
        timeout: seconds until it is given up.
        check: called while waiting; may raise to stop.

    Raises:
        UserError: if Yosys is not installed, does not accept the file or takes too long.
    """
    LOG.info(
        "yosys synthesises %s for %s: it takes about a minute per 5,000 gates, and is given up after %s",
        verilog,
        target,
        format_duration(timeout),
    )
    with tempfile.TemporaryDirectory() as folder:
        script = f"{TARGETS[target].script}; tee -q -o cells.json stat -json"
        with (Path(folder) / "log").open("w+") as log:
            try:
                process = subprocess.Popen(
                    ["yosys", "-q", "-p", script, str(verilog.absolute())],
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except FileNotFoundError:
                raise UserError("the estimate needs yosys, which is not on PATH (Debian: apt install yosys)") from None
            try:
                _wait(process, timeout, check)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)  # it and the process that maps gates to LUTs
                process.wait()
                raise
            log.seek(0)
            if process.returncode != 0:
                raise UserError(f"{verilog}: yosys failed: {' '.join(log.read().split())[-300:]}")
        (module,) = json.loads((Path(folder) / "cells.json").read_text())["modules"].values()
    cells: dict[str, int] = module["num_cells_by_type"]
    return {"luts": sum(number for cell, number in cells.items() if "LUT" in cell), **cells}


def _wait(process: "subprocess.Popen[bytes]", timeout: float, check: Callable[[], None]) -> None:
    from tqdm import tqdm  # only here: `job.sh export --help` runs without packages

    end = time.monotonic() + timeout
    with tqdm(desc="yosys", bar_format="{desc}: {elapsed}", disable=None, leave=False) as bar:
        while True:
            try:
                process.wait(0.2)
                return
            except subprocess.TimeoutExpired:
                check()
                bar.refresh()
                if time.monotonic() > end:
                    raise UserError(f"yosys was given up after {format_duration(timeout)}") from None


def warn_if_too_large(target: str, luts: int) -> None:
    """Warn if this number of LUTs does not fit the largest device of a family."""
    largest = TARGETS[target]
    if luts > largest.luts:
        LOG.warning(
            "%s LUTs do not fit any device of the family %s: the largest, %s, has %s",
            f"{luts:,}",
            target,
            largest.largest,
            f"{largest.luts:,}",
        )
