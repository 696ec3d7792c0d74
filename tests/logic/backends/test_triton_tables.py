"""The Triton kernels of gates with truth tables against plain PyTorch: in Triton's interpreter, or on a GPU."""

import pytest
import torch

from src.logic import LogicLayer
from src.logic.backends.torch_tables import table_forms
from src.logic.parametrisation import GateOptions
from tests.logic.conftest import compiled_for_gpu, interpreted_copy

pytest.importorskip("triton", reason="the kernels need triton, which is there for Linux only")


@pytest.fixture(scope="module")
def kernels():
    return interpreted_copy("src.logic.backends.triton_tables_kernels")


def check(kernels, fan_in, share, batch, dtype=torch.float32, device="cpu"):
    """Forward and backward against float64 autograd on the same values."""
    torch.manual_seed(0)
    in_dim, out_dim = 9, 2 * share
    x = torch.rand(in_dim, batch).to(device, dtype)
    tables = torch.rand(2, 2**fan_in, device=device)
    indices = torch.randint(in_dim - 1, (fan_in, out_dim), device=device)  # the last input has no consumer
    grad_y = torch.randn(out_dim, batch).to(device, dtype)
    exact_x, exact_tables = x.double().requires_grad_(), tables.double().requires_grad_()
    exact_y = table_forms(exact_x, exact_tables, indices)
    exact_y.backward(grad_y.double())
    close = {"rtol": max(torch.finfo(dtype).eps, 1e-5), "atol": 2e-5}
    inputs = indices.T.int().contiguous()
    y = kernels.forward(x, tables, inputs)
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), exact_y.detach(), **close)
    grad_inputs, grad_tables = kernels.backward(x, tables, inputs, grad_y, True)
    torch.testing.assert_close(grad_tables.double(), exact_tables.grad, rtol=1e-4, atol=1e-4)
    features, consumers = indices.T.reshape(-1).sort(stable=True)
    starts = torch.searchsorted(features, torch.arange(in_dim + 1, device=device))
    grad_x = kernels.sum_consumers(starts, consumers.int(), grad_inputs, 2.5, dtype)
    torch.testing.assert_close(grad_x.double(), 2.5 * exact_x.grad, **close)
    none, same = kernels.backward(x, tables, inputs, grad_y, False)
    assert none.shape == (out_dim, fan_in, 0)
    assert torch.equal(same, grad_tables)


@pytest.mark.parametrize(
    ("fan_in", "share", "batch"),
    [
        (4, 1, 1),
        (4, 2, 33),
        (6, 1, 9),
        *(pytest.param(fan_in, *sizes, marks=pytest.mark.slow) for fan_in in (4, 6) for sizes in ((3, 33), (2, 140))),
    ],
)
def test_interpreted_kernels_equal_plain_pytorch(kernels, fan_in, share, batch):
    check(kernels, fan_in, share, batch)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_interpreted_kernels_compute_half_precision_in_float32(kernels, dtype):
    check(kernels, 4, 1, 9, dtype)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["_forward_kernel", "_backward_kernel", "_sum_kernel"])
@pytest.mark.parametrize("capability", [75, 90])
def test_kernels_compile_for_gpus(kernel, capability):
    from src.logic.backends import triton_tables_kernels

    names = ("x", "tables", "y", "grad_y", "grad_inputs", "grad_tables", "grad_x")
    types = {**dict.fromkeys(names, "*fp32"), "inputs": "*i32", "consumers": "*i32", "starts": "*i64", "scale": "fp32"}
    constants = {"corners": 8, "half": 3, "block": 32, "need_grad_inputs": True}
    of_kernel = getattr(triton_tables_kernels, kernel)
    own = {name: value for name, value in constants.items() if name in of_kernel.arg_names}
    assert compiled_for_gpu(of_kernel, types, own, capability, 4)


@pytest.fixture
def compiled():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    from src.logic.backends import triton_tables_kernels

    return triton_tables_kernels


@pytest.mark.gpu
@pytest.mark.parametrize("fan_in", [4, 6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_kernels_on_a_gpu_equal_plain_pytorch(compiled, fan_in, dtype):
    check(compiled, fan_in, 3, 300, dtype, "cuda")


@pytest.mark.gpu
@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("parametrisation", ["light", "walsh"])
def test_a_layer_gives_the_same_bits_twice_on_a_gpu(parametrisation):
    results = []
    for _ in range(2):
        torch.manual_seed(0)
        layer = LogicLayer(40, 60, gates=GateOptions(parametrisation, fan_in=6), implementation="triton").cuda()
        x = torch.rand(40, 300, device="cuda", requires_grad=True)
        y = layer.forward_features(x)
        results.append([y, *torch.autograd.grad(y.square().sum(), [x, layer.weights])])
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)
