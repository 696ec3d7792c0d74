"""Exported circuits: compilers and simulators accept them without a warning and compute the same counts."""

import json
import shutil
import subprocess

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from src.circuit.circuit import Circuit
from src.command_line import UserError
from src.export import c99
from src.export.c99 import to_c
from src.export.circuit_json import from_json, to_json
from src.export.description import Description, channel_names, identifier
from src.export.verilog import to_verilog
from src.export.yosys import estimate_luts, warn_if_too_large
from src.logic import LogicConvolution, LogicLayer
from src.logic.gates import GATE_NAMES
from src.logic.parametrisation import GateOptions
from src.logic.votes import VoteSum
from src.models.to_circuit import circuit_of_layers
from tests.circuit.test_circuit import circuits, oracle, pack, some_bits

C_FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-O1")
COMPILERS = ("gcc", "clang")


def need(tool):
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")


def described(circuit, name="net"):
    return Description(name, (1, 1, circuit.num_inputs), tuple(f"class {c}" for c in range(circuit.num_classes)))


def write(folder, files):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def run(folder, *words, expect=0):
    result = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300)
    assert result.returncode == expect, result.stdout + result.stderr
    return result.stdout + result.stderr


def self_test(folder, compiler="gcc", name="net", expect=0):
    """Compile the C files without a warning and run their self-test; what it prints."""
    assert run(folder, compiler, *C_FLAGS, f"{name}.c", f"{name}_selftest.c", "-o", "test") == ""
    return run(folder, "./test", expect=expect)


def simulate(folder, name="net"):
    """Compile the Verilog files without a warning and run their test bench; what it prints."""
    files = (f"{name}_classify.v", f"{name}_classify_test.v")
    assert run(folder, "iverilog", "-Wall", "-g2001", "-o", "test", *files) == ""
    return run(folder, "vvp", "test")


def trained(num_inputs=150, width=300, classes=10):
    """A circuit of layers, and frames with what it counts."""
    torch.manual_seed(0)
    circuit = circuit_of_layers([LogicLayer(num_inputs, width), LogicLayer(width, width)], classes, tau=3.0)
    bits = some_bits(circuit, 130)
    return circuit.simplified(), pack(bits), oracle(circuit, bits).astype(np.int32)


def convolutional():
    """Like `trained`, of a convolutional network with gates of all kinds."""
    torch.manual_seed(0)
    first = LogicConvolution((2, 6, 5), 5, 3, gates=GateOptions(initialisation="normal"))
    circuit = circuit_of_layers([first, LogicLayer(first.out_dim, 60)], 10, tau=3.0)
    bits = some_bits(circuit, 130)
    return circuit.simplified(), pack(bits), oracle(circuit, bits).astype(np.int32)


def voted():
    """Like `trained`, of a layer whose neurons have votes."""
    torch.manual_seed(0)
    votes = VoteSum(40, 10)
    torch.nn.init.normal_(votes.weights, std=3)
    circuit = circuit_of_layers([LogicLayer(50, 40)], 10, votes=votes)
    bits = some_bits(circuit, 130)
    return circuit.simplified(), pack(bits), oracle(circuit, bits).astype(np.int32)


@pytest.mark.parametrize("of", [convolutional, voted])
def test_a_network_counts_the_same_in_c_and_in_verilog(tmp_path, of):
    need("gcc")
    circuit, frames, counts = of()
    folder = write(tmp_path / "c", to_c(circuit, described(circuit), frames, counts, "random frames"))
    assert "130 of 130" in self_test(folder)
    need("iverilog")
    folder = write(tmp_path / "v", to_verilog(circuit, described(circuit), frames[:20], counts[:20], "random frames"))
    assert "20 of 20" in simulate(folder)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_c_counts_what_the_circuit_counts(tmp_path, compiler):
    need(compiler)
    circuit, frames, counts = trained()
    folder = write(tmp_path / "c", to_c(circuit, described(circuit), frames, counts, "random frames"))
    assert self_test(folder, compiler) == "net: 130 of 130 frames have the expected counts\n"


