"""C and hardware on real recordings: the bits, counts and classes are those of a preparation and its evaluation."""

import dataclasses
import itertools
import os
import shutil

import numpy as np
import pytest

from src.circuit.netlist import netlist_of
from src.config import Config
from src.events.datasets.demo import DEMO
from src.export.c_stream.design import design_of
from src.export.rtl.bench import Run, expected_of
from src.export.rtl.export import hard_runs
from src.export.rtl.network import network_module
from src.export.stream_plan import plan_of
from src.export.stream_samples import stream_samples
from src.options import with_option
from tests.export.c_stream.streams import (
    BEGIN,
    COMMAND,
    SANITIZED,
    assert_same,
    commands,
    expected,
    program,
    streamed,
    whole,
)
from tests.export.exports import COMPILERS, need
from tests.export.prepared_split import prepared_split
from tests.export.rtl.simulation import (
    assert_samples,
    build_verilated,
    simulate,
    simulate_verilated,
    write,
)
from tests.recordings import real_recordings
from tests.small_job import REPOSITORY

pytestmark = pytest.mark.slow

REAL = real_recordings()
CONFIGS = {"nmnist": "configs/nmnist_difflogic.yaml", "demo": "configs/demo_difflogic.yaml"}
WINDOWS = {"data.frame_mode": "time_window", "data.time_window": 30_000, "data.overlap": 10_000}
COUNTS = {"data.frame_dtype": "counts", "model.difflogic.thermometer_levels": 3}
# Options, and the fewest neurons that use all bits of such frames, since simulators take long over large networks.
CASES = {
    "events that frames share": ({}, 1160),
    "no denoising": ({"data.denoise_time": 0}, 1160),
    "windows of time": ({**WINDOWS, "data.drop_incomplete": False}, 1160),
    "counts": (COUNTS, 3480),
    "a smaller region, merged": (
        {"data.downsample": 0.5, "data.polarities": "merged", "data.crop": [3, 2, 29, 30]},
        240,
    ),
    "two frames together": ({"data.stack": 2}, 2320),
    "all of it": (
        {
            **WINDOWS,
            **COUNTS,
            "data.stack": 2,
            "data.downsample": 0.3,
            "data.crop": [0, 4, 34, 30],
            "data.time_window": 60_000,
            "data.overlap": 45_000,
        },
        540,
    ),
}
SPLITS = list(itertools.product(CONFIGS, CASES))
# Verilator takes all recordings of both datasets; Icarus, which is slow, takes few of the demo's.
TWO_CASES = [split for split in SPLITS if split[1] in ("events that frames share", "all of it")]
_SMALL = [split for split in SPLITS if split[1] == "a smaller region, merged"]
_OF_NMNIST = [split for split in SPLITS if split[0] == "nmnist"]
VERILATED = [
    *(split for split in _OF_NMNIST if split in TWO_CASES),
    *(split for split in _SMALL if split[0] == "demo"),
]
# Cases, and one of how many recordings; with ICARUS_TAKES=all, which takes minutes longer, all of them.
_FEWER = [1, 1, 1] if os.environ.get("ICARUS_TAKES") == "all" else [1, 10, 30]
SIMULATED_BY_ICARUS = list(zip([_SMALL[0], _OF_NMNIST[-1], _SMALL[1]], _FEWER, strict=True))
LEVELS_PER_STAGE = 8
TRAPS = ("-fsanitize=undefined", "-fsanitize-trap=undefined")  # which needs no library of clang's
BUILDS = [*itertools.product(COMPILERS, [("-O2",), ("-O0",)]), ("gcc", SANITIZED), ("clang", TRAPS)]


@pytest.fixture(scope="module")
def demo_root(tmp_path_factory):
    """A folder with the demo's recordings."""
    root = tmp_path_factory.mktemp("demo")
    DEMO.obtain(root / DEMO.folder, 0)
    return root


