"""Streaming hardware: in Icarus Verilog and Verilator it gives the counts and classes that the program gives."""

import dataclasses

import numpy as np
import pytest

from src.circuit.circuit import Circuit
from src.circuit.netlist import netlist_of
from src.events import Events
from src.events.frame_stream import FrameStream
from src.events.framing import Framing
from src.export.rtl.bench import Run
from src.export.rtl.export import hard_runs
from src.export.rtl.front import denoise_module
from src.export.rtl.lists import MOST_COLUMNS
from src.export.rtl.network import network_module, vote_module
from src.export.rtl.pins import pins_module
from src.export.rtl.readme import front_cycles, recording_cycles
from src.export.stream_plan import StreamPlan
from tests.export.exports import need, run
from tests.export.rtl.simulation import (
    assert_samples,
    build_verilated,
    simulate,
    simulate_verilated,
    write,
)

SENSOR = (9, 7, 2)
CLASSES = 3
COUNTED = 27  # gates per class
XOR = 0b0110

PLANS = {
    "frames of a number of events": StreamPlan(Framing(size=20, overlap=0, denoise_time=0), SENSOR),
    "a frame per event": StreamPlan(Framing(size=1, overlap=0, denoise_time=0), SENSOR),
    "overlap and an incomplete frame": StreamPlan(
        Framing(size=20, overlap=13, denoise_time=0, drop_incomplete=False), SENSOR
    ),
    "windows of time": StreamPlan(Framing(mode="time_window", size=300, overlap=0, denoise_time=0), SENSOR),
    "windows that overlap, denoised": StreamPlan(
        Framing(mode="time_window", size=256, overlap=187, denoise_time=100, drop_incomplete=False), SENSOR
    ),
    "denoised": StreamPlan(Framing(size=20, overlap=5, denoise_time=100), SENSOR),
    "a region, downsampled and merged": StreamPlan(
        Framing(size=10, overlap=0, denoise_time=200, crop=(2, 1, 6, 5), downsample=0.5, polarities="merged"), SENSOR
    ),
    "counts and a thermometer": StreamPlan(
        Framing(size=40, overlap=20, denoise_time=0, dtype="counts"), SENSOR, thresholds=(0, 2, 3)
    ),
    "counts in binary": StreamPlan(
        Framing(size=60, overlap=0, denoise_time=0, dtype="counts"), SENSOR, thresholds=(-1, 1, 8)
    ),
    "thresholds below 0, two frames together": StreamPlan(
        Framing(size=30, overlap=0, denoise_time=0, dtype="counts"), SENSOR, thresholds=(-1, 1), stack=2
    ),
    "three frames together": StreamPlan(Framing(size=20, overlap=0, denoise_time=0), SENSOR, stack=3),
    "counts of two frames together": StreamPlan(
        Framing(size=30, overlap=0, denoise_time=0, dtype="counts"), SENSOR, thresholds=(0, 1), stack=2
    ),
}


def some_circuit(num_inputs, rng):
    """A circuit of 200 random gates, 27 of which are counted per class; most are XOR, so that each bit matters."""
    places = num_inputs + np.arange(200)
    first, second = (rng.integers(0, places).astype(np.int32) for _ in range(2))
    outputs = rng.integers(num_inputs, num_inputs + 200, COUNTED * CLASSES).astype(np.int32)
    gates = np.where(rng.random(200) < 0.7, XOR, rng.integers(0, 16, 200)).astype(np.uint8)
    offsets = np.arange(CLASSES)
    starts = np.arange(0, len(outputs) + 1, COUNTED)
    return Circuit(num_inputs, gates, first, second, outputs, starts, offsets).simplified()


def some_events(rng, n, latest_step=40, begin=0):
    """Events on the sensor and a column and a row beyond it, since a coordinate may be anything that its bits hold."""
    x, y = rng.integers(0, 10, n).astype(np.uint16), rng.integers(0, 8, n).astype(np.uint16)
    return Events(x, y, begin + np.cumsum(rng.integers(0, latest_step, n)), rng.integers(0, 2, n).astype(np.uint8))


