"""Short seeded runs of the demo end with the metrics of tests/expected, and what circuits compute of the same frames.

The metrics are equal to the digits that do not depend on the processor.
"""

import functools
import json
from typing import NamedTuple

import numpy as np
import pytest

from src.command_line import StopSignals
from src.config import Config
from src.data import open_cache, read_samples
from src.evaluation.evaluate import evaluate_job
from src.evaluation.inference import load_model
from tests.expected import regenerate

DENSE = "difflogic_dense"
SLOW = (DENSE, "difflogic_votes")


class Tolerance(NamedTuple):
    """The largest difference from the expected numbers that is no change of the program."""

    first_loss: float  # for the first epoch's training loss, relative
    loss: float  # for the other losses, relative
    accuracy: float  # for accuracies and the gap between two, absolute


# On one type of processor the runs are equal to the last digit. Other instruction sets round differently: the losses
# in PyTorch's log-softmax, the weights in its matrix products, convolutions and Adam. What that changed was measured
# with 1 and 2 threads, PyTorch's code for AVX-512, for AVX2 and without AVX (ATEN_CPU_CAPABILITY, ONEDNN_MAX_CPU_ISA,
# MKL_CBWR) and numba's for a generic processor (NUMBA_CPU_NAME). Each tolerance is at least twice the largest
# difference.
ROUNDING = Tolerance(first_loss=1e-6, loss=1e-6, accuracy=1e-12)
TOLERANCES = {
    # Losses differed by 1e-7. No frame was classified differently.
    DENSE: ROUNDING,
    # Losses differed by 4e-8. No frame was classified differently.
    "mlp": ROUNDING,
    # Losses differed by 1e-6. No frame was classified differently. At five times the learning rate, rounding made votes
    # change, and losses differed by 1.5e-2.
    "difflogic_votes": Tolerance(first_loss=1e-5, loss=1e-5, accuracy=1e-12),
    # Pixels are 0 or 1, hence many values in a pooling window are nearly equal, and rounding decides which one learns:
    # 3e-9 in the first epoch's training loss, then 6e-4 in losses and at most 2 frames or 1 recording.
    "cnn": Tolerance(first_loss=1e-4, loss=5e-3, accuracy=0.01),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which all runs share one frame cache."""
    return tmp_path_factory.mktemp("expected")


@pytest.fixture(scope="module")
def measured(folder):
    """A function name of a run -> rows of its metrics; each run is made once."""
    return functools.cache(lambda name: regenerate.measure(name, folder))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in regenerate.RUNS]
)
def test_a_run_has_the_expected_metrics(measured, name):
    rows, expected = measured(name), regenerate.expected(name)
    assert not differences(rows, expected, TOLERANCES[name]), "after a wanted change, see CONTRIBUTING.md"


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_classes_by_vote_are_those_of_the_circuit_s_summed_counts(folder, measured, monkeypatch, name):
    measured(name)
    for storage in ("project", "scratch"):
        monkeypatch.setenv(f"{storage.upper()}_STORAGE_DIR", str(folder / storage))
    logs = folder / "project/logs" / name
    config = Config.from_yaml(logs / "config.yaml")
    evaluate_job(config, name, "test", "best", StopSignals())
    evaluated = json.loads((logs / "evaluation_test.json").read_text())["recordings"]

    split = open_cache(config).splits["test"]
    model, _ = load_model(name)
    frames = model.circuit_inputs(read_samples(split, np.arange(len(split)))).numpy()
    counts = model.circuit().simplified()(frames)
    numbers = np.unique(split.recordings).tolist()
    classes = [int(counts[split.recordings == number].sum(0).argmax()) for number in numbers]
    labels = [int(split.labels[split.recordings == number][0]) for number in numbers]
    assert evaluated["by_vote"] == {"recordings": numbers, "labels": labels, "predicted": classes}
    accuracy = sum(a == b for a, b in zip(classes, labels, strict=True)) / len(numbers)
    assert evaluated["vote_accuracy"] == accuracy
    assert json.loads((logs / "result.json").read_text())["best_test"]["vote_accuracy"] == accuracy


def differences(measured, expected, tolerance):
    """Return a line for every number that differs by more than the tolerance."""
    assert [list(row) for row in measured] == [list(row) for row in expected]
    lines = []
    for row, expected_row in zip(measured, expected, strict=True):
        for column, wanted in expected_row.items():
            if row[column] != wanted and not is_near(row[column], wanted, column, expected_row, tolerance):
                lines.append(f"epoch {row['epoch']} {row['split']} {column}: {row[column]}, expected {wanted}")
    return lines


def is_near(value, wanted, column, row, tolerance):
    if "" in (value, wanted):
        return False
    if column.endswith("loss"):
        is_first = (row["epoch"], row["split"]) == ("1", "train")
        return float(value) == pytest.approx(float(wanted), rel=tolerance.first_loss if is_first else tolerance.loss)
    if column.endswith("accuracy") or column == "discretisation_gap":
        return float(value) == pytest.approx(float(wanted), rel=0, abs=tolerance.accuracy)
    return False
