"""LogicLayer and GroupSum: equal to the sum over sixteen gates in every implementation, and well-behaved modules."""

import copy
import importlib.util
import io
import os
import subprocess
import sys
from types import SimpleNamespace

import numba
import pytest
import torch

from src.bits import unpack_bits
from src.helpers import LOG
from src.logic import GroupSum, LogicLayer
from src.logic.backends import difflogic as difflogic_backend
from src.logic.backends import triton, unpack_features
from tests.logic import oracle
from tests.logic.compiling import printed_by_each
from tests.small_job import REPOSITORY

IMPLEMENTATIONS = ["torch", "numba"]
SHAPES = [(1, 1, 1), (3, 2, 1), (10, 17, 5), (50, 40, 33), (300, 256, 64)]  # in_dim, out_dim, batch


def make(in_dim=20, out_dim=30, implementation="torch", **options):
    torch.manual_seed(0)
    return LogicLayer(in_dim, out_dim, implementation=implementation, **options)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("in_dim", "out_dim", "batch"), SHAPES)
def test_relaxed_outputs_equal_the_sum_over_sixteen_gates(implementation, in_dim, out_dim, batch):
    layer = make(in_dim, out_dim, implementation)
    x = torch.rand(batch, in_dim)
    torch.testing.assert_close(layer(x), oracle.layer(x, layer.weights, layer.indices), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("in_dim", "out_dim", "batch"), SHAPES)
def test_gradients_equal_those_of_the_sum_over_sixteen_gates(implementation, in_dim, out_dim, batch):
    layer = make(in_dim, out_dim, implementation)
    x = torch.rand(batch, in_dim, requires_grad=True)
    grad = torch.randn(batch, out_dim)
    found = torch.autograd.grad(layer(x), [x, layer.weights], grad)
    x64 = x.detach().double().requires_grad_()
    weights64 = layer.weights.detach().double().requires_grad_()
    expected = torch.autograd.grad(oracle.layer(x64, weights64, layer.indices), [x64, weights64], grad.double())
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5 * float(theirs.abs().max()))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("in_dim", "out_dim", "batch"), SHAPES)
def test_discretised_outputs_are_exactly_those_of_the_most_likely_gates(implementation, in_dim, out_dim, batch):
    layer = make(in_dim, out_dim, implementation).eval()
    x = torch.randint(0, 2, (batch, in_dim)).float()
    assert torch.equal(layer(x), oracle.layer(x, layer.weights, layer.indices, training=False))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_neuron_may_see_one_input_twice_and_an_input_no_neuron(implementation):
    layer = make(6, 4, implementation)
    layer.indices.copy_(torch.tensor([[0, 1, 1, 5], [0, 1, 2, 5]]))
    x = torch.rand(3, 6, requires_grad=True)
    grad_x, grad_weights = torch.autograd.grad(layer(x).square().sum(), [x, layer.weights])
    expected = torch.autograd.grad(oracle.layer(x, layer.weights, layer.indices).square().sum(), [x, layer.weights])
    torch.testing.assert_close(grad_x, expected[0])
    torch.testing.assert_close(grad_weights, expected[1])
    assert (grad_x[:, [3, 4]] == 0).all()


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_grad_factor_multiplies_the_gradient_of_the_inputs_alone(implementation):
    plain, scaled = make(implementation=implementation), make(implementation=implementation, grad_factor=2.5)
    x = torch.rand(7, 20, requires_grad=True)
    grad_x, grad_weights = torch.autograd.grad(plain(x).sum(), [x, plain.weights])
    scaled_x, scaled_weights = torch.autograd.grad(scaled(x).sum(), [x, scaled.weights])
    torch.testing.assert_close(scaled_x, 2.5 * grad_x)
    assert torch.equal(scaled_weights, grad_weights)


def test_gradcheck_passes_in_float64():
    layer = make(6, 9).double()
    x = torch.rand(4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: oracle_free(layer, x, w), (x, layer.weights))


def oracle_free(layer, x, weights):
    return torch.func.functional_call(layer, {"weights": weights}, (x,))


def test_results_do_not_depend_on_the_number_of_threads():
    results = []
    for threads in (1, numba.config.NUMBA_NUM_THREADS):
        numba.set_num_threads(threads)
        layer = make(500, 700, "numba")
        x = torch.rand(65, 500, generator=torch.Generator().manual_seed(0)).requires_grad_()
        y = layer(x)
        results.append([y, *torch.autograd.grad(y.square().sum(), [x, layer.weights])])
    for one, many in zip(*results, strict=True):
        assert torch.equal(one, many)


