"""The pipeline of a network: its registers lie between LUTs, and no value is lost."""

import re

import pytest
import torch

from src.circuit.luts import lut_cover
from src.circuit.netlist import netlist_of
from src.export.rtl.network import REGISTERS_PER_BLOCK, network_module
from src.logic import LogicLayer
from src.logic.parametrisation import GateOptions
from src.models.to_circuit import circuit_of_layers
from tests.export.exports import trained


def stages_of(text):
    """The registers that each stage writes."""
    stages = {}
    for block in text.split("if (frame_at[")[1:]:
        stages.setdefault(int(block.split("]")[0]), []).extend(re.findall(r"(n\d+_\d+) <=", block))
    return [stages[number] for number in range(len(stages))]


def test_truth_tables_are_not_divided_by_registers():
    torch.manual_seed(0)
    layer = LogicLayer(30, 20, gates=GateOptions("light", fan_in=6))
    circuit = circuit_of_layers([layer], 2).simplified()
    text, _ = network_module("net", netlist_of(circuit), 1)
    assert len(stages_of(text)[0]) <= 20 + 30  # tables, and inputs that nothing else needs later


@pytest.mark.parametrize("levels_per_stage", [1, 2, 3, 1000])
def test_a_stage_has_as_many_luts_in_a_row_as_it_may(levels_per_stage):
    netlist = netlist_of(trained(40, 60)[0])
    text, num_stages = network_module("net", netlist, levels_per_stage)
    depth = lut_cover(netlist).depth
    assert num_stages == -(-depth // levels_per_stage)
    assert len(stages_of(text)) == num_stages


def test_every_register_that_is_read_is_written_and_declared_once():
    text, _ = network_module("net", netlist_of(trained(40, 60)[0]), 1)
    declared = re.findall(r"^    reg (n\d+_\d+);", text, re.MULTILINE)
    written = [name for stage in stages_of(text) for name in stage]
    assert sorted(declared) == sorted(written) == sorted(set(declared))
    assert set(re.findall(r"n\d+_\d+", text)) == set(declared)


def test_no_block_has_more_registers_than_yosys_is_quick_with():
    text, _ = network_module("net", netlist_of(trained(300, 400)[0]), 1)
    blocks = [block.count(" <= ") for block in text.split("always @(posedge clk)")[1:]]
    assert max(blocks) == REGISTERS_PER_BLOCK
    assert len(blocks) > len(stages_of(text))


def test_every_wire_is_declared_once_and_before_it_is_read():
    text, _ = network_module("net", netlist_of(trained(40, 60)[0]), 2)
    known = set()
    for line in re.findall(r"^    wire (g.*);", text, re.MULTILINE):
        name, expression = line.split(" = ")
        assert name not in known
        assert known.issuperset(re.findall(r"\bg\d+(?:_\d+)?\b", expression))
        known.add(name)
