"""Learned leaves of convolutions: straight-through by its definition in every implementation, and chosen right."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.checkpoint import load_tree, save_tree
from src.logic import LogicConvolution, LogicLayer
from src.logic.learned_convolution import LearnedLogicConvolution
from src.logic.parametrisation import GateOptions
from src.models.to_circuit import circuit_of_layers
from tests.logic.compiling import FEW_OR_ALL
from tests.logic.windows import clear_windows

IMPLEMENTATIONS = ["torch", "numba"]
NORMAL = GateOptions(initialisation="normal")


def make(in_shape=(3, 6, 7), kernels=4, implementation="torch", seed=0, gates=NORMAL, candidates=5, **options):
    torch.manual_seed(seed)
    layer = LearnedLogicConvolution(
        in_shape, kernels, candidates=candidates, implementation=implementation, gates=gates, **options
    )
    torch.nn.init.normal_(layer.logits)
    return layer


@st.composite
def layers(draw, trees):
    """Options of any small layer, and a batch of more than a chunk or less."""
    tree_depth, pool = draw(st.sampled_from(trees))
    receptive_field, channels = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    options = {
        "in_shape": (channels, draw(st.integers(pool, 9)), draw(st.integers(pool, 30))),
        "kernels": draw(st.integers(1, 4)),
        "receptive_field": receptive_field,
        "tree_depth": tree_depth,
        "pool": pool,
        "candidates": draw(st.integers(1, min(9, channels * receptive_field**2))),
        "seed": draw(st.integers(0, 1000)),
    }
    return options, draw(st.sampled_from([1, 2, 16, 17, 37]))


def chosen(layer):
    """The pixels that a layer's logits choose, by a loop; int64 [3, kernels, leaves]."""
    kernels, leaves, _ = layer.logits.shape
    best = [[int(layer.logits[k, leaf].argmax()) for leaf in range(leaves)] for k in range(kernels)]
    pixels = [[layer.candidates[:, k, leaf, best[k][leaf]] for leaf in range(leaves)] for k in range(kernels)]
    return torch.stack([torch.stack(of_tree, 1) for of_tree in pixels], 1)


def fixed(layer):
    """The layer with fixed connections whose trees are those that are chosen."""
    trees = LogicConvolution(
        layer.in_shape,
        layer.shape.kernels,
        layer.receptive_field,
        layer.shape.leaves.bit_length() - 1,
        layer.shape.pool,
        gates=layer.gates,
        implementation="torch",
    )
    trees.load_state_dict({"weights": layer.weights.detach(), "indices": chosen(layer)})
    return trees.train(layer.training)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_outputs_and_gradients_are_those_of_the_chosen_pixels(implementation, training):
    layer = make(implementation=implementation).train(training)
    x = torch.rand(layer.in_dim, 18, requires_grad=True)
    y, expected = layer.forward_features(x), fixed(layer).forward_features(x)
    torch.testing.assert_close(y, expected)
    if training:
        grad = torch.randn_like(y)
        found, wanted = torch.autograd.grad(y, x, grad), torch.autograd.grad(expected, x, grad)
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_logits_get_the_gradient_of_mixing_each_candidate_in():
    """A candidate's slope is the derivative in how much of the candidate is added to the leaf, by differences."""
    layer = make((2, 4, 5), 2, candidates=4, receptive_field=3, tree_depth=2, pool=1).double()
    x = torch.rand(layer.in_dim, 3, dtype=torch.float64)
    (slopes,) = torch.autograd.grad(layer.forward_features(x).sum(), layer.logits)

    def output(kernel, leaf, candidate, share):
        """The sum of the outputs when so much of a candidate is added to a leaf."""
        frames = x.reshape(2, 4, 5, 3)
        padded = torch.nn.functional.pad(frames, (0, 0, 1, 1, 1, 1))

        def read(place):
            channel, dy, dx = place.tolist()
            return padded[channel, dy : dy + 4, dx : dx + 5]

        nodes = [read(place) for place in chosen(layer)[:, kernel].T]
        nodes[leaf] = nodes[leaf] + share * read(layer.candidates[:, kernel, leaf, candidate])
        for gate, c in enumerate(layer.coefficients().detach().reshape(2, 3, 4)[kernel]):
            a, b = nodes[2 * gate : 2 * gate + 2]
            nodes.append(c[0] + c[1] * a + c[2] * b + c[3] * a * b)
        return float(nodes[-1].sum())

    for kernel in range(2):
        for leaf in range(4):
            more, less = (
                torch.tensor([output(kernel, leaf, i, share) for i in range(4)], dtype=torch.float64)
                for share in (1e-3, -1e-3)
            )
            of_shares = (more - less) / 2e-3
            shares = layer.logits[kernel, leaf].detach().softmax(0)
            of_logits = shares * (of_shares - (shares * of_shares).sum())
            torch.testing.assert_close(slopes[kernel, leaf], of_logits, rtol=1e-6, atol=1e-6)


