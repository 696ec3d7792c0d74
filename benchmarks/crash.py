"""Kill a training run at random moments, resume it, and compare its end with that of an uninterrupted run.

    python benchmarks/crash.py [--kills 200] [--seed 0]

The real command runs on a small dataset, with a checkpoint after every batch, so that most kills (SIGKILL) hit while
something is written. A run is killed until it comes through; then its weights, metrics and result must equal the
uninterrupted run's bit for bit.
"""

import argparse
import csv
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import describe_machine
from src.checkpoint import load_model_state
from src.evaluation.metrics import TIME_COLUMNS
from tests import small_job

OPTIONS = "train.checkpoint_interval_minutes=0 train.project_checkpoint_interval_minutes=0 train.epochs=6"
LEAST_SECONDS, MOST_SECONDS = 0.5, 5.0  # from start to kill; the imports take about two


def outcome(folder: Path, job_id: str) -> tuple[dict[str, Any], list[dict[str, str]], dict[str, Any]]:
    """What a finished job leaves and interruptions may not change: weights, metrics, result."""
    project = folder / "project"
    weights = {
        name: {
            key: tensor.numpy().tobytes()
            for key, tensor in load_model_state(project / "models" / job_id / f"{name}.safetensors")[0].items()
        }
        for name in ("final", "best")
    }
    with (project / "logs" / job_id / "metrics.csv").open() as file:
        rows = [{k: v for k, v in row.items() if k not in TIME_COLUMNS} for row in csv.DictReader(file)]
    result = json.loads((project / "logs" / job_id / "result.json").read_text())
    return weights, rows, {k: v for k, v in result.items() if k not in ("job_id", "train_seconds")}


def kill_until_done(folder: Path, job_id: str, options: str, rng: random.Random, most_kills: int) -> int:
    """Start, kill and resume a job until it ends by itself, at the latest after so many kills; return their number."""
    kills = 0
    while True:
        process = small_job.start(
            folder, "main.py", "small.yaml", f"--job_id={job_id}", "--resume", *overrides(options)
        )
        try:
            output, _ = process.communicate(timeout=rng.uniform(LEAST_SECONDS, MOST_SECONDS))
        except subprocess.TimeoutExpired:
            if kills == most_kills:
                output, _ = process.communicate(timeout=300)
            else:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                kills += 1
                continue
        if process.returncode:
            raise RuntimeError(f"{job_id} failed after {kills} kills:\n{output}")
        return kills


def overrides(options: str) -> list[str]:
    """As arguments."""
    return ["--override", options]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    folder = Path(tempfile.mkdtemp())
    small_job.write_config(folder)
    small_job.run(folder, "prepare_data.py", "small.yaml")
    expected = {}
    kinds = [(model, workers) for model in ("difflogic", "cnn", "mlp") for workers in (0, 2)]
    began = time.perf_counter()
    kills = runs = equal = 0
    while kills < arguments.kills:
        model, workers = kinds[runs % len(kinds)]
        options = f"{OPTIONS} model.model_type={model} train.dataloader.num_workers={workers}"
        whole = f"whole_{model}_{workers}"
        if whole not in expected:
            small_job.run(folder, "main.py", "small.yaml", f"--job_id={whole}", *overrides(options))
            expected[whole] = outcome(folder, whole)
        job_id = f"killed_{runs}"
        kills += kill_until_done(folder, job_id, options, rng, arguments.kills - kills)
        same = outcome(folder, job_id) == expected[whole]
        equal += same
        runs += 1
        print(f"run {runs}: {model}, {workers} workers, {'equal' if same else 'DIFFERENT'}; {kills} kills", flush=True)
    print(describe_machine())
    print(f"{kills} kills, {runs} runs, {equal} equal bit for bit, {time.perf_counter() - began:.0f} s")
    sys.exit(0 if equal == runs else 1)


if __name__ == "__main__":
    main()
