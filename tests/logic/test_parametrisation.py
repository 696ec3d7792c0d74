"""Parametrisations of a gate: values and gradients, straight-through, noise, and what a residual network does."""

import numpy as np
import pytest
import torch

from src.logic import LogicLayer
from src.logic.parametrisation import (
    FORWARD_SAMPLINGS,
    GateOptions,
    discretised_coefficients,
    discretised_gates,
    relaxed_coefficients,
    relaxed_outputs,
)
from src.models.to_circuit import circuit_of_layers
from src.registry import PARAMETRISATIONS
from tests.logic import oracle

IMPLEMENTATIONS = ["torch", "numba"]
SHAPES = [(1, 1, 1), (10, 17, 5), (50, 40, 33), (300, 260, 64)]  # in_dim, out_dim, batch


def make(parametrisation, in_dim=20, out_dim=30, implementation="torch", grad_factor=1.0, **options):
    torch.manual_seed(0)
    gates = GateOptions(parametrisation, **options)
    return LogicLayer(in_dim, out_dim, implementation=implementation, grad_factor=grad_factor, gates=gates)


def table(weights, parametrisation, temperature):
    """Return the relaxed truth table of light gates, or the logits of walsh gates: [4, out_dim]."""
    if parametrisation == "light":
        return torch.sigmoid(weights / temperature).T
    signs = [(1, 1), (1, -1), (-1, 1), (-1, -1)]  # A and B, for (a, b) = (0,0), (0,1), (1,0), (1,1)
    w0, w1, w2, w3 = weights.T
    return torch.stack([-(w0 + w1 * b + w2 * a + w3 * a * b) / temperature for a, b in signs])


def expected(x, weights, indices, parametrisation, temperature=1.0):
    """Relaxed outputs [batch, out_dim] of x [batch, in_dim], by the definition of the parametrisation."""
    if parametrisation == "softmax":
        return oracle.layer(x, weights / temperature, indices)
    a, b = x[:, indices[0]], x[:, indices[1]]
    f00, f01, f10, f11 = table(weights, parametrisation, temperature)
    y = (1 - a) * (1 - b) * f00 + (1 - a) * b * f01 + a * (1 - b) * f10 + a * b * f11
    return torch.sigmoid(y) if parametrisation == "walsh" else y


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("parametrisation", list(PARAMETRISATIONS))
@pytest.mark.parametrize(("in_dim", "out_dim", "batch"), SHAPES)
@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_relaxed_outputs_and_gradients_are_those_of_the_definition(
    parametrisation, implementation, in_dim, out_dim, batch, temperature
):
    layer = make(parametrisation, in_dim, out_dim, implementation, temperature=temperature)
    x = torch.rand(batch, in_dim, requires_grad=True)
    grad = torch.randn(batch, out_dim)
    y = layer(x)
    found = torch.autograd.grad(y, [x, layer.weights], grad)
    x64 = x.detach().double().requires_grad_()
    weights64 = layer.weights.detach().double().requires_grad_()
    y64 = expected(x64, weights64, layer.indices, parametrisation, temperature)
    wanted = torch.autograd.grad(y64, [x64, weights64], grad.double())
    torch.testing.assert_close(y.double(), y64, rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5 * float(theirs.abs().max()))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("parametrisation", list(PARAMETRISATIONS))
