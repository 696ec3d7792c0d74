"""Learned connections: straight-through by its definition in every implementation, and chosen right."""

import copy

import numba
import numpy as np
import pytest
import torch

from src.checkpoint import load_tree, save_tree
from src.logic import LogicLayer
from src.logic.backends.difflogic import Difflogic
from src.logic.learned_dense import LearnedLogicLayer
from src.logic.parametrisation import GateOptions
from src.models.to_circuit import circuit_of_layers
from src.registry import PARAMETRISATIONS
from tests.logic import oracle

IMPLEMENTATIONS = ["torch", "numba"]
SHAPES = [(2, 1, 1, 2), (10, 17, 5, 3), (50, 40, 33, 8), (300, 260, 100, 8)]  # in_dim, out_dim, batch, candidates


def make(in_dim=20, out_dim=30, candidates=5, implementation="torch", **options):
    torch.manual_seed(0)
    layer = LearnedLogicLayer(in_dim, out_dim, candidates=candidates, implementation=implementation, **options)
    torch.nn.init.normal_(layer.logits)
    return layer


def chosen(layer):
    """The inputs that a layer's logits choose, by a loop."""
    return torch.tensor(
        [
            [int(candidates[int(logits.argmax())]) for candidates, logits in zip(*role, strict=True)]
            for role in zip(layer.candidates, layer.logits.detach(), strict=True)
        ]
    )


def expected(x, weights, logits, layer):
    """Outputs [batch, out_dim]: the chosen inputs, with the gradient of the mixture of candidates for the logits."""
    shares = logits.softmax(-1)
    inputs = []
    for role in range(2):
        mixture = (x.detach()[:, layer.candidates[role].long()] * shares[role]).sum(-1)
        inputs.append(x[:, layer.indices[role]] + mixture - mixture.detach())
    places = torch.arange(2 * len(weights)).reshape(2, -1)
    return oracle.mixture(torch.cat(inputs, 1), places[0], places[1], weights.softmax(-1))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("in_dim", "out_dim", "batch", "candidates"), SHAPES)
def test_outputs_and_gradients_are_those_of_the_definition(implementation, in_dim, out_dim, batch, candidates):
    layer = make(in_dim, out_dim, candidates, implementation)
    x = torch.rand(batch, in_dim, requires_grad=True)
    grad = torch.randn(batch, out_dim)
    y = layer(x)
    found = torch.autograd.grad(y, [x, layer.weights, layer.logits], grad)
    exact = [tensor.detach().double().requires_grad_() for tensor in (x, layer.weights, layer.logits)]
    exact_y = expected(*exact, layer)
    wanted = torch.autograd.grad(exact_y, exact, grad.double())
    torch.testing.assert_close(y.double(), exact_y, rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5 * float(theirs.abs().max()))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("parametrisation", list(PARAMETRISATIONS))
@pytest.mark.parametrize("sampling", ["soft", "gumbel_hard"])
def test_the_sums_of_a_layer_and_their_gradients_are_those_of_its_outputs(implementation, parametrisation, sampling):
    gates = GateOptions(parametrisation, forward_sampling=sampling)
    layer = make(20, 60, 5, implementation, grad_factor=1.5, gates=gates)
    x, grad = torch.rand(20, 33, requires_grad=True), torch.randn(5, 33)
    learned = [x, layer.weights, layer.logits]
    torch.manual_seed(1)
    found = torch.autograd.grad(layer.forward_sums(x, 5), learned, grad)
    torch.manual_seed(1)
    wanted = torch.autograd.grad(layer.forward_features(x).reshape(5, 12, 33).sum(1), learned, grad)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("parametrisation", list(PARAMETRISATIONS))
def test_implementations_agree_for_every_parametrisation(parametrisation):
    x = torch.rand(33, 20, requires_grad=True)
    results = []
    for implementation in IMPLEMENTATIONS:
        layer = make(implementation=implementation, grad_factor=1.5, gates=GateOptions(parametrisation))
        y = layer(x)
        results.append([y, *torch.autograd.grad(y.square().sum(), [x, layer.weights, layer.logits])])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_the_logits_learn_where_the_inputs_and_weights_do_not():
    layer = make(implementation="numba")
    layer.weights.requires_grad_(False)
    (grad,) = torch.autograd.grad(layer(torch.rand(9, 20)).square().sum(), layer.logits)
    assert grad.abs().max() > 0
    torch.testing.assert_close(grad.sum(-1), torch.zeros(2, 30), rtol=0, atol=1e-5)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("training", [True, False])
def test_a_layer_computes_what_one_with_the_chosen_connections_fixed_does(implementation, training):
    layer = make(implementation=implementation).train(training)
    fixed = LogicLayer(20, 30, connections=layer.indices, implementation=implementation).train(training)
    fixed.weights.data.copy_(layer.weights.data)
    x = torch.randint(0, 2, (9, 20)).float()
    torch.testing.assert_close(layer(x), fixed(x))


def test_a_layer_begins_as_the_random_one_of_the_same_seed():
    torch.manual_seed(3)
    random = LogicLayer(50, 40)
    torch.manual_seed(3)
    learned = LearnedLogicLayer(50, 40, candidates=6)
    assert torch.equal(learned.weights, random.weights)
    assert torch.equal(learned.indices, random.indices)


