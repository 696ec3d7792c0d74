"""Layers as circuits: the gates of every layer, and the counts that the layers give."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.config import DiffLogicOptions, Model
from src.logic import LogicConvolution, LogicLayer
from src.logic.parametrisation import GateOptions
from src.logic.votes import VoteSum
from src.model import create_model
from src.models.to_circuit import circuit_of_layers
from tests.circuit.test_circuit import pack, some_bits
from tests.logic.compiling import TREES_AND_WINDOWS


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(TREES_AND_WINDOWS), st.integers(1, 4), st.integers(0, 2**31))
def test_a_convolutional_circuit_counts_what_the_layers_give(tree_and_window, receptive_field, seed):
    tree_depth, pool = tree_and_window
    torch.manual_seed(seed)
    gates = GateOptions(initialisation="normal")
    torch_alone = {"gates": gates, "implementation": "torch"}  # kernels would be compiled for each depth
    first = LogicConvolution((2, 7, 5), 3, receptive_field, tree_depth, pool, **torch_alone)
    second = LogicConvolution(first.out_shape, 4, 2, 2, 1, **torch_alone)
    layers = [first, second, LogicLayer(second.out_dim, 3 * second.out_dim)]
    circuit = circuit_of_layers(layers, 3)
    assert len(circuit.gates) == sum(
        [
            2,  # the zeros around the frames of the two convolutions
            first.out_dim * (pool**2 * (2**tree_depth - 1) + pool**2 - 1),
            second.out_dim * 3,
            3 * second.out_dim,
        ]
    )
    bits = some_bits(circuit, 40)
    x = torch.from_numpy(bits.T).float()
    for layer in layers:
        x = layer.eval().forward_features(x)
    counts = x.reshape(3, second.out_dim, -1).sum(1).T.numpy()
    assert np.array_equal(circuit(pack(bits)), counts)
    assert np.array_equal(circuit.simplified()(pack(bits)), counts)


@pytest.mark.parametrize("num_layers", [1, 4])
def test_a_circuit_classifies_as_its_model_does(num_layers):
    options = Model(difflogic=DiffLogicOptions(num_neurons=1500, num_layers=num_layers))
    torch.manual_seed(0)
    model = create_model(options, (2, 34, 34), 10).eval()
    circuit = circuit_of_layers(model.logic_layers(), 10, model.tau)
    frames = np.random.default_rng(0).integers(0, 256, (700, 289)).astype(np.uint8)
    with torch.no_grad():
        scores = model.forward_packed(torch.from_numpy(frames)).numpy()
    for found in (circuit(frames), circuit.simplified()(frames)):
        assert np.array_equal(found.astype(np.float32) / np.float32(model.tau), scores)


@pytest.mark.parametrize("parametrisation", ["light", "walsh"])
@pytest.mark.parametrize("fan_in", [4, 6])
@pytest.mark.parametrize("readout", ["sum", "votes"])
def test_a_circuit_of_truth_tables_counts_what_the_layers_give(parametrisation, fan_in, readout):
    torch.manual_seed(0)
    gates = GateOptions(parametrisation, fan_in=fan_in)
    first = LogicConvolution((2, 7, 5), 3, 3, 1, 2, gates=gates, implementation="torch")
    layers = [first, LogicLayer(first.out_dim, 60, gates=gates), LogicLayer(60, 30, gates=gates)]
    votes = None
    if readout == "votes":
        votes = VoteSum(30, 3)
        torch.nn.init.normal_(votes.weights, std=2)
    circuit = circuit_of_layers(layers, 3, votes=votes)
    bits = some_bits(circuit, 200)
    x = torch.from_numpy(bits.T).float()
    for layer in layers:
        x = layer.eval().forward_features(x)
    counts = x.reshape(3, 10, -1).sum(1).T if votes is None else votes.eval().forward_features(x)
    for found in (circuit, circuit.simplified()):
        assert np.array_equal(found(pack(bits)), counts.detach().numpy())


@pytest.mark.parametrize("fan_in", [4, 6])
def test_residual_tables_become_no_gates_at_all(fan_in):
    gates = GateOptions("light", "residual", fan_in=fan_in)
    circuit = circuit_of_layers([LogicLayer(40, 60, gates=gates), LogicLayer(60, 30, gates=gates)], 3)
    assert len(circuit.simplified().gates) == 0


def test_outputs_that_turn_out_to_be_constant_are_counted():
    layer = LogicLayer(8, 4, gates=GateOptions("light", fan_in=4))
    torch.nn.init.constant_(layer.weights, -1.0)
    layer.weights.data[2:] = 1.0
    circuit = circuit_of_layers([layer], 2)
    counts = np.array([[0, 2]] * 5, np.int32)
    for found in (circuit, circuit.simplified()):
        assert np.array_equal(found(pack(some_bits(circuit, 5))), counts)
