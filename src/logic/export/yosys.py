"""What a circuit takes on an FPGA, by Yosys."""

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from src.helpers import UserError, format_duration

TARGETS = {
    "xilinx": "synth_xilinx -flatten -noiopad -noclkbuf",  # 7 series, LUTs of six inputs; a part of a design
    "ice40": "synth_ice40",  # LUTs of four inputs
}


def estimate_luts(
    verilog: Path, target: str, timeout: float = 3600.0, check: Callable[[], None] = lambda: None
) -> dict[str, int]:
    """Synthesise a Verilog file for one of TARGETS: the number of cells of each kind, and `luts`, all LUTs together.

    Args:
        verilog: a file with one module.
        target: the FPGA family.
        timeout: seconds until it is given up.
        check: called while waiting; may raise to stop.

    Raises:
        UserError: if Yosys is not there, does not accept the file or takes too long.
    """
    with tempfile.TemporaryDirectory() as folder:
        script = f"{TARGETS[target]}; tee -q -o cells.json stat -json"
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
    end = time.monotonic() + timeout
    while True:
        try:
            process.wait(0.2)
            return
        except subprocess.TimeoutExpired:
            check()
            if time.monotonic() > end:
                raise UserError(f"yosys was given up after {format_duration(timeout)}") from None
