"""The Triton kernels against plain PyTorch: in Triton's interpreter on the CPU, and on a GPU where there is one."""

from types import ModuleType

import numpy as np
import pytest
import torch

from src.logic.backends.torch_dense import candidate_slopes, mixture

pytest.importorskip("triton", reason="the kernels need triton, which is there for Linux only")

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
FLOAT32_AND_SLOWLY_HALF = [
    torch.float32,
    *(pytest.param(dtype, marks=pytest.mark.slow) for dtype in (torch.bfloat16, torch.float16)),
]
# (in_dim, out_dim, batch): the widest and the narrowest accesses, one and several tiles in each direction.
SHAPES = [(1, 1, 1), (4, 9, 1), (5, 3, 33), (5, 6, 70), (12, 6, 16), (2, 1, 264)]


@pytest.fixture(params=["tall tiles", "flat tiles"])
def kernels(interpreted, request, monkeypatch) -> ModuleType:
    """Small layers would only ever see tiles of one row."""
    if request.param == "tall tiles":
        monkeypatch.setattr(interpreted, "MIN_PROGRAMS", 1)
    interpreted._tile.cache_clear()
    return interpreted


def connect(in_dim: int, out_dim: int) -> torch.Tensor:
    """Random connections, in which a neuron's inputs can be the same feature, and the last feature has no consumer."""
    indices = torch.randint(max(in_dim - 1, 1), (2, out_dim))
    indices[1, out_dim // 2] = indices[0, out_dim // 2]
    return indices


def consumer_lists(indices: torch.Tensor, in_dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    features = indices.T.flatten()
    starts = torch.zeros(in_dim + 1, dtype=torch.int64, device=indices.device)
    starts[1:] = torch.bincount(features, minlength=in_dim).cumsum(0)
    return starts, torch.argsort(features, stable=True).int()


def check_layer(kernels, x, coefficients, indices, grad_y, grad_scale=2.5):
    """Forward and backward against float64 autograd on the same values; returns their results."""
    exact_x, exact_coefficients = x.double().requires_grad_(), coefficients.double().requires_grad_()
    exact_y = mixture(exact_x, exact_coefficients.T, indices)
    exact_y.backward(grad_y.double())
    close = {"rtol": torch.finfo(x.dtype).eps, "atol": 2e-5}
    y = kernels.forward(x, coefficients, indices)
    assert y.dtype == x.dtype
    torch.testing.assert_close(y.double(), exact_y.detach(), **close)

    arguments = (x, coefficients, indices, *consumer_lists(indices, x.shape[0]), grad_y)
    grad_x, grad_coefficients = kernels.backward(*arguments, True, grad_scale)
    no_grad_x, same_grad_coefficients = kernels.backward(*arguments, False, grad_scale)
    assert no_grad_x is None
    assert grad_x.dtype == x.dtype
    torch.testing.assert_close(grad_x.double(), grad_scale * exact_x.grad, **close)
    atol = 1e-5 * (1 + exact_coefficients.grad.abs().max().item())
    for grad in (grad_coefficients, same_grad_coefficients):
        assert grad.dtype == torch.float32
        torch.testing.assert_close(grad.double(), exact_coefficients.grad, rtol=1e-5, atol=atol)
    return y, grad_x, grad_coefficients, same_grad_coefficients


@pytest.mark.parametrize("dtype", FLOAT32_AND_SLOWLY_HALF)
@pytest.mark.parametrize(("in_dim", "out_dim", "batch"), SHAPES)
def test_layer(kernels, in_dim, out_dim, batch, dtype):
    torch.manual_seed(0)
    x, grad_y = torch.rand(in_dim, batch).to(dtype), torch.randn(out_dim, batch).to(dtype)
    check_layer(kernels, x, torch.randn(4, out_dim), connect(in_dim, out_dim), grad_y)


def test_layer_in_half_precision(kernels):
    torch.manual_seed(7)
    x, grad_y = torch.rand(5, 33).bfloat16(), torch.randn(6, 33).bfloat16()
    check_layer(kernels, x, torch.randn(4, 6), connect(5, 6), grad_y)


def test_layer_with_a_hub(kernels):
    torch.manual_seed(1)
    indices = connect(5, 11)
    indices[0] = 2
    check_layer(kernels, torch.rand(5, 8), torch.randn(4, 11), indices, torch.randn(11, 8))


def test_layer_takes_coefficients_and_gradients_of_any_strides(kernels):
    torch.manual_seed(2)
    coefficients, grad_y = torch.randn(6, 4).T, torch.randn(1, 1).expand(6, 10)
    check_layer(kernels, torch.rand(5, 10), coefficients, connect(5, 6), grad_y)


def test_layer_is_deterministic(kernels):
    torch.manual_seed(3)
    in_dim, out_dim, batch = 5, 6, 70
    indices = connect(in_dim, out_dim)
    x, coefficients, grad_y = torch.rand(in_dim, batch), torch.randn(4, out_dim), torch.randn(out_dim, batch)
    arguments = (x, coefficients, indices, *consumer_lists(indices, in_dim), grad_y, True, 1.0)
    for first, second in zip(kernels.backward(*arguments), kernels.backward(*arguments), strict=True):
        assert torch.equal(first, second)


def check_slopes(kernels, in_dim, out_dim, batch, count, dtype, device="cpu"):
    x, grad_y = torch.rand(in_dim, batch).to(device, dtype), torch.randn(out_dim, batch).to(device, dtype)
    coefficients, indices = torch.randn(4, out_dim).to(device), connect(in_dim, out_dim).to(device)
    candidates = torch.randint(in_dim, (2, out_dim, count), dtype=torch.int32, device=device)
    found = kernels.candidate_slopes(x, coefficients, indices, candidates, grad_y)
    exact = candidate_slopes(x.double(), coefficients.T.double(), indices, candidates, grad_y.double())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5 * (1 + exact.abs().max().item()))
    assert torch.equal(kernels.candidate_slopes(x, coefficients, indices, candidates, grad_y), found)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", FLOAT32_AND_SLOWLY_HALF)
@pytest.mark.parametrize(("in_dim", "out_dim", "batch", "count"), [(1, 1, 1, 1), (5, 4, 35, 3), (6, 2, 136, 5)])
def test_slopes_of_candidates(kernels, in_dim, out_dim, batch, count, dtype):
    torch.manual_seed(8)
    check_slopes(kernels, in_dim, out_dim, batch, count, dtype)


def check_unpacking(kernels, batch, num_bits, dtype, device="cpu"):
    frames = torch.randint(2, (batch, num_bits), dtype=torch.uint8)
    packed = torch.from_numpy(np.packbits(frames.numpy(), axis=1, bitorder="little")).to(device)
    x = kernels.unpack_frames(packed, num_bits, dtype)
    assert torch.equal(x.cpu(), frames.T.to(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("batch", "num_bits"), [(1, 1), (3, 8), (37, 13), (16, 300), (264, 40)])
def test_unpacking_of_frames(kernels, batch, num_bits, dtype):
    torch.manual_seed(5)
    check_unpacking(kernels, batch, num_bits, dtype)


@pytest.fixture
def compiled() -> ModuleType:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    from src.logic.backends import triton_dense_kernels as triton_kernels

    return triton_kernels


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("in_dim", "out_dim", "batch"),
    [(1, 1, 1), (4096, 4096, 128), (6000, 3001, 1000), (2312, 20_000, 333), (3000, 4000, 4096)],
)
def test_layer_on_a_gpu(compiled, in_dim, out_dim, batch, dtype):
    torch.manual_seed(0)
    x, grad_y = torch.rand(in_dim, batch).to("cuda", dtype), torch.randn(out_dim, batch).to("cuda", dtype)
    coefficients, indices = torch.randn(4, out_dim).cuda(), connect(in_dim, out_dim).cuda()
    runs = [check_layer(compiled, x, coefficients, indices, grad_y) for _ in range(2)]
    for first, second in zip(*runs, strict=True):
        assert torch.equal(first, second)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("in_dim", "out_dim", "batch", "count"),
    [(1, 1, 1, 1), (2312, 4000, 128, 8), (4000, 4000, 333, 8), (500, 300, 1000, 17)],
)
def test_slopes_of_candidates_on_a_gpu(compiled, in_dim, out_dim, batch, count, dtype):
    torch.manual_seed(8)
    check_slopes(compiled, in_dim, out_dim, batch, count, dtype, "cuda")


