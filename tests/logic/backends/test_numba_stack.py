"""Dense layers in one call: the bits of layer after layer, and gradients that do not depend on the threads."""

import itertools
from dataclasses import replace

import numba
import pytest
import torch

from src.logic import LogicLayer
from src.logic.backends import numba_stack
from src.logic.learned_dense import LearnedLogicLayer
from src.logic.parametrisation import GateOptions
from src.logic.stack import sums_of_layers
from tests.logic import oracle
from tests.logic.compiling import printed_by_each

WIDTHS = [30, 17, 50, 40]  # the first is that of the inputs
BATCHES = [1, 15, 16, 33, 300]


def network(*widths, implementation="numba", grad_factor=1.0, layer=LogicLayer, **gates):
    torch.manual_seed(0)
    widths = widths or WIDTHS
    options = {"implementation": implementation, "grad_factor": grad_factor, "gates": GateOptions(**gates)}
    return [layer(*pair, **options) for pair in itertools.pairwise(widths)]


def inputs(batch, features=WIDTHS[0]):
    return torch.rand(features, batch, generator=torch.Generator().manual_seed(1)).requires_grad_()


def one_by_one(layers, x, k):
    for layer in layers[:-1]:
        x = layer.forward_features(x)
    return layers[-1].forward_sums(x, k)


def gradients(sums, layers, x):
    grad = torch.randn(sums.shape, generator=torch.Generator().manual_seed(2))
    return torch.autograd.grad(sums, [x, *(layer.weights for layer in layers)], grad)


@pytest.fixture
def calls(monkeypatch):
    """Count the stacks that the backend computes in one call."""
    counted, compute = [], numba_stack.stack_sums
    monkeypatch.setattr(numba_stack, "stack_sums", lambda *a: counted.append(len(a[1])) or compute(*a))
    return counted


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(
    "options", [{}, {"temperature": 0.5}, {"forward_sampling": "gumbel_soft"}, {"parametrisation": "light"}]
)
def test_a_stack_gives_the_bits_that_its_layers_give_one_after_the_other(batch, options, calls):
    layers, x = network(**options), inputs(batch)
    torch.manual_seed(3)
    sums = sums_of_layers(layers, x, 5)
    torch.manual_seed(3)
    assert torch.equal(sums, one_by_one(layers, x, 5))
    assert calls == [3]


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("parametrisation", ["softmax", "light"])
@pytest.mark.parametrize("widths", [(30, 15), (30, 17, 50, 40), (40, 20, 10, 5, 10)])
def test_its_gradients_are_those_of_its_layers(batch, parametrisation, widths):
    layers, x = network(*widths, parametrisation=parametrisation, grad_factor=1.5), inputs(batch, widths[0])
    found = gradients(sums_of_layers(layers, x, 5), layers, x)
    wanted = gradients(one_by_one(layers, x, 5), layers, x)
    assert torch.equal(found[0], wanted[0])  # sums over neurons keep their order, those over frames do not
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6 * float(theirs.abs().max()))


def test_its_sums_and_gradients_are_those_of_the_sum_over_sixteen_gates():
    layers, x = network(), inputs(33)
    sums = sums_of_layers(layers, x, 5)
    found = gradients(sums, layers, x)
    weights = [layer.weights.detach().double().requires_grad_() for layer in layers]
    x64 = x.detach().double().requires_grad_()
    y = x64.T
    for layer, own in zip(layers, weights, strict=True):
        y = oracle.layer(y, own, layer.indices)
    wanted_sums = y.T.reshape(5, 8, 33).sum(1)
    grad = torch.randn(5, 33, generator=torch.Generator().manual_seed(2)).double()
    wanted = torch.autograd.grad(wanted_sums, [x64, *weights], grad)
    torch.testing.assert_close(sums.double(), wanted_sums, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5 * float(theirs.abs().max()))


def test_inputs_that_need_no_gradient_change_no_other_one():
    layers, x = network(), inputs(33)
    with_inputs = gradients(sums_of_layers(layers, x, 5), layers, x)[1:]
    grad = torch.randn(5, 33, generator=torch.Generator().manual_seed(2))
    alone = torch.autograd.grad(sums_of_layers(layers, x.detach(), 5), [layer.weights for layer in layers], grad)
    for ours, theirs in zip(alone, with_inputs, strict=True):
        assert torch.equal(ours, theirs)


def test_a_frozen_layer_gets_no_gradient():
    layers, x = network(), inputs(33)
    layers[1].weights.requires_grad_(False)
    sums_of_layers(layers, x, 5).sum().backward()
    assert layers[1].weights.grad is None
    assert layers[0].weights.grad is not None


