"""The size of a netlist on an FPGA, as Yosys and its ABC map it to LUTs."""

import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from src.circuit.netlist import Netlist
from src.command_line import RunError
from src.export.blif import to_blif
from src.export.devices import FAMILIES, Resources
from src.export.hardware_tools import ToolError, run_tool
from src.helpers import LOG, format_duration


def estimate_luts(netlist: Netlist, family: str, check: Callable[[], None] = lambda: None) -> int:
    """Return the number of LUTs that a netlist takes.

    The log says that it begins and when it is done.

    Args:
        netlist: what is mapped, all of it combinational.
        family: the FPGA family, one of FAMILIES.
        check: called while waiting; may raise to stop.

    Raises:
        UserError: if Yosys is not installed.
        RunError: if it fails or takes too long.
    """
    lut_inputs = FAMILIES[family].lut_inputs
    LOG.info("yosys maps %s gates to LUTs of %d inputs", f"{len(netlist.gates):,}", lut_inputs)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "netlist.blif").write_text(to_blif(netlist, "netlist"))
        script = f"read_blif netlist.blif; simplemap; abc -lut {lut_inputs} -script +strash;if; "
        script += "tee -q -o cells.json stat -json"
        try:
            run_tool("yosys", ["-p", script], folder, check=check)
        except ToolError as error:
            raise RunError(f"yosys failed: {error}") from None
        luts = count_cells((folder / "cells.json").read_text()).get("$lut", 0)
    LOG.info("yosys took %s", format_duration(time.monotonic() - begin))
    return luts


def count_cells(statistics: str) -> dict[str, int]:
    """Return the number of cells of each kind that Yosys's `stat -json` gives for the last module in it.

    Older versions of Yosys write JSON with a comma too many, which Python does not read.
    """
    kinds = statistics.rpartition('"num_cells_by_type"')[2].partition("}")[0]
    return {name: int(number) for name, number in re.findall(r'"([^"]+)":\s*(\d+)', kinds)}


def log_fit(family: str, luts: int) -> None:
    """Log the smallest device of a family that has this number of LUTs; warn if there is none."""
    device = FAMILIES[family].smallest(Resources(luts))
    if device is not None:
        LOG.info("the smallest %s device that has them: %s, %s LUTs", family, device.name, f"{device.has.luts:,}")
        return
    largest = FAMILIES[family].devices[-1]
    LOG.warning(
        "%s LUTs do not fit any device of the family %s: the largest, %s, has %s",
        f"{luts:,}",
        family,
        largest.name,
        f"{largest.has.luts:,}",
    )