def test_c_of_a_large_circuit_takes_no_large_stack(tmp_path):
    need("gcc")
    torch.manual_seed(0)
    circuit = circuit_of_layers([LogicLayer(150, 20_000)], 10, tau=3.0).simplified()
    assert circuit.packed.schedule.num_rows > c99.MOST_ROWS_ON_STACK
    bits = some_bits(circuit, 70)
    counts = oracle(circuit, bits).astype(np.int32)
    folder = write(tmp_path / "c", to_c(circuit, described(circuit), pack(bits), counts, "random frames"))
    run(folder, "gcc", *C_FLAGS, "-Wframe-larger-than=4096", "net.c", "net_selftest.c", "-o", "test")
    assert "70 of 70" in run(folder, "./test")
    assert "not reentrant: threads call net_classify_frames_in" in " ".join((folder / "net.h").read_text().split())


THREADS = """
#include "net.h"
#include <pthread.h>
#include <string.h>
static const uint8_t frames[130][NET_FRAME_BYTES] = {ROWS};
static int32_t alone[130][NET_CLASSES], counts[4][130][NET_CLASSES];
static void *work(void *counts)
{
    uint64_t buffer[NET_WORK_WORDS];
    for (int i = 0; i < 200; i++)
        net_classify_frames_in(frames[0], 130, counts, buffer);
    return 0;
}
int main(void)
{
    pthread_t threads[4];
    net_classify_frames(frames[0], 130, alone[0]);
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], 0, work, counts[i][0]);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], 0);
    for (int i = 0; i < 4; i++) if (memcmp(alone, counts[i], sizeof alone)) return 1;
    return 0;
}
"""


def test_c_with_a_buffer_of_each_thread_is_reentrant(tmp_path, monkeypatch):
    need("gcc")
    monkeypatch.setattr(c99, "MOST_ROWS_ON_STACK", 0)
    circuit, frames, counts = trained()
    folder = write(tmp_path / "c", to_c(circuit, described(circuit), frames, counts, "random frames"))
    assert "130 of 130" in self_test(folder)
    rows = ",".join("{" + ",".join(map(str, frame)) + "}" for frame in frames.tolist())
    (folder / "threads.c").write_text(THREADS.replace("ROWS", rows))
    run(folder, "gcc", *C_FLAGS, "-pthread", "threads.c", "net.c", "-o", "threads")
    run(folder, "./threads")


@settings(max_examples=8, deadline=None)
@given(circuit=circuits())
def test_c_of_any_circuit(tmp_path_factory, circuit):
    need("gcc")
    bits = some_bits(circuit, 65)
    files = to_c(circuit, described(circuit), pack(bits), oracle(circuit, bits).astype(np.int32), "random frames")
    assert "65 of 65" in self_test(write(tmp_path_factory.getbasetemp() / "any_c", files))


def test_the_c_self_test_notices_a_wrong_count(tmp_path):
    need("gcc")
    circuit, frames, counts = trained()
    counts[3, 9] += 1
    folder = write(tmp_path / "c", to_c(circuit, described(circuit), frames, counts, "random frames"))
    assert "129 of 130" in self_test(folder, expect=1)


def test_names_that_mean_something_to_c_or_verilog(tmp_path):
    need("gcc")
    circuit, frames, counts = trained(classes=3)
    odd = ('a "b" \\ %d ??/', "*/ /* // é\n", "")
    description = Description(identifier("7-int"), (1, 10, 15), odd)
    frames_are = "frames of */ a /* folder"
    folder = write(tmp_path / "c", to_c(circuit, description, frames, counts, frames_are))
    self_test(folder, name="net_7_int")
    (folder / "names.c").write_text(
        '#include "net_7_int.h"\n#include <stdio.h>\n'
        'int main(void) { for (int c = 0; c < 3; c++) printf("%s|", net_7_int_class_names[c]); return 0; }\n'
    )
    run(folder, "gcc", *C_FLAGS, "names.c", "net_7_int.c", "-o", "names")
    assert run(folder, "./names") == "|".join(odd) + "|"
    need("iverilog")
    folder = write(tmp_path / "verilog", to_verilog(circuit, description, frames[:9], counts[:9], frames_are))
    assert "9 of 9" in simulate(folder, "net_7_int")


def test_the_simulated_outputs_are_the_class_and_the_counts(tmp_path):
    need("iverilog")
    circuit, frames, counts = trained()
    folder = write(tmp_path / "v", to_verilog(circuit, described(circuit), frames, counts, "random frames"))
    assert simulate(folder) == "net: 130 of 130 frames have the expected counts and class\n"
    numbers = [int(line, 16) for line in (folder / "net_classify_outputs.hex").read_text().split()]
    width = int(counts.max()).bit_length()
    for number, row in zip(numbers, counts, strict=True):
        assert [number >> width * c & (1 << width) - 1 for c in range(10)] == row.tolist()
        assert number >> width * 10 == row.argmax()