def circuit_of(plan):
    return some_circuit(plan.stack * plan.bits_per_frame, np.random.default_rng(6))


def write_plan(folder, plan, runs, levels_per_stage=3):
    """Write the hardware of a random network, and its bench; return its number of stages."""
    return write(folder, plan, runs, circuit_of(plan), levels_per_stage)


def all_runs(plan):
    """What an export's bench has, and resets among windows that end, each before a recording of an event."""
    rng = np.random.default_rng(1)
    circuit = circuit_of(plan)
    _, num_stages = network_module("net", netlist_of(circuit), 3)
    runs = []
    for cycles in range(4):
        runs += [Run(some_events(rng, 5, 8000), is_whole=False, reset_after=cycles), Run(some_events(rng, 1))]
    recordings = [some_events(rng, 200), some_events(rng, 150, 400), some_events(rng, 99)]  # the second: blank windows
    wrapping = some_events(rng, 150, begin=(1 << 32) - 1500)
    return [*runs, *hard_runs(recordings, plan, circuit, num_stages), *map(Run, recordings), Run(wrapping)]


@pytest.mark.parametrize("name", list(PLANS))
def test_every_frame_and_recording_comes_out_as_the_program_has_it(tmp_path, name):
    plan = PLANS[name]
    num_stages = write_plan(tmp_path, plan, all_runs(plan))
    right, latency, verdict = simulate(tmp_path)
    assert verdict == "PASSED"
    assert right.startswith("net: ")
    assert_samples(tmp_path, plan, all_runs(plan))
    cycles = recording_cycles(plan, num_stages, CLASSES)
    num_cycles = int(latency.removeprefix("a recording's class comes ").split()[0])
    assert num_cycles == cycles or (plan.by_time and num_cycles > cycles)  # windows that end before the last event


@pytest.mark.parametrize(
    "name",
    ["frames of a number of events", "overlap and an incomplete frame", "windows of time", "denoised"],
)
def test_a_frame_s_class_comes_as_soon_as_the_page_says(tmp_path, name):
    plan = PLANS[name]
    events = some_events(np.random.default_rng(2), 100)
    stream = FrameStream(plan.framing, plan.sensor_size)
    fills = next(i for i in range(100) if any(map(len, stream.push(events.chosen(slice(i, i + 1))))))
    num_stages = write_plan(tmp_path, plan, [Run(events.chosen(slice(fills + 1)))])
    assert simulate(tmp_path, gaps=0)[-1] == "PASSED"
    assert (tmp_path / "net_latencies.txt").read_text().split()[0] == str(front_cycles(plan) + num_stages)


def test_events_without_a_gap_and_with_long_gaps_give_the_same(tmp_path):
    write_plan(tmp_path, PLANS["windows that overlap, denoised"], all_runs(PLANS["windows that overlap, denoised"]))
    assert [simulate(tmp_path, gaps)[-1] for gaps in (0, 30)] == ["PASSED", "PASSED"]


def test_a_difference_is_told(tmp_path):
    write_plan(tmp_path, PLANS["denoised"], all_runs(PLANS["denoised"]))
    path = tmp_path / "net_expected.hex"
    lines = path.read_text().splitlines()
    lines[0] = f"{int(lines[0], 16) ^ 1:0{len(lines[0])}x}"
    path.write_text("\n".join(lines))
    output = simulate(tmp_path, expect=1)
    assert output[0].startswith("output 0 is ")
    assert "FAILED" in output


def test_a_missing_frame_is_told(tmp_path):
    write_plan(tmp_path, PLANS["denoised"], all_runs(PLANS["denoised"]))
    path = tmp_path / "net_stream_test.v"
    path.write_text(path.read_text().replace("localparam NUM_OUTPUTS = ", "localparam NUM_OUTPUTS = 1 + "))
    assert "FAILED" in simulate(tmp_path, expect=1)


