"""Run the benchmarks of speed, keep what they print, and say what has moved.

    python -m benchmarks [NAME ...] [--device cpu|cuda] [--nmnist FOLDER] [--results FOLDER]
    python -m benchmarks --compare FOLDER [--results FOLDER]

Each output is written to benchmarks/results/NAME_DEVICE.txt, with the command, the date and the commit, and compared
with the file that was there. A number is told that differs by more than a tenth. Run them on a quiet machine: a quarter
of an hour to an hour on two cores. Benchmarks that need the recordings of N-MNIST are left out without --nmnist, whose
FOLDER holds Train/<digit>/*.bin. --compare runs nothing and compares with the files of another folder.
"""

import argparse
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks.moved import moved
from src.io_funcs import write_atomic

RESULTS = REPOSITORY / "benchmarks" / "results"
NMNIST = "NMNIST"  # in arguments: the folder that --nmnist names
LEAST = 0.1  # part of a number; what differs by less is noise


class Benchmark(NamedTuple):
    """A script with the arguments of each of its runs, whose outputs follow each other in one file.

    Attributes:
        runs: the arguments of each run.
        on_gpu: whether it takes `--device cuda`.
    """

    runs: tuple[str, ...] = ("",)
    on_gpu: bool = False


BENCHMARKS = {
    "c_stream": Benchmark(),
    "circuit": Benchmark(on_gpu=True),
    "connections": Benchmark(on_gpu=True),
    "convolution": Benchmark(("--sizes 16x32,128 128x32,128 32x512,1024",), on_gpu=True),
    "counting": Benchmark(),
    "formats_tables": Benchmark(),
    "loader": Benchmark(("--rounds 3",), on_gpu=True),
    "logic": Benchmark(on_gpu=True),
    "parametrisations": Benchmark(("", "--size 128x4000x4 --fan-in 4", "--size 128x4000x4 --fan-in 6"), on_gpu=True),
    "predict": Benchmark(),
    "prepare": Benchmark((f"{NMNIST} --scale",)),
    "readers": Benchmark(),
}


def main() -> int:
    """Run the command line; return 0, or 1 if a benchmark has failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--nmnist", type=Path, metavar="FOLDER")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER")
    parser.add_argument("--compare", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"{', '.join(unknown)}: no such benchmark; there are {', '.join(BENCHMARKS)}")
    if arguments.compare is not None:
        for path in sorted(arguments.results.glob("*.txt")):
            tell_moved(path.name, arguments.compare / path.name, path.read_text())
        return 0
    failed, version = [], commit()
    for name in arguments.names or BENCHMARKS:
        benchmark = BENCHMARKS[name]
        if arguments.device == "cuda" and not benchmark.on_gpu:
            continue
        if arguments.nmnist is None and any(NMNIST in run for run in benchmark.runs):
            print(f"{name}: left out, it needs --nmnist", flush=True)
            continue
        print(f"{name} …", flush=True)
        output = run(name, benchmark, arguments, version)
        if output is None:
            failed.append(name)
            continue
        path = arguments.results / f"{name}_{arguments.device}.txt"
        tell_moved(path.name, path, output)
        write_atomic(path, output)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def commit() -> str:
    """Return the commit that is checked out; -dirty behind it tells of changes, other than of results."""

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(REPOSITORY), *words], capture_output=True, text=True).stdout.strip()

    changes = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results")
    return (git("describe", "--always") or "unknown") + ("-dirty" if changes else "")


def run(name: str, benchmark: Benchmark, arguments: argparse.Namespace, version: str) -> str | None:
    """Return the output of a benchmark's runs, each under its command; None, after its errors, if one fails."""
    outputs = []
    for text in benchmark.runs:
        words = [f"benchmarks/{name}.py", *shlex.split(text)]
        words += ["--device", arguments.device] if arguments.device != "cpu" else []
        shown = shlex.join(["python", *words])
        words = [str(arguments.nmnist.resolve()) if word == NMNIST else word for word in words]
        began = time.monotonic()
        done = subprocess.run([sys.executable, *words], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            return None
        stamp = f"{time.strftime('%Y-%m-%d')}, commit {version}, {time.monotonic() - began:.0f} s"
        load = f"load average {os.getloadavg()[0]:.1f}"
        outputs.append(f"$ {shown}\n({stamp}, {load})\n{done.stdout}")
    return "\n".join(outputs)


def tell_moved(title: str, before: Path, after: str) -> None:
    """Print the numbers of an output that differ from those of an earlier one."""
    if not before.is_file():
        print(f"{title}: there is none to compare with", flush=True)
        return
    lines = moved(before.read_text(), after, LEAST)
    print(f"{title}: {len(lines) or 'no'} numbers differ by more than {100 * LEAST:.0f} %", flush=True)
    for line in lines:
        print(f"  {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
