"""LogicConvolution: trees of gates at every position in every implementation, and a well-behaved module."""

import copy
import itertools

import numba
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.logic import LogicConvolution, LogicLayer
from src.logic.convolution import tree_connections
from src.logic.learned_convolution import LearnedLogicConvolution
from src.logic.parametrisation import GateOptions
from src.registry import PARAMETRISATIONS
from tests.logic import oracle
from tests.logic.compiling import FEW_OR_ALL, TREES_AND_WINDOWS, printed_by_each
from tests.logic.windows import clear_windows

NORMAL = GateOptions(initialisation="normal")
IMPLEMENTATIONS = ["torch", "numba"]


def make(in_shape=(3, 6, 7), kernels=4, implementation="numba", gates=NORMAL, seed=0, **options):
    torch.manual_seed(seed)
    return LogicConvolution(in_shape, kernels, implementation=implementation, gates=gates, **options)


@st.composite
def layers(draw, trees_and_windows):
    """Options of any small layer, frames that no window fills among them, and a batch of more than a chunk or less."""
    tree_depth, pool = draw(st.sampled_from(trees_and_windows))
    sizes = [draw(st.integers(1, 4)), draw(st.integers(pool, 9)), draw(st.integers(pool, 30))]
    options = {
        "in_shape": tuple(sizes),
        "kernels": draw(st.integers(1, 5)),
        "receptive_field": draw(st.integers(1, 5)),
        "tree_depth": tree_depth,
        "pool": pool,
        "seed": draw(st.integers(0, 1000)),
    }
    return options, draw(st.sampled_from([1, 2, 16, 17, 37]))


def some_input(layer, batch, bits=False):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(layer.in_dim, batch, generator=generator)
    return x.round() if bits else x


def by_hand(layer, frame):
    """The outputs of one frame [channels, height, width], position by position and gate by gate."""
    kernels, height, width = layer.out_shape
    leaves, pool, before = layer.shape.leaves, layer.shape.pool, (layer.receptive_field - 1) // 2
    gates = layer.discretised_gates().reshape(kernels, leaves - 1).tolist()
    probabilities = layer.weights.softmax(-1).reshape(kernels, leaves - 1, 16)
    out = torch.zeros(layer.out_shape)
    for k, y, x in itertools.product(range(kernels), range(height), range(width)):
        window = []
        for py, px in itertools.product(range(pool), repeat=2):
            nodes = []
            for channel, dy, dx in layer.indices[:, k].T.tolist():
                row, column = y * pool + py + dy - before, x * pool + px + dx - before
                inside = 0 <= row < frame.shape[1] and 0 <= column < frame.shape[2]
                nodes.append(frame[channel, row, column] if inside else torch.tensor(0.0))
            for g in range(leaves - 1):
                a, b = nodes[2 * g], nodes[2 * g + 1]
                if layer.training:
                    nodes.append(sum(probabilities[k, g, i] * oracle.gate(i, a, b) for i in range(16)))
                else:
                    nodes.append(oracle.gate(gates[k][g], a, b))
            window.append(nodes[-1])
        out[k, y, x] = max(window)
    return out


