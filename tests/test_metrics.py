"""Accuracies a frame and a recording, and metrics.csv."""

import csv

import numpy as np
import pytest
import torch

from src.metrics import COLUMNS, accuracies, write_metrics


def test_a_recording_s_class_is_that_of_the_summed_softmax_scores():
    scores = torch.tensor([[0.0, 0.1], [0.0, 0.1], [5.0, 0.0]])  # two faint votes for 1, a sure one for 0
    result = accuracies(scores, np.array([0, 0, 0]), np.array([4, 4, 4]))
    assert result["frame_accuracy"] == pytest.approx(1 / 3)
    assert result["recording_accuracy"] == 1.0


def test_recordings_count_once_whatever_their_number_of_frames():
    scores = torch.tensor([[1.0, 0.0]] * 3 + [[0.0, 1.0]])
    result = accuracies(scores, np.array([0, 0, 0, 0]), np.array([7, 7, 7, 2]))
    assert result["frame_accuracy"] == 0.75
    assert result["recording_accuracy"] == 0.5


def test_loss_is_the_mean_cross_entropy():
    scores = torch.randn(6, 3)
    labels = np.array([0, 1, 2, 0, 1, 2])
    expected = -scores.log_softmax(1)[torch.arange(6), torch.from_numpy(labels)].mean()
    assert accuracies(scores, labels, np.arange(6))["loss"] == pytest.approx(expected.item(), rel=1e-6)


def test_metrics_csv_keeps_full_precision_and_leaves_blanks(tmp_path):
    write_metrics(tmp_path / "metrics.csv", [{"step": 3, "split": "val", "loss": 1 / 3}])
    with (tmp_path / "metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert list(row) == list(COLUMNS)
    assert float(row["loss"]) == 1 / 3
    assert row["relaxed_loss"] == ""
