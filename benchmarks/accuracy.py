"""Test accuracies on N-MNIST recordings, over folds and seeds, by the real commands.

    python benchmarks/accuracy.py FOLDER [--folds 5] [--only-folds 0 1 ...] [--seeds 3] [--parallel 1]
        [--device cpu|cuda] [RUN ...] [--sweep FILE]

FOLDER holds NMNIST/{Train,Test}/<digit>/*.bin. A RUN is a config with overrides after it, such as
"configs/nmnist_cnn.yaml train.epochs=10"; the default is RUNS. --sweep adds the configurations of a sweep's file, such
as benchmarks/options.yaml. --folds 0 uses the recordings as they lie. --folds N divides all of them into N parts; each
part is the test of one fold and trains the others. --only-folds names the folds to run. Models are the final ones:
nothing is chosen by the test. Jobs are run<number>_<seed>, and each fold has a storage of its own. A run with
"train.teacher.model=run0_{seed}" is taught by the first run's job of the same fold and seed.
"""

import argparse
import json
import math
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks.machine import describe_machine
from src.helpers import format_table
from src.sweeps.specification import load_sweep

RUNS = [f"configs/nmnist_{name}.yaml" for name in ("convolutional", "difflogic", "mlp", "cnn")]
METRICS = {  # name in result.json -> title
    "frame_accuracy": "frames %",
    "recording_accuracy": "recordings %",
    "vote_accuracy": "by vote %",
    "relaxed_frame_accuracy": "relaxed frames %",
}
LUTS = "LUT6"  # estimate of the network of a frame, of logic gate networks only


class Run(NamedTuple):
    """A config that is trained on each fold with each seed."""

    title: str
    config: str
    overrides: str


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("runs", nargs="*", metavar="RUN")
    parser.add_argument("--sweep", type=Path)
    parser.add_argument("--folds", type=int, default=0)
    parser.add_argument("--only-folds", type=int, nargs="+", help="from 0; default: all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--parallel", type=int, default=1, help="jobs at once, which divide the cores")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    arguments = parser.parse_intermixed_args()
    runs = [Run(text, *text.partition(" ")[::2]) for text in arguments.runs]
    if arguments.sweep:
        sweep = load_sweep(arguments.sweep)
        runs += [Run(one.label, str(sweep.base), one.jobs[0].override) for one in sweep.configurations]
    runs = runs or [Run(config, config, "") for config in RUNS]
    storage = Path(tempfile.mkdtemp())
    roots = [arguments.folder.resolve()]
    if arguments.folds:
        every_root = list(write_folds(arguments.folder, arguments.folds, storage))
        roots = [every_root[fold] for fold in arguments.only_folds or range(arguments.folds)]
    threads = str(max((os.cpu_count() or 1) // arguments.parallel, 1))
    variables = {**os.environ, "OMP_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads}

    def run(root: Path, command: list[str], config: str, overrides: str) -> None:
        own = {"PROJECT_STORAGE_DIR": str(storage / root.name), "SCRATCH_STORAGE_DIR": str(storage / root.name / "s")}
        all_overrides = f"{overrides} data.data_root={root} train.device={arguments.device}"
        words = [sys.executable, command[0], config, *command[1:], "--override", all_overrides]
        done = subprocess.run(words, cwd=REPOSITORY, env={**variables, **own}, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)

    def train(task: tuple[int, int, Path]) -> dict[str, float]:
        number, seed, root = task
        title, config, overrides = runs[number]
        job = f"run{number}_{seed}"
        began = time.perf_counter()
        own = overrides.replace("{seed}", str(seed))
        run(root, ["main.py", f"--job_id={job}"], config, f"{own} base.seed={seed}")
        result = json.loads((storage / root.name / "logs" / job / "result.json").read_text())
        print(f"{title}, {root.name}, seed {seed}: {result['test']}", file=sys.stderr, flush=True)
        luts = result.get("circuit", {}).get("luts", math.nan)
        return {**result["test"], LUTS: luts, "seconds": time.perf_counter() - began}

    preparations = set()  # pairs of a config and its overrides of data
    for _, config, overrides in runs:
        of_data = (word for word in shlex.split(overrides) if word.startswith("data."))
        preparations.add((config, shlex.join(of_data)))
    for root in roots:
        for config, overrides in sorted(preparations):
            run(root, ["prepare_data.py"], config, overrides)
    tasks = [(n, seed, root) for n in range(len(runs)) for root in roots for seed in range(arguments.seeds)]
    with ThreadPoolExecutor(arguments.parallel) as pool:
        results = list(pool.map(train, tasks))
    rows = []
    for number, (title, _, _) in enumerate(runs):
        of_run = [(seed, r) for (n, seed, _), r in zip(tasks, results, strict=True) if n == number]
        row = [title]
        for metric in METRICS:
            # Folds are parts of one test, so the error is taken over the seeds' means.
            by_seed = [
                statistics.mean(100 * r[metric] for s, r in of_run if s == seed)
                for seed in range(arguments.seeds)
                if metric in of_run[0][1]
            ]
            row.append(mean_with_error(by_seed))
        means = {key: statistics.mean(r[key] for _, r in of_run) for key in (LUTS, "seconds")}
        rows.append([*row, "" if math.isnan(means[LUTS]) else f"{means[LUTS]:,.0f}", f"{means['seconds']:.0f}"])
    print(describe_machine())
    data = f"{len(roots)} of {arguments.folds} folds" if arguments.folds else "Train and Test as they lie"
    print(f"{data}, {arguments.seeds} seeds, {arguments.parallel} jobs at once")
    print("final models; mean of the seeds' means ± its standard error, if there are several seeds")
    print(format_table(["run", *METRICS.values(), LUTS, "seconds per job"], rows))


def mean_with_error(values: Sequence[float]) -> str:
    """Return the mean and its standard error, the sample's standard deviation / sqrt(n); one value has no error."""
    if not values:
        return ""
    mean = f"{statistics.mean(values):.2f}"
    return f"{mean} ± {statistics.stdev(values) / math.sqrt(len(values)):.2f}" if len(values) > 1 else mean


def write_folds(folder: Path, folds: int, storage: Path) -> Iterator[Path]:
    """Write a folder of links per fold to all recordings of Train and Test; folds differ in which are in the test."""
    recordings = sorted(folder.glob("NMNIST/*/*/*.bin"))
    fold_of = np.random.default_rng(0).permutation(len(recordings)) % folds
    for fold in range(folds):
        root = storage / f"fold{fold}"
        for path, own in zip(recordings, fold_of, strict=True):
            split, digit = path.parts[-3:-1]
            link = root / "NMNIST" / ("Test" if own == fold else "Train") / digit / f"{split}_{path.name}"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.resolve())
        yield root


if __name__ == "__main__":
    main()
