"""LUTs of trained networks, with counters and comparison: our estimate beside Yosys's, and how long each takes.

    python benchmarks/luts.py MODEL [...] [--families xilinx ecp5 ice40]

A MODEL is a model's .safetensors or a circuit's .json. Yosys's is that of `job.sh export --estimate`, from the same
gates.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import describe_machine
from src.circuit.luts import lut_cover
from src.circuit.netlist import netlist_of
from src.evaluation.inference import load_model
from src.export.devices import FAMILIES
from src.export.yosys import estimate_luts
from src.helpers import format_table


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument("--families", nargs="+", default=["xilinx", "ecp5"], choices=list(FAMILIES))
    arguments = parser.parse_args()
    rows, errors = [], []
    for path in arguments.models:
        model, about = load_model(path)
        circuit = model.circuit().simplified()
        for name in arguments.families:
            family = FAMILIES[name]
            netlist = netlist_of(circuit, counter_inputs=family.counter_inputs)
            lut_cover(netlist, family.lut_inputs)  # compile the kernels
            began = time.perf_counter()
            cover = lut_cover(netlist, family.lut_inputs)
            seconds = time.perf_counter() - began
            theirs = estimate_luts(netlist, name)
            errors.append(len(cover.roots) / theirs - 1)
            title = about["config"]["base"]["job_id"] or path.stem
            row = [title, name, f"{len(circuit.gates):,}", f"{len(cover.roots):,}", f"{cover.depth}", f"{seconds:.2f}"]
            rows.append([*row, f"{theirs:,}", f"{100 * errors[-1]:+.1f}"])
    print(describe_machine())
    print(format_table(["model", "family", "gates", "ours", "depth", "seconds", "yosys", "difference %"], rows))
    least, most, median = (100 * error for error in (min(errors), max(errors), statistics.median(errors)))
    print(f"difference: {least:+.1f} to {most:+.1f} %, median {median:+.1f} %")


if __name__ == "__main__":
    main()
