"""Test accuracies of the three models on N-MNIST recordings, over several seeds, by the real commands.

    python benchmarks/accuracy.py FOLDER [--seeds 3] [--override "..."]

FOLDER holds NMNIST/{Train,Test}/<digit>/*.bin. Batches are of 32 frames, since a few hundred recordings give few.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks.machine import describe_machine
from src.helpers import format_table


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--override", default="")
    arguments = parser.parse_args()
    storage = Path(tempfile.mkdtemp())
    variables = {**os.environ, "PROJECT_STORAGE_DIR": str(storage / "project"), "SCRATCH_STORAGE_DIR": str(storage)}

    def run(*command: str) -> str:
        done = subprocess.run([sys.executable, *command], cwd=REPOSITORY, env=variables, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        return done.stderr

    overrides = f"data.data_root={arguments.folder.resolve()} train.device=cpu train.dataloader.batch_size=32"
    overrides += f" {arguments.override}"
    prepared = run("prepare_data.py", "configs/prepare_nmnist.yaml", "--override", overrides)
    rows = []
    for model in ("difflogic", "mlp", "cnn"):
        results, seconds = [], []
        for seed in range(arguments.seeds):
            job = f"{model}_{seed}"
            began = time.perf_counter()
            seeded = f"{overrides} base.seed={seed}"
            run("main.py", f"configs/nmnist_{model}.yaml", f"--job_id={job}", "--override", seeded)
            seconds.append(time.perf_counter() - began)
            results.append(json.loads((storage / "project/logs" / job / "result.json").read_text())["test"])
        for what in ("frame", "recording"):
            values = [100 * result[f"{what}_accuracy"] for result in results]
            relaxed = [100 * result[f"relaxed_{what}_accuracy"] for result in results if "relaxed_loss" in result]
            rows.append(
                [
                    f"{model}, {what}s",
                    f"{statistics.mean(values):.1f}",
                    ", ".join(f"{value:.1f}" for value in values),
                    f"{statistics.mean(relaxed):.1f}" if relaxed else "",
                    f"{statistics.mean(seconds):.0f}",
                ]
            )
    print(describe_machine())
    print(prepared[prepared.index("split ") :].split("\n1")[0].rstrip())
    print(f"final models, overrides: {arguments.override or 'none'}")
    print(format_table(["test accuracy, %", "mean", "seeds", "mean, relaxed", "seconds a job"], rows))


if __name__ == "__main__":
    main()
