"""What trained networks take of an FPGA, with all that makes classes of events, and how fast they are.

    python benchmarks/hardware.py FOLDER [RUN ...] [--families ice40 ecp5 xilinx] [--keep STORAGE]

FOLDER holds NMNIST/{Train,Test}/<digit>/*.bin. A RUN is a config with overrides after it, as in accuracy.py; the
default is RUNS. Each is prepared, trained on Train, tested on Test, and exported by the real commands: as hardware that
takes events, which is simulated with recordings of Test, synthesised, placed and routed. A network whose frames need
more than the events so far is exported as a module for one frame. A family that fails is named with its reason.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks.machine import describe_machine
from src.helpers import format_duration, format_table

NAMES = ("nmnist_ice40", "nmnist_ecp5", "nmnist_xilinx", "demo_ecp5", "nmnist_difflogic", "demo_difflogic")
RUNS = [f"configs/{name}.yaml" for name in NAMES]
HEADER = ["run", "family", "by vote %", "gates", "LUTs", "registers", "block RAMs", "device", "full %", "MHz", "cycles"]
HEADER += ["ns", "million events/s", "seconds"]


class Run(NamedTuple):
    """A config with overrides, and the job that trains it."""

    config: str
    overrides: str
    job: str


class CommandFailedError(Exception):
    """A command has failed; the text is the last line that it wrote."""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("runs", nargs="*", metavar="RUN")
    parser.add_argument("--families", nargs="+", default=["ice40", "ecp5", "xilinx"])
    parser.add_argument("--keep", type=Path, help="folder for jobs and exports; default: a temporary one")
    arguments = parser.parse_intermixed_args()
    storage = (arguments.keep or Path(tempfile.mkdtemp())).resolve()
    root = arguments.folder.resolve()
    rows = []
    for number, text in enumerate(arguments.runs or RUNS):
        config, _, overrides = text.partition(" ")
        one = Run(config, f"{overrides} data.data_root={root} train.report=false", f"run{number}")
        command(storage, "./prepare_data.sh", one.config, "--override", one.overrides)
        command(storage, "./train.sh", one.config, one.job, "--override", one.overrides)
        rows += measure(storage, text, one, arguments.families)
    print(describe_machine())
    print("all modules are inside: denoising, open frames, encoder, network, class counts, best class, votes")
    print(format_table(HEADER, rows))


def measure(storage: Path, title: str, run: Run, families: list[str]) -> list[list[str]]:
    """Export a job, simulate it, and return a row per family."""
    began = time.perf_counter()
    target = "rtl"
    try:
        command(storage, "./job.sh", "export", run.job, "--to", target)
    except CommandFailedError as error:
        print(f"{title}: {error}", flush=True)
        target = "verilog"
        command(storage, "./job.sh", "export", run.job, "--to", target)
    if target == "rtl":
        simulated = command(storage, "make", "-C", str(storage / f"models/{run.job}/export/{run.job}_rtl"))
        right = next(line for line in simulated.splitlines() if "outputs are right" in line)
        print(f"{title}: from job to simulation {time.perf_counter() - began:.0f} s: {right}", flush=True)
    rows = []
    for family in families:
        try:
            said = command(storage, "./job.sh", "export", run.job, "--to", target, "--synthesize", family)
            rows.append(row(storage, title, run.job, family, said))
        except CommandFailedError as error:
            rows.append([title, family, str(error)])
        print("  ".join(rows[-1]), flush=True)
    return [each + [""] * (len(HEADER) - len(each)) for each in rows]


def row(storage: Path, title: str, job: str, family: str, said: str) -> list[str]:
    """Return what the latest synthesis of a job found for a family."""
    results = json.loads((storage / "logs" / job / "hardware.json").read_text())["results"]
    it: dict[str, Any] = next(each for each in reversed(results) if each["family"] == family)
    result = json.loads((storage / "logs" / job / "result.json").read_text())
    test = result.get("best_test") or result["test"]  # of the model that is exported
    gates = re.search(r"([\d,]+) gates, ", said)
    assert gates is not None, said
    device = it.get("device") or next((name for name, share in it["full"].items() if share <= 1), "none")
    rate = it.get("events_per_second")
    return [
        title,
        family,
        f"{100 * test['vote_accuracy']:.1f}",
        gates[1],
        *(f"{it[name]:,}" for name in ("luts", "registers", "block_rams")),
        device,
        f"{100 * it['full'][device]:.0f}" if device in it["full"] else "-",
        f"{it['fmax_mhz']:.1f}" if it.get("fmax_mhz") else "-",
        str(it.get("latency_cycles", "-")),
        f"{it['latency_ns']:.0f}" if it.get("latency_ns") else "-",
        f"{rate / 1e6:.1f}" if rate else "-",
        format_duration(it["seconds"]),
    ]


def command(storage: Path, *words: str) -> str:
    """Run a command of the project; return what it wrote."""
    own = {"PROJECT_STORAGE_DIR": str(storage), "SCRATCH_STORAGE_DIR": str(storage / "scratch")}
    done = subprocess.run(words, cwd=REPOSITORY, env={**os.environ, **own}, capture_output=True, text=True)
    if done.returncode:
        raise CommandFailedError((done.stderr or done.stdout).strip().splitlines()[-1])
    return done.stdout + done.stderr


if __name__ == "__main__":
    main()