@pytest.mark.parametrize("training", [True, False], ids=["relaxed", "discretised"])
@pytest.mark.parametrize(
    ("receptive_field", "pool", "tree_depth"),
    [(3, 2, 3), pytest.param(2, 1, 1, marks=pytest.mark.slow), pytest.param(4, 3, 3, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_outputs_are_those_of_the_trees_at_every_position(implementation, receptive_field, pool, tree_depth, training):
    layer = make((2, 5, 4), 2, implementation, receptive_field=receptive_field, pool=pool, tree_depth=tree_depth)
    frames = some_input(layer, 2, bits=not training).T.reshape(2, 2, 5, 4)
    y = layer.train(training)(frames)
    torch.testing.assert_close(y, torch.stack([by_hand(layer, frame) for frame in frames]), rtol=1e-5, atol=1e-6)


# What comes after a tree is compiled in as well: nothing for these, a sigmoid or a step for walsh gates.
@pytest.mark.parametrize(
    ("trees", "parametrisations"),
    [
        (TREES_AND_WINDOWS[:1], ["softmax", "light"]),
        pytest.param(TREES_AND_WINDOWS, list(PARAMETRISATIONS), marks=pytest.mark.slow),
    ],
    ids=["few", "all"],
)
@settings(max_examples=40, deadline=None)
@given(st.data(), st.booleans(), st.sampled_from(["soft", "hard"]), st.sampled_from([1.0, 0.5]))
def test_kernels_and_plain_pytorch_give_the_same_outputs_and_gradients(
    trees, parametrisations, data, bits, sampling, temperature
):
    options, batch = data.draw(layers(trees))
    options["gates"] = GateOptions(data.draw(st.sampled_from(parametrisations)), "normal", sampling, temperature)
    results = []
    for implementation in IMPLEMENTATIONS:
        layer = make(**options, implementation=implementation, grad_factor=1.5)
        x = some_input(layer, batch, bits).requires_grad_()
        y = layer.forward_features(x)
        weight = torch.rand(y.shape, generator=torch.Generator().manual_seed(1)) * clear_windows(layer, x)
        results.append([y.detach(), *torch.autograd.grad(y, [x, layer.weights], weight)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()) + 1e-12)


@FEW_OR_ALL
@settings(max_examples=15, deadline=None)
@given(st.data())
def test_a_discretised_layer_gives_exactly_the_bits_of_plain_pytorch(trees, data):
    options, batch = data.draw(layers(trees))
    ours, theirs = (make(**options, implementation=implementation).eval() for implementation in IMPLEMENTATIONS)
    x = some_input(ours, batch, bits=True)
    y = ours.forward_features(x)
    assert torch.equal(y, theirs.forward_features(x))
    assert torch.equal(y, y.bool().float())


def as_dense_layers(layer):
    """Dense layers that compute, level by level, what a layer's trees do with the channels of one pixel."""
    kernels, leaves = layer.shape.kernels, layer.shape.leaves
    weights, first = layer.weights.detach().reshape(kernels, leaves - 1, -1), 0
    dense, in_dim, indices = [], layer.in_shape[0], layer.indices[0]  # [kernels, nodes of a level]
    while indices.shape[1] > 1:
        width = indices.shape[1] // 2
        level = LogicLayer(in_dim, kernels * width, implementation="torch", gates=layer.gates)
        level.weights = torch.nn.Parameter(weights[:, first : first + width].flatten(0, 1))
        level.indices = torch.stack([indices[:, 0::2].flatten(), indices[:, 1::2].flatten()])
        dense.append(level)
        first, in_dim = first + width, kernels * width
        indices = torch.arange(kernels * width).reshape(kernels, width)
    return torch.nn.Sequential(*dense)


@pytest.mark.parametrize("training", [True, False], ids=["relaxed", "discretised"])
@pytest.mark.parametrize(
    "gates",
    [
        GateOptions("softmax", "normal", "hard", 0.7),
        GateOptions("light", "normal", "soft", 0.7),
        GateOptions("light", "normal", "hard"),
        pytest.param(GateOptions("walsh", "normal", "soft", 0.7), marks=pytest.mark.slow),
        pytest.param(GateOptions("walsh", "normal", "hard"), marks=pytest.mark.slow),
    ],
    ids=["softmax-hard", "light-soft", "light-hard", "walsh-soft", "walsh-hard"],
)
def test_gates_of_all_parametrisations_are_those_of_dense_layers(gates, training):
    layer = make((5, 2, 2), 6, receptive_field=1, gates=gates).train(training)
    dense = as_dense_layers(layer).train(training)
    x = torch.rand(5, 20, generator=torch.Generator().manual_seed(0))
    x = (x if training else x.round()).requires_grad_()
    four_pixels = x.repeat_interleave(4, dim=0)  # equal ones: the largest output of a window is each
    ours, theirs = layer.forward_features(four_pixels), dense(x.T).T
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    found = torch.autograd.grad(ours.square().sum(), [x, layer.weights] if training else [x])
    expected = torch.autograd.grad(theirs.square().sum(), [x, *(level.weights for level in dense)] if training else [x])
    torch.testing.assert_close(found[0], expected[0], rtol=1e-4, atol=1e-5)
    if training:
        levels = [grad.reshape(6, -1, grad.shape[1]) for grad in expected[1:]]
        torch.testing.assert_close(found[1].reshape(6, 7, -1), torch.cat(levels, 1), rtol=1e-4, atol=1e-5)


def test_gradcheck_passes_in_float64():
    layer = make((2, 3, 4), 2, "torch", receptive_field=3, tree_depth=2).double()
    x = some_input(layer, 2).double().requires_grad_()

    def outputs(x, weights):
        return torch.func.functional_call(layer, {"weights": weights}, (x.T.reshape(2, 2, 3, 4),))

    assert torch.autograd.gradcheck(outputs, (x, layer.weights), fast_mode=True)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_of_equal_outputs_in_a_window_the_first_gets_the_gradient(implementation):
    layer = make((1, 2, 2), 1, implementation, receptive_field=1, gates=None)
    x = torch.full((4, 1), 0.5, requires_grad=True)
    (grad,) = torch.autograd.grad(layer.forward_features(x).sum(), x)
    assert grad[0] > 0
    assert (grad[1:] == 0).all()


def test_inputs_without_gradient_change_nothing_of_the_weights():
    layer = make()
    x = some_input(layer, 20)
    (alone,) = torch.autograd.grad(layer.forward_features(x).square().sum(), layer.weights)
    x.requires_grad_()
    (beside, _) = torch.autograd.grad(layer.forward_features(x).square().sum(), [layer.weights, x])
    assert torch.equal(alone, beside)


def test_results_do_not_depend_on_the_number_of_threads():
    results = []
    for threads in (1, numba.config.NUMBA_NUM_THREADS):
        numba.set_num_threads(threads)
        layer = make((3, 12, 34), 5)
        x = some_input(layer, 50).requires_grad_()
        y = layer.forward_features(x)
        results.append([y, *torch.autograd.grad(y.square().sum(), [x, layer.weights])])
    for one, many in zip(*results, strict=True):
        assert torch.equal(one, many)


@pytest.mark.slow
def test_results_are_the_same_bits_freshly_compiled_and_from_the_cache(tmp_path):
    script = """
import hashlib, torch
from src.logic import LogicConvolution, LogicLayer
torch.manual_seed(0)
digest = hashlib.sha256()
for batch in (3, 19):
    layer = LogicConvolution((2, 6, 11), 2, implementation="numba")
    x = torch.rand(132, batch).requires_grad_()
    y = layer.forward_features(x)
    for tensor in [y, *torch.autograd.grad(y.square().sum(), [x, layer.weights])]:
        digest.update(tensor.detach().numpy().tobytes())
print(digest.hexdigest())
"""
    assert len(set(printed_by_each(script, tmp_path, {}, {}))) == 1


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_activations_keep_their_dtype_and_come_close(implementation, dtype):
    layer = make(implementation=implementation)
    x = some_input(layer, 8)
    y = layer.forward_features(x.to(dtype))
    assert y.dtype == dtype
    torch.testing.assert_close(y.float(), layer.forward_features(x), rtol=0.02, atol=0.02)
    y.sum().backward()
    assert layer.weights.grad.dtype == torch.float32


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_no_frames_give_no_outputs_and_gradients_of_zero(implementation):
    layer = make(implementation=implementation)
    y = layer.forward_features(torch.empty(layer.in_dim, 0))
    assert y.shape == (layer.out_dim, 0)
    y.sum().backward()
    assert layer.weights.grad.shape == layer.weights.shape
    assert not layer.weights.grad.any()


@pytest.mark.parametrize("implementation", ["torch", pytest.param("numba", marks=pytest.mark.slow)])
def test_weights_that_are_not_numbers_are_seen_in_the_outputs(implementation):
    layer = make(kernels=2, implementation=implementation, gates=GateOptions("walsh"))
    torch.nn.init.constant_(layer.weights[: len(layer.weights) // 2], torch.nan)
    broken, whole = layer.forward_features(some_input(layer, 3)).chunk(2)
    assert broken.isnan().all()
    assert not whole.isnan().any()


@pytest.mark.parametrize("implementation", ["numba", "torch"])
def test_an_activation_that_is_not_a_number_is_seen_wherever_it_is_read(implementation):
    layer = make(kernels=6, implementation=implementation)
    x = some_input(layer, 20)
    x[7, 3] = torch.nan
    y = layer.forward_features(x)
    read = (layer.leaf_inputs() == 7).any(0).any(0).flatten()
    assert torch.equal(y[:, 3].isnan(), read)
    assert not y[:, torch.arange(20) != 3].isnan().any()


def test_a_state_dict_is_the_whole_layer():
    layer, other = make(seed=0), make(seed=1)
    frames = some_input(layer, 5).T.reshape(5, *layer.in_shape)
    before = other(frames)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(frames), layer(frames))
    assert not torch.equal(other(frames), before)
    assert torch.equal(copy.deepcopy(other)(frames), layer(frames))


def test_the_same_seed_draws_the_same_layer():
    one, same, other = make(seed=3), make(seed=3), make(seed=4)
    assert torch.equal(one.indices, same.indices)
    assert torch.equal(one.weights, same.weights)
    assert not torch.equal(one.indices, other.indices)


def test_gates_begin_as_pass_throughs():
    layer = make(gates=None)
    assert (layer.discretised_gates() == 3).all()


@given(st.integers(1, 9), st.integers(1, 20), st.integers(1, 4), st.integers(1, 5))
def test_a_tree_sees_two_channels_and_no_pixel_twice_unless_it_must(channels, kernels, tree_depth, receptive_field):
    leaves = 2**tree_depth
    drawn = tree_connections(channels, kernels, leaves, receptive_field)
    assert drawn.shape == (3, kernels, leaves)
    assert (drawn >= 0).all()
    assert (drawn[0] < channels).all()
    assert (drawn[1:] < receptive_field).all()
    for tree in drawn.unbind(1):
        assert len(tree[0].unique()) <= 2
        assert len(set(map(tuple, tree.T.tolist()))) == min(leaves, min(channels, 2) * receptive_field**2)


@pytest.mark.parametrize("candidates", [1, 4])
def test_a_groups_kernels_see_its_channels_alone(candidates):
    options = {"tree_depth": 2, "pool": 1, "groups": 3}
    if candidates > 1:
        seen = LearnedLogicConvolution((6, 4, 4), 9, 3, candidates, **options).candidates[0]
    else:
        seen = LogicConvolution((6, 4, 4), 9, 3, **options).indices[0]
    assert (seen.reshape(9, -1) // 2 == torch.arange(9)[:, None] // 3).all()


@pytest.mark.parametrize(("channels", "kernels", "groups"), [(6, 9, 2), (4, 9, 3), (4, 4, 0)])
def test_groups_divide_channels_and_kernels(channels, kernels, groups):
    with pytest.raises(ValueError, match=f"cannot be divided into {groups} groups"):
        LogicConvolution((channels, 4, 4), kernels, 3, groups=groups)


def test_kernels_see_each_channel_equally_often():
    channels = tree_connections(8, 24, 64, 5)[0]  # enough leaves for a tree to use both of its channels
    seen = torch.stack([torch.bincount(tree, minlength=8) > 0 for tree in channels])
    assert (seen.sum(0) == 6).all()
    few = tree_connections(8, 4, 64, 5)[0]
    assert len(few.unique()) == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_shape": (2, 1, 8)}, "1 x 8 pixels are left, too few for pooling windows of 2 x 2"),
        ({"kernels": 0}, "kernels of at least 1, got 0"),
        ({"implementation": "difflogic"}, "'difflogic' has no convolutions; use one of auto, numba, triton, torch"),
    ],
)
def test_what_cannot_be_is_said(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_wrong_input_is_said():
    with pytest.raises(ValueError, match=r"expected 126 input features, got a tensor of shape \[125, 3\]"):
        make().forward_features(torch.rand(125, 3))
