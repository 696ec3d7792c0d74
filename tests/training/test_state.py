"""What a run counts."""

import math

import pytest
import torch

from src.command_line import RunError
from src.training.state import EpochSums, Progress

CPU = torch.device("cpu")


def test_sums_reach_the_progress_when_they_are_read():
    progress = Progress(loss_sum=1.5, correct=2)
    sums = EpochSums(progress, CPU)
    sums.add(torch.tensor(0.25), torch.tensor(3))
    assert (progress.loss_sum, progress.correct) == (1.5, 2)
    sums.read()
    assert (progress.loss_sum, progress.correct) == (1.75, 5)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_run(loss):
    sums = EpochSums(Progress(step=7), CPU)
    sums.add(torch.tensor(loss), torch.tensor(0))
    with pytest.raises(RunError, match=rf"the loss is {loss} by step 7: lower train\.learning_rate"):
        sums.read()


def test_an_epoch_that_is_done_leaves_the_counts_of_the_run():
    progress = Progress()
    for _ in range(2):
        progress.count_batch(frames=16, seconds=0.5)
    progress.count_epoch()
    assert progress == Progress(epoch=1, step=2, frames_seen=32, train_seconds=1.0)
