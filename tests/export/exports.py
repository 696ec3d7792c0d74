"""What tests of exports share: circuits, and running compilers and simulators."""

import shutil
import subprocess

import numpy as np
import pytest
import torch

from src.export.description import Description
from src.logic import LogicConvolution, LogicLayer
from src.logic.parametrisation import GateOptions
from src.logic.votes import VoteSum
from src.models.to_circuit import circuit_of_layers
from tests.circuit.test_circuit import oracle, pack, some_bits

C_FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-O1")
COMPILERS = ("gcc", "clang")


def need(tool):
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")


def described(circuit, name="net"):
    return Description(name, (1, 1, circuit.num_inputs), tuple(f"class {c}" for c in range(circuit.num_classes)))


def write(folder, files):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def run(folder, *words, expect=0):
    result = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300)
    assert result.returncode == expect, result.stdout + result.stderr
    return result.stdout + result.stderr


def self_test(folder, compiler="gcc", name="net", expect=0):
    """Compile the C files without a warning and run their self-test; what it prints."""
    assert run(folder, compiler, *C_FLAGS, f"{name}.c", f"{name}_selftest.c", "-o", "test") == ""
    return run(folder, "./test", expect=expect)


def simulate(folder, name="net"):
    """Compile the Verilog files without a warning and run their test bench; what it prints."""
    files = (f"{name}_classify.v", f"{name}_classify_test.v")
    assert run(folder, "iverilog", "-Wall", "-g2001", "-o", "test", *files) == ""
    return run(folder, "vvp", "test")


def trained(num_inputs=150, width=300, classes=10):
    """A circuit of layers, and frames with what it counts."""
    torch.manual_seed(0)
    circuit = circuit_of_layers([LogicLayer(num_inputs, width), LogicLayer(width, width)], classes, tau=3.0)
    bits = some_bits(circuit, 130)
    return circuit.simplified(), pack(bits), oracle(circuit, bits).astype(np.int32)


def convolutional():
    """Like `trained`, of a convolutional network with gates of all kinds."""
    torch.manual_seed(0)
    first = LogicConvolution((2, 6, 5), 5, 3, gates=GateOptions(initialisation="normal"))
    circuit = circuit_of_layers([first, LogicLayer(first.out_dim, 60)], 10, tau=3.0)
    bits = some_bits(circuit, 130)
    return circuit.simplified(), pack(bits), oracle(circuit, bits).astype(np.int32)


def voted():
    """Like `trained`, of a layer whose neurons have votes."""
    torch.manual_seed(0)
    votes = VoteSum(40, 10)
    torch.nn.init.normal_(votes.weights, std=3)
    circuit = circuit_of_layers([LogicLayer(50, 40)], 10, votes=votes)
    bits = some_bits(circuit, 130)
    return circuit.simplified(), pack(bits), oracle(circuit, bits).astype(np.int32)
