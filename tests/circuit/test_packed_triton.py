"""Circuits on a GPU count what they count on the CPU: in Triton's interpreter, and on a GPU where there is one."""

import itertools
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.logic import LogicLayer
from src.models.to_circuit import circuit_of_layers
from tests.circuit.test_circuit import circuits, pack, some_bits
from tests.logic.conftest import copy_of_module

pytest.importorskip("triton", reason="the kernels need triton, which is there for Linux only")


@pytest.fixture(scope="module")
def circuit_cuda(interpreted) -> ModuleType:
    """A copy of the module, on interpreted kernels."""
    module = copy_of_module("src.circuit.packed_triton")
    module.kernels = interpreted
    interpreted.MIN_PROGRAMS, interpreted.COUNTED_TOGETHER = 1, 2  # less to interpret
    return module


def check(circuit_cuda, circuit, frames, device="cpu"):
    packed = pack(some_bits(circuit, frames))
    counts = circuit_cuda.CudaCircuit(circuit, device)(torch.from_numpy(packed).to(device))
    assert counts.dtype == torch.int32
    assert np.array_equal(counts.cpu().numpy(), circuit(packed))


def network(in_dim, width, layers, num_classes):
    torch.manual_seed(0)
    dims = [in_dim] + [width] * layers
    return circuit_of_layers([LogicLayer(a, b) for a, b in itertools.pairwise(dims)], num_classes)


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(circuits(), st.sampled_from([1, 2, 63, 64, 65, 130]))
def test_any_circuit_counts_as_on_the_cpu(circuit_cuda, circuit, frames):
    check(circuit_cuda, circuit, frames)


@pytest.mark.parametrize("frames", [0, 1, 127, 128, 129])
def test_a_network_and_its_simplification_count_as_on_the_cpu(circuit_cuda, frames):
    circuit = network(100, 90, 3, 6)
    check(circuit_cuda, circuit, frames)
    check(circuit_cuda, circuit.simplified(), frames)


def test_blocks_of_frames_follow_each_other(circuit_cuda, monkeypatch):
    monkeypatch.setattr(circuit_cuda, "BLOCK_BYTES", 1)
    check(circuit_cuda, network(20, 20, 1, 2), 64 * circuit_cuda.WORD_MULTIPLE + 70)


@pytest.mark.parametrize("frames", [torch.zeros(3, 12, dtype=torch.uint8), torch.zeros(3, 13), torch.zeros(13)])
def test_frames_of_another_size_or_type_are_refused(circuit_cuda, frames):
    circuit = circuit_cuda.CudaCircuit(network(100, 60, 1, 6), "cpu")
    with pytest.raises(ValueError, match=r"expected packed frames, uint8 \[B, 13\] on cpu"):
        circuit(frames)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("frames", [0, 1, 65, 5000, 70_001])
def test_a_network_and_its_simplification_count_on_a_gpu_as_on_the_cpu(frames):
    from src.circuit import packed_triton as circuit_cuda

    circuit = network(2312, 4000, 4, 10)
    check(circuit_cuda, circuit, frames, "cuda")
    check(circuit_cuda, circuit.simplified(), frames, "cuda")
