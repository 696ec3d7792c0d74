"""LUTs that counting a class's ones takes: gates of compressors, as exports have them, beside chains of carries.

    python benchmarks/counting.py [--ones 20 50 100 200 400] [--families xilinx ecp5 ice40]

A row is a number of neurons that are counted. `gates` are the counters of exports. `sum` is the sum of the bits in
Verilog, which Yosys turns into adders with the family's carries. `groups` counts groups of bits by tables, as many bits
as a LUT has inputs, and adds the groups in pairs with carries.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import describe_machine
from src.circuit.circuit import Circuit
from src.circuit.netlist import netlist_of
from src.export.blif import to_blif
from src.export.devices import FAMILIES, Family
from src.export.hardware_tools import run_tool
from src.export.yosys import count_cells
from src.helpers import format_table


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ones", nargs="+", type=int, default=[20, 50, 100, 200, 400])
    parser.add_argument("--families", nargs="+", default=["xilinx", "ecp5", "ice40"], choices=list(FAMILIES))
    arguments = parser.parse_args()
    rows = []
    for name in arguments.families:
        family = FAMILIES[name]
        for ones in arguments.ones:
            luts = [count_luts(design(ones, family), family) for design in (gates, plain_sum, groups)]
            rows.append([name, f"{ones:,}", *(f"{number:,}" for number in luts)])
            print("  ".join(rows[-1]), flush=True)
    print(describe_machine())
    print(format_table(["family", "neurons", *(design.__name__ for design in (gates, plain_sum, groups))], rows))


def gates(ones: int, family: Family) -> tuple[str, str]:
    """Return the counter of an export, and its name with what Yosys reads it by."""
    nothing = np.empty(0, np.int32)
    circuit = Circuit(
        num_inputs=ones,
        gates=nothing.astype(np.uint8),
        first=nothing,
        second=nothing,
        outputs=np.arange(ones, dtype=np.int32),
        starts=np.array([0, ones]),
        offsets=np.zeros(1, np.int64),
        tau=1.0,
    )
    return "counter.blif", to_blif(netlist_of(circuit, False, family.counter_inputs), "counter")


def plain_sum(ones: int, family: Family) -> tuple[str, str]:
    """Return the sum of all bits."""
    return verilog(ones, " + ".join(f"frame[{i}]" for i in range(ones)))


def groups(ones: int, family: Family) -> tuple[str, str]:
    """Return the sum of the counts of groups of bits, whose tables Yosys finds by itself."""
    size = family.lut_inputs
    width = size.bit_length()
    wires, terms = [], []
    for begin in range(0, ones, size):
        bits = [f"frame[{i}]" for i in range(begin, min(begin + size, ones))]
        cases = [f"{width}'d{bin(value).count('1')}" for value in reversed(range(1 << len(bits)))]
        table, at = ", ".join(cases), ", ".join(reversed(bits))
        wires.append(f"wire [{width * len(cases) - 1}:0] t{begin} = {{{table}}};")
        wires.append(f"wire [{width - 1}:0] w{begin} = t{begin}[{width} * {{{at}}} +: {width}];")
        terms.append(f"w{begin}")
    while len(terms) > 1:
        width += 1
        pairs = [terms[i : i + 2] for i in range(0, len(terms), 2)]
        for i, pair in enumerate(pairs):
            wires.append(f"wire [{width - 1}:0] s{width}_{i} = {' + '.join(pair)};")
        terms = [f"s{width}_{i}" for i in range(len(pairs))]
    return verilog(ones, terms[0], *wires)


def verilog(ones: int, total: str, *wires: str) -> tuple[str, str]:
    """Return a module that gives a sum."""
    ports = f"input wire [{ones - 1}:0] frame, output wire [{ones.bit_length() - 1}:0] count0"
    return "counter.v", "\n".join([f"module counter ({ports});", *wires, f"assign count0 = {total};", "endmodule", ""])


def count_luts(design: tuple[str, str], family: Family) -> int:
    """Return the LUTs that Yosys makes of a design."""
    name, content = design
    read = f"read_blif -wideports {name}; simplemap" if name.endswith(".blif") else f"read_verilog {name}"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_text(content)
        script = f"{read}; {family.synth} -top counter; tee -q -o cells.json stat -json"
        run_tool("yosys", ["-p", script], Path(folder))
        return family.resources(count_cells((Path(folder) / "cells.json").read_text())).luts


if __name__ == "__main__":
    main()
