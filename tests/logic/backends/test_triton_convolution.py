"""The Triton kernels of convolutional layers against plain PyTorch: in Triton's interpreter, and on a GPU if any."""

from types import ModuleType

import pytest
import torch

from src.logic import LogicConvolution
from src.logic.convolution import tree_candidates
from src.logic.gates import FORM, SIGMOID, STEP
from src.logic.parametrisation import GateOptions
from tests.logic.conftest import compiled_for_gpu, interpreted_copy
from tests.logic.windows import window_values

pytest.importorskip("triton", reason="the kernels need triton, which is there for Linux only")

from src.logic.backends.triton_convolution import TritonTrees

NORMAL = GateOptions(initialisation="normal")
WALSH = [GateOptions("walsh", forward_sampling=sampling) for sampling in ("soft", "hard")]
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
# channels, height and width, kernels, receptive field, tree depth, pool, batch
SHAPES = [
    ((2, 4, 5), 2, 3, 2, 2, 6),
    ((1, 3, 4), 2, 2, 1, 1, 33),
    ((3, 4, 3), 1, 4, 2, 3, 4),
    ((1, 1, 1), 1, 1, 3, 1, 1),
]


@pytest.fixture(scope="module")
def interpreted() -> ModuleType:
    """The kernels for CPU tensors."""
    return interpreted_copy("src.logic.backends.triton_convolution_kernels")


def check_layer(
    kernels, in_shape, kernel_count, receptive_field, tree_depth, pool, batch, dtype, device="cpu", gates=NORMAL
):
    """Forward and backward against float64 autograd on the same values; returns their results."""
    torch.manual_seed(0)
    layer = LogicConvolution(in_shape, kernel_count, receptive_field, tree_depth, pool, gates=gates).to(device)
    count = min(5, in_shape[0] * receptive_field**2)
    drawn = tree_candidates(in_shape[0], kernel_count, layer.shape.leaves, receptive_field, count)
    trees = TritonTrees(layer.indices, layer.shape, drawn.to(device))
    coefficients = layer.coefficients().detach()
    x = torch.rand(layer.in_dim, batch).to(device, dtype)
    grad_y = torch.randn(layer.out_dim, batch).to(device, dtype)

    after = layer.gate_weights().after
    eps = torch.finfo(dtype).eps
    y, winners = kernels.forward(x, coefficients, after, layer.indices, layer.shape, True)
    assert y.dtype == dtype

    exact_x, exact_coefficients = x.double().requires_grad_(), coefficients.double().requires_grad_()
    exact_shares = torch.zeros(trees.candidates.shape[1:], dtype=torch.float64, device=device, requires_grad=True)
    windows = window_values(exact_x, exact_coefficients, trees, exact_shares, layer.gate_weights().outputs)
    # Either of two values that differ by rounding alone may win.
    exact_y = windows.gather(1, winners.long()[:, None]).squeeze(1)
    torch.testing.assert_close(exact_y, windows.max(1).values, rtol=0, atol=2e-5)
    torch.testing.assert_close(y.double(), exact_y.detach(), rtol=eps, atol=2e-5)
    exact_y.backward(grad_y.double())

    same_y, _ = kernels.forward(x, coefficients, after, layer.indices, layer.shape, False)
    assert torch.equal(y, same_y)
    arguments = (layer.shape, winners, grad_y, 2.5)
    grad_x, grad_coefficients, slopes = kernels.backward(
        x, coefficients, after, layer.indices, trees.readers, trees.candidates, *arguments
    )
    no_grad_x, same_grad_coefficients, no_slopes = kernels.backward(
        x, coefficients, after, layer.indices, None, None, *arguments
    )
    assert no_grad_x is None
    assert no_slopes is None
    _, _, same_slopes = kernels.backward(x, coefficients, after, layer.indices, None, trees.candidates, *arguments)
    assert torch.equal(slopes, same_slopes)
    assert grad_x.dtype == dtype
    largest = exact_x.grad.abs().max().item()  # the leaves' gradients are rounded to the dtype before they are added
    torch.testing.assert_close(grad_x.double(), 2.5 * exact_x.grad, rtol=eps, atol=4 * eps * largest + 1e-6)
    assert torch.equal(grad_coefficients, same_grad_coefficients)
    atol = 1e-5 * (1 + exact_coefficients.grad.abs().max().item())
    torch.testing.assert_close(grad_coefficients.double(), exact_coefficients.grad, rtol=1e-5, atol=atol)
    exact_slopes = exact_shares.grad
    atol = (4 * eps + 1e-5) * (1 + exact_slopes.abs().max().item())
    torch.testing.assert_close(slopes.double(), exact_slopes, rtol=1e-5, atol=atol)
    return y, winners, grad_x, grad_coefficients, slopes


