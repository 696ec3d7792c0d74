"""Layers as circuits: the gates of every layer, and the counts that the layers give."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.config import DiffLogicOptions, Model
from src.logic import LogicConvolution, LogicLayer
from src.logic.parametrisation import GateOptions
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
