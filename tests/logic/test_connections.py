"""Random, unique and local connections, and candidates for learned ones."""

import pytest
import torch

from src.logic.connections import (
    candidate_connections,
    local_connections,
    pixel_positions,
    random_connections,
    unique_connections,
)


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


@pytest.mark.parametrize("shape", [(2, 34, 34), (1, 9, 13), (8, 5, 7)])
@pytest.mark.parametrize("size", [2, 5, 8])
def test_local_neurons_see_two_inputs_in_one_window(shape, size):
    positions = pixel_positions(shape)
    indices, _ = local_connections(positions, len(positions), size)
    first, second = positions[indices]
    assert (first - second).abs().max() <= size - 1
    assert (indices[0] != indices[1]).all()


def test_pixels_have_the_positions_of_the_bits_of_a_frame():
    positions = pixel_positions((3, 4, 5))
    assert positions[(2 * 4 + 3) * 5 + 1].tolist() == [3, 1]


@pytest.mark.parametrize(("shape", "size"), [((2, 34, 34), 8), ((1, 34, 34), 5), ((6, 12, 20), 3)])
def test_local_neurons_use_all_pixels_about_equally_often(shape, size):
    positions = pixel_positions(shape)
    indices, _ = local_connections(positions, 20 * len(positions), size)
    uses = torch.bincount(indices.flatten(), minlength=len(positions)) / 40
    assert uses.min() > 0.8
    assert uses.max() < 1.25


def test_local_windows_lie_anywhere_and_have_any_partner():
    positions = pixel_positions((1, 12, 12))
    indices, _ = local_connections(positions, 10_000, 3)
    difference = (positions[indices[0]] - positions[indices[1]] + 2).long()
    often = torch.bincount(difference[:, 0] * 5 + difference[:, 1], minlength=25).reshape(5, 5) / 10_000
    assert (often > 0).sum() == 24
    assert often[2, 2] == 0
    torch.testing.assert_close(often, often.flip(0, 1), rtol=0, atol=0.015)


def test_a_local_neuron_lies_between_its_inputs_and_the_next_layer_goes_on_from_there():
    positions = pixel_positions((2, 20, 20))
    indices, between = local_connections(positions, 900, 4)
    assert torch.equal(between, (positions[indices[0]] + positions[indices[1]]) / 2)
    deeper, _ = local_connections(between, 900, 8)
    assert (between[deeper[0]] - between[deeper[1]]).abs().max() < 8
    assert torch.bincount(deeper.flatten(), minlength=900).min() > 0


def test_local_neurons_come_in_no_order():
    # The last layer's neurons are divided among the classes, each of which is to see the whole image.
    _, positions = local_connections(pixel_positions((2, 20, 20)), 4000, 4)
    for one_class in positions.reshape(10, 400, 2):
        torch.testing.assert_close(one_class.mean(0), torch.tensor([9.5, 9.5]), rtol=0, atol=1.5)


def test_windows_that_hold_no_two_inputs_are_an_error():
    with pytest.raises(ValueError, match="no window of 2 pixels holds two of the 2 inputs"):
        local_connections(torch.tensor([[0.0, 0.0], [30.0, 30.0]]), 5, 2)


