"""Netlists: their buses are the circuit's counts and class, and every gate is there once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.circuit.circuit import Circuit
from src.circuit.netlist import MOST_PAIRED, netlist_of
from tests.circuit.test_circuit import circuits, oracle, some_bits


def values(netlist, bits):
    """The values of a netlist's buses for bits [B, num_inputs], by name; 8 frames per byte go through the gates."""
    nodes = np.zeros((netlist.num_inputs + len(netlist.gates) + 2, -(-len(bits) // 8)), np.uint8)
    nodes[-1] = 255  # ONE; ZERO is the row before
    nodes[: netlist.num_inputs] = np.packbits(bits.T, axis=1)
    for g, (gate, a, b) in enumerate(zip(netlist.gates.tolist(), netlist.first, netlist.second, strict=True)):
        a, b = nodes[a], nodes[b]
        terms = [term for place, term in enumerate((a & b, a & ~b, ~a & b, ~a & ~b)) if gate >> place & 1]
        nodes[netlist.num_inputs + g] = np.bitwise_or.reduce(terms)
    return {
        name: sum(np.unpackbits(nodes[node], count=len(bits)).astype(np.int64) << i for i, node in enumerate(bus))
        for name, bus in netlist.buses.items()
    }


@settings(max_examples=150, deadline=None)
@given(circuits(), st.sampled_from([3, 6]))
def test_the_buses_are_the_counts_and_the_first_class_of_the_largest(circuit, counter_inputs):
    bits = some_bits(circuit, 100)
    counts = oracle(circuit, bits)
    found = values(netlist_of(circuit, counter_inputs=counter_inputs), bits)
    assert np.array_equal(np.stack([found[f"count{c}"] for c in range(circuit.num_classes)], axis=1), counts)
    assert np.array_equal(found["best_class"], counts.argmax(1))


@settings(max_examples=100, deadline=None)
@given(circuits())
def test_every_gate_is_there_once_comes_after_its_inputs_and_is_needed(circuit):
    netlist = netlist_of(circuit)
    triples = list(zip(netlist.gates.tolist(), netlist.first.tolist(), netlist.second.tolist(), strict=True))
    assert len(set(triples)) == len(triples)
    for g, (gate, a, b) in enumerate(triples):
        assert gate not in (0, 3, 5, 10, 15)
        assert max(a, b) < netlist.num_inputs + g
    read = {*netlist.first.tolist(), *netlist.second.tolist()}.union(*netlist.buses.values())
    assert read >= set(range(netlist.num_inputs, netlist.num_inputs + len(triples)))


def counting(weights, offset=0, num_inputs=None):
    """A circuit without gates and with one class, which counts each input so often."""
    outputs = np.repeat(np.arange(len(weights), dtype=np.int32), weights)
    none = np.empty(0, np.int32)
    ends = np.array([0, len(outputs)])
    return Circuit(num_inputs or len(weights), none.astype(np.uint8), none, none, outputs, ends, np.array([offset]))


def test_the_network_s_gates_come_first_and_are_known_from_those_that_count():
    first, second, outputs = np.array([0, 2], np.int32), np.array([1, 3], np.int32), np.array([4, 5], np.int32)
    circuit = Circuit(4, np.array([1, 6], np.uint8), first, second, outputs, np.array([0, 1, 2]), np.array([0, 0]))
    netlist = netlist_of(circuit)
    assert netlist.num_trained == 2 < len(netlist.gates)
    assert netlist.gates[:2].tolist() == [1, 6]
    assert netlist_of(counting([1, 1, 1])).num_trained == 0


def test_a_full_adder_counts_three_bits():
    netlist = netlist_of(counting([1, 1, 1]))
    assert (len(netlist.gates), netlist.depth()) == (5, 3)
    assert list(map(len, netlist.buses.values())) == [2, 1]


def test_a_bit_that_counts_four_times_takes_no_gate():
    netlist = netlist_of(counting([4, 1]), with_best_class=False)
    assert netlist.buses == {"count0": [1, -2, 0]}
    assert len(netlist.gates) == 0


def counting_each(num_classes, bits_per_class):
    """A circuit without gates, whose classes count inputs of their own."""
    num_inputs = num_classes * bits_per_class
    none = np.empty(0, np.int32)
    starts = np.arange(0, num_inputs + 1, bits_per_class)
    outputs = np.arange(num_inputs, dtype=np.int32)
    return Circuit(num_inputs, none.astype(np.uint8), none, none, outputs, starts, np.zeros(num_classes, np.int64))


@pytest.mark.parametrize("num_classes", [2, 10, MOST_PAIRED, MOST_PAIRED + 1, 40])
def test_the_first_of_any_number_of_equal_classes_is_the_best(num_classes):
    circuit = counting_each(num_classes, 3)
    bits = np.random.default_rng(0).random((500, circuit.num_inputs)) < 0.5
    counts = bits.reshape(500, num_classes, 3).sum(2)
    assert np.array_equal(values(netlist_of(circuit), bits)["best_class"], counts.argmax(1))


def test_the_best_of_ten_classes_is_found_in_sixteen_levels():
    circuit = counting_each(10, 127)
    assert netlist_of(circuit).depth() <= netlist_of(circuit, with_best_class=False).depth() + 16


def test_an_offset_takes_part_as_a_constant():
    assert netlist_of(counting([2], offset=1)).buses == {"count0": [-1, 0], "best_class": [-2]}


@pytest.mark.parametrize("counter_inputs", [3, 6])
def test_the_depth_of_a_count_grows_with_the_logarithm_of_its_bits(counter_inputs):
    assert netlist_of(counting([1] * 1000), False, counter_inputs).depth() < 50


def test_a_circuit_that_nothing_is_counted_in_has_constant_buses():
    assert netlist_of(counting([0, 0])).buses == {"count0": [-2], "best_class": [-2]}