@pytest.mark.parametrize("sampling", FORWARD_SAMPLINGS)
def test_the_sums_of_a_layer_and_their_gradients_are_those_of_its_outputs(parametrisation, implementation, sampling):
    layer = make(parametrisation, 20, 60, implementation, 1.5, forward_sampling=sampling)
    x = torch.rand(20, 33, requires_grad=True)
    grad = torch.randn(5, 33)
    torch.manual_seed(1)
    sums = layer.forward_sums(x, 5)
    torch.manual_seed(1)
    outputs = layer.forward_features(x).reshape(5, 12, 33).sum(1)
    torch.testing.assert_close(sums, outputs)
    for inputs in ([x, layer.weights], [layer.weights]):
        found = torch.autograd.grad(sums, inputs, grad, retain_graph=True)
        wanted = torch.autograd.grad(outputs, inputs, grad, retain_graph=True)
        for ours, theirs in zip(found, wanted, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    torch.manual_seed(1)
    frozen = torch.autograd.grad(layer.forward_sums(x.detach(), 5), layer.weights, grad)[0]
    torch.testing.assert_close(frozen, wanted[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("parametrisation", ["light", "walsh"])
def test_gradcheck_passes_in_float64(parametrisation):
    layer = make(parametrisation, 6, 9, temperature=2.0).double()
    x = torch.rand(4, 6, dtype=torch.float64, requires_grad=True)

    def outputs(x, weights):
        return torch.func.functional_call(layer, {"weights": weights}, (x,))

    assert torch.autograd.gradcheck(outputs, (x, layer.weights))


@pytest.mark.parametrize("parametrisation", ["light", "walsh"])
def test_a_discretised_gate_is_where_its_relaxed_one_is_above_a_half(parametrisation):
    layer = make(parametrisation, 40, 500)
    bits = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]]).float()
    relaxed = expected(bits, layer.weights, torch.tensor([[0], [1]]).expand(2, 500), parametrisation) > 0.5
    gates = layer.discretised_gates()
    assert torch.equal(gates, 8 * relaxed[0] + 4 * relaxed[1] + 2 * relaxed[2] + 1 * relaxed[3])
    layer.eval()
    x = torch.randint(0, 2, (64, 40)).float()
    a, b = x[:, layer.indices[0]].long(), x[:, layer.indices[1]].long()
    assert torch.equal(layer(x), (gates >> (3 - 2 * a - b) & 1).float())


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("parametrisation", list(PARAMETRISATIONS))
@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_straight_through_gives_exactly_what_eval_mode_gives(parametrisation, implementation, temperature):
    layer = make(parametrisation, 40, 500, implementation, forward_sampling="hard", temperature=temperature)
    x = torch.randint(0, 2, (64, 40)).float()
    assert torch.equal(layer(x), layer.eval()(x))


@pytest.mark.parametrize("parametrisation", list(PARAMETRISATIONS))
def test_straight_through_has_the_relaxed_gates_gradient_of_the_weights(parametrisation):
    layers = [make(parametrisation, forward_sampling=sampling, temperature=0.5) for sampling in ("soft", "hard")]
    x, grad = torch.randint(0, 2, (33, 20)).float(), torch.randn(33, 30)
    soft, hard = (torch.autograd.grad(layer(x), layer.weights, grad)[0] for layer in layers)
    assert torch.equal(soft, hard)


@pytest.mark.parametrize("parametrisation", ["softmax", "light"])
def test_straight_through_sends_the_inputs_the_gradient_of_the_discretised_gates(parametrisation):
    layer = make(parametrisation, forward_sampling="hard")
    x = torch.rand(33, 20, requires_grad=True)
    (found,) = torch.autograd.grad(layer(x).square().sum(), x)
    (wanted,) = torch.autograd.grad(layer.eval()(x).square().sum(), x)
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("parametrisation", list(PARAMETRISATIONS))
@pytest.mark.parametrize("fan_in", [2, 6])
def test_cage_gives_what_eval_mode_gives_and_learns_where_hard_gates_do_not(parametrisation, implementation, fan_in):
    if parametrisation == "softmax" and fan_in > 2:
        return
    found = []
    for sampling in ("cage", "hard"):
        options = {"initialisation": "residual", "forward_sampling": sampling, "fan_in": fan_in}
        layer = make(parametrisation, 40, 100, implementation, **options)
        layer.weights.data *= 2  # more certain
        x = torch.randint(0, 2, (64, 40)).float()
        y = layer(x)
        (gradient,) = torch.autograd.grad(y, layer.weights, torch.ones_like(y))
        found.append(gradient.abs().median())
        assert torch.equal(y, layer.eval()(x))
    assert found[0] > 3 * found[1]


@pytest.mark.parametrize("parametrisation", list(PARAMETRISATIONS))
def test_cage_is_hard_where_nothing_is_certain(parametrisation):
    layers = [make(parametrisation, forward_sampling=sampling) for sampling in ("cage", "hard")]
    x, grad = torch.randint(0, 2, (33, 20)).float(), torch.randn(33, 30)
    for layer in layers:
        layer.weights.data *= 0.01
    cage, hard = (torch.autograd.grad(layer(x), layer.weights, grad)[0] for layer in layers)
    assert torch.equal(cage, hard)


def test_a_mixture_costs_the_probability_that_it_is_neither_a_constant_nor_a_wire():
    layer = make("softmax")
    free = [0, 3, 5, 10, 12, 15]
    wanted = 1 - layer.weights.softmax(1)[:, free].sum(1)
    torch.testing.assert_close(layer.gate_weights().prices(), wanted)


