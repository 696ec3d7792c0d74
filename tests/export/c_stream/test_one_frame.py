"""Gates in words: their places, and the ranges of bits that a class counts."""

import numpy as np
from hypothesis import given, settings

from src.export.c_stream.one_frame import place_gates
from tests.circuit.test_circuit import circuits, oracle, some_bits

OPERATIONS = (
    lambda a, b: a & b,
    lambda a, b: a & ~b,
    lambda a, b: a ^ b,
    lambda a, b: a | b,
    lambda a, b: ~(a & b),
    lambda a, b: a | ~b,
    lambda a, b: ~(a ^ b),
    lambda a, b: ~(a | b),
)


def counted(circuit, placed, input_places, bits):
    """What the tables mean, as the C code goes through them; bits are [frames, inputs]."""
    memory = np.zeros((32 * placed.num_words, len(bits)), bool)
    memory[input_places] = np.asarray(bits, bool).T
    word, gate = -(-(input_places.max(initial=-1) + 1) // 32), 0
    for kind, size in placed.runs.tolist():
        a, b = placed.first[gate : gate + size], placed.second[gate : gate + size]
        memory[32 * word : 32 * word + size] = OPERATIONS[kind](memory[a], memory[b])
        word, gate = word + -(-size // 32), gate + size
    assert word == placed.num_words
    sums = np.array([times * memory[first : first + n].sum(0) for first, n, times in placed.outputs.tolist()])
    rows = [sums[a:b].sum(0) for a, b in zip(placed.starts[:-1], placed.starts[1:], strict=True)]
    return np.stack([np.broadcast_to(row, len(bits)) for row in rows], axis=1) + circuit.offsets


@settings(max_examples=30, deadline=None)
@given(circuit=circuits())
def test_the_tables_count_what_the_circuit_counts(circuit):
    bits = some_bits(circuit, 20)
    places = 3 + np.arange(circuit.num_inputs)
    placed = place_gates(circuit, places, -(-(circuit.num_inputs + 3) // 32))
    assert np.array_equal(counted(circuit, placed, places, bits), oracle(circuit, bits))


@settings(max_examples=10, deadline=None)
@given(circuit=circuits())
def test_a_bit_that_a_class_counts_several_times_is_in_one_range(circuit):
    placed = place_gates(circuit, np.arange(circuit.num_inputs), -(-circuit.num_inputs // 32))
    for begin, end in zip(placed.starts[:-1], placed.starts[1:], strict=True):
        bits = [range(first, first + number) for first, number, _ in placed.outputs[begin:end].tolist()]
        every = [bit for each in bits for bit in each]
        assert len(every) == len(set(every))
