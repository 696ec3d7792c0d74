"""Synthesis, placement and routing of a design: what it takes of an FPGA, and how fast its clock may be."""

import json
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from src.circuit.circuit import Circuit
from src.circuit.netlist import netlist_of
from src.command_line import RunError
from src.export.blif import to_blif
from src.export.devices import FAMILIES, Family, Resources
from src.export.hardware_tools import GivenUpError, ToolError, find_tool, run_tool
from src.export.yosys import count_cells
from src.helpers import LOG, format_duration

FREQUENCY = 100  # MHz, what nextpnr aims at; it says what it reached
# Characters of a design that is synthesised as a whole, with names of wires for people; 55,000 gates take an hour.
MOST_WHOLE = 3_000_000
SEED = 1  # of nextpnr's placement
_NETWORK = ["proc", "opt_expr", "opt_dff", "opt_clean", "simplemap"]  # gates, and registers with their enables
_DOES_NOT_FIT = re.compile("unable to (place|find)|failed to place", re.IGNORECASE)  # what nextpnr says of it


@dataclass(frozen=True)
class Design:
    """What is synthesised.

    Attributes:
        top: the name of its top module, whose clock is the port `clk`.
        files: the contents of .v and .blif files by name.
        what: what it is, for people.
        latency_cycles: clock cycles from the last event of a frame to its class; None if that was not worked out.
        cycles_per_event, cycles_per_frame: clock cycles for each; None if that was not worked out.
        network: the file with a module of two-input gates and registers alone, if there is one.
    """

    top: str
    files: dict[str, str]
    what: str = ""
    network: str | None = None
    latency_cycles: int | None = None
    cycles_per_event: float | None = None
    cycles_per_frame: float | None = None