@pytest.fixture(scope="module", params=SPLITS, ids=" ".join)
def prepared(request, tmp_path_factory):
    """A dataset's test split and what a network makes of it, in one of the cases."""
    dataset, case = request.param
    if dataset == "nmnist" and not REAL:
        pytest.skip("no N-MNIST recordings")
    root = REAL[0].parents[3] if dataset == "nmnist" else request.getfixturevalue("demo_root")
    config = Config.from_yaml(REPOSITORY / CONFIGS[dataset])
    options, neurons = CASES[case]
    network = {"model.difflogic.num_neurons": neurons, "model.difflogic.last_neurons": neurons // 2}
    for name, value in {"data.data_root": str(root), "model.difflogic.num_layers": 2, **network, **options}.items():
        config = with_option(config, name, value)
    folder = tmp_path_factory.mktemp("storages")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("project", "scratch"):
            patch.setenv(f"{name.upper()}_STORAGE_DIR", str(folder / name))
        yield prepared_split(config)
    shutil.rmtree(folder)


def is_real(prepared):
    return prepared.exported.config.data.name == "NMNIST"


def test_c_gives_every_frame_and_recording_as_an_evaluation_does(prepared, tmp_path):
    design = design_of(prepared.exported)
    bits = np.unpackbits(prepared.samples, axis=1, count=design.circuit.num_inputs, bitorder="little")
    for compiler, flags in BUILDS if is_real(prepared) else BUILDS[:1]:
        if shutil.which(compiler):
            found = streamed(program(tmp_path / "c", design, compiler, flags), design, *map(whole, prepared.events))
            assert np.array_equal(np.concatenate([each.bits for each in found]), bits)
            assert np.array_equal(np.concatenate([each.counts for each in found]), prepared.counts)
            assert np.concatenate([each.labels for each in found]).tolist() == prepared.counts.argmax(1).tolist()
            assert [each.label for each in found] == prepared.classes
            assert [len(each.labels) for each in found] == prepared.num_frames
            right = [each.label == label for each, label in zip(found, prepared.labels, strict=True)]
            assert np.mean(right) == prepared.vote_accuracy


@pytest.mark.parametrize("prepared", TWO_CASES, indirect=True, ids=" ".join)
def test_recordings_in_c_may_wrap_be_short_or_break_off(prepared, tmp_path):
    design = design_of(prepared.exported)
    runner = program(tmp_path / "c", design, flags=SANITIZED)
    begin = np.zeros(1, COMMAND)
    begin["kind"] = BEGIN
    parts, wanted = [], []
    for each, other in itertools.islice(itertools.pairwise(prepared.events), 40):
        middle = each.t[len(each) // 2]
        wrapping = dataclasses.replace(each, t=each.t + 2**32 - middle)
        short = each.chosen(slice(150))
        parts += [whole(wrapping), begin, commands(other)[: len(other) // 2], whole(short)]
        wanted += [wrapping, short]
    for found, recording in zip(streamed(runner, design, *parts), wanted, strict=True):
        assert_same(found, expected(design, recording))


def write_hardware(folder, prepared, every=1):
    """Write the hardware and its bench with one of `every` recordings, and those of `hard_runs`; return all of them."""
    plan, circuit = plan_of(prepared.exported), prepared.exported.circuit
    chosen = range(0, len(prepared.events), every)
    is_chosen = np.isin(np.repeat(np.arange(len(prepared.events)), prepared.num_frames), chosen)
    _, num_stages = network_module("net", netlist_of(circuit), LEVELS_PER_STAGE)
    recordings = [prepared.events[number] for number in chosen]
    hard = hard_runs(recordings, plan, circuit, num_stages)
    runs = [*hard, *map(Run, recordings)]
    made = [expected_of(run, plan, circuit) for run in runs]
    of_split = slice(len(hard), len(runs))
    assert [len(each.counts) for each in made[of_split]] == [prepared.num_frames[number] for number in chosen]
    assert np.array_equal(np.concatenate([each.counts for each in made[of_split]]), prepared.counts[is_chosen])
    assert [each.sums.argmax() for each in made[of_split]] == [prepared.classes[number] for number in chosen]
    samples = [stream_samples(run.events, plan) for run in runs[of_split]]
    assert np.array_equal(np.concatenate(samples), prepared.samples[is_chosen])
    write(folder, plan, runs, circuit, LEVELS_PER_STAGE)
    return runs


@pytest.mark.parametrize("prepared", VERILATED, indirect=True, ids=" ".join)
def test_verilator_gives_every_frame_and_recording_as_an_evaluation_does(prepared, verilator_runtime, tmp_path):
    runs = write_hardware(tmp_path, prepared)
    build_verilated(tmp_path, verilator_runtime)
    assert "PASSED" in simulate_verilated(tmp_path)
    assert_samples(tmp_path, plan_of(prepared.exported), runs)


@pytest.mark.parametrize(
    ("prepared", "every"),
    SIMULATED_BY_ICARUS,
    indirect=["prepared"],
    ids=[" ".join(split) for split, _ in SIMULATED_BY_ICARUS],
)
def test_icarus_gives_every_frame_and_recording_as_an_evaluation_does(prepared, every, tmp_path):
    need("iverilog")
    runs = write_hardware(tmp_path, prepared, every)
    assert simulate(tmp_path)[-1] == "PASSED"
    assert_samples(tmp_path, plan_of(prepared.exported), runs)