FAULTS = {
    "draining is not reset": {"if (rst || recording_valid) draining": "if (recording_valid) draining"},
    "an event in place is not reset": {"        if (rst) out_valid <= 1'b0;\n": ""},
    "sums are not reset": {"if (rst || recording_valid) begin": "if (recording_valid) begin"},
    "frames in the network are not reset": {
        "if (rst) {frame_behind, end_behind}": "if (1'b0) {frame_behind, end_behind}",
    },
    "events are taken during a reset": {" && !draining && !rst;": " && !draining;"},
    "events outside become part of frames": {".in_keep(in_region)": ".in_keep(1'b1)"},
    "an open frame is not reset": {"if (rst) bank0 <= ": "if (1'b0) bank0 <= "},
    "the end of a recording is not reset": {"if (rst) {ending, ends} <= 3'd0;": "if (rst) ending <= 2'd0;"},
    "the class of a recording is not reset": {"            recording_valid <= 1'b0;\n": ""},
    "the last of the largest sums wins": {"[20:0] > most": "[20:0] >= most"},
    "no event is taken": {"assign event_ready = ": "assign event_ready = 1'b0 && "},
}


# Registers that a reset leaves as they are begin with the value of a reset, as on many an FPGA.
FAULTS_BY_EVENTS = {
    "an event is taken in every second cycle only": {
        "assign event_ready = ": "reg second; always @(posedge clk) second <= rst || !second;\n"
        "    assign event_ready = second && ",
    },
    "an event in place is not reset": {"        if (rst) out_valid <= 1'b0;\n": ""},
    "an empty recording has the frame of the one before it": {"opens0 || ending == 2'd3;": "opens0;"},
    "the counter of events is not reset": {
        "            since_begin <= 5'd0;\n": "            if (!rst || since_begin === 5'bx) since_begin <= 5'd0;\n",
        "            begins <= 1'b1;\n": "            if (!rst || begins === 1'bx) begins <= 1'b1;\n",
    },
    "a full frame is not reset": {
        "            filled <= 1'd0;\n": "            if (!rst || filled === 1'bx) filled <= 1'd0;\n",
    },
    "a frame's class comes a cycle late": {
        ".frame_valid(frame_valid), .counts(frame_counts)": ".frame_valid(frame_now), .counts(counts_now)",
        "assign frame_valid = frame_at": "wire frame_now;\n    assign #12 frame_valid = frame_now;\n"
        "    assign #12 frame_counts = counts_now;\n    assign #12 frame_class = class_now;\n"
        "    wire [1:0] class_now;\n    wire [14:0] counts_now;\n    assign frame_now = frame_at",
        "assign frame_counts = {\n": "assign counts_now = {\n",
        ".best_class(frame_class)": ".best_class(class_now)",
    },
    "an event is taken a cycle late after a recording": {
        "if (rst || recording_valid) draining <= 1'b0;": "if (rst) draining <= 1'b0;\n"
        "        else if (recording_valid) draining <= #12 1'b0;",
    },
}


@pytest.mark.parametrize(
    ("plan", "fault", "changes"),
    [
        *(("windows of time", *fault) for fault in FAULTS.items()),
        *(("frames of a number of events", *fault) for fault in FAULTS_BY_EVENTS.items()),
    ],
)
def test_a_fault_is_told(tmp_path, plan, fault, changes):
    write_plan(tmp_path, PLANS[plan], all_runs(PLANS[plan]))
    path = tmp_path / "net.v"
    text = path.read_text()
    for right, wrong in changes.items():
        assert right in text
        text = text.replace(right, wrong)
    path.write_text(text)
    assert "FAILED" in simulate(tmp_path, expect=1)


