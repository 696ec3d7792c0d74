"""Short seeded runs, whose metrics are the expected ones beside this file; `python -m tests.expected.regenerate`."""

import contextlib
import csv
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numba
import torch

from src.command_line import StopSignals
from src.config import Config
from src.evaluation.metrics import TIME_COLUMNS
from src.train import train

HERE = Path(__file__).resolve().parent
DEMO_CONFIG = HERE.parents[1] / "configs" / "demo_difflogic.yaml"

# Every run is the demo's config with these overrides, by the name of the file that holds its metrics.
ALL = "base.seed=0 train.epochs=3 train.device=cpu train.report=false data.num_threads=1"
RUNS = {
    "difflogic_dense": "",  # the demo's network
    "difflogic_votes": (
        "train.learning_rate=0.02"
        " model.difflogic.architecture=convolutional model.difflogic.convolution.kernels=[16,32]"
        " model.difflogic.num_layers=0 model.difflogic.readout=votes model.difflogic.members=2 model.difflogic.tau=20"
    ),
    "cnn": (
        "train.learning_rate=0.0005 model.model_type=cnn"
        " model.cnn.conv1_channels=4 model.cnn.conv2_channels=8 model.cnn.fc_hidden_size=32"
    ),
    "mlp": "train.learning_rate=0.001 model.model_type=mlp model.mlp.hidden_size=64 model.mlp.num_hidden_layers=1",
}

Rows = list[dict[str, str]]


def measure(name: str, folder: Path, changes: str = "") -> Rows:
    """Train one of RUNS on one thread; return the rows of its metrics.csv, without the columns that hold times.

    Args:
        name: of the run.
        folder: holds the storages and the simulated recordings, which all runs in it share.
        changes: further overrides.
    """
    config = Config.from_yaml(DEMO_CONFIG, [f"data.data_root={folder / 'recordings'}", f"{ALL} {RUNS[name]} {changes}"])
    storages = {f"{storage.upper()}_STORAGE_DIR": str(folder / storage) for storage in ("project", "scratch")}
    with mock.patch.dict(os.environ, storages), one_thread():
        train(config, name, StopSignals(), resume=False, restart=True, debug=False)
    rows = read_rows(folder / "project" / "logs" / name / "metrics.csv")
    return [{column: value for column, value in row.items() if column not in TIME_COLUMNS} for row in rows]


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch and numba use one thread: the order of PyTorch's sums depends on their number."""
    before = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        numba.set_num_threads(before[1])


def expected(name: str) -> Rows:
    """Return the rows that the run of this name should have."""
    return read_rows(HERE / f"{name}.csv")


def read_rows(path: Path) -> Rows:
    """Return a CSV file's rows as they are written."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def main() -> None:
    """Write the expected metrics of all runs."""
    with tempfile.TemporaryDirectory() as folder:
        for name in RUNS:
            rows = measure(name, Path(folder))
            with (HERE / f"{name}.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)


if __name__ == "__main__":
    main()