@pytest.mark.gpu
def test_more_than_2_to_the_31_activations_on_a_gpu(compiled):
    in_dim, out_dim, batch, last = 2000, 600_000, 4096, 50
    if torch.cuda.mem_get_info()[0] < 20 * 2**30:
        pytest.skip("needs 20 GiB of free GPU memory")
    torch.manual_seed(0)
    x, coefficients = torch.rand(in_dim, batch).to("cuda", torch.bfloat16), torch.randn(4, out_dim).cuda()
    indices = connect(in_dim, out_dim).cuda()
    # Only the last neurons have gradients, so that they alone, with offsets beyond 2**31, make all of the sums.
    grad_y = torch.zeros(out_dim, batch, dtype=torch.bfloat16, device="cuda")
    grad_y[-last:] = torch.randn(last, batch)
    y = compiled.forward(x, coefficients, indices)
    grad_x, grad_coefficients = compiled.backward(
        x, coefficients, indices, *consumer_lists(indices, in_dim), grad_y, True, 1.0
    )
    exact_x, exact_coefficients = x.double().requires_grad_(), coefficients[:, -last:].double().requires_grad_()
    exact_y = mixture(exact_x, exact_coefficients.T, indices[:, -last:])
    exact_y.backward(grad_y[-last:].double())
    torch.testing.assert_close(y[-last:].double(), exact_y.detach(), rtol=2**-7, atol=2e-5)
    torch.testing.assert_close(grad_x.double(), exact_x.grad, rtol=2**-7, atol=2e-5)
    torch.testing.assert_close(grad_coefficients[:, -last:].double(), exact_coefficients.grad, rtol=1e-4, atol=1e-2)
    assert not grad_coefficients[:, :-last].any()


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("batch", "num_bits"), [(1, 1), (128, 2312), (333, 5001), (4096, 2312)])
def test_unpacking_of_frames_on_a_gpu(compiled, batch, num_bits, dtype):
    torch.manual_seed(5)
    check_unpacking(compiled, batch, num_bits, dtype, "cuda")