def test_the_indices_are_right_at_all_times():
    layer = make(implementation="numba")
    assert torch.equal(layer.indices, chosen(layer))
    optimizer = torch.optim.Adam(layer.parameters(), lr=1.0, fused=True)
    before = layer.indices
    layer(torch.rand(9, 20)).square().sum().backward()
    optimizer.step()
    assert not torch.equal(layer.indices, before)
    assert torch.equal(layer.indices, chosen(layer))
    layer.logits.data[:, :, 3] = 10.0  # seen by no version counter
    assert torch.equal(layer.indices, layer.candidates[:, :, 3])
    assert torch.equal(layer.eval().indices, layer.candidates[:, :, 3])


def test_a_state_dict_is_whole():
    source = make()
    torch.manual_seed(1)
    target = LearnedLogicLayer(20, 30, candidates=5, implementation="numba")
    target.load_state_dict(source.state_dict())
    assert set(source.state_dict()) == {"weights", "candidates", "logits"}
    assert torch.equal(target.indices, source.indices)
    x = torch.rand(5, 20)
    torch.testing.assert_close(target(x), source(x))
    assert torch.equal(copy.deepcopy(target)(x), target(x))


def network():
    torch.manual_seed(0)
    return torch.nn.ModuleList(
        LearnedLogicLayer(a, b, candidates=4, implementation="numba") for a, b in ((50, 90), (90, 60), (60, 60))
    )


def class_sums(layers, bits):
    x = bits
    for layer in layers[:-1]:
        x = layer.forward_features(x)
    return layers[-1].forward_sums(x, 6).T


def train(layers, optimizer, steps):
    bits = torch.randint(0, 2, (50, 64), generator=torch.Generator().manual_seed(2)).float()
    labels = bits[:6].argmax(0)
    for _ in range(steps):
        loss = torch.nn.functional.cross_entropy(class_sums(layers, bits), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def test_the_circuit_of_a_trained_network_counts_what_the_model_counts_in_eval_mode():
    layers = network()
    begin = [layer.indices for layer in layers]
    train(layers, torch.optim.Adam(layers.parameters(), lr=0.1), 20)
    assert not any(torch.equal(layer.indices, before) for layer, before in zip(layers, begin, strict=True))
    layers.eval()
    bits = np.random.default_rng(0).integers(0, 2, (130, 50), np.uint8)
    counts = class_sums(layers, torch.from_numpy(bits.T.copy()).float()).numpy()
    circuit = circuit_of_layers(list(layers), 6)
    for found in (circuit, circuit.simplified()):
        assert np.array_equal(found(np.packbits(bits, axis=1, bitorder="little")), counts)


def test_training_goes_on_from_a_checkpoint_bit_for_bit(tmp_path):
    layers = network()
    optimizer = torch.optim.Adam(layers.parameters(), lr=0.1, fused=True)
    train(layers, optimizer, 5)
    save_tree(tmp_path / "state", {"model": layers.state_dict(), "optimizer": optimizer.state_dict()})
    train(layers, optimizer, 5)

    resumed = network()
    state = load_tree(tmp_path / "state")
    resumed.load_state_dict(state["model"])
    optimizer = torch.optim.Adam(resumed.parameters(), lr=0.1, fused=True)
    state["optimizer"]["state"] = {int(key): value for key, value in state["optimizer"]["state"].items()}
    optimizer.load_state_dict(state["optimizer"])
    train(resumed, optimizer, 5)
    for name, value in layers.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value)


def test_results_do_not_depend_on_the_number_of_threads():
    results = []
    for threads in (1, numba.config.NUMBA_NUM_THREADS):
        numba.set_num_threads(threads)
        layer = make(500, 700, 8, "numba")
        x = torch.rand(65, 500, generator=torch.Generator().manual_seed(0)).requires_grad_()
        results.append(torch.autograd.grad(layer(x).square().sum(), [x, layer.weights, layer.logits]))
    for one, many in zip(*results, strict=True):
        assert torch.equal(one, many)


def test_and_gates_find_the_two_inputs_of_a_conjunction_among_their_candidates():
    layer = make(16, 40, candidates=8)
    layer.candidates.copy_(torch.stack([torch.arange(8), torch.arange(15, 7, -1)])[:, None])
    layer.weights.data[:, 1] = 8.0  # a and b
    optimizer = torch.optim.Adam([layer.logits], lr=0.1)
    for _ in range(100):
        x = torch.randint(0, 2, (64, 16)).float()
        (layer(x) - (x[:, 3] * x[:, 11])[:, None]).square().mean(0).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert torch.equal(layer.indices, torch.tensor([3, 11])[:, None].expand(2, 40))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_activations_have_gradients_that_come_close(implementation, dtype):
    layer = make(implementation=implementation)
    x = torch.rand(64, 20)
    found, wanted = (torch.autograd.grad(layer(some).float().sum(), layer.logits)[0] for some in (x.to(dtype), x))
    torch.testing.assert_close(found, wanted, rtol=0.05, atol=0.02)


def test_the_difflogic_package_cannot_learn_connections(monkeypatch):
    layer = make(implementation="difflogic")
    monkeypatch.setattr(Difflogic, "suits", lambda backend, x: True)
    with pytest.raises(ValueError, match="'difflogic' cannot learn connections"):
        layer(torch.rand(5, 20))