@pytest.mark.slow
def test_results_are_the_same_bits_compiled_from_the_cache_and_not_compiled(tmp_path):
    # A run may compile the kernels, its resumed half may load them: the rounding must be the source's, not LLVM's.
    script = """
import hashlib, torch
from src.logic import LogicLayer
generator = torch.Generator().manual_seed(0)
torch.manual_seed(0)
digest = hashlib.sha256()
for batch in (3, 16, 83):
    x = torch.rand(40, batch, generator=generator).requires_grad_()
    layer = LogicLayer(40, 30, implementation="numba")
    y = layer.forward_features(x)
    z = LogicLayer(30, 40, implementation="numba").forward_sums(y, 5)
    for tensor in [y, z, *torch.autograd.grad(z.square().sum(), [x, layer.weights])]:
        digest.update(tensor.detach().numpy().tobytes())
print(digest.hexdigest())
"""
    assert len(set(printed_by_each(script, tmp_path, {}, {}, {"NUMBA_DISABLE_JIT": "1"}))) == 1


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_activations_keep_their_dtype_and_come_close(implementation, dtype):
    layer = make(implementation=implementation)
    x = torch.rand(8, 20)
    y = layer(x.to(dtype))
    assert y.dtype == dtype
    torch.testing.assert_close(y.float(), layer(x), rtol=0.02, atol=0.02)
    y.sum().backward()
    assert layer.weights.grad.dtype == torch.float32


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_discretised_outputs_are_exact_in_bfloat16(implementation):
    layer = make(implementation=implementation).eval()
    x = torch.randint(0, 2, (9, 20)).float()
    assert torch.equal(layer(x.bfloat16()).float(), layer(x))


def test_a_state_dict_is_whole_and_moves_between_implementations():
    source, target = make(implementation="torch"), LogicLayer(20, 30, implementation="numba")
    x = torch.rand(5, 20)
    target(x)  # connection lists of the old connections must not survive
    target.load_state_dict(source.state_dict())
    assert set(source.state_dict()) == {"weights", "indices"}
    torch.testing.assert_close(target(x), source(x))


def test_a_deep_copy_computes_the_same_and_is_independent():
    layer = make(implementation="numba")
    x = torch.rand(5, 20)
    y = layer(x)
    copied = copy.deepcopy(layer)
    assert torch.equal(copied(x), y)
    copied.indices.zero_()
    assert torch.equal(layer(x), y)
    assert not torch.equal(copied(x), y)


def test_a_saved_and_loaded_layer_computes_the_same():
    layer = make(implementation="numba")
    x = torch.rand(5, 20)
    y = layer(x)
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(x), y)


def test_a_layer_converted_to_half_precision_still_trains():
    layer = make(implementation="numba").bfloat16()
    layer(torch.rand(5, 20).bfloat16()).sum().backward()
    assert layer.weights.grad.dtype == torch.bfloat16
    assert layer.indices.dtype == torch.int64


@pytest.mark.slow
def test_a_compiled_model_computes_the_same():
    layers = torch.nn.Sequential(make(20, 30, "auto"), make(30, 40, "auto"), GroupSum(10, 2.0))
    x = torch.rand(5, 20)
    torch.testing.assert_close(torch.compile(layers, backend="eager")(x), layers(x))


def test_the_same_seed_gives_the_same_layer():
    assert all(
        torch.equal(a, b) for a, b in zip(make().state_dict().values(), make().state_dict().values(), strict=True)
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"implementation": "cuda"}, "implementation 'cuda' is not one of"),
        ({"connections": "dense"}, "connections 'dense' is not one of"),
        ({"out_dim": 9}, "9 neurons cannot use all of 20 inputs"),
        ({"in_dim": 0}, "needs inputs and neurons"),
    ],
)
def test_impossible_options_are_errors_that_say_why(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (2, 0)])
def test_there_may_be_any_number_of_batch_dimensions(implementation, shape):
    layer = make(implementation=implementation)
    x = torch.rand(*shape, 20)
    y = layer(x)
    assert y.shape == (*shape, 30)
    expected = oracle.layer(x.reshape(-1, 20), layer.weights, layer.indices)
    torch.testing.assert_close(y.reshape(-1, 30), expected)


