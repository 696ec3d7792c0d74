"""Synthesis: a design's size, the device that holds it and its clock, from the real tools where they are there."""

import dataclasses
import logging

import pytest

from src.circuit.netlist import netlist_of
from src.command_line import RunError, UserError
from src.export.devices import FAMILIES, Device, Resources
from src.export.hardware_tools import find_tool
from src.export.synthesis import (
    Design,
    Hardware,
    logic_cells,
    registered_circuit,
    slowest_clock,
    synthesize,
    with_result,
)
from src.helpers import LOG
from tests.export.exports import need, run, trained, write

RESULT = Hardware("ice40", "net_registered", "gates", 10, 20, 0, {"SB_LUT4": 10}, {"HX1K": 0.02})
SHIFTS = """module counter(input clk, d, output q);
    reg [1999:0] s; always @(posedge clk) s <= {s[1998:0], d ^ s[9]}; assign q = s[1999];
endmodule"""
COUNTER = "module counter(input clk, output reg [7:0] n); always @(posedge clk) n <= n + 1; endmodule"


def test_a_device_is_as_full_as_what_runs_out_first():
    hx1k = FAMILIES["ice40"].devices[0]
    assert hx1k.share(Resources(128, 640, 4)) == 0.5
    assert hx1k.share(Resources(1281)) > 1


@pytest.mark.parametrize("family", FAMILIES)
def test_devices_are_in_the_order_of_their_size(family):
    sizes = [device.has.luts for device in FAMILIES[family].devices]
    assert sizes == sorted(sizes)


def test_cells_are_counted_by_what_they_take():
    cells = {"LUT4": 10, "CCU2C": 4, "TRELLIS_FF": 7, "DP16KD": 2, "PFUMX": 3}
    assert FAMILIES["ecp5"].resources(cells) == Resources(18, 7, 2)


def test_the_slowest_clock_of_a_report_counts():
    assert slowest_clock({"fmax": {"a": {"achieved": 81.256}, "b": {"achieved": 90.0}}}) == 81.26
    assert slowest_clock({"fmax": {}}) is None


def test_an_ice40_is_as_full_as_its_logic_cells():
    report = {"utilization": {"ICESTORM_LC": {"used": 1280, "available": 7680}}}
    assert logic_cells(report, FAMILIES["ice40"]) == 1280
    assert logic_cells(report, FAMILIES["ecp5"]) is None


def test_a_result_replaces_that_of_the_same_design_and_family_only():
    before = with_result(None, RESULT, step=3)
    other = Hardware(**{**vars(RESULT), "family": "ecp5"})
    both = with_result(before, other, step=3)
    assert [result["family"] for result in both["results"]] == ["ice40", "ecp5"]
    assert [result["family"] for result in with_result(both, RESULT, step=3)["results"]] == ["ecp5", "ice40"]
    assert [result["family"] for result in with_result(both, RESULT, step=4)["results"]] == ["ice40"]


def test_the_registered_circuit_gives_a_frame_s_class_one_clock_after_its_last_bit(tmp_path):
    need("iverilog")
    circuit, _, _ = trained(3, 40)
    design = registered_circuit(circuit, "net", "ecp5")
    bits = circuit.num_inputs
    netlist = netlist_of(circuit)
    ports = f"input [{bits - 1}:0] frame, output [{len(netlist.buses['best_class']) - 1}:0] best_class"
    bench = f"module net_netlist({ports}); assign best_class = frame; endmodule\n"
    bench += """module bench;
        reg clk = 0, frame_bit = 0; wire [3:0] best_class; integer i; reg [2:0] frame = 3'b110;
        net_registered top(clk, frame_bit, best_class);
        initial begin
            for (i = 2; i >= 0; i = i - 1) begin frame_bit = frame[i]; #1 clk = 1; #1 clk = 0; end
            #1 clk = 1; #1 $display("%0d", best_class);
        end
    endmodule"""
    folder = write(tmp_path / "v", {"net.v": design.files["net_registered.v"], "bench.v": bench})
    run(folder, "iverilog", "-Wall", "-g2001", "-o", "test", "net.v", "bench.v")
    assert run(folder, "vvp", "test") == "6\n"


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_tiny_network_is_synthesised_and_where_nextpnr_is_there_placed_and_routed(family):
    for tool in FAMILIES[family].tools:
        try:
            find_tool(tool)
        except UserError as error:
            pytest.skip(str(error))
    circuit, _, _ = trained(40, 60)
    hardware = synthesize(registered_circuit(circuit, "net", family), family)
    assert 30 < hardware.luts < 1000
    assert hardware.registers >= 40
    assert hardware.block_rams == 0
    if FAMILIES[family].place_and_route:
        assert hardware.device in hardware.full
        assert 5 < hardware.fmax_mhz < 1000
        assert hardware.full[hardware.device] <= 1
        assert hardware.latency_ns == pytest.approx(1000 / hardware.fmax_mhz)
        assert hardware.frames_per_second == pytest.approx(1e6 * hardware.fmax_mhz)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "placed", "told"),
    [
        (("--nonsense",), None, "failed on first: unrecognised option '--nonsense'; counter is not placed"),
        (("--hx1k", "--package", "tq144"), "HX8K", "first does not hold counter: ERROR: Unable to "),
    ],
)
def test_a_larger_device_is_tried_only_if_the_design_does_not_fit(monkeypatch, caplog, first, placed, told):
    need("yosys")
    need("nextpnr-ice40")
    ice40 = FAMILIES["ice40"]
    devices = (Device("first", Resources(9000, 9000, 99), first), ice40.devices[-1])
    monkeypatch.setitem(FAMILIES, "ice40", dataclasses.replace(ice40, devices=devices))
    hardware = synthesize(Design("counter", {"counter.v": SHIFTS}), "ice40")
    assert hardware.device == placed
    assert told in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize(("seconds", "device"), [(600.0, "HX8K"), (0.0, None)])
def test_wires_that_are_not_routed_in_time_are_placed_in_another_way(monkeypatch, caplog, seconds, device):
    need("yosys")
    need("nextpnr-ice40")
    ice40 = FAMILIES["ice40"]
    placers = (("heap", 0.0), ("sa", seconds))
    monkeypatch.setitem(FAMILIES, "ice40", dataclasses.replace(ice40, devices=ice40.devices[-1:], placers=placers))
    caplog.set_level(logging.INFO, LOG.name)
    hardware = synthesize(Design("counter", {"counter.v": SHIFTS}), "ice40")
    assert hardware.device == device
    assert "the wires are not routed; placing by sa instead of heap" in caplog.text
    assert ("the wires of counter on HX8K are not routed" in caplog.text) == (device is None)


@pytest.mark.slow
def test_a_verilog_design_is_synthesised_with_the_rates_that_its_cycles_give():
    need("yosys")
    hardware = synthesize(Design("counter", {"counter.v": COUNTER}, latency_cycles=3), "xilinx")
    assert (hardware.registers, hardware.fmax_mhz, hardware.latency_cycles) == (8, None, 3)
    assert "latency_ns" not in hardware.to_dict()


@pytest.mark.slow
def test_a_design_that_yosys_refuses_is_an_error_with_its_words():
    need("yosys")
    with pytest.raises(RunError, match=r"yosys failed to synthesise bad: .*syntax error"):
        synthesize(Design("bad", {"bad.v": "module bad(input a;"}), "xilinx")
