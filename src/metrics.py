"""Class scores -> accuracies, a frame and a recording; metrics.csv."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from src.io_funcs import write_atomic

COLUMNS = (
    "step",
    "epoch",
    "split",
    "loss",
    "frame_accuracy",
    "recording_accuracy",
    "relaxed_loss",
    "relaxed_frame_accuracy",
    "relaxed_recording_accuracy",
    "learning_rate",
    "frames_per_second",
    "train_seconds",
)
TIME_COLUMNS = ("frames_per_second", "train_seconds")  # those that differ between two equal runs


def accuracies(scores: torch.Tensor, labels: NDArray[np.int64], recordings: NDArray[np.int64]) -> dict[str, float]:
    """Cross entropy and accuracies (fractions) of class scores, float32 [F, classes] on the CPU.

    A recording's class is that of the largest sum of its frames' softmax scores.
    """
    targets = torch.from_numpy(labels)
    probabilities = scores.double().softmax(1).numpy()
    first, frame_of = np.unique(recordings, return_index=True, return_inverse=True)[1:]
    sums = np.zeros((len(first), scores.shape[1]))
    np.add.at(sums, frame_of, probabilities)
    return {
        "loss": torch.nn.functional.cross_entropy(scores.double(), targets).item(),
        "frame_accuracy": (scores.argmax(1) == targets).double().mean().item(),
        "recording_accuracy": float((sums.argmax(1) == labels[first]).mean()),
    }


def write_metrics(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write metrics.csv: a row an evaluation, numbers in full precision, empty where a column does not apply."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, text.getvalue())
