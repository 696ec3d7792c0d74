"""Short seeded runs end with the metrics of tests/expected, to the digits that do not depend on the processor."""

from typing import NamedTuple

import pytest

from tests.expected import regenerate


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
    "difflogic_dense": ROUNDING,
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


@pytest.mark.parametrize("name", regenerate.RUNS)
def test_a_run_has_the_expected_metrics(folder, name):
    measured, expected = regenerate.measure(name, folder), regenerate.expected(name)
    assert not differences(measured, expected, TOLERANCES[name]), "after a wanted change, see CONTRIBUTING.md"


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
