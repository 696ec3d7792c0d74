"""Kill a training run at random moments, resume it, and compare its end with that of an uninterrupted run.

    python benchmarks/crash.py [--kills 200] [--seed 0]

The real command trains on the built-in demo with a checkpoint after every batch, so that most kills (SIGKILL) hit while
something is written. A run is killed and resumed until it comes through. Then its weights, metrics and result must
equal the uninterrupted run's bit for bit.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks.machine import describe_machine
from src.reports.outcome import outcome

CONFIG = "configs/demo_difflogic.yaml"
OPTIONS = (
    "train.checkpoint_interval_minutes=0 train.project_checkpoint_interval_minutes=0 train.epochs=4 train.report=false "
    "model.difflogic.num_neurons=1500 model.difflogic.num_layers=2 model.cnn.conv1_channels=4 "
    "model.cnn.conv2_channels=4 model.cnn.fc_hidden_size=16 model.mlp.hidden_size=32"
)
LEAST_SECONDS, MOST_SECONDS = 0.5, 8.0  # from start to kill; the imports take about two


def start(folder: Path, job_id: str, options: str) -> subprocess.Popen[str]:
    """Start or resume a job whose recordings and storages lie in the folder."""
    words = [f"--job_id={job_id}", "--resume", "--override", f"{OPTIONS} {options} data.data_root={folder}"]
    environment = {
        **os.environ,
        "PROJECT_STORAGE_DIR": str(folder / "project"),
        "SCRATCH_STORAGE_DIR": str(folder / "scratch"),
        "OMP_NUM_THREADS": "1",
        "NUMBA_NUM_THREADS": "1",
    }
    command = [sys.executable, str(REPOSITORY / "main.py"), str(REPOSITORY / CONFIG), *words]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(process: subprocess.Popen[str]) -> None:
    """Wait for a job's end; RuntimeError, with what it printed, if it fails."""
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(output)


def kill_until_done(folder: Path, job_id: str, options: str, rng: random.Random, most_kills: int) -> int:
    """Kill and resume a job until it ends by itself, or after `most_kills` kills; return the number of kills."""
    for kills in range(most_kills):
        process = start(folder, job_id, options)
        try:
            process.wait(rng.uniform(LEAST_SECONDS, MOST_SECONDS))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            continue
        finish(process)
        return kills
    finish(start(folder, job_id, options))
    return most_kills


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    folder = Path(tempfile.mkdtemp())
    expected = {}
    kinds = [(model, workers) for model in ("difflogic", "cnn", "mlp") for workers in (0, 2)]
    began = time.perf_counter()
    kills = runs = equal = 0
    while kills < arguments.kills:
        model, workers = kinds[runs % len(kinds)]
        options = f"model.model_type={model} train.dataloader.num_workers={workers}"
        if workers:  # threads gather batches for frames on the host only
            options += " train.dataloader.placement=host"
        whole = f"whole_{model}_{workers}"
        if whole not in expected:
            finish(start(folder, whole, options))
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