def test_inputs_of_a_wrong_width_are_an_error():
    with pytest.raises(ValueError, match="expected 20 input features"):
        make()(torch.rand(5, 21))


@pytest.mark.parametrize("implementation", ["triton", "difflogic"])
def test_cuda_implementations_refuse_the_cpu(implementation):
    with pytest.raises(ValueError, match="runs on CUDA"):
        make(implementation=implementation)(torch.rand(5, 20))


def test_a_triton_that_cannot_be_imported_is_told_and_not_taken_by_auto(monkeypatch, caplog):
    def broken(name, *_):
        if name == "src.logic.backends.triton_dense":
            raise AttributeError("module 'triton' has no attribute 'jit'")

    monkeypatch.setattr(sys, "meta_path", [SimpleNamespace(find_spec=broken), *sys.meta_path])
    monkeypatch.delitem(sys.modules, "src.logic.backends.triton_dense", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: "there")
    monkeypatch.setattr(LOG, "propagate", True)
    with pytest.raises(ImportError, match=r"'triton' asks for its kernels, .* \(AttributeError: module"):
        triton.TRITON.connect(torch.zeros(2, 3, dtype=torch.int64), 4)
    assert not triton.has_triton.__wrapped__()
    assert "PyTorch computes instead" in caplog.text


def test_a_missing_difflogic_package_is_an_error_that_says_how_to_install_it():
    if importlib.util.find_spec("difflogic_cuda"):
        pytest.skip("difflogic is installed")
    with pytest.raises(ImportError, match=r"singularity/difflogic.def has it, and shows how to build it"):
        difflogic_backend.kernels()


def test_the_difflogic_implementation_gives_the_package_s_kernels_what_they_expect(monkeypatch):
    # The package's kernels need CUDA; these are their definitions, from difflogic's Python implementation.
    def forward(x, first, second, probabilities):
        return oracle.mixture(x.T, first, second, probabilities).T

    def backward_x(x, first, second, probabilities, grad, starts, neurons):
        x = x.clone().requires_grad_()
        with torch.enable_grad():
            (grad_x,) = torch.autograd.grad(forward(x, first, second, probabilities), x, grad)
        assert starts.tolist() == [0, *torch.cat([first, second]).bincount(minlength=len(x)).cumsum(0).tolist()]
        for j in range(len(x)):
            mine = neurons[starts[j] : starts[j + 1]].tolist()
            assert mine == sorted([*(first == j).nonzero().flatten(), *(second == j).nonzero().flatten()])
        return grad_x

    def backward_w(x, first, second, grad):
        a, b = x[first], x[second]
        return torch.stack([(oracle.gate(i, a, b) * grad).sum(1) for i in range(16)], dim=1)

    monkeypatch.setitem(
        sys.modules, "difflogic_cuda", SimpleNamespace(forward=forward, backward_x=backward_x, backward_w=backward_w)
    )
    monkeypatch.setattr(difflogic_backend.Difflogic, "suits", lambda backend, x: True)
    ours, theirs = make(grad_factor=2.0), make(grad_factor=2.0, implementation="difflogic")
    x = torch.rand(7, 20, requires_grad=True)
    for a, b in zip(
        torch.autograd.grad(ours(x).square().sum(), [x, ours.weights]),
        torch.autograd.grad(theirs(x).square().sum(), [x, theirs.weights]),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_triton_implementation_trains_in_the_interpreter():
    script = """
import torch
from src.logic import LogicLayer
torch.manual_seed(0)
ours = LogicLayer(9, 12, implementation="triton", grad_factor=1.5)
plain = LogicLayer(9, 12, implementation="torch", grad_factor=1.5)
plain.load_state_dict(ours.state_dict())
x = torch.rand(5, 9, requires_grad=True)
for mode in (True, False):
    ours.train(mode), plain.train(mode)
    torch.testing.assert_close(ours(x), plain(x))
ours.train(), plain.train()
found = torch.autograd.grad(ours(x).square().sum(), [x, ours.weights])
expected = torch.autograd.grad(plain(x).square().sum(), [x, plain.weights])
for a, b in zip(found, expected, strict=True):
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
assert torch.autograd.grad(ours(x.detach()).sum(), ours.weights)[0].shape == (12, 16)

from src.logic.parametrisation import GateOptions
for kind in (("light", "soft"), ("light", "gumbel_hard"), ("walsh", "gumbel_soft"), ("walsh", "hard")):
    gates = GateOptions(parametrisation=kind[0], forward_sampling=kind[1], temperature=0.5)
    results = []
    for implementation in ("triton", "torch"):
        torch.manual_seed(1)
        layer = LogicLayer(9, 12, implementation=implementation, grad_factor=1.5, gates=gates)
        y = layer(x)
        results.append([y, *torch.autograd.grad(y.square().sum(), [x, layer.weights]), layer.eval()(x)])
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-6)

from src.logic.backends import numba_dense_kernels, triton_dense
from src.logic.learned_dense import LearnedLogicLayer
results = []
for implementation in ("triton", "torch"):
    torch.manual_seed(1)
    layer = LearnedLogicLayer(9, 12, candidates=3, implementation=implementation, grad_factor=1.5)
    for y in (layer(x), layer.forward_sums(x.T, 3)):
        results.append([y, *torch.autograd.grad(y.square().sum(), [x, layer.weights, layer.logits])])
for ours, plain in zip(results[0] + results[1], results[2] + results[3], strict=True):
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-6)
lists = triton_dense.ConnectionLists(layer.indices, 9).consumers
for ours, plain in zip(lists, numba_dense_kernels.input_consumers(layer.indices.numpy(), 9), strict=True):
    assert torch.equal(ours, torch.from_numpy(plain))
"""
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_numba_refuses_float64():
    with pytest.raises(ValueError, match="up to 32 bits"):
        make(implementation="numba")(torch.rand(5, 20, dtype=torch.float64))


def test_group_sum_adds_equal_groups_and_divides_by_tau():
    x = torch.tensor([[1.0, 0, 1, 1, 0, 0], [0, 0, 0, 1, 1, 1]])
    assert GroupSum(3, tau=2.0)(x).tolist() == [[0.5, 1.0, 0.0], [0.0, 0.5, 1.0]]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("out_dim", "k"), [(60, 5), (64, 1), (320, 10), (21, 21)])
