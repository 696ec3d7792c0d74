"""Truth tables as gates: the same function, whatever is folded into a table, left out of it or shared."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from src.circuit.shared_gates import FALSE, TRUE, SharedGates
from src.circuit.tables import Nodes, SharedTables, packed_tables


@st.composite
def networks(draw):
    """Nodes with tables of any density on earlier nodes, often the same ones; and the tables' values at the corners."""
    num_inputs, count = draw(st.integers(1, 9)), draw(st.integers(1, 12))
    fan_in = draw(st.sampled_from([2, 4, 6]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    corners = rng.random((count, 2**fan_in)) < rng.choice([0.05, 0.5, 0.95], (count, 1))
    ignored = draw(st.integers(0, fan_in - 1))  # tables do not depend on this many of their last inputs
    corners = np.tile(corners[:, : 2 ** (fan_in - ignored)], 2**ignored)
    inputs = np.stack([rng.integers(0, num_inputs + n, fan_in) for n in range(count)]).astype(np.int32)
    return Nodes(num_inputs, packed_tables(corners), inputs), corners


def values_of(nodes, corners, bits):
    """Bits of all nodes, [nodes, frames], from the definition of a table."""
    values = list(bits)
    for table, inputs in zip(corners, nodes.inputs, strict=True):
        values.append(table[sum(values[node].astype(int) << j for j, node in enumerate(inputs))])
    return np.stack(values)


def literal_of(values, literal):
    """Bits of a literal, given those of the nodes."""
    return {FALSE: False, TRUE: True}[literal] if literal < 0 else values[literal // 2] ^ bool(literal & 1)


def table_values(shared, bits):
    """Bits of the tables that are left, [nodes, frames]."""
    values = list(bits)
    for table, inputs in shared.tables:
        places = sum(values[node].astype(int) << j for j, node in enumerate(inputs))
        values.append(np.array([bool(table >> int(place) & 1) for place in places]))
    return np.stack(values)


def all_bits(num_inputs):
    return (np.arange(2**num_inputs) >> np.arange(num_inputs)[:, None] & 1).astype(bool)


@settings(max_examples=150, deadline=None)
@given(networks())
def test_simplified_tables_compute_what_the_tables_compute(network):
    nodes, corners = network
    bits, shared = all_bits(nodes.num_inputs), SharedTables(nodes.num_inputs)
    literals = shared.literals(nodes)
    wanted, found = values_of(nodes, corners, bits), table_values(shared, bits)
    for literal, value in zip(literals, wanted, strict=True):
        assert np.array_equal(np.broadcast_to(literal_of(found, literal), value.shape), value)


@settings(max_examples=150, deadline=None)
@given(networks())
def test_what_is_left_of_a_table_depends_on_each_of_its_inputs_and_exists_once(network):
    nodes, _ = network
    shared = SharedTables(nodes.num_inputs)
    shared.literals(nodes)
    for table, inputs in shared.tables:
        assert len(inputs) >= 2
        assert list(inputs) == sorted(set(inputs))
        assert not table & 1
        for j in range(6):
            halves = [[table >> v & 1 for v in range(64) if v >> j & 1 == bit] for bit in (0, 1)]
            assert (halves[0] != halves[1]) == (j < len(inputs))
    assert len(set(shared.tables)) == len(shared.tables)


@settings(max_examples=150, deadline=None)
@given(networks())
def test_tables_as_gates_compute_what_the_tables_compute(network):
    nodes, _ = network
    bits, tables = all_bits(nodes.num_inputs), SharedTables(nodes.num_inputs)
    tables.literals(nodes)
    gates = SharedGates(nodes.num_inputs)
    literals = tables.as_gates(gates)
    values = list(bits)
    for gate, a, b in gates.gates:
        values.append((gate >> (3 - 2 * values[a].astype(int) - values[b]) & 1).astype(bool))
    for literal, value in zip(literals, table_values(tables, bits), strict=True):
        assert np.array_equal(np.broadcast_to(literal_of(values, literal), value.shape), value)


def test_a_table_that_depends_on_one_input_is_that_input_or_its_complement():
    shared = SharedTables(3)
    corners = np.array([0, 0, 1, 1, 0, 0, 1, 1], bool)[None]  # input 1
    table = int(packed_tables(corners)[0])
    assert shared.literal(table, [0, 2, 4]) == 2
    assert shared.literal(table, [0, 3, 4]) == 3
    assert shared.literal(table, [0, TRUE, 4]) == TRUE
    assert shared.tables == []


def test_a_table_of_two_inputs_becomes_one_gate_and_a_multiplexer_three():
    two, multiplexer = SharedTables(6), SharedTables(3)
    exclusive_or = np.array([(v & 1) ^ (v >> 5 & 1) for v in range(64)], bool)  # of inputs 0 and 5
    two.literal(int(packed_tables(exclusive_or[None])[0]), [0, 2, 4, 6, 8, 10])
    selected = np.array([v >> 1 & 1 if v & 1 else v >> 2 & 1 for v in range(8)], bool)
    multiplexer.literal(int(packed_tables(selected[None])[0]), [0, 2, 4])
    for tables, gates in ((two, 1), (multiplexer, 3)):
        shared = SharedGates(tables.num_inputs)
        tables.as_gates(shared)
        assert len(shared.gates) == gates
