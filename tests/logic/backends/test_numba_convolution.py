import itertools

import numpy as np
import pytest
import torch

from src.logic import LogicConvolution
from src.logic.backends.numba import NUMBA


@pytest.fixture
def trees():
    torch.manual_seed(0)
    layer = LogicConvolution((40, 6, 5), 60, 3, tree_depth=2, implementation="numba")
    return NUMBA.trees(layer.indices, layer.shape)


def test_each_kernel_is_computed_once(trees):
    order, _ = trees.order
    assert sorted(order) == list(range(60))


def test_what_is_fetched_ahead_is_a_channel_of_the_next_kernel_and_not_of_this_one(trees):
    order, ahead = trees.order
    channels = trees.connections[0].numpy()
    fetched = [place for place in range(60) if ahead[place] >= 0]
    assert fetched
    assert all(ahead[place] in channels[order[place + 1]] for place in fetched)
    assert all(ahead[place] not in channels[order[place]] for place in fetched)


def test_kernels_of_the_same_channels_follow_each_other(trees):
    order, _ = trees.order
    channels = [set(of_kernel) for of_kernel in trees.connections[0].numpy()]
    shared = [len(channels[a] & channels[b]) for a, b in itertools.pairwise(order)]
    in_sequence = [len(a & b) for a, b in itertools.pairwise(channels)]
    assert np.mean(shared) > 2 * np.mean(in_sequence)