@pytest.mark.parametrize(("in_dim", "out_dim", "count"), [(8, 4, 8), (100, 50, 7), (64, 1000, 8), (300, 160, 2)])
def test_candidates_are_distinct_and_every_input_is_one_about_equally_often(in_dim, out_dim, count):
    candidates = candidate_connections(in_dim, out_dim, count)
    assert candidates.shape == (2, out_dim, count)
    assert (candidates.sort(-1)[0].diff(dim=-1) > 0).all()
    uses = torch.bincount(candidates.flatten(), minlength=in_dim)
    assert len(uses) == in_dim
    assert uses.min() >= 2 * out_dim // in_dim * count
    assert uses.max() <= -(-2 * out_dim // in_dim) * count
    first = torch.bincount(candidates[:, :, 0].flatten(), minlength=in_dim)
    assert first.max() - first.min() <= 1


def test_a_layer_with_fewer_neurons_than_half_its_inputs_has_them_among_its_candidates():
    candidates = candidate_connections(100, 13, 8)
    assert len(candidates.unique()) == 100
    assert all(len(each.unique()) == 8 for each in candidates.flatten(0, 1))
    with pytest.raises(ValueError, match="6 neurons cannot use all of 100 inputs, since a neuron has two with 8 cand"):
        candidate_connections(100, 6, 8)


def test_the_first_candidates_are_the_random_connections_of_the_same_seed():
    torch.manual_seed(1)
    expected = random_connections(100, 80)
    torch.manual_seed(1)
    assert torch.equal(candidate_connections(100, 80, 8)[:, :, 0], expected)


def test_neurons_have_different_candidates():
    candidates = candidate_connections(50, 1000, 4).reshape(2000, 4).sort(-1)[0]
    assert len({tuple(some) for some in candidates.tolist()}) > 1950


def test_more_candidates_than_inputs_are_an_error():
    with pytest.raises(ValueError, match="9 candidates cannot be told apart among 8 inputs"):
        candidate_connections(8, 8, 9)


@pytest.mark.slow
@pytest.mark.parametrize(
    "connect",
    [
        lambda: random_connections(1_000_000, 1_000_000),
        lambda: local_connections(pixel_positions((2, 34, 34)), 1_000_000, 8)[0],
        lambda: candidate_connections(2312, 1_000_000, 8)[:, :, 0],
    ],
    ids=["random", "local", "learned"],
)
def test_a_million_neurons_can_be_connected(connect):
    assert connect().shape == (2, 1_000_000)


@pytest.mark.parametrize("connect", [random_connections, unique_connections])
@pytest.mark.parametrize("fan_in", [4, 6])
@pytest.mark.parametrize(("in_dim", "out_dim"), [(9, 40), (100, 30), (64, 1000)])
def test_gates_of_more_inputs_have_different_ones_and_use_each_equally_often(connect, fan_in, in_dim, out_dim):
    torch.manual_seed(0)
    indices = connect(in_dim, out_dim, fan_in)
    assert indices.shape == (fan_in, out_dim)
    counts = torch.bincount(indices.flatten(), minlength=in_dim)
    assert counts.max() - counts.min() <= 1
    assert all(len(set(inputs)) == fan_in for inputs in indices.T.tolist())


@pytest.mark.parametrize(("in_dim", "out_dim", "fan_in"), [(9, 40, 6), (64, 1000, 4)])
def test_unique_connections_never_repeat_a_set_of_inputs(in_dim, out_dim, fan_in):
    torch.manual_seed(0)
    indices = unique_connections(in_dim, out_dim, fan_in)
    assert len({frozenset(inputs) for inputs in indices.T.tolist()}) == out_dim


def test_more_unique_sets_than_there_are_is_an_error():
    with pytest.raises(ValueError, match="8 inputs give 28 for 29 neurons"):
        unique_connections(8, 29, 6)


def test_a_gate_may_have_more_inputs_than_there_are():
    assert random_connections(3, 5, 4).shape == (4, 5)


@pytest.mark.parametrize("fan_in", [2, 4, 6])
def test_local_groups_lie_in_one_window_and_use_each_input_about_equally_often(fan_in):
    torch.manual_seed(0)
    positions = pixel_positions((2, 12, 12))
    indices, between = local_connections(positions, 2000, 4, fan_in)
    assert indices.shape == (fan_in, 2000)
    reach = positions[indices].amax(0) - positions[indices].amin(0)
    assert (reach < 4).all()
    assert all(len(set(inputs)) == fan_in for inputs in indices.T.tolist())
    torch.testing.assert_close(between, positions[indices].mean(0))
    counts = torch.bincount(indices.flatten(), minlength=len(positions))
    assert counts.min() > 0.4 * counts.float().mean()


@pytest.mark.parametrize("fan_in", [4, 6])
def test_candidates_of_gates_of_more_inputs_are_distinct_and_cover_every_input(fan_in):
    torch.manual_seed(0)
    candidates = candidate_connections(200, 30, 5, fan_in)
    assert candidates.shape == (fan_in, 30, 5)
    assert all(len(set(of_one)) == 5 for of_one in candidates.flatten(0, 1).tolist())
    assert set(candidates.flatten().tolist()) == set(range(200))
