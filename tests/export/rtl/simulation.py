"""What tests of the streaming hardware share: writing it with its test bench, and running that in two simulators."""

import shutil

import numpy as np

from src.circuit.netlist import netlist_of
from src.export.rtl.accumulator import accumulate_module, place_module
from src.export.rtl.bench import bench_module, event_lines, expected_lines, expected_of
from src.export.rtl.encoder import encode_module
from src.export.rtl.front import denoise_module
from src.export.rtl.network import network_module, vote_module
from src.export.rtl.top import top_module
from src.export.stream_samples import stream_samples
from src.export.verilog import count_width
from tests.export.exports import need, run

# Writes what the network reads of each frame, which the bench does not compare, a line per frame and per reset; and how
# many cycles after an event the class of each frame comes.
PROBE = """
    integer samples, latencies;
    initial begin
        samples = $fopen("net_samples.txt", "w");
        latencies = $fopen("net_latencies.txt", "w");
    end
    always @(posedge clk) begin
        if (stream.full && !rst) $fdisplay(samples, "%h", stream.sample);
        if (rst && !was_rst) $fdisplay(samples, "reset");
        if (frame_valid && !rst) $fdisplay(latencies, "%0d", cycles - last_taken);
    end
endmodule
"""
RUNTIME = ("verilated", "verilated_timing", "verilated_threads")  # what Verilator's programs have in common


def write(folder, plan, runs, circuit, levels_per_stage=3):
    """Write the modules of a network and the bench; return its number of stages."""
    width, classes = count_width(circuit), circuit.num_classes
    network, num_stages = network_module("net", netlist_of(circuit), levels_per_stage)
    modules = [network, place_module("net", plan), accumulate_module("net", plan), encode_module("net", plan)]
    modules += [vote_module("net", classes, width), top_module("net", plan, classes, width, num_stages, ["A test."])]
    if plan.framing.denoise_time:
        modules.append(denoise_module("net", plan))
    expected = [expected_of(it, plan, circuit) for it in runs]
    events, outputs = event_lines(runs, expected, plan), expected_lines(expected, width, classes)
    bench = bench_module("net", plan, classes, width, num_stages, events.count("\n"), outputs.count("\n"))
    (folder / "net.v").write_text("\n".join(["`default_nettype none", *modules]))
    (folder / "net_stream_test.v").write_text(PROBE.lstrip("\n").join(bench.rsplit("endmodule\n", 1)))
    (folder / "net_events.hex").write_text(events)
    (folder / "net_expected.hex").write_text(outputs)
    return num_stages


def assert_samples(folder, plan, runs):
    """Compare what the network read in the last simulation with what it is to read, up to a reset."""
    wanted = [[]]
    for it in runs:
        packed = np.ascontiguousarray(stream_samples(it.events, plan, it.is_whole))
        wanted[-1] += [int.from_bytes(row.tobytes(), "little") for row in packed]
        if it.reset_after is not None:
            wanted.append([])
    (_, *found) = (folder / "net_samples.txt").read_text().split("reset\n")
    found = [[int(line, 16) for line in part.split()] for part in found]
    assert found[-1] == wanted[-1]
    assert found == [each[: len(part)] for each, part in zip(wanted, found, strict=True)]


def simulate(folder, gaps=3, expect=0):
    """Run the bench in Icarus Verilog; what it prints."""
    need("iverilog")
    words = ("-g2001", "-Wall", "-Wno-timescale", "-s", "net_stream_test", "-o", "sim", "net.v", "net_stream_test.v")
    assert run(folder, "iverilog", *words) == ""
    return run(folder, "vvp", "-n", "sim", f"+gaps={gaps}", expect=expect).splitlines()


def make_verilator_runtime(folder):
    """Compile what all of Verilator's programs have in common, which takes longer than a small network."""
    (folder / "net.v").write_text("module net_stream_test; initial #1 $finish; endmodule\n")
    (folder / "net_stream_test.v").write_text("")
    run(folder, "verilator", *_BUILD)
    run(folder, "make", "-s", "-C", "obj_dir", "-f", "Vnet_stream_test.mk", *(f"{name}.o" for name in RUNTIME))


def build_verilated(folder, runtime):
    """Make the bench a program by Verilator, which must find nothing to complain about.

    Args:
        folder: where `write` has written.
        runtime: a folder of `make_verilator_runtime`.
    """
    lint = ("--lint-only", "-Wall", "-Wno-DECLFILENAME", "--top-module", "net_stream", "net.v")
    assert run(folder, "verilator", *lint) == ""
    run(folder, "verilator", *_BUILD)
    for name in RUNTIME:
        shutil.copy(runtime / f"obj_dir/{name}.o", folder / "obj_dir")
    fast = ("OPT_FAST=-O1", "OPT_SLOW=-O0", "VM_PARALLEL_BUILDS=0")  # compiling takes longer than simulating
    run(folder, "make", "-s", "-C", "obj_dir", "-f", "Vnet_stream_test.mk", *fast)


def simulate_verilated(folder, gaps=3):
    """Run the program of `build_verilated`; what it prints."""
    return run(folder, "obj_dir/Vnet_stream_test", f"+gaps={gaps}").splitlines()


_BUILD = ("--cc", "--exe", "--main", "--timing", "-Wno-BLKSEQ", "-Wno-WIDTH", "--top-module", "net_stream_test")
_BUILD += ("net.v", "net_stream_test.v")
