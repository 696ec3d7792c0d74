"""Circuits: equal to the discretised network, whatever is simplified and however they are run."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.circuit.circuit import Circuit
from src.logic import LogicLayer
from src.models.to_circuit import circuit_of_layers


@st.composite
def circuits(draw):
    """Any circuit: gates of all kinds on any earlier nodes, outputs that are inputs, twice there, or none."""
    num_inputs, num_gates = draw(st.integers(1, 70)), draw(st.integers(0, 60))
    num_classes, num_outputs = draw(st.integers(1, 12)), draw(st.integers(0, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    near = draw(st.sampled_from([3, 1000]))  # few different inputs make many equal gates

    def earlier(node):
        return rng.integers(max(0, node - near), node)

    nodes = range(num_inputs, num_inputs + num_gates)
    return Circuit(
        num_inputs,
        rng.integers(0, 16, num_gates).astype(np.uint8),
        np.array([earlier(node) for node in nodes], np.int32),
        np.array([earlier(node) for node in nodes], np.int32),
        rng.integers(0, num_inputs + num_gates, num_outputs).astype(np.int32),
        np.sort(np.concatenate([[0], rng.integers(0, num_outputs + 1, num_classes - 1), [num_outputs]])),
        rng.integers(0, 5, num_classes),
    )


def oracle(circuit, bits):
    """Counts [B, classes] of bits [B, num_inputs], gate by gate from the truth tables."""
    values = list(bits.T.astype(np.int64))
    for gate, a, b in zip(circuit.gates, circuit.first, circuit.second, strict=True):
        values.append(int(gate) >> (3 - 2 * values[a] - values[b]) & 1)
    counts = np.zeros((len(bits), circuit.num_classes), np.int64) + circuit.offsets
    for c in range(circuit.num_classes):
        for node in circuit.outputs[circuit.starts[c] : circuit.starts[c + 1]]:
            counts[:, c] += values[node]
    return counts


def some_bits(circuit, frames, seed=0):
    return np.random.default_rng(seed).integers(0, 2, (frames, circuit.num_inputs)).astype(np.uint8)


def pack(bits):
    return np.packbits(bits, axis=1, bitorder="little")


@settings(max_examples=150, deadline=None)
@given(circuits(), st.sampled_from([1, 2, 63, 64, 65, 130]))
def test_packed_inference_counts_what_the_gates_give(circuit, frames):
    bits = some_bits(circuit, frames)
    assert np.array_equal(circuit(pack(bits)), oracle(circuit, bits))


@settings(max_examples=150, deadline=None)
@given(circuits())
def test_simplification_changes_no_count(circuit):
    bits = some_bits(circuit, 100)
    simple = circuit.simplified()
    assert np.array_equal(oracle(simple, bits), oracle(circuit, bits))
    assert np.array_equal(simple(pack(bits)), oracle(circuit, bits))


@settings(max_examples=100, deadline=None)
@given(circuits())
def test_simplification_leaves_nothing_to_simplify(circuit):
    simple = circuit.simplified()
    assert not {"false", "true", "a", "b", "not b"} & set(simple.gate_counts())
    triples = list(zip(simple.gates.tolist(), simple.first.tolist(), simple.second.tolist(), strict=True))
    assert len(set(triples)) == len(triples)
    read = {*simple.first.tolist(), *simple.second.tolist(), *simple.outputs.tolist()}
    assert read >= set(range(simple.num_inputs, simple.num_inputs + len(simple.gates)))
    again = simple.simplified()
    assert len(again.gates) <= len(simple.gates)


@pytest.mark.parametrize("frames", [0, 1, 511, 512, 513, 1500])
def test_blocks_of_frames_follow_each_other(frames):
    torch.manual_seed(0)
    layers = [LogicLayer(100, 90), LogicLayer(90, 60)]
    circuit = circuit_of_layers(layers, 6)
    bits = some_bits(circuit, frames)
    assert np.array_equal(circuit(pack(bits)), oracle(circuit, bits))


def counting(outputs, num_inputs):
    """A circuit without gates that counts these numbers of randomly chosen inputs."""
    nothing = np.empty(0, np.int32)
    nodes = np.random.default_rng(0).integers(0, num_inputs, sum(outputs)).astype(np.int32)
    starts, offsets = np.cumsum([0, *outputs]), np.arange(len(outputs))
    return Circuit(num_inputs, nothing.astype(np.uint8), nothing, nothing, nodes, starts, offsets)


@pytest.mark.parametrize("frames", [3, 600])
def test_classes_may_count_any_number_of_outputs(frames):
    circuit = counting([*range(40), 63, 64, 65, 255, 256, 257, 1000], num_inputs=90)
    bits = some_bits(circuit, frames)
    assert np.array_equal(circuit(pack(bits)), oracle(circuit, bits))


def test_counts_may_take_more_than_sixteen_bits():
    circuit = counting([70_000, 65_536, 5], num_inputs=20)
    bits = np.vstack([some_bits(circuit, 20), np.ones((1, 20), np.uint8)])
    assert np.array_equal(circuit(pack(bits)), oracle(circuit, bits))


@pytest.mark.parametrize("num_bytes", [1, 8, 9, 63, 64, 65, 129])
def test_frames_may_have_any_number_of_bytes(num_bytes):
    circuit = counting([8 * num_bytes, 30], num_inputs=8 * num_bytes)
    bits = some_bits(circuit, 1100)
    assert np.array_equal(circuit(pack(bits)), oracle(circuit, bits))


def test_known_circuits_become_what_a_person_would_write():
    #  gates: not 0; (not 0) and 1; 0 or not 1, its complement; true
    circuit = Circuit(
        2,
        np.array([12, 1, 11, 15], np.uint8),
        np.array([0, 2, 0, 0], np.int32),
        np.array([0, 1, 1, 0], np.int32),
        np.array([3, 3, 4, 5], np.int32),
        np.array([0, 2, 4]),
        np.array([0, 0]),
    )
    simple = circuit.simplified()
    assert simple.gate_counts() == {"a and not b": 1, "not a or b": 1}
    assert simple.offsets.tolist() == [0, 1]
    assert (simple.depth(), circuit.depth()) == (1, 2)


def test_a_bit_and_its_complement_in_one_class_are_a_constant():
    nothing = np.empty(0, np.int32)
    circuit = Circuit(
        1,
        np.array([12], np.uint8),
        np.array([0], np.int32),
        np.array([0], np.int32),
        np.array([0, 1, 0], np.int32),
        np.array([0, 3]),
        np.array([0]),
    )
    simple = circuit.simplified()
    assert simple.outputs.tolist() == [0]
    assert simple.offsets.tolist() == [1]
    assert simple.gates.tolist() == nothing.tolist()


@pytest.mark.parametrize(
    "frames", [np.zeros((3, 12), np.uint8), np.zeros((3, 13), np.float32), np.zeros((13,), np.uint8)]
)
def test_frames_of_another_size_or_type_are_refused(frames):
    circuit = circuit_of_layers([LogicLayer(100, 60)], 6)
    with pytest.raises(ValueError, match=r"expected packed frames, uint8 \[B, 13\]"):
        circuit(frames)