@settings(max_examples=8, deadline=None)
@given(circuit=circuits())
def test_verilog_of_any_circuit(tmp_path_factory, circuit):
    need("iverilog")
    bits = some_bits(circuit, 20)
    counts = oracle(circuit, bits).astype(np.int32)
    files = to_verilog(circuit, described(circuit), pack(bits), counts, "random frames")
    assert "20 of 20" in simulate(write(tmp_path_factory.getbasetemp() / "any_v", files))


def test_the_test_bench_notices_a_wrong_count(tmp_path):
    need("iverilog")
    circuit, frames, counts = trained()
    counts[3, 9] += 1
    folder = write(tmp_path / "v", to_verilog(circuit, described(circuit), frames[:10], counts[:10], "random frames"))
    assert "9 of 10" in simulate(folder)


def test_a_test_bench_without_its_vectors_passes_nothing(tmp_path):
    need("iverilog")
    circuit, frames, counts = trained()
    folder = write(tmp_path / "v", to_verilog(circuit, described(circuit), frames[:3], counts[:3], "random frames"))
    (folder / "net_classify_expected.hex").unlink()
    assert "0 of 3 frames have the expected counts" in simulate(folder)


@pytest.mark.parametrize("simplify", [True, False])
def test_verilator_has_nothing_to_complain_of(tmp_path, simplify):
    need("verilator")
    nodes = np.arange(16, dtype=np.int32)
    circuit = Circuit(
        20,
        np.arange(16, dtype=np.uint8),
        nodes,
        nodes + 1,
        np.append(nodes + 20, [0, 0]).astype(np.int32),
        np.array([0, 17, 18]),
        np.array([0, 3]),
    )
    circuit = circuit.simplified() if simplify else circuit
    frames = pack(some_bits(circuit, 3))
    folder = write(tmp_path / "v", to_verilog(circuit, described(circuit), frames, circuit(frames), "random frames"))
    assert run(folder, "verilator", "--lint-only", "-Wall", "net_classify.v") == ""
    words = ("--timing", "--top-module", "net_classify_test", "net_classify.v", "net_classify_test.v")
    assert run(folder, "verilator", "--lint-only", "-Wall", *words) == ""


@settings(max_examples=50, deadline=None)
@given(circuits())
def test_json_comes_back_as_it_was(circuit):
    again, description = from_json(to_json(circuit, described(circuit)))
    assert description == described(circuit)
    for name, value in vars(again).items():
        assert np.array_equal(value, getattr(circuit, name))


def test_channels_of_stacked_frames_are_named_in_texts_and_json():
    circuit = circuit_of_layers([LogicLayer(8, 4)], 2, 1.0)
    description = Description("net", (4, 1, 2), ("a", "b"), channel_names(stack=2, polarities=2))
    assert "Channel 1: frame -1, polarity 1." in description.lines(circuit)
    assert "Channel 2: frame 0, polarity 0." in description.lines(circuit)
    assert from_json(to_json(circuit, description))[1] == description


def test_json_names_gates_and_their_inputs():
    circuit, _, _ = trained()
    fields = json.loads(to_json(circuit, described(circuit)))
    assert set(fields["gates"]) <= set(GATE_NAMES)
    assert fields["first"] == circuit.first.tolist()
    assert fields["frame_shape"] == [1, 1, 150]


@pytest.mark.parametrize(
    "change",
    [
        {"format_version": 2},
        {"gates": ["maybe"]},
        {"first": [0]},
        {"first": [150], "second": [0], "gates": ["a and b"], "outputs": [0], "starts": [0, 1], "offsets": [0]},
        {"outputs": [-1]},
        {"starts": [0, 1]},
        {"tau": None},
    ],
)
def test_json_that_is_no_circuit_is_refused(change):
    circuit, _, _ = trained()
    fields = json.loads(to_json(circuit, described(circuit)))
    with pytest.raises(UserError, match="no circuit that can be read"):
        from_json(json.dumps({**fields, **change}))


@pytest.mark.parametrize("text", ["", "[]", "3", '{"format": 1}'])
def test_text_that_is_no_circuit_is_refused(text):
    with pytest.raises(UserError, match="no circuit that can be read"):
        from_json(text)


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
