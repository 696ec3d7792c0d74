"""What a finished job leaves that interruptions may not change, to compare a resumed run with an uninterrupted one."""

import csv
import json
from pathlib import Path
from typing import Any

from src.checkpoint import load_model_state
from src.evaluation.metrics import TIME_COLUMNS

Outcome = tuple[dict[str, Any], list[dict[str, str]], dict[str, Any]]


def outcome(folder: Path, job_id: str) -> Outcome:
    """Return a finished job's weights as bytes, its rows of metrics and its result; equal for runs that are equal.

    Args:
        folder: holds project storage, as `project`.
        job_id: the job's name; it is not part of the outcome, nor is any time.
    """
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
