"""Gates of four and six inputs: values and gradients, discretised gates, noise, trees, and what is refused."""

import itertools

import pytest
import torch

from src.logic import LogicConvolution, LogicLayer
from src.logic.gates import inputs_that_matter
from src.logic.learned_convolution import LearnedLogicConvolution
from src.logic.learned_dense import LearnedLogicLayer
from src.logic.parametrisation import FORWARD_SAMPLINGS, GateOptions, GateWeights
from tests.logic import tables

IMPLEMENTATIONS = ["torch", "numba"]
PARAMETRISATIONS = ["light", "walsh"]
SHAPES = [(8, 5, 1), (30, 17, 33), (40, 60, 300)]  # in_dim, out_dim, batch: less than a tile, and several

pytestmark = [
    pytest.mark.parametrize("parametrisation", PARAMETRISATIONS),
    pytest.mark.parametrize("fan_in", [4, 6]),
]


def make(parametrisation, fan_in, in_dim=20, out_dim=30, implementation="torch", kind=LogicLayer, **options):
    torch.manual_seed(0)
    own = {name: options.pop(name) for name in ("grad_factor", "candidates", "connections") if name in options}
    gates = GateOptions(parametrisation, fan_in=fan_in, **options)
    return kind(in_dim, out_dim, implementation=implementation, gates=gates, **own)


def assert_equal_gradients(found, wanted):
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours.double(), theirs.double(), rtol=1e-5, atol=1e-5 * float(theirs.abs().max()))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("in_dim", "out_dim", "batch"), SHAPES)
@pytest.mark.parametrize("initialisation", ["normal", "residual"])
def test_outputs_and_gradients_are_those_of_the_definition(
    parametrisation, fan_in, implementation, in_dim, out_dim, batch, initialisation
):
    options = {"initialisation": initialisation, "temperature": 0.7, "grad_factor": 1.5}
    layer = make(parametrisation, fan_in, in_dim, out_dim, implementation, **options)
    x, grad = torch.rand(batch, in_dim, requires_grad=True), torch.randn(batch, out_dim)
    y = layer(x)
    grad_x, grad_weights = torch.autograd.grad(y, [x, layer.weights], grad)
    exact = x.detach().double().requires_grad_(), layer.weights.detach().double().requires_grad_()
    exact_y = tables.expected(*exact, layer.indices, parametrisation, 0.7)
    exact_x, exact_weights = torch.autograd.grad(exact_y, exact, grad.double())
    torch.testing.assert_close(y.double(), exact_y, rtol=1e-5, atol=1e-6)
    assert_equal_gradients([grad_x, grad_weights], [1.5 * exact_x, exact_weights])


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_frozen_inputs_change_no_gradient_of_the_weights(parametrisation, fan_in, implementation):
    layer = make(parametrisation, fan_in, implementation=implementation)
    x, grad = torch.rand(33, 20), torch.randn(33, 30)
    (frozen,) = torch.autograd.grad(layer(x), layer.weights, grad)
    (wanted,) = torch.autograd.grad(layer(x.requires_grad_()), layer.weights, grad)
    assert torch.equal(frozen, wanted)


def test_gradcheck_passes_in_float64(parametrisation, fan_in):
    layer = make(parametrisation, fan_in, 8, 3, temperature=2.0).double()
    x = torch.rand(3, 8, dtype=torch.float64, requires_grad=True)

    def outputs(x, weights):
        return torch.func.functional_call(layer, {"weights": weights}, (x,))

    assert torch.autograd.gradcheck(outputs, (x, layer.weights))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_discretised_gate_is_where_its_relaxed_one_is_above_a_half(parametrisation, fan_in, implementation):
    layer = make(parametrisation, fan_in, 40, 100, implementation)
    places = torch.tensor(list(itertools.product((0.0, 1.0), repeat=fan_in)))
    indices = torch.arange(fan_in)[:, None].expand(fan_in, 100)
    relaxed = tables.expected(places, layer.weights, indices, parametrisation).T > 0.5
    assert torch.equal(layer.truth_tables(), relaxed)
    x = torch.randint(0, 2, (64, 40))
    corner = sum(x[:, row] << (fan_in - 1 - i) for i, row in enumerate(layer.indices))
    assert torch.equal(layer.eval()(x.float()), relaxed.T.gather(0, corner).float())


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_straight_through_gives_what_eval_mode_gives_with_the_relaxed_gradient(parametrisation, fan_in, implementation):
    hard, soft = (
        make(parametrisation, fan_in, implementation=implementation, forward_sampling=sampling, temperature=0.5)
        for sampling in ("hard", "soft")
    )
    x, grad = torch.randint(0, 2, (33, 20)).float(), torch.randn(33, 30)
    grads = [torch.autograd.grad(layer(x), layer.weights, grad)[0] for layer in (hard, soft)]
    assert_equal_gradients(grads[:1], grads[1:])
    assert torch.equal(hard(x), hard.eval()(x))