def test_the_sums_of_a_layer_and_their_gradients_are_those_of_its_outputs(implementation, out_dim, k):
    layer = make(20, out_dim, implementation, grad_factor=1.5)
    x = torch.rand(20, 33, requires_grad=True)
    grad = torch.randn(k, 33)
    sums = layer.forward_sums(x, k)
    expected = layer.forward_features(x).reshape(k, out_dim // k, 33).sum(1)
    torch.testing.assert_close(sums, expected)
    for inputs in ([x, layer.weights], [layer.weights]):
        found = torch.autograd.grad(sums, inputs, grad, retain_graph=True)
        wanted = torch.autograd.grad(expected, inputs, grad, retain_graph=True)
        for ours, theirs in zip(found, wanted, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    frozen = layer.forward_sums(x.detach(), k)
    torch.testing.assert_close(
        torch.autograd.grad(frozen, layer.weights, grad)[0],
        torch.autograd.grad(expected, layer.weights, grad)[0],
        rtol=1e-4,
        atol=1e-5,
    )
    layer.eval()
    bits = torch.randint(0, 2, (20, 33)).float()
    assert torch.equal(layer.forward_sums(bits, k), layer(bits.T).T.reshape(k, out_dim // k, 33).sum(1))


def test_sums_of_groups_that_do_not_divide_the_neurons_are_an_error():
    with pytest.raises(ValueError, match="30 neurons cannot be divided into 7"):
        make().forward_sums(torch.rand(20, 2), 7)


def test_group_sum_counts_exactly_in_bfloat16():
    assert GroupSum(1)(torch.ones(1, 5001, dtype=torch.bfloat16)).item() == 5001


def test_group_sum_refuses_features_that_do_not_divide():
    with pytest.raises(ValueError, match="10 features cannot be divided into 3"):
        GroupSum(3)(torch.rand(2, 10))


@pytest.mark.parametrize(("batch", "num_bits"), [(1, 1), (3, 8), (5, 17), (64, 2312)])
def test_unpacked_features_are_the_transposed_bits(batch, num_bits):
    packed = torch.randint(0, 256, (batch, -(-num_bits // 8)), dtype=torch.uint8)
    assert torch.equal(unpack_features(packed, num_bits), unpack_bits(packed, num_bits).T.float())
