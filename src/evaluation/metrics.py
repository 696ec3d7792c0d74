"""Class scores -> accuracies and confusions, a frame and a recording; metrics.csv."""

import csv
import io
import math
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from src.io_funcs import write_atomic
from src.jobs.files import debug_note

COLUMNS = (
    "step",
    "epoch",
    "split",
    "loss",
    "frame_accuracy",
    "recording_accuracy",
    "vote_accuracy",
    "relaxed_loss",
    "relaxed_frame_accuracy",
    "relaxed_recording_accuracy",
    "discretisation_gap",
    "learning_rate",
    "frames_per_second",
    "train_seconds",
)
Number = TypeVar("Number", np.int64, np.float64)
DEBUG = "debug"  # a column of debug runs alone
TIME_COLUMNS = ("frames_per_second", "train_seconds")  # those that differ between two equal runs


def accuracies(scores: torch.Tensor, labels: NDArray[np.int64], recordings: NDArray[np.int64]) -> dict[str, float]:
    """Cross entropy and accuracies (fractions) of class scores, float32 [F, classes] on the CPU.

    A recording's class is that of the largest sum of its frames' softmax scores.
    """
    targets = torch.from_numpy(labels)
    _, first, sums = sums_by_recording(scores, recordings)
    return {
        "loss": torch.nn.functional.cross_entropy(scores.double(), targets).item(),
        "frame_accuracy": (scores.argmax(1) == targets).double().mean().item(),
        "recording_accuracy": float((sums.argmax(1) == labels[first]).mean()),
    }


def sums_by_recording(
    scores: torch.Tensor, recordings: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Numbers of the R recordings [R], the first frame of each [R], and the sum of its softmax scores [R, classes]."""
    return _sums_of_recordings(scores.double().softmax(1).numpy(), recordings)


def recordings_by_vote(
    counts: torch.Tensor, labels: NDArray[np.int64], recordings: NDArray[np.int64]
) -> dict[str, NDArray[np.int64]]:
    """Return the class of each recording by vote: that of the largest sum of its frames' class counts, as C computes.

    Of equal sums, the first class is taken. Sums are int64, so nothing is rounded.

    Args:
        counts: whole numbers [F, classes] on the CPU, see `FrameModel.forward_with_counts`.
        labels, recordings: [F].

    Returns:
        `recordings`, `labels` and `predicted`, [R] each, in the order of the recordings' numbers.
    """
    numbers, first, sums = _sums_of_recordings(counts.long().numpy(), recordings)
    return {"recordings": numbers, "labels": labels[first], "predicted": sums.argmax(1)}


def vote_accuracy(counts: torch.Tensor, labels: NDArray[np.int64], recordings: NDArray[np.int64]) -> float:
    """Return the fraction of the recordings whose class by vote is right, see `recordings_by_vote`."""
    votes = recordings_by_vote(counts, labels, recordings)
    return float((votes["predicted"] == votes["labels"]).mean())


def _sums_of_recordings(
    values: NDArray[Number], recordings: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Number]]:
    """Return numbers [R], first frames [R] and sums [R, classes] of recordings, from values of frames [F, classes]."""
    numbers, first, recording_of = np.unique(recordings, return_index=True, return_inverse=True)
    sums = np.zeros((len(numbers), values.shape[1]), values.dtype)
    np.add.at(sums, recording_of, values)
    return numbers, first, sums


def classification(
    scores: torch.Tensor, labels: NDArray[np.int64], recordings: NDArray[np.int64], class_names: list[str]
) -> dict[str, Any]:
    """Return how frames and recordings are classified, as JSON values.

    Args:
        scores: float32 [F, classes] on the CPU.
        labels, recordings: [F].
        class_names: the names of the classes.

    Returns:
        `loss`; `frames` and `recordings`, each with `count`, `accuracy`, `macro_f1` (the mean over classes that
        occur or are predicted, as scikit-learn's), `classes` (name, precision, recall, f1, support of each) and
        `confusion` (rows are true classes, columns predicted ones); and under `recordings` also `misclassified`, the
        surest mistakes first: number, label, predicted and share, the predicted class's part of the summed softmax
        scores. A precision, recall or F1 that is 0/0 is None.
    """
    numbers, first, sums = sums_by_recording(scores, recordings)
    predicted = sums.argmax(1)
    shares = sums[np.arange(len(sums)), predicted] / np.maximum(sums.sum(1), 1e-300)
    wrong = np.flatnonzero(predicted != labels[first])
    wrong = wrong[np.argsort(-shares[wrong], kind="stable")]
    misclassified = [
        {
            "recording": int(numbers[i]),
            "label": int(labels[first[i]]),
            "predicted": int(predicted[i]),
            "share": float(shares[i]),
        }
        for i in wrong
    ]
    return {
        "loss": accuracies(scores, labels, recordings)["loss"],
        "frames": _by_class(labels, scores.argmax(1).numpy(), class_names),
        "recordings": {**_by_class(labels[first], predicted, class_names), "misclassified": misclassified},
    }


def _by_class(labels: NDArray[np.int64], predicted: NDArray[np.int64], class_names: list[str]) -> dict[str, Any]:
    size = len(class_names)
    confusion = np.bincount(labels * size + predicted, minlength=size * size).reshape(size, size)
    right, support, predictions = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    f1 = [_ratio(2 * right[c], support[c] + predictions[c]) for c in range(size)]
    occurring = [value for value in f1 if value is not None]
    return {
        "count": len(labels),
        "accuracy": float(right.sum() / len(labels)),
        "macro_f1": sum(occurring) / len(occurring),
        "classes": [
            {
                "name": class_names[c],
                "precision": _ratio(right[c], predictions[c]),
                "recall": _ratio(right[c], support[c]),
                "f1": f1[c],
                "support": int(support[c]),
            }
            for c in range(size)
        ],
        "confusion": confusion.tolist(),
    }


def _ratio(part: np.int64, whole: np.int64) -> float | None:
    return float(part / whole) if whole else None


def write_metrics(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write metrics.csv: a row per evaluation, numbers in full precision, empty where a column does not apply."""
    text = io.StringIO()
    columns = (*COLUMNS, DEBUG) if debug_note(rows) else COLUMNS
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, text.getvalue())


def debug_entry(note: str | None) -> dict[str, Any]:
    """Return what a debug run adds to a row of its metrics, its result and its evaluations; empty for other runs."""
    return {} if note is None else {DEBUG: note}


def val_scores(rows: list[dict[str, Any]], metric: str) -> dict[int, float]:
    """Return how good val was after each epoch: an accuracy or minus the loss; higher is better.

    The rows are those of `job_files.read_metrics`.
    """
    values = {int(row["epoch"]): row[metric] for row in rows if row["split"] == "val" and metric in row}
    sign = -1 if metric == "loss" else 1
    return {epoch: -math.inf if math.isnan(value) else sign * value for epoch, value in values.items()}


def best_epoch(rows: list[dict[str, Any]], metric: str = "frame_accuracy") -> int:
    """Return the first epoch with the highest of `val_scores`; 0 if there are none."""
    scores = val_scores(rows, metric)
    return max(scores, key=scores.__getitem__, default=0)
