"""VoteSum: classes count features, or their complements, whole numbers of times."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.logic import LogicLayer
from src.logic.parametrisation import GateOptions
from src.logic.votes import VoteSum
from src.models.to_circuit import circuit_of_layers


def vote_sum(weights, sampling="soft"):
    weights = torch.as_tensor(weights, dtype=torch.float32)
    layer = VoteSum(weights.shape[1], len(weights), GateOptions(forward_sampling=sampling))
    with torch.no_grad():
        layer.weights.copy_(weights)
    return layer


def test_a_vote_counts_the_feature_and_one_below_zero_its_complement():
    layer = vote_sum([[2.0, -1.0], [0.0, -3.0]]).eval()
    # Class 0: two buffers, an inverter; two ones, so that its inverters weigh no more than class 1's.
    x = torch.tensor([[0.0, 0, 1, 1], [0, 1, 0, 1]])
    expected = torch.tensor([[0.0 + 1 + 2, 3], [0 + 0 + 2, 0], [2 + 1 + 2, 3], [2 + 0 + 2, 0]])
    assert torch.equal(layer.forward_features(x), expected)


def test_votes_are_rounded_in_eval_mode_alone():
    layer = vote_sum([[0.4, 1.6]])
    x = torch.ones(2, 1)
    assert layer.forward_features(x).item() == pytest.approx(2.0)
    assert layer.eval().forward_features(torch.eye(2)).flatten().tolist() == [0.0, 2.0]


def test_votes_of_hard_gates_are_rounded_in_train_mode_with_the_gradient_of_soft_ones():
    x = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    hard, soft = vote_sum([[0.4, 1.6]], "hard"), vote_sum([[0.4, 1.6]])
    scores = hard.forward_features(x)
    assert torch.equal(scores, hard.eval().forward_features(x))
    scores.sum().backward()
    soft.forward_features(x).sum().backward()
    assert torch.equal(hard.weights.grad, soft.weights.grad)
    assert hard.weights.grad.tolist() == [[1.0, 2.0]]


def test_a_groups_votes_are_those_of_its_features_alone():
    layer = VoteSum(6, 2, groups=3)
    torch.nn.init.normal_(layer.weights)
    x = torch.rand(6, 5)
    votes = layer.forward_groups(x)
    assert votes.shape == (5, 3, 2)
    for group in range(3):
        mine = slice(2 * group, 2 * group + 2)
        torch.testing.assert_close(votes[:, group], x[mine].T @ layer.weights[:, mine].T)


def test_groups_have_equally_many_features():
    with pytest.raises(ValueError, match="7 features cannot be divided into 2 groups"):
        VoteSum(7, 2, groups=2)


def test_half_precision_features_are_counted_exactly():
    layer = vote_sum(torch.full((1, 5000), 3.0)).eval()
    with torch.autocast("cpu", torch.bfloat16):
        scores = layer.forward_features(torch.ones(5000, 1, dtype=torch.bfloat16))
    assert scores.item() == 15_000


def test_features_in_double_precision_give_scores_in_it():
    assert vote_sum([[1.0]]).forward_features(torch.ones(1, 1, dtype=torch.float64)).dtype == torch.float64


def test_a_new_layer_draws_no_random_numbers():
    state = torch.get_rng_state()
    VoteSum(5, 3)
    assert torch.equal(torch.get_rng_state(), state)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 60), st.sampled_from([0.2, 1.0, 4.0]), st.integers(0, 2**31))
def test_a_circuit_with_votes_counts_what_the_layers_give(classes, frames, spread, seed):
    torch.manual_seed(seed)
    layer = LogicLayer(20, 30).eval()
    votes = vote_sum(spread * torch.randn(classes, 30)).eval()
    circuit = circuit_of_layers([layer], classes, votes=votes)
    bits = np.random.default_rng(seed).integers(0, 2, (frames, 20)).astype(np.uint8)
    with torch.no_grad():
        scores = votes.forward_features(layer.forward_features(torch.from_numpy(bits.T).float())).numpy()
    packed = np.packbits(bits, axis=1, bitorder="little")
    assert np.array_equal(circuit(packed), scores)
    assert np.array_equal(circuit.simplified()(packed), scores)
    assert circuit.offsets.min() >= 0
    assert len(circuit.outputs) == votes.whole_votes().abs().sum()
