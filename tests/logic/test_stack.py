import pytest
import torch

from src.logic import LogicConvolution
from src.logic.backends import numba_convolution
from src.logic.learned_convolution import LearnedLogicConvolution
from src.logic.parametrisation import GateOptions
from src.logic.stack import features_of_layers

SHAPE = (3, 11, 10)


def convolutions(implementation="numba", learned=False, fan_in=2):
    """Return three layers with pooling, an even receptive field and rows that fill no window among them."""
    torch.manual_seed(0)
    gates = GateOptions("light", "residual", fan_in=fan_in)
    common = {"tree_depth": 2, "implementation": implementation, "gates": gates}
    first = LogicConvolution(SHAPE, 6, 5, pool=2, grad_factor=1.5, **common)
    if learned:
        second = LearnedLogicConvolution(first.out_shape, 4, 2, candidates=4, pool=1, **common)
    else:
        second = LogicConvolution(first.out_shape, 4, 2, pool=1, **common)
    return [first, second, LogicConvolution(second.out_shape, 5, 3, pool=3, **common)]


def one_by_one(layers, x):
    for layer in layers:
        x = layer.forward_features(x)
    return x


def results(run, layers, batch):
    """Return outputs and the gradients of the inputs and all parameters."""
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(layers[0].in_dim, batch, generator=generator, requires_grad=True)
    y = run(layers, x)
    parameters = [parameter for layer in layers for parameter in layer.parameters()]
    return [y, *torch.autograd.grad((y * torch.rand(y.shape, generator=generator)).sum(), [x, *parameters])]


@pytest.mark.parametrize("batch", [1, 16, 37])
@pytest.mark.parametrize("learned", [False, True])
def test_neighbouring_convolutions_give_the_bits_that_they_give_one_by_one(batch, learned):
    layers = convolutions(learned=learned)
    pairs = zip(results(features_of_layers, layers, batch), results(one_by_one, layers, batch), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


def test_neighbouring_convolutions_give_what_plain_pytorch_gives():
    ours, theirs = (
        results(features_of_layers, convolutions(implementation), 20) for implementation in ("numba", "torch")
    )
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_convolutions_of_gates_with_tables_are_computed_too():
    layers = convolutions(fan_in=4)
    pairs = zip(results(features_of_layers, layers, 20), results(one_by_one, layers, 20), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


def test_outputs_of_convolutions_may_be_changed_in_place():
    layers = convolutions()
    x = torch.rand(layers[0].in_dim, 16)
    (expected,) = torch.autograd.grad((2 * features_of_layers(layers, x)).sum(), layers[0].weights)
    y = features_of_layers(layers, x)
    y *= 2
    assert torch.equal(torch.autograd.grad(y.sum(), layers[0].weights)[0], expected)


@pytest.mark.parametrize("trained", [0, 1, 2])
def test_frozen_convolutions_change_no_gradient_of_the_others(trained):
    layers, x = convolutions(), torch.rand(3 * 11 * 10, 20)
    (expected,) = torch.autograd.grad(features_of_layers(layers, x).sum(), layers[trained].weights)
    for i, layer in enumerate(layers):
        layer.weights.requires_grad_(i == trained)
    (ours,) = torch.autograd.grad(features_of_layers(layers, x).sum(), layers[trained].weights)
    assert torch.equal(ours, expected)


def test_the_way_back_ends_at_the_first_layer_that_is_trained(monkeypatch):
    went_back = []
    go_back = numba_convolution._go_back

    def counted(layer, *arguments):
        went_back.append(layer.trees.shape.kernels)
        return go_back(layer, *arguments)

    monkeypatch.setattr(numba_convolution, "_go_back", counted)
    layers = convolutions()
    layers[0].weights.requires_grad_(False)
    features_of_layers(layers, torch.rand(layers[0].in_dim, 16)).sum().backward()
    assert went_back == [5, 4]


def test_convolutions_that_do_not_fit_are_refused():
    first = LogicConvolution(SHAPE, 6, 5, implementation="numba")
    second = LogicConvolution((5, 5, 5), 4, 3, implementation="numba")
    with pytest.raises(ValueError, match=r"a convolution of \(5, 5, 5\) follows one that gives \(6, 5, 5\)"):
        features_of_layers([first, second], torch.rand(first.in_dim, 16))


def test_no_layers_leave_the_features_as_they_are():
    x = torch.rand(5, 3)
    assert features_of_layers([], x) is x
