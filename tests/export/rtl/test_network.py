"""The pipeline of a network: its registers lie between LUTs, and no value is lost."""

import re

import pytest
import torch

from src.circuit.luts import lut_cover
from src.circuit.netlist import netlist_of
from src.export.rtl import network
from src.export.rtl.network import network_module
from src.logic import LogicLayer
from src.logic.parametrisation import GateOptions
from src.models.to_circuit import circuit_of_layers
from tests.export.exports import trained


def vectors_of(text):
    """The names of the values that each vector of registers holds, the bit 0 first, by stage and number."""
    found = re.findall(r"if \(frame_at\[(\d+)\]\) held(\d+)_(\d+) <= \{([^}]*)\}", text)
    assert all(stage == same for stage, same, _, _ in found)
    return {
        (int(stage), int(number)): [name.strip() for name in reversed(names.split(","))]
        for stage, _, number, names in found
    }


def registers_of(text):
    """The names of the values that the registers behind each stage hold."""
    stages = {}
    for (stage, _), names in vectors_of(text).items():
        stages.setdefault(stage, []).extend(names)
    assert list(stages) == list(range(len(stages)))
    return list(stages.values())


def test_truth_tables_are_not_divided_by_registers():
    torch.manual_seed(0)
    layer = LogicLayer(30, 20, gates=GateOptions("light", fan_in=6))
    circuit = circuit_of_layers([layer], 2).simplified()
    text, _ = network_module("net", netlist_of(circuit), 1)
    assert len(registers_of(text)[0]) <= 20 + 30  # tables, and inputs that nothing else needs later


@pytest.mark.parametrize("levels_per_stage", [1, 2, 3, 4, 1000])
def test_a_stage_has_as_many_luts_in_a_row_as_it_may_of_which_trained_ones_count_twice(levels_per_stage):
    torch.manual_seed(0)
    gates = GateOptions("light", fan_in=6)
    netlist = netlist_of(circuit_of_layers([LogicLayer(30, 60, gates=gates), LogicLayer(60, 60, gates=gates)], 2))
    text, num_stages = network_module("net", netlist, levels_per_stage)
    stages = [0]  # of LUTs in a row, the levels in each stage
    for weight in [2, 2] + [1] * (lut_cover(netlist).depth - 2):
        if stages[-1] and stages[-1] + weight > levels_per_stage:
            stages.append(0)
        stages[-1] += weight
    assert num_stages == len(stages)
    assert len(registers_of(text)) == num_stages


def test_every_register_is_written_declared_and_read(monkeypatch):
    monkeypatch.setattr(network, "MOST_REGISTERS", 30)
    text, _ = network_module("net", netlist_of(trained(40, 60)[0]), 1)
    vectors = vectors_of(text)
    declared = re.findall(r"^    reg \[(\d+):0\] (held\d+_\d+);", text, re.MULTILINE)
    assert [(int(left) + 1, name) for left, name in declared] == [
        (len(names), f"held{stage}_{number}") for (stage, number), names in vectors.items()
    ]
    assert max(map(len, vectors.values())) == 30
    written = {f"held{stage}_{n}[{bit}]" for (stage, n), names in vectors.items() for bit in range(len(names))}
    assert set(re.findall(r"held\d+_\d+\[\d+\]", text)) == written


def test_no_register_holds_what_another_holds():
    text, _ = network_module("net", netlist_of(trained(40, 60)[0]), 1)
    for names in registers_of(text):
        assert len(names) == len(set(names))


def test_every_wire_is_declared_once_and_before_it_is_read():
    text, _ = network_module("net", netlist_of(trained(40, 60)[0]), 2)
    known = set()
    for line in re.findall(r"^    wire (g.*);", text, re.MULTILINE):
        name, expression = line.split(" = ")
        assert name not in known
        assert known.issuperset(re.findall(r"\bg\d+(?:_\d+)?\b", expression))
        known.add(name)
