"""The dense layers of a model: connections as its options say."""

import pytest
import torch

from src.command_line import UserError
from src.config import ConvolutionOptions, DiffLogicOptions, Model
from src.logic.connections import pixel_positions
from src.logic.parametrisation import GateOptions
from src.model import create_model
from src.models.dense_layers import dense_layers

SHAPE = (2, 12, 13)


def options(connections, **difflogic):
    common = {"num_neurons": 500, "num_layers": 3, "convolution": ConvolutionOptions(kernels=(4, 8))}
    return Model(difflogic=DiffLogicOptions(connections=connections, **{**common, **difflogic}))


def test_local_windows_grow_by_their_size_a_layer():
    positions = pixel_positions((3 * 2, 12, 13))  # a thermometer of three levels
    layers = dense_layers((6, 12, 13), options("local", local_size=3).difflogic, GateOptions())
    for number, layer in enumerate(layers, start=1):
        first, second = positions[layer.indices]
        distance = (first - second).abs().max()
        assert 3 * (number - 1) < distance < 3 * number
        positions = (first + second) / 2


@pytest.mark.parametrize("connections", ["local", "learned"])
def test_the_same_seed_gives_the_same_model(connections):
    states = []
    for _ in range(2):
        torch.manual_seed(4)
        states.append(create_model(options(connections), SHAPE, 10).state_dict())
    for one, other in zip(*(state.values() for state in states), strict=True):
        assert torch.equal(one, other)


def test_local_connections_keep_the_keys_of_a_state_dict():
    states = [create_model(options(connections), SHAPE, 10).state_dict() for connections in ("random", "local")]
    assert states[0].keys() == states[1].keys()


def test_the_last_layer_has_last_neurons():
    model = create_model(options("learned", last_neurons=40), SHAPE, 10)
    assert [layer.out_dim for layer in model.logic_layers()] == [500, 500, 40]


def test_too_narrow_a_last_layer_is_named():
    with pytest.raises(UserError, match="last_neurons = 40: 40 neurons cannot use all of 500 inputs"):
        create_model(options("random", last_neurons=40), SHAPE, 10)


@pytest.mark.parametrize("architecture", ["dense", "convolutional"])
@pytest.mark.parametrize("connections", ["local", "learned"])
def test_a_model_trains_and_its_circuit_counts_what_it_does(connections, architecture):
    torch.manual_seed(0)
    model = create_model(options(connections, architecture=architecture), SHAPE, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    packed = torch.randint(0, 256, (70, 39), dtype=torch.uint8)
    for _ in range(5):
        model.forward_packed(packed).logsumexp(1).sum().backward()
        assert all(parameter.grad.count_nonzero() for parameter in model.parameters())
        optimizer.step()
    counts = model.circuit()(packed.numpy())
    assert torch.equal(torch.from_numpy(counts) / model.tau, model.eval().forward_packed(packed))


def test_more_candidates_than_inputs_are_a_user_s_error():
    with pytest.raises(UserError, match="candidates = 400: a layer has only 312 inputs to choose among"):
        create_model(options("learned", candidates=400), SHAPE, 10)
