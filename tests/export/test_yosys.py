"""Estimates of LUTs: right for a known circuit, and given up in time."""

import numpy as np
import pytest

from src.circuit.circuit import Circuit
from src.command_line import UserError
from src.export.verilog import to_verilog
from src.export.yosys import estimate_luts, warn_if_too_large
from tests.circuit.test_circuit import pack, some_bits
from tests.export.exports import described, need, write


@pytest.fixture
def majority(tmp_path):
    """A Verilog file of a function of three inputs, counted once."""
    circuit = Circuit(
        3,
        np.array([1, 1, 1, 7, 7], np.uint8),
        np.array([0, 0, 1, 3, 6], np.int32),
        np.array([1, 2, 2, 4, 5], np.int32),
        np.array([7], np.int32),
        np.array([0, 1]),
        np.array([0]),
    )
    frames = pack(some_bits(circuit, 3))
    folder = write(tmp_path / "it's a folder", to_verilog(circuit, described(circuit), frames, circuit(frames), ""))
    return folder / "net_classify.v"


@pytest.mark.parametrize("target", [pytest.param("xilinx", marks=pytest.mark.slow), "ice40"])
def test_a_function_of_three_inputs_takes_one_lut(majority, target):
    need("yosys")
    assert estimate_luts(majority, target)["luts"] == 1


def test_an_estimate_says_what_it_does_before_it_waits(majority, monkeypatch, caplog):
    monkeypatch.setenv("PATH", "/nowhere")
    with caplog.at_level("INFO", logger="difflogic_tonic"), pytest.raises(UserError):
        estimate_luts(majority, "ice40")
    assert "net_classify.v for ice40: it takes about a minute" in caplog.text


@pytest.mark.parametrize(("target", "luts", "largest"), [("ice40", 7_681, "HX8K"), ("xilinx", 1_221_601, "XC7V2000T")])
def test_a_circuit_that_no_device_of_the_family_holds_is_a_warning(target, luts, largest, caplog):
    warn_if_too_large(target, luts - 1)
    assert not caplog.records
    warn_if_too_large(target, luts)
    assert f"{luts:,} LUTs do not fit any device of the family {target}: the largest, " in caplog.text
    assert f"{largest}, has {luts - 1:,}" in caplog.text


def test_an_estimate_is_given_up_in_time(majority):
    need("yosys")
    with pytest.raises(UserError, match=r"given up after 0\.0 s"):
        estimate_luts(majority, "xilinx", timeout=0)


def test_what_yosys_cannot_read_is_said(tmp_path):
    need("yosys")
    (tmp_path / "bad.v").write_text("module m (input a;")
    with pytest.raises(UserError, match="yosys failed"):
        estimate_luts(tmp_path / "bad.v", "ice40")


def test_an_estimate_without_yosys_says_so(majority, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match="needs yosys"):
        estimate_luts(majority, "ice40")
