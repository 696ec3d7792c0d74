"""The kernels that run circuits against plain PyTorch: in Triton's interpreter, and on a GPU where there is one."""

from types import ModuleType

import numpy as np
import pytest
import torch

from src.logic.backends.torch_dense import mixture
from src.logic.gates import gate_coefficients

pytest.importorskip("triton", reason="the kernels need triton, which is there for Linux only")


@pytest.fixture(params=["tall tiles", "flat tiles"])
def kernels(interpreted, request, monkeypatch) -> ModuleType:
    """Small levels would only ever see tiles of one row."""
    if request.param == "tall tiles":
        monkeypatch.setattr(interpreted, "MIN_PROGRAMS", 1)
    interpreted._tile.cache_clear()
    return interpreted


def check_gates(kernels, in_dim, words, device="cpu"):
    """All sixteen gates, several times, on packed bits against their real-valued forms."""
    gates = torch.arange(48, dtype=torch.uint8, device=device) % 16
    indices = torch.randint(in_dim, (2, 48), device=device)
    values = torch.randint(2, (in_dim, words * 64))
    bits = torch.from_numpy(np.packbits(values.numpy(), axis=1, bitorder="little").view(np.int64)).to(device)
    result = kernels.evaluate_packed(bits, gates, indices)
    unpacked = np.unpackbits(result.cpu().numpy().view(np.uint8), axis=1, bitorder="little")
    expected = mixture(values.double().to(device), gate_coefficients(torch.float64, device)[gates.long()], indices)
    assert torch.equal(torch.from_numpy(unpacked).double(), expected.cpu())


@pytest.mark.parametrize(("in_dim", "words"), [(1, 1), (2, 1), (5, 3), (6, 130)])
def test_gates_on_packed_bits(kernels, in_dim, words):
    torch.manual_seed(4)
    check_gates(kernels, in_dim, words)


def test_packed_gates_follow_the_truth_table(kernels):
    a, b = torch.tensor([[0b0011], [0b0101]])  # bit 3 - (2 a + b) of a word, as in the number of a gate
    result = kernels.evaluate_packed(
        torch.stack([a, b]), torch.arange(16, dtype=torch.uint8), torch.tensor([[0] * 16, [1] * 16])
    )
    assert (result[:, 0] & 15).tolist() == list(range(16))


def check_transposing(kernels, batch, num_bits, words, device="cpu"):
    bits = torch.randint(2, (batch, num_bits), dtype=torch.uint8)
    packed = torch.from_numpy(np.packbits(bits.numpy(), axis=1, bitorder="little")).to(device)
    rows = torch.full((num_bits + 1, words), -1, dtype=torch.int64, device=device)
    kernels.transpose_frames(packed, num_bits, rows)
    unpacked = np.unpackbits(rows.cpu().numpy().view(np.uint8), axis=1, bitorder="little")
    assert np.array_equal(unpacked[:-1, :batch], bits.numpy().T)
    assert not unpacked[:-1, batch:].any()
    assert unpacked[-1].all()  # rows of no bit stay as they were


@pytest.mark.parametrize(
    ("batch", "num_bits", "words"), [(1, 1, 1), (63, 8, 1), (64, 9, 1), (65, 300, 2), (570, 15, 10)]
)
def test_transposing_of_frames(interpreted, batch, num_bits, words):
    torch.manual_seed(6)
    check_transposing(interpreted, batch, num_bits, words)


def check_counting(kernels, batch, per_class, device="cpu"):
    """Classes of several sizes, one empty, one whose rows stand several times."""
    starts = torch.tensor([0, per_class, per_class, per_class + 40], dtype=torch.int32)
    outputs = torch.cat([torch.randperm(per_class), torch.randint(2, (40,))]).int()
    values = torch.randint(2, (per_class, 64 * -(-batch // 64)))
    rows = torch.from_numpy(np.packbits(values.numpy(), axis=1, bitorder="little").view(np.int64)).to(device)
    offsets = torch.tensor([0, 7, -3], dtype=torch.int32)
    counts = kernels.count_packed(rows, outputs.to(device), starts.to(device), offsets.to(device), batch)
    sums = [values[outputs[starts[c] : starts[c + 1]].long(), :batch].sum(0) + offsets[c] for c in range(3)]
    assert torch.equal(counts.cpu(), torch.stack(sums, 1).int())


@pytest.mark.parametrize(("batch", "per_class"), [(1, 2), (63, 5), (64, 31), (65, 32), (130, 100)])
def test_counting_of_packed_bits(interpreted, batch, per_class):
    torch.manual_seed(7)
    check_counting(interpreted, batch, per_class)


@pytest.fixture
def compiled() -> ModuleType:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    from src.circuit import packed_triton_kernels

    return packed_triton_kernels


@pytest.mark.gpu
@pytest.mark.parametrize("words", [1, 2, 7, 64, 1000])
def test_gates_on_packed_bits_on_a_gpu(compiled, words):
    torch.manual_seed(4)
    check_gates(compiled, 500, words, "cuda")


@pytest.mark.gpu
@pytest.mark.parametrize(("batch", "num_bits"), [(1, 1), (65, 300), (4096, 2312), (10_001, 5001)])
def test_transposing_of_frames_on_a_gpu(compiled, batch, num_bits):
    torch.manual_seed(6)
    check_transposing(compiled, batch, num_bits, -(-batch // 64) + 1, "cuda")


@pytest.mark.gpu
@pytest.mark.parametrize(("batch", "per_class"), [(1, 2), (65, 32), (10_001, 1600)])
def test_counting_of_packed_bits_on_a_gpu(compiled, batch, per_class):
    torch.manual_seed(7)
    check_counting(compiled, batch, per_class, "cuda")
