"""Verilog: simulators accept it without a warning, and it computes the same counts and classes."""

import numpy as np
import pytest
from hypothesis import given, settings

from src.circuit.circuit import Circuit
from src.export.verilog import to_verilog
from tests.circuit.test_circuit import circuits, oracle, pack, some_bits
from tests.export.exports import described, need, run, simulate, trained, write


def test_the_simulated_outputs_are_the_class_and_the_counts(tmp_path):
    need("iverilog")
    circuit, frames, counts = trained()
    folder = write(tmp_path / "v", to_verilog(circuit, described(circuit), frames, counts, "random frames"))
    assert simulate(folder) == "net: 130 of 130 frames have the expected counts and class\n"
    numbers = [int(line, 16) for line in (folder / "net_classify_outputs.hex").read_text().split()]
    width = int(counts.max()).bit_length()
    for number, row in zip(numbers, counts, strict=True):
        assert [number >> width * c & (1 << width) - 1 for c in range(10)] == row.tolist()
        assert number >> width * 10 == row.argmax()


@settings(max_examples=8, deadline=None)
@given(circuit=circuits())
def test_verilog_of_any_circuit(tmp_path_factory, circuit):
    need("iverilog")
    bits = some_bits(circuit, 20)
    counts = oracle(circuit, bits).astype(np.int32)
    files = to_verilog(circuit, described(circuit), pack(bits), counts, "random frames")
    assert "20 of 20" in simulate(write(tmp_path_factory.getbasetemp() / "any_v", files))


def test_the_test_bench_notices_a_wrong_count(tmp_path):
    need("iverilog")
    circuit, frames, counts = trained()
    counts[3, 9] += 1
    folder = write(tmp_path / "v", to_verilog(circuit, described(circuit), frames[:10], counts[:10], "random frames"))
    assert "9 of 10" in simulate(folder)


def test_a_test_bench_without_its_vectors_passes_nothing(tmp_path):
    need("iverilog")
    circuit, frames, counts = trained()
    folder = write(tmp_path / "v", to_verilog(circuit, described(circuit), frames[:3], counts[:3], "random frames"))
    (folder / "net_classify_expected.hex").unlink()
    assert "0 of 3 frames have the expected counts" in simulate(folder)


@pytest.mark.parametrize("simplify", [True, False])
def test_verilator_has_nothing_to_complain_of(tmp_path, simplify):
    need("verilator")
    nodes = np.arange(16, dtype=np.int32)
    circuit = Circuit(
        20,
        np.arange(16, dtype=np.uint8),
        nodes,
        nodes + 1,
        np.append(nodes + 20, [0, 0]).astype(np.int32),
        np.array([0, 17, 18]),
        np.array([0, 3]),
    )
    circuit = circuit.simplified() if simplify else circuit
    frames = pack(some_bits(circuit, 3))
    folder = write(tmp_path / "v", to_verilog(circuit, described(circuit), frames, circuit(frames), "random frames"))
    assert run(folder, "verilator", "--lint-only", "-Wall", "net_classify.v") == ""
    words = ("--timing", "--top-module", "net_classify_test", "net_classify.v", "net_classify_test.v")
    assert run(folder, "verilator", "--lint-only", "-Wall", *words) == ""