@pytest.mark.parametrize("parametrisation", list(PARAMETRISATIONS))
def test_noise_chooses_a_gate_as_often_as_its_probability_says(parametrisation):
    options = GateOptions(parametrisation, forward_sampling="gumbel_hard")
    torch.manual_seed(0)
    weights = torch.randn(16 if parametrisation == "softmax" else 4)
    draws = relaxed_coefficients(weights.expand(40_000, -1), options)
    bits = torch.tensor([[1.0, 0, 0, 0], [1, 0, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]])  # 1, a, b, ab of each place
    often = relaxed_outputs(draws @ bits.T, options).mean(0)
    soft = relaxed_coefficients(weights[None], GateOptions(parametrisation)) @ bits.T
    probability = relaxed_outputs(soft, GateOptions(parametrisation))[0]
    torch.testing.assert_close(often, probability, rtol=0, atol=0.01)  # four standard deviations of 40,000 draws


@pytest.mark.parametrize("parametrisation", list(PARAMETRISATIONS))
@pytest.mark.parametrize("sampling", ["gumbel_soft", "gumbel_hard"])
def test_noise_comes_from_the_global_generator_in_train_mode_alone(parametrisation, sampling):
    layer = make(parametrisation, implementation="numba", forward_sampling=sampling)
    x = torch.rand(7, 20)
    torch.manual_seed(5)
    first, second = layer(x), layer(x)
    torch.manual_seed(5)
    assert torch.equal(layer(x), first)
    assert not torch.equal(first, second)
    before = torch.get_rng_state()
    layer.eval()(x)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("parametrisation", list(PARAMETRISATIONS))
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_a_residual_gate_passes_its_first_input_on(parametrisation, temperature):
    options = GateOptions(parametrisation, "residual", temperature=temperature)
    torch.manual_seed(0)
    layers = [LogicLayer(30, 30, gates=options, implementation="torch") for _ in range(20)]
    places = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    gate = LogicLayer(2, 1, gates=options, implementation="torch")
    gate.indices.copy_(torch.tensor([[0], [1]]))
    relaxed = torch.tensor([0.049, 0.049, 0.951, 0.951])
    torch.testing.assert_close(gate(places)[:, 0].detach(), relaxed, rtol=0, atol=1e-3)

    x = y = torch.randint(0, 2, (9, 30)).float()
    connected = torch.arange(30)  # the input that the gates of each layer are connected to through their first inputs
    for layer in layers:
        y = layer.eval()(y)
        connected = connected[layer.indices[0]]
    assert torch.equal(y, x[:, connected])


@pytest.mark.parametrize("parametrisation", ["light", "walsh"])
def test_the_circuit_counts_what_the_model_counts_in_eval_mode(parametrisation):
    torch.manual_seed(0)
    options = GateOptions(parametrisation)
    layers = [LogicLayer(a, b, gates=options).eval() for a, b in ((50, 90), (90, 60), (60, 60))]
    bits = np.random.default_rng(0).integers(0, 2, (130, 50), np.uint8)
    x = torch.from_numpy(bits.T.copy()).float()
    for layer in layers[:-1]:
        x = layer.forward_features(x)
    counts = layers[-1].forward_sums(x, 6).T.numpy()
    circuit = circuit_of_layers(layers, 6)
    for found in (circuit, circuit.simplified()):
        assert np.array_equal(found(np.packbits(bits, axis=1, bitorder="little")), counts)


@pytest.mark.parametrize("parametrisation", ["light", "walsh"])
def test_four_parameters_a_gate_are_all_that_is_kept(parametrisation):
    layer = make(parametrisation, implementation="numba")
    assert layer.weights.shape == (30, 4)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.shape) or t, lambda t: t):
        layer.forward_features(torch.rand(20, 7))
    assert all(16 not in shape for shape in saved)


@pytest.mark.parametrize("parametrisation", list(PARAMETRISATIONS))
def test_discretised_gates_are_whole_numbers_in_half_precision_too(parametrisation):
    layer = make(parametrisation).bfloat16()
    coefficients = discretised_coefficients(layer.weights, layer.gates)
    assert coefficients.dtype == torch.float32
    assert torch.equal(coefficients, coefficients.round())
    assert torch.equal(layer.discretised_gates(), discretised_gates(layer.weights.float(), layer.gates))


def test_options_that_cannot_be_are_refused():
    for name, value in (("parametrisation", "raw"), ("forward_sampling", "st"), ("temperature", 0.0)):
        with pytest.raises(ValueError, match=name):
            GateOptions(**{name: value})