@pytest.mark.parametrize("parametrisation", ["softmax", "light"])
def test_hard_and_discretised_gates_count_exactly(parametrisation, calls):
    layers = network(parametrisation=parametrisation, forward_sampling="hard")
    x = inputs(33).detach().round().requires_grad_()
    sums = sums_of_layers(layers, x, 5)
    assert torch.equal(sums, one_by_one(layers, x, 5))
    found, wanted = gradients(sums, layers, x), gradients(one_by_one(layers, x, 5), layers, x)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6 * float(theirs.abs().max()))
    discretised = [layer.eval() for layer in layers]
    assert torch.equal(sums_of_layers(discretised, x, 5), sums)
    assert calls == [3, 3]


def test_an_input_may_be_read_twice_by_a_gate():
    layers, x = network(), inputs(20)
    layers[1].indices[1] = layers[1].indices[0]
    found, wanted = (gradients(run(layers, x, 5), layers, x) for run in (sums_of_layers, one_by_one))
    assert torch.equal(found[0], wanted[0])


def test_connections_that_are_replaced_count_at_once():
    layers, x = network(), inputs(20)
    before = sums_of_layers(layers, x, 5)
    layers[1].indices = layers[1].indices.roll(1, 1)
    after = sums_of_layers(layers, x, 5)
    assert not torch.equal(before, after)
    assert torch.equal(after, one_by_one(layers, x, 5))


def test_an_empty_batch_is_allowed():
    layers, x = network(), inputs(0)
    sums = sums_of_layers(layers, x, 5)
    assert sums.shape == (5, 0)
    assert all(not grad.any() for grad in gradients(sums, layers, x))


def test_results_do_not_depend_on_the_number_of_threads():
    results = []
    for threads in (1, numba.config.NUMBA_NUM_THREADS):
        numba.set_num_threads(threads)
        layers, x = network(), inputs(300)
        sums = sums_of_layers(layers, x, 5)
        results.append([sums, *gradients(sums, layers, x)])
    for one, many in zip(*results, strict=True):
        assert torch.equal(one, many)


@pytest.mark.slow
def test_results_are_the_same_bits_compiled_and_from_the_cache(tmp_path):
    script = """
import hashlib, torch
from tests.logic.backends.test_numba_stack import gradients, inputs, network
from src.logic.stack import sums_of_layers
digest = hashlib.sha256()
for batch in (3, 16, 83):
    layers, x = network(), inputs(batch)
    sums = sums_of_layers(layers, x, 5)
    for tensor in [sums, *gradients(sums, layers, x)]:
        digest.update(tensor.detach().numpy().tobytes())
print(digest.hexdigest())
"""
    assert len(set(printed_by_each(script, tmp_path, {}, {}))) == 1


@pytest.mark.parametrize(
    "layers",
    [
        network(parametrisation="walsh"),
        network(40, 40, 40, parametrisation="light", fan_in=4),
        network(implementation="torch"),
    ],
    ids=["sigmoid", "tables", "torch"],
)
def test_other_layers_run_one_after_the_other(layers, calls):
    x = inputs(33, layers[0].in_dim)
    assert torch.equal(sums_of_layers(layers, x, 5), one_by_one(layers, x, 5))
    assert calls == []


def test_only_layers_behind_the_last_learned_connections_are_stacked(calls):
    layers = [*network(30, 50, layer=LearnedLogicLayer), *network(50, 40, 20)]
    x = inputs(33)
    assert torch.equal(sums_of_layers(layers, x, 5), one_by_one(layers, x, 5))
    learned = network(30, 50, 40, layer=LearnedLogicLayer)
    assert torch.equal(sums_of_layers(learned, x, 5), one_by_one(learned, x, 5))
    assert calls == [2]


def test_layers_whose_gates_are_not_alike_are_not_stacked(calls):
    layers, x = network(), inputs(33)
    layers[1].gates = replace(layers[1].gates, temperature=2.0)
    assert torch.equal(sums_of_layers(layers, x, 5), one_by_one(layers, x, 5))
    assert calls == []


def test_half_precision_is_rounded_after_each_layer(calls):
    layers, x = network(), inputs(33).detach().bfloat16()
    assert torch.equal(sums_of_layers(layers, x, 5), one_by_one(layers, x, 5))
    assert calls == []


def test_groups_that_do_not_divide_the_neurons_are_an_error():
    with pytest.raises(ValueError, match="40 neurons cannot be divided into 7"):
        sums_of_layers(network(), inputs(2), 7)