@pytest.mark.parametrize(
    ("in_shape", "kernels", "receptive_field", "tree_depth", "pool", "batch"),
    [*SHAPES[:2], *(pytest.param(*shape, marks=pytest.mark.slow) for shape in SHAPES[2:])],
)
def test_layer(interpreted, in_shape, kernels, receptive_field, tree_depth, pool, batch):
    check_layer(interpreted, in_shape, kernels, receptive_field, tree_depth, pool, batch, torch.float32)


@pytest.mark.slow
@pytest.mark.parametrize("gates", WALSH, ids=["soft", "hard"])
def test_layer_of_walsh_gates(interpreted, gates):
    check_layer(interpreted, (2, 4, 5), 2, 3, 2, 2, 6, torch.float32, gates=gates)


@pytest.mark.slow
def test_layer_in_half_precision(interpreted):
    check_layer(interpreted, (2, 4, 3), 2, 3, 1, 2, 8, torch.bfloat16)


@pytest.mark.slow
def test_a_program_of_many_steps_sums_them_all(interpreted, monkeypatch):
    monkeypatch.setattr(interpreted, "MIN_PROGRAMS", 1)
    monkeypatch.setattr(interpreted, "BACKWARD_BLOCK", 16)
    monkeypatch.setattr(interpreted, "SLOPES_TILE", 16)
    check_layer(interpreted, (1, 4, 4), 2, 3, 1, 2, 9, torch.float32)


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("activation", ["*fp32", "*bf16"])
def test_kernels_compile_for_gpus(capability, activation):
    from src.logic.backends import triton_convolution_kernels as kernels

    types = dict.fromkeys(["x", "y", "grad_y", "grad_leaves", "grad_x"], activation)
    types |= {"coefficients": "*fp32", "partial": "*fp32", "grad_scale": "fp32", "winners": "*u8"}
    types |= {"connections": "*i64", "candidates": "*i64", "starts": "*i64", "numbers": "*i32"}
    vector, block_batch, block_positions = kernels._tile(128)
    tile = {"block_positions": block_positions, "block_batch": block_batch, "vector": vector}
    shape, back = {"leaves": 8, "pool": 2}, {"block": kernels.BACKWARD_BLOCK}
    for kernel, constants in (
        (kernels._forward_kernel, {**shape, **tile, "keep_winners": True, "after": FORM}),
        (kernels._forward_kernel, {**shape, **tile, "keep_winners": True, "after": STEP}),
        (kernels._trees_kernel, {**shape, **back, "need_grad_leaves": True, "after": FORM}),
        (kernels._trees_kernel, {**shape, **back, "need_grad_leaves": False, "after": SIGMOID}),
        (kernels._inputs_kernel, {**shape, **tile}),
        (kernels._slopes_kernel, {**shape, "padded": 16, "block": kernels.SLOPES_TILE // 16}),
    ):
        assert compiled_for_gpu(kernel, types, constants, capability, kernels.WARPS)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("in_shape", "kernels", "receptive_field", "tree_depth", "pool", "batch"),
    [*SHAPES, ((2, 34, 34), 32, 5, 3, 2, 256), ((32, 17, 17), 64, 3, 2, 2, 100), ((4, 20, 31), 9, 4, 4, 3, 37)],
)
def test_layer_on_a_gpu(in_shape, kernels, receptive_field, tree_depth, pool, batch, dtype):
    from src.logic.backends import triton_convolution_kernels as kernels_on_gpu

    arguments = (kernels_on_gpu, in_shape, kernels, receptive_field, tree_depth, pool, batch, dtype, "cuda")
    for first, second in zip(check_layer(*arguments), check_layer(*arguments), strict=True):
        assert torch.equal(first, second)
