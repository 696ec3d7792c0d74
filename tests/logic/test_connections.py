"""Random and unique connections."""

import time

import pytest
import torch

from src.logic.connections import random_connections, unique_connections


@pytest.mark.parametrize(("in_dim", "out_dim"), [(1, 1), (7, 4), (100, 50), (64, 1000)])
def test_random_connections_use_every_input_equally_often_up_to_one(in_dim, out_dim):
    counts = torch.bincount(random_connections(in_dim, out_dim).flatten(), minlength=in_dim)
    assert len(counts) == in_dim
    assert counts.max() - counts.min() <= 1


def test_random_connections_follow_pytorch_s_seed():
    torch.manual_seed(1)
    first = random_connections(100, 80)
    torch.manual_seed(1)
    assert torch.equal(random_connections(100, 80), first)
    assert not torch.equal(random_connections(100, 80), first)


@pytest.mark.parametrize(("in_dim", "out_dim"), [(2, 1), (7, 4), (8, 7), (10, 45), (100, 300), (9, 36)])
def test_unique_connections_never_repeat_a_pair(in_dim, out_dim):
    connections = unique_connections(in_dim, out_dim)
    assert connections.shape == (2, out_dim)
    assert (connections[0] < connections[1]).all()
    assert connections.min() >= 0
    assert connections.max() < in_dim
    assert len({tuple(pair) for pair in connections.T.tolist()}) == out_dim


def test_unique_connections_take_neighbouring_inputs_first():
    connections = unique_connections(10, 9)
    assert (connections[1] - connections[0] == 1).all()


def test_more_unique_pairs_than_there_are_is_an_error():
    with pytest.raises(ValueError, match="45 pairs for 46 neurons"):
        unique_connections(10, 46)


@pytest.mark.parametrize("connect", [random_connections, unique_connections])
def test_too_few_neurons_for_the_inputs_is_an_error(connect):
    with pytest.raises(ValueError, match="at least 6 are needed"):
        connect(11, 5)


def test_a_million_neurons_are_connected_in_seconds():
    begin = time.perf_counter()
    assert random_connections(1_000_000, 1_000_000).shape == (2, 1_000_000)
    assert time.perf_counter() - begin < 10
