"""Accuracies and confusions, a frame and a recording; metrics.csv."""

import csv
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support

from src.evaluation.metrics import (
    COLUMNS,
    accuracies,
    best_epoch,
    classification,
    recordings_by_vote,
    val_scores,
    vote_accuracy,
    write_metrics,
)
from src.jobs.files import read_metrics


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


def by_vote(counts, recordings):
    """The class of each recording by vote, by the recording's number."""
    votes = recordings_by_vote(torch.tensor(counts, dtype=torch.int32), np.array(recordings), np.array(recordings))
    return dict(zip(votes["recordings"].tolist(), votes["predicted"].tolist(), strict=True))


FRAMES = st.lists(st.tuples(st.integers(0, 4), st.lists(st.integers(0, 3), min_size=3, max_size=3)), min_size=1)


def test_a_recording_s_class_by_vote_is_that_of_the_summed_counts():
    assert by_vote([[9, 8], [0, 2], [3, 4]], [4, 4, 2]) == {2: 1, 4: 1}


@given(FRAMES)
def test_equal_sums_of_counts_give_the_first_class(frames):
    recordings, counts = zip(*frames, strict=True)
    expected = {}
    for number in set(recordings):
        sums = [sum(row[c] for of, row in frames if of == number) for c in range(3)]
        expected[number] = sums.index(max(sums))
    assert by_vote(counts, recordings) == expected


@given(FRAMES, st.randoms(use_true_random=False))
def test_the_order_of_frames_does_not_change_a_vote(frames, random):
    shuffled = list(frames)
    random.shuffle(shuffled)
    of_frames, of_shuffled = (by_vote([row for _, row in it], [n for n, _ in it]) for it in (frames, shuffled))
    assert of_frames == of_shuffled


@given(st.lists(st.integers(0, 3), min_size=1, max_size=5))
def test_a_recording_with_one_frame_has_the_class_of_its_largest_count(counts):
    assert by_vote([counts], [7]) == {7: counts.index(max(counts))}


def test_sums_of_counts_are_neither_rounded_nor_too_large():
    most = 2**31 - 1  # of int32
    assert by_vote([[most, most]] * 3 + [[most - 1, most]], [1] * 4) == {1: 1}


def test_the_vote_accuracy_counts_each_recording_once():
    counts = torch.tensor([[2, 0], [0, 1], [0, 5]], dtype=torch.int32)
    assert vote_accuracy(counts, np.array([0, 0, 0]), np.array([3, 3, 8])) == 0.5


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


def classified(labels, predicted, recordings, classes):
    """`classification` of sure predictions."""
    scores = torch.nn.functional.one_hot(torch.tensor(predicted), classes).float() * 20
    return classification(scores, np.array(labels), np.array(recordings), [f"class {c}" for c in range(classes)])


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_classes_and_confusion_are_scikit_learn_s(pairs):
    labels, predicted = zip(*pairs, strict=True)
    result = classified(labels, predicted, range(len(labels)), 4)["frames"]
    assert result["confusion"] == confusion_matrix(labels, predicted, labels=range(4)).tolist()
    expected = precision_recall_fscore_support(labels, predicted, labels=range(4), zero_division=np.nan)
    for name, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        ours = [np.nan if row[name] is None else row[name] for row in result["classes"]]
        np.testing.assert_allclose(ours, values)
    assert result["accuracy"] == pytest.approx(np.mean(np.array(labels) == np.array(predicted)))
    assert result["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))


def test_recordings_are_classified_apart_from_frames():
    result = classified([0, 0, 0, 1], [0, 0, 1, 0], [5, 5, 5, 6], 2)
    assert result["frames"]["confusion"] == [[2, 1], [1, 0]]
    assert result["recordings"]["confusion"] == [[1, 0], [1, 0]]
    assert result["recordings"]["count"] == 2


def test_misclassified_recordings_come_with_the_surest_first():
    result = classified([0, 0, 0, 1, 1], [1, 1, 0, 0, 0], [3, 3, 3, 9, 9], 2)["recordings"]
    assert [(row["recording"], row["label"], row["predicted"]) for row in result["misclassified"]] == [
        (9, 1, 0),
        (3, 0, 1),
    ]
    assert result["misclassified"][1]["share"] == pytest.approx(2 / 3)


def test_metrics_csv_is_read_back(tmp_path):
    rows = [{"step": 3, "epoch": 1, "split": "train", "relaxed_loss": 1 / 3}, {"step": 3, "epoch": 1, "split": "val"}]
    write_metrics(tmp_path / "metrics.csv", rows)
    assert read_metrics(tmp_path / "metrics.csv") == rows


def test_the_best_epoch_is_the_first_of_the_highest_val_accuracy():
    rows = [{"split": "val", "epoch": e, "frame_accuracy": a} for e, a in ((1, 0.5), (2, 0.75), (3, 0.75))]
    assert best_epoch([*rows, {"split": "test", "epoch": 3, "frame_accuracy": 1.0}]) == 2
    assert best_epoch([]) == 0


def test_the_best_epoch_has_the_lowest_loss_and_a_loss_that_is_no_number_is_the_worst():
    losses = [math.nan, 0.5, 0.25, 0.25, math.nan]
    rows = [
        {"split": "val", "epoch": i + 1, "loss": loss, "frame_accuracy": 1 / (i + 1)} for i, loss in enumerate(losses)
    ]
    assert best_epoch(rows, "loss") == 3
    assert best_epoch(rows) == 1
    assert val_scores(rows, "loss") == {1: -math.inf, 2: -0.5, 3: -0.25, 4: -0.25, 5: -math.inf}