def test_gates_cost_nothing_as_wires_or_constants_and_most_as_parity(parametrisation, fan_in):
    corners = torch.arange(2**fan_in)
    digits = corners[None] >> torch.arange(fan_in)[:, None] & 1
    tables = {"constant": 0 * corners, "wire": digits[1], "inverter": 1 - digits[0], "parity": digits.sum(0) % 2}
    tables["and of two"] = digits[0] & digits[1]
    weights = torch.stack(list(tables.values())) * 80.0 - 40
    if parametrisation == "walsh":  # whose weights are the transform of the logits
        signs = [[(-1) ** (corner & subset).bit_count() for subset in corners.tolist()] for corner in corners.tolist()]
        weights = -weights @ torch.tensor(signs).float() / 2**fan_in
    weights.requires_grad_()
    prices = GateWeights(weights, GateOptions(parametrisation, fan_in=fan_in), relaxed=True).prices()
    wanted = torch.tensor([0, 0, 0, 1, 0.5 / (fan_in - 1)])
    torch.testing.assert_close(prices, wanted, rtol=0, atol=1e-5)


def test_the_price_falls_by_its_gradient(parametrisation, fan_in):
    layer = make(parametrisation, fan_in, forward_sampling="gumbel_hard")
    before = layer.gate_weights().prices().sum()
    (gradient,) = torch.autograd.grad(before, layer.weights)
    layer.weights.data -= 0.1 * gradient / gradient.norm()
    assert layer.gate_weights().prices().sum() < before


@pytest.mark.parametrize("sampling", ["gumbel_soft", "gumbel_hard"])
def test_noise_comes_from_the_global_generator_in_train_mode_alone(parametrisation, fan_in, sampling):
    layer = make(parametrisation, fan_in, implementation="numba", forward_sampling=sampling)
    x = torch.rand(7, 20)
    torch.manual_seed(5)
    first, second = layer(x), layer(x)
    torch.manual_seed(5)
    assert torch.equal(layer(x), first)
    assert not torch.equal(first, second)
    before = torch.get_rng_state()
    layer.eval()(x)
    assert torch.equal(torch.get_rng_state(), before)


def test_noise_gives_a_one_as_often_as_the_probability_at_the_corner_says(parametrisation, fan_in):
    torch.manual_seed(0)
    weights = torch.randn(2**fan_in)
    options = GateOptions(parametrisation, forward_sampling="gumbel_hard", fan_in=fan_in)
    gates = GateWeights(weights.expand(10_000, -1), options, relaxed=True)
    often = gates.outputs(gates.tables()).mean(0)
    probability = tables.corners(weights[None], parametrisation)[0]
    probability = torch.sigmoid(probability) if parametrisation == "walsh" else probability
    torch.testing.assert_close(often, probability, rtol=0, atol=0.02)  # four standard deviations


