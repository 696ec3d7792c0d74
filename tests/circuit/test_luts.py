"""LUTs that cover a netlist: they compute its buses, are few, and not deep."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.circuit.luts import circuit_size, lut_cover
from src.circuit.netlist import Netlist, netlist_of
from src.circuit.shared_gates import AND, XOR, SharedGates
from src.export.yosys import estimate_luts
from tests.circuit.test_circuit import circuits
from tests.export.exports import convolutional, need, trained, voted


def tree(gate, leaves, num_inputs):
    """A netlist of gates of one kind, joined one after the other."""
    shared = SharedGates(num_inputs)
    literal = 2 * leaves[0]
    for leaf in leaves[1:]:
        literal = shared.literal(gate, literal, 2 * leaf)
    gates, first, second, number = shared.used_by([literal // 2])
    return Netlist(num_inputs, gates, first, second, {"out": [int(number[literal // 2])]})


def decided_by(netlist, root, leaves):
    """Whether every way from a node back to the inputs passes through these leaves."""
    if root in leaves:
        return True
    if root < netlist.num_inputs:
        return False
    gate = root - netlist.num_inputs
    return all(decided_by(netlist, int(inputs[gate]), leaves) for inputs in (netlist.first, netlist.second))


@settings(max_examples=50, deadline=None)
@given(circuits(), st.integers(2, 6))
def test_every_lut_is_decided_by_its_leaves_and_every_leaf_is_there(circuit, lut_inputs):
    netlist = netlist_of(circuit)
    cover = lut_cover(netlist, lut_inputs)
    there = {*range(netlist.num_inputs), *cover.roots.tolist()}
    assert {node for bus in netlist.buses.values() for node in bus if node >= 0} <= there
    levels = dict.fromkeys(range(netlist.num_inputs), 0)
    for root, leaves in zip(cover.roots.tolist(), cover.leaves, strict=True):
        assert 1 <= len(leaves) <= lut_inputs
        assert there.issuperset(leaves)
        assert decided_by(netlist, root, set(leaves))
        levels[root] = 1 + max(levels[leaf] for leaf in leaves)
    assert cover.depth == max((levels[node] for bus in netlist.buses.values() for node in bus if node >= 0), default=0)


@settings(max_examples=25, deadline=None)
@given(circuits())
def test_luts_are_no_more_and_no_deeper_than_gates(circuit):
    netlist = netlist_of(circuit)
    cover = lut_cover(netlist)
    assert len(cover.roots) <= len(netlist.gates)
    assert cover.depth <= netlist.depth()


@pytest.mark.parametrize("gate", [AND, XOR])
@pytest.mark.parametrize(("leaves", "luts"), [(2, 1), (6, 1), (7, 2), (11, 2), (16, 3)])
def test_a_chain_of_gates_takes_a_lut_for_each_five_inputs_after_the_first(gate, leaves, luts):
    cover = lut_cover(tree(gate, range(leaves), leaves))
    assert len(cover.roots) == luts


def test_a_gate_that_two_luts_need_is_computed_in_both_where_this_saves_one():
    shared = SharedGates(4)
    common = shared.literal(AND, 0, 2)
    outputs = [shared.literal(XOR, common, 4) // 2, shared.literal(XOR, common, 6) // 2]
    gates, first, second, number = shared.used_by(outputs)
    netlist = Netlist(4, gates, first, second, {"out": [int(number[node]) for node in outputs]})
    assert len(lut_cover(netlist).roots) == 2


def test_a_circuit_s_size_has_the_counters_and_the_comparison_inside():
    circuit, _, _ = trained(40, 60)
    size = circuit_size(circuit)
    alone = netlist_of(circuit, with_best_class=False, counter_inputs=6)
    assert size.gates == len(circuit.gates)
    assert size.luts > len(lut_cover(alone).roots) > 0
    assert 0 < size.depth < netlist_of(circuit, counter_inputs=6).depth()


@pytest.mark.slow
@pytest.mark.parametrize("network", [trained, convolutional, voted])
@pytest.mark.parametrize(("family", "lut_inputs"), [("xilinx", 6), ("ecp5", 4)])
def test_yosys_takes_about_as_many(network, family, lut_inputs):
    need("yosys")
    circuit, _, _ = network()
    netlist = netlist_of(circuit, counter_inputs=6 if lut_inputs == 6 else 3)
    assert len(lut_cover(netlist, lut_inputs).roots) == pytest.approx(estimate_luts(netlist, family), rel=0.07)