def test_votes_stop_before_a_sum_overflows_until_the_recording_ends(tmp_path):
    need("iverilog")
    (tmp_path / "vote.v").write_text(vote_module("net", 2, count_width=3, vote_bits=2))
    (tmp_path / "test.v").write_text("""
module test;
    reg clk = 0, rst = 1, frame_valid = 0, ends = 0;
    wire valid, overflow, number;
    wire [9:0] sums;
    net_vote vote(clk, rst, frame_valid, 6'o17, ends, valid, number, sums, overflow);
    always #5 clk = !clk;
    always @(posedge clk) if (valid) $display("%0d: %0d %0d %b", number, sums[9:5], sums[4:0], overflow);
    task give(input integer frames);
        begin
            frame_valid = 1;
            repeat (frames) @(negedge clk);
            frame_valid = 0;
            ends = 1;
            @(negedge clk) ends = 0;
            repeat (5) @(negedge clk);
        end
    endtask
    initial begin
        @(negedge clk) rst = 0;
        give(4);
        give(9);
        give(1);
        $finish;
    end
endmodule
""")
    assert run(tmp_path, "iverilog", "-Wall", "-Wno-timescale", "-o", "sim", "vote.v", "test.v") == ""
    assert run(tmp_path, "vvp", "sim").splitlines() == ["0: 4 28 0", "0: 4 28 1", "0: 1 7 0"]


@pytest.mark.parametrize("levels_per_stage", [1, 100])
def test_a_pipeline_may_have_many_stages_or_one(tmp_path, levels_per_stage):
    num_stages = write_plan(tmp_path, PLANS["denoised"], all_runs(PLANS["denoised"]), levels_per_stage)
    assert simulate(tmp_path)[-1] == "PASSED"
    assert num_stages == 1 if levels_per_stage == 100 else num_stages > 4


def test_times_that_go_back_count_as_the_latest_time(tmp_path):
    events = some_events(np.random.default_rng(2), 300)
    t = events.t.copy()
    t[50::20] -= 500
    for name in ("windows of time", "denoised"):
        write_plan(tmp_path, PLANS[name], [Run(dataclasses.replace(events, t=np.maximum(t, 0)))])
        assert simulate(tmp_path)[-1] == "PASSED"


@pytest.mark.slow
@pytest.mark.parametrize("name", list(PLANS))
def test_verilator_finds_nothing_and_gives_the_same(tmp_path, verilator_runtime, name):
    write_plan(tmp_path, PLANS[name], all_runs(PLANS[name]))
    build_verilated(tmp_path, verilator_runtime)
    assert "PASSED" in simulate_verilated(tmp_path)


def test_the_module_that_is_placed_takes_events_bit_by_bit(tmp_path):
    need("verilator")
    plan = PLANS["a frame per event"]
    ports = ["clk", "rst", "event_valid", "event_p", "event_last", "[3:0] event_x", "[2:0] event_y", "[31:0] event_t"]
    outputs = ["event_ready", "frame_valid", "[1:0] frame_class", "recording_valid", "[1:0] recording_class"]
    outputs += ["recording_overflow", "[11:0] frame_counts", "[59:0] recording_counts"]
    stream = ", ".join([f"input {port}" for port in ports] + [f"output {port}" for port in outputs])
    (tmp_path / "stream.v").write_text(f"module net_stream({stream}); endmodule\n")
    (tmp_path / "pins.v").write_text(pins_module("net", plan, CLASSES, 4))
    words = ("-Wno-UNUSED", "-Wno-UNDRIVEN", "-Wno-DECLFILENAME", "--top-module", "net_pins", "pins.v", "stream.v")
    assert run(tmp_path, "verilator", "--lint-only", "-Wall", *words) == ""


def test_lines_are_short_however_many_inputs_are_not_read():
    network, _ = network_module("net", netlist_of(some_circuit(3000, np.random.default_rng(5))), 8)
    assert network.count("sample[") > 2500
    assert max(map(len, network.splitlines())) <= MOST_COLUMNS


def test_denoising_takes_no_multiplier():
    assert " * " not in denoise_module("net", PLANS["denoised"])