def test_a_residual_gate_passes_its_first_input_on(parametrisation, fan_in):
    layer = make(parametrisation, fan_in, initialisation="residual", temperature=0.5)
    x = torch.randint(0, 2, (50, 20)).float()
    first = x[:, layer.indices[0]]
    relaxed = torch.where(first == 1, 0.951, 0.049)
    torch.testing.assert_close(layer(x).detach(), relaxed, rtol=0, atol=1e-3)
    assert torch.equal(layer.eval()(x), first)
    assert inputs_that_matter(layer.truth_tables().numpy()).tolist() == [1] * 30


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("sampling", FORWARD_SAMPLINGS)
def test_the_sums_of_a_layer_are_those_of_its_outputs(parametrisation, fan_in, implementation, sampling):
    layer = make(parametrisation, fan_in, implementation=implementation, forward_sampling=sampling)
    x = torch.rand(20, 33)
    torch.manual_seed(1)
    sums = layer.forward_sums(x, 5)
    torch.manual_seed(1)
    torch.testing.assert_close(sums, layer.forward_features(x).reshape(5, 6, 33).sum(1))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_learned_connections_get_the_gradient_of_a_mixture_of_their_candidates(parametrisation, fan_in, implementation):
    layer = make(parametrisation, fan_in, 20, 12, implementation, LearnedLogicLayer, candidates=3)
    x, grad = torch.rand(33, 20), torch.randn(33, 12)
    (found,) = torch.autograd.grad(layer(x), layer.logits, grad)
    # Each input is what has been chosen, with the gradient of the mixture.
    logits = layer.logits.detach().double().requires_grad_()
    shares = logits.softmax(-1)
    candidates = x.double()[:, layer.candidates.long()]  # [batch, k, out_dim, candidates]
    inputs = x.double()[:, layer.indices] + (candidates * (shares - shares.detach())).sum(-1)
    y = tables.interpolated(inputs.unbind(1), tables.corners(layer.weights.detach().double(), parametrisation))
    y = torch.sigmoid(y) if parametrisation == "walsh" else y
    assert_equal_gradients([found], torch.autograd.grad(y, logits, grad.double()))


@pytest.mark.parametrize("pool", [1, 2])
def test_a_tree_is_its_gates_one_after_the_other_in_every_implementation(parametrisation, fan_in, pool):
    depth = 2 if fan_in == 4 else 1
    results = []
    for implementation in IMPLEMENTATIONS:
        torch.manual_seed(0)
        gates = GateOptions(parametrisation, fan_in=fan_in)
        layer = LogicConvolution(
            (2, 7, 6), 3, 3, depth, pool, grad_factor=1.5, implementation=implementation, gates=gates
        )
        x = torch.rand(5, 2, 7, 6, requires_grad=True)
        y = layer(x)
        grad = torch.randn_like(y)
        results.append([y, *torch.autograd.grad(y, [x, layer.weights], grad)])
    of_x, of_weights = x.detach().requires_grad_(), layer.weights.detach().requires_grad_()
    values = tables.corners(of_weights, parametrisation).reshape(3, -1, 2**fan_in)
    padded = torch.cat([of_x.flatten(1).T, torch.zeros(1, 5)])
    nodes = [padded[inputs] for inputs in layer.leaf_inputs()]  # [window, kernels, height, width, batch]
    for gate in range(values.shape[1]):
        of_kernels = values[:, gate, None, None, None]
        node = tables.interpolated(nodes[fan_in * gate : fan_in * gate + fan_in], of_kernels)
        nodes.append(torch.sigmoid(node) if parametrisation == "walsh" else node)
    wanted = nodes[-1].amax(0).permute(3, 0, 1, 2)
    gradients = torch.autograd.grad(wanted, [of_x, of_weights], grad)
    for y, *found in results:
        torch.testing.assert_close(y, wanted, rtol=1e-5, atol=1e-6)
        assert_equal_gradients(found, [1.5 * gradients[0], gradients[1]])


def test_a_tree_with_candidates_learns_alike_in_every_implementation(parametrisation, fan_in):
    results = []
    for implementation in IMPLEMENTATIONS:
        torch.manual_seed(0)
        gates = GateOptions(parametrisation, fan_in=fan_in)
        options = {"tree_depth": 1, "candidates": 4, "implementation": implementation, "gates": gates}
        layer = LearnedLogicConvolution((2, 7, 6), 3, 3, **options)
        y = layer(torch.rand(5, 2, 7, 6))
        results.append(torch.autograd.grad(y, [layer.weights, layer.logits], torch.randn_like(y)))
        assert results[-1][1].abs().max() > 0
        torch.testing.assert_close(results[-1][1].sum(-1), torch.zeros(3, fan_in), rtol=0, atol=1e-4)
    assert_equal_gradients(*results)


def test_softmax_has_no_gates_of_more_than_two_inputs(parametrisation, fan_in):
    message = f"'softmax' has gates of two inputs only; fan_in {fan_in} needs one of light, walsh"
    with pytest.raises(ValueError, match=message):
        GateOptions("softmax", fan_in=fan_in)


def test_other_numbers_of_inputs_are_refused(parametrisation, fan_in):
    with pytest.raises(ValueError, match=f"fan_in {fan_in + 1} is not one of 2, 4, 6"):
        GateOptions(parametrisation, fan_in=fan_in + 1)