def check_kernels_against_plain_pytorch(options, batch, need_grad_x):
    results = []
    for implementation in IMPLEMENTATIONS:
        layer = make(**options, implementation=implementation, grad_factor=1.5)
        x = torch.rand(layer.in_dim, batch, generator=torch.Generator().manual_seed(0)).requires_grad_(need_grad_x)
        y = layer.forward_features(x)
        weight = torch.rand(y.shape, generator=torch.Generator().manual_seed(1)) * clear_windows(fixed(layer), x)
        learned = [*([x] if need_grad_x else []), layer.weights, layer.logits]
        results.append([y.detach(), *torch.autograd.grad(y, learned, weight)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()) + 1e-6)


@FEW_OR_ALL
@settings(max_examples=25, deadline=None)
@given(st.data(), st.booleans())
def test_kernels_and_plain_pytorch_give_the_same_outputs_and_gradients(trees, data, need_grad_x):
    options, batch = data.draw(layers(trees))
    check_kernels_against_plain_pytorch(options, batch, need_grad_x)


@pytest.mark.slow
def test_values_in_a_window_that_differ_by_rounding_alone_give_the_same():
    options = {"in_shape": (3, 5, 26), "kernels": 3, "receptive_field": 3, "tree_depth": 4, "pool": 3}
    check_kernels_against_plain_pytorch({**options, "candidates": 1, "seed": 915}, 16, need_grad_x=False)


@pytest.mark.parametrize("implementation", ["torch", pytest.param("numba", marks=pytest.mark.slow)])
def test_walsh_gates_learn_their_leaves_too(implementation):
    layer = make(gates=GateOptions("walsh"), implementation=implementation)
    layer.forward_features(torch.rand(layer.in_dim, 5)).sum().backward()
    assert layer.logits.grad.abs().sum() > 0


def test_a_layer_begins_as_the_fixed_one_of_the_same_seed():
    torch.manual_seed(3)
    learned = LearnedLogicConvolution((4, 8, 8), 6, 3, candidates=7)
    torch.manual_seed(3)
    drawn = LogicConvolution((4, 8, 8), 6, 3)
    assert torch.equal(learned.indices, drawn.indices)
    assert torch.equal(learned.weights, drawn.weights)


def test_candidates_of_a_leaf_are_distinct_pixels_of_any_channel():
    layer = make((5, 8, 8), 20, receptive_field=3, candidates=45)
    channel, row, column = layer.candidates
    pixels = (channel * 9 + row * 3 + column).sort(-1).values
    assert torch.equal(pixels, torch.arange(45).expand_as(pixels))


def test_more_candidates_than_pixels_cannot_be():
    with pytest.raises(ValueError, match="10 candidates cannot be told apart among 9 pixels"):
        LearnedLogicConvolution((1, 8, 8), 2, 3, candidates=10)


@pytest.mark.slow
def test_a_leaf_learns_to_see_the_pixel_that_decides():
    torch.manual_seed(0)
    options = {"tree_depth": 1, "pool": 1, "gates": GateOptions("light", "residual"), "implementation": "torch"}
    layer = LearnedLogicConvolution((1, 6, 6), 1, 3, candidates=9, **options)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.1)
    for _ in range(200):
        x = torch.randint(0, 2, (36, 32)).float()
        shifted = torch.nn.functional.pad(x.reshape(1, 6, 6, 32), (0, 0, 0, 1))[:, :, 1:].reshape(36, 32)
        loss = (layer.forward_features(x) - shifted).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    layer.eval()
    assert torch.equal(layer.forward_features(x), shifted)


def test_a_state_dict_is_the_whole_layer(tmp_path):
    layer, other = make(seed=1), make(seed=2)
    save_tree(tmp_path / "layer", layer.state_dict())
    other.load_state_dict(load_tree(tmp_path / "layer"))
    x = torch.rand(layer.in_dim, 4)
    assert torch.equal(layer.forward_features(x), other.forward_features(x))
    assert torch.equal(copy.deepcopy(layer).forward_features(x), layer.forward_features(x))


def test_a_circuit_reads_the_chosen_pixels():
    layer = make((2, 6, 6), 4, receptive_field=3, tree_depth=2, pool=2).eval()
    last = LogicLayer(layer.out_dim, 40).eval()
    bits = torch.rand(layer.in_dim, 64).round()
    packed = np.packbits(bits.T.numpy() > 0, axis=1, bitorder="little")
    expected = last.forward_sums(layer.forward_features(bits), 10).T
    circuit = circuit_of_layers([layer, last], 10)
    assert np.array_equal(circuit(packed), expected.int().numpy())
