"""BLIF: Yosys reads it and computes the same values; every gate is one table."""

import numpy as np
import pytest

from src.circuit.netlist import Netlist, netlist_of
from src.export.blif import to_blif
from tests.circuit.test_circuit import oracle, some_bits
from tests.export.exports import need, run, trained


def evaluated(text, bits):
    """The values of a BLIF model's outputs for bits [B, inputs], by name, from its tables."""
    signals, outputs, table = {}, [], []
    for line in [*text.splitlines(), ".names"]:
        words = line.split()
        if words[0] == "#":
            continue
        if words[:1] == [".inputs"]:
            signals.update(zip(words[1:], bits.T.astype(bool), strict=True))
        elif words[:1] == [".outputs"]:
            outputs = words[1:]
        elif words[0] in (".names", ".end"):
            if table:
                *inputs, output = table[0]
                signals[output] = np.zeros(len(bits), bool)
                for row in table[1:]:
                    pattern = row[0] if inputs else ""
                    matches = [signals[name] == (bit == "1") for name, bit in zip(inputs, pattern, strict=True)]
                    signals[output] |= np.logical_and.reduce([np.ones(len(bits), bool), *matches])
            table = [words[1:]] if words[1:] else []
        elif table:
            table.append(words)
    return {name: signals[name] for name in outputs}


def test_the_tables_give_the_counts_and_the_class():
    circuit, _, _ = trained(40, 60)
    bits = some_bits(circuit, 50)
    netlist = netlist_of(circuit)
    found = evaluated(to_blif(netlist, "net"), bits)

    def number(bus):
        return sum(found[f"{bus}[{i}]"].astype(int) << i for i in range(len(netlist.buses[bus])))

    counts = oracle(circuit, bits)
    assert np.array_equal(np.stack([number(f"count{c}") for c in range(10)], axis=1), counts)
    assert np.array_equal(number("best_class"), counts.argmax(1))


def test_every_gate_of_two_inputs_is_its_truth_table():
    for gate in (1, 2, 4, 6, 7, 8, 9, 11, 13, 14):
        both = np.array([0], np.int32), np.array([1], np.int32)
        text = to_blif(Netlist(2, np.array([gate], np.uint8), *both, {"out": [2]}), "gate")
        bits = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
        (values,) = evaluated(text, bits).values()
        assert values.astype(int).tolist() == [gate >> place & 1 for place in (3, 2, 1, 0)]


@pytest.mark.slow
def test_yosys_finds_verilog_and_blif_equal(tmp_path):
    need("yosys")
    verilog = "module verilog(input [2:0] frame, output [1:0] count0, output [0:0] best_class);"
    verilog += (
        "assign count0 = {1'b0, frame[0]} + {1'b0, frame[1]} + {1'b0, frame[2]}; assign best_class = 0; endmodule"
    )
    (tmp_path / "count.v").write_text(verilog)
    gates, first = np.array([6, 6, 1, 1, 7], np.uint8), np.array([0, 3, 0, 3, 5], np.int32)
    second = np.array([1, 2, 1, 2, 6], np.int32)
    netlist = Netlist(3, gates, first, second, {"count0": [4, 7], "best_class": [-2]})
    (tmp_path / "net.blif").write_text(to_blif(netlist, "net"))
    script = "read_blif -wideports net.blif; read_verilog count.v; proc; techmap; miter -equiv -flatten verilog net m; "
    script += "sat -verify -prove trigger 0 m"
    assert "SUCCESS" in run(tmp_path, "yosys", "-p", script)