@dataclass(frozen=True)
class Hardware:
    """What a design takes of a family's devices, and how fast it is there.

    Attributes:
        family: one of FAMILIES.
        top, what: those of the design.
        luts, registers, block_rams: what the synthesised design takes.
        cells: number of cells of each kind.
        full: how full it makes each device of the family, by what runs out first; above 1 if it does not fit.
        device: where it was placed and routed; None if it was not.
        fmax_mhz: the highest frequency of its clock there.
        latency_cycles, latency_ns: from the last event of a frame to its class.
        events_per_second, frames_per_second: at the highest frequency.
        seconds: how long yosys and nextpnr took.
    """

    family: str
    top: str
    what: str
    luts: int
    registers: int
    block_rams: int
    cells: dict[str, int]
    full: dict[str, float]
    device: str | None = None
    fmax_mhz: float | None = None
    latency_cycles: int | None = None
    latency_ns: float | None = None
    events_per_second: float | None = None
    frames_per_second: float | None = None
    seconds: float = field(default=0.0, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes that are known, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def registered_circuit(circuit: Circuit, name: str, family: str) -> Design:
    """Return a design of a circuit between registers: bits of a frame are shifted in, and the class comes out.

    One pin for the frame's bits keeps a design within a device's pins. The counts are inside, but have no pins.

    Args:
        circuit: the simplified circuit.
        name: the beginning of the module's name.
        family: the FPGA family, for whose LUTs the counters are made.
    """
    netlist = netlist_of(circuit, counter_inputs=FAMILIES[family].counter_inputs)
    bits, top = circuit.num_inputs, f"{name}_registered"
    highest = len(netlist.buses["best_class"]) - 1
    shifted = f"{{frame[{bits - 2}:0], frame_bit}}" if bits > 1 else "frame_bit"
    wrapper = f"""\
// The circuit between registers, which make its longest path one of the clock.
module {top} (
    input wire clk,
    input wire frame_bit,
    output reg [{highest}:0] best_class
);
    reg [{bits - 1}:0] frame;
    wire [{highest}:0] found;

    always @(posedge clk) begin
        frame <= {shifted};
        best_class <= found;
    end

    {name}_netlist circuit (.frame(frame), .best_class(found));
endmodule
"""
    files = {f"{name}_netlist.blif": to_blif(netlist, f"{name}_netlist"), f"{top}.v": wrapper}
    what = f"{len(netlist.gates):,} gates with counters and comparison, between registers"
    return Design(top, files, what, latency_cycles=1, cycles_per_frame=1)


def synthesize(design: Design, family: str, check: Callable[[], None] = lambda: None) -> Hardware:
    """Synthesise a design; place and route it on the smallest device that holds it, if nextpnr knows the family.

    Args:
        design: what is synthesised.
        family: one of FAMILIES.
        check: called while waiting; may raise to stop.

    Raises:
        UserError: if a tool is not installed.
        RunError: if yosys fails or takes too long; if nextpnr does, a warning says so and the frequency stays unknown.
    """
    target = FAMILIES[family]
    for tool in target.tools:
        find_tool(tool)  # say that one is missing before minutes of synthesis
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file_name, content in design.files.items():
            (folder / file_name).write_text(content)
        LOG.info("yosys synthesises %s for %s", design.top, family)
        apart = design.network is not None and _is_large(design)
        cells = (_synthesize_apart if apart else _synthesize)(design, target, folder, check)
        found = target.resources(cells)
        LOG.info("yosys: %s LUTs, %s registers, %s block RAMs", *(f"{number:,}" for number in vars(found).values()))
        placed = None
        if target.place_and_route and apart:
            LOG.warning("%s is too large to be placed and routed: its clock stays unknown", design.top)
        elif target.place_and_route:
            placed = _place_and_route(design, target, found, folder, check)
    fmax = None if placed is None else placed.fmax
    takes = found if placed is None else placed.takes
    return Hardware(
        family,
        design.top,
        design.what,
        **vars(found),
        cells=cells,
        full={device.name: round(device.share(takes), 4) for device in target.devices},
        device=None if placed is None else placed.device,
        fmax_mhz=fmax,
        latency_cycles=design.latency_cycles,
        latency_ns=None if fmax is None or design.latency_cycles is None else 1000 * design.latency_cycles / fmax,
        events_per_second=_rate(fmax, design.cycles_per_event),
        frames_per_second=_rate(fmax, design.cycles_per_frame),
        seconds=round(time.monotonic() - begin, 1),
    )


def _rate(fmax: float | None, cycles: float | None) -> float | None:
    return None if fmax is None or cycles is None else 1e6 * fmax / cycles


def _is_large(design: Design) -> bool:
    return sum(map(len, design.files.values())) > MOST_WHOLE


def _synthesize(design: Design, target: Family, folder: Path, check: Callable[[], None]) -> dict[str, int]:
    """Write the synthesised design to design.json in a folder; return its cells.

    The last part of Yosys's script, `check`, is written out, to leave out its `autoname` where that takes minutes.
    """
    reads = [f"read_blif -wideports {name}; simplemap" for name in design.files if name.endswith(".blif")]
    reads += [f"read_verilog {name}" for name in design.files if name.endswith(".v")]
    script = [*reads, f"{target.synth} -top {design.top} -run :check"]
    if target.place_and_route and not _is_large(design):
        script.append("autoname")
    script += ["hierarchy -check", "check -noinit"]
    return _cells(script, ["blackbox =A:whitebox", "write_json design.json"], design.top, folder, check)


def _synthesize_apart(design: Design, target: Family, folder: Path, check: Callable[[], None]) -> dict[str, int]:
    """Return the cells of a design whose network is large: those of the network, and those of the rest without it.

    The network's gates become LUTs, without the passes for arithmetic, memories and state machines that the family's
    script has: it has none of them, and they take an hour.
    """
    assert design.network is not None
    module = Path(design.network).stem
    head = design.files[design.network].partition(");")[0]
    (folder / "box.v").write_text(f"(* blackbox *)\n{head[head.index(f'module {module}') :]});\nendmodule\n")
    others = [name for name in design.files if name != design.network]
    network = [f"read_verilog {design.network}", f"hierarchy -check -top {module}", *_NETWORK, target.map_luts, "clean"]
    rest = [f"read_verilog {' '.join(others)} box.v", f"{target.synth} -top {design.top} -run :check"]
    found = [_cells(script, [], design.top, folder, check) for script in (network, rest)]
    return {cell: sum(cells.get(cell, 0) for cells in found) for cell in [*found[0], *found[1]] if cell != module}


def _cells(script: list[str], last: list[str], top: str, folder: Path, check: Callable[[], None]) -> dict[str, int]:
    """Run a script of yosys in a folder; return the cells that the design has then, and do `last`."""
    try:
        run_tool("yosys", ["-p", "; ".join([*script, "tee -q -o cells.json stat -json", *last])], folder, check=check)
    except ToolError as error:
        raise RunError(f"yosys failed to synthesise {top}: {error}") from None
    return count_cells((folder / "cells.json").read_text())


@dataclass(frozen=True)
class _Placed:
    """Where a design was placed and routed, what it takes there, and the frequency of its clock in MHz."""

    device: str
    takes: Resources
    fmax: float | None


def _place_and_route(
    design: Design, target: Family, found: Resources, folder: Path, check: Callable[[], None]
) -> _Placed | None:
    """Place and route a synthesised design on the smallest device that holds it; None if that cannot be done."""
    program = target.place_and_route
    words = [*target.nextpnr, "--json", "design.json", "--report", "report.json", "--seed", str(SEED)]
    words += ["--freq", str(FREQUENCY), "--timing-allow-fail"]
    for device in target.devices:
        if device.share(found) > 1:
            continue
        LOG.info("%s places and routes %s on %s", program, design.top, device.name)
        try:
            _run_nextpnr(target, [*words, *device.nextpnr], folder, check)
        except GivenUpError as error:
            LOG.warning("%s: the wires of %s on %s are not routed", error, design.top, device.name)
            return None
        except ToolError as error:
            if not _DOES_NOT_FIT.search(str(error)):
                LOG.warning("%s failed on %s: %s; %s is not placed", program, device.name, error, design.top)
                return None
            LOG.warning("%s does not hold %s: %s", device.name, design.top, error)
            continue
        report = json.loads((folder / "report.json").read_text())
        luts = logic_cells(report, target) or found.luts
        return _Placed(device.name, replace(found, luts=luts), slowest_clock(report))
    LOG.warning("no device holds %s: it is not placed", design.top)
    return None


def _run_nextpnr(target: Family, words: list[str], folder: Path, check: Callable[[], None]) -> None:
    """Place a synthesised design, and route it; if that takes too long, place it in the family's next way."""
    for i, (placer, seconds) in enumerate(target.placers, 1):
        try:
            run_tool(target.place_and_route, [*words, "--placer", placer], folder, seconds, check)
            return
        except GivenUpError as error:
            if i == len(target.placers):
                raise
            LOG.info("%s: the wires are not routed; placing by %s instead of %s", error, target.placers[i][0], placer)


def slowest_clock(report: dict[str, Any]) -> float | None:
    """Return the lowest of the clocks' highest frequencies in MHz in a report of nextpnr; None without any clock."""
    return min((round(float(clock["achieved"]), 2) for clock in report["fmax"].values()), default=None)


def logic_cells(report: dict[str, Any], family: Family) -> int | None:
    """Return the number of cells of a LUT and a register each in a report of nextpnr; None if the family has none."""
    return int(report["utilization"][family.logic_cell]["used"]) if family.logic_cell else None


def with_result(before: dict[str, Any] | None, hardware: Hardware, step: int) -> dict[str, Any]:
    """Return the content of hardware.json: a result, and those of other families and designs of the same model.

    Args:
        before: the content so far; None if there is none.
        hardware: the result.
        step: the training step of the model; results of another one are left out.
    """
    kept = before["results"] if before is not None and before["step"] == step else []
    new = (hardware.family, hardware.top)
    others = [result for result in kept if (result["family"], result["top"]) != new]
    return {"version": 1, "step": step, "results": [*others, hardware.to_dict()]}


def summary(hardware: Hardware) -> str:
    """Return what was found, in a line for the log."""
    parts = [f"{hardware.luts:,} LUTs", f"{hardware.registers:,} registers", f"{hardware.block_rams:,} block RAMs"]
    if hardware.fmax_mhz is not None:
        parts.append(f"{hardware.fmax_mhz:.1f} MHz on {hardware.device}")
    parts += [f"{device} {100 * share:.0f} % full" for device, share in hardware.full.items() if share <= 1][:3]
    return f"{hardware.family}: {', '.join(parts)}; took {format_duration(hardware.seconds)}"
