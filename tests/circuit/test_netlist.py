"""netlist_of: the gates of class counts and of the best class give what the circuit gives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.circuit.circuit import Circuit
from src.circuit.netlist import ONE, netlist_of


@st.composite
def circuits(draw):
    num_inputs, num_gates, classes = draw(st.integers(1, 12)), draw(st.integers(1, 60)), draw(st.integers(1, 7))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    first, second = (rng.integers(0, num_inputs + np.arange(num_gates)).astype(np.int32) for _ in range(2))
    sizes = rng.integers(0, 40, classes)
    outputs = rng.integers(0, num_inputs + num_gates, sizes.sum()).astype(np.int32)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    gates = rng.integers(0, 16, num_gates).astype(np.uint8)
    return Circuit(num_inputs, gates, first, second, outputs, starts, rng.integers(0, 9, classes))


def values_of(netlist, bits):
    """The value of every bus for frames, bits [num_inputs, N]."""
    values = list(bits)
    for gate, a, b in zip(netlist.gates, netlist.first, netlist.second, strict=True):
        values.append(gate >> (3 - (2 * values[a] + values[b])) & 1)
    every = {**dict(enumerate(values)), -2: np.zeros(bits.shape[1], int), ONE: np.ones(bits.shape[1], int)}
    return {
        name: sum((every[node].astype(int) << bit for bit, node in enumerate(bus)), np.zeros(bits.shape[1], int))
        for name, bus in netlist.buses.items()
    }


@pytest.mark.parametrize("simplified", [False, True])
@settings(deadline=None)
@given(circuits(), st.integers(0, 2**32 - 1))
def test_a_netlist_counts_as_its_circuit_and_finds_the_first_of_the_largest(simplified, circuit, seed):
    bits = np.random.default_rng(seed).integers(0, 2, (circuit.num_inputs, 100)).astype(np.uint8)
    netlist = netlist_of(circuit.simplified() if simplified else circuit)
    values = values_of(netlist, bits)
    expected = circuit(np.packbits(bits.T, axis=1, bitorder="little"))
    counts = np.stack([values[f"count{c}"] for c in range(circuit.num_classes)], axis=1)
    assert np.array_equal(counts, expected)
    assert np.array_equal(values["best_class"], expected.argmax(1))


def test_counters_are_shallow():
    """1,000 bits of the same time need about log(1000) / log(1.5) adders in a row, of two gates each."""
    n = 1000
    none = np.array([], np.int32)
    circuit = Circuit(
        n, none.astype(np.uint8), none, none, np.arange(n, dtype=np.int32), np.array([0, n]), np.array([0])
    )
    netlist = netlist_of(circuit)
    levels = np.zeros(n + len(netlist.gates), int)
    for g, (a, b) in enumerate(zip(netlist.first, netlist.second, strict=True)):
        levels[n + g] = 1 + max(levels[a], levels[b])
    assert levels[netlist.buses["count0"]].max() < 50
    assert len(netlist.gates) < 5 * n
