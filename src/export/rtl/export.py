"""A trained logic gate network -> Verilog that takes events, with a test bench, a Makefile and a page about it."""

from dataclasses import replace

import numpy as np

from src.circuit.netlist import netlist_of
from src.command_line import UserError
from src.events.events import Events
from src.export.description import mark_of
from src.export.example_recordings import example_recordings
from src.export.exported import Export, ExportedModel
from src.export.rtl.accumulator import accumulate_module, place_module
from src.export.rtl.bench import Run, bench_module, event_lines, expected_lines, expected_of
from src.export.rtl.encoder import encode_module
from src.export.rtl.front import denoise_module
from src.export.rtl.network import network_module, vote_module
from src.export.rtl.pins import pins_module
from src.export.rtl.readme import DENOISE_CYCLES, front_cycles, makefile, readme
from src.export.rtl.top import top_module
from src.export.stream_plan import TIME_BITS, plan_of
from src.export.synthesis import Design
from src.export.verilog import count_width

RESETS_AT_END = 4  # at different cycles while a recording ends
FRAMES_PER_RECORDING = 5  # about; --frames says how many frames are to test an export


def export(exported: ExportedModel) -> Export:
    """Return the files of the hardware, in a folder NAME_rtl.

    Raises:
        UserError: if the model is not made of gates, has one class, or its frames need more than the events so far.
    """
    plan = plan_of(exported)
    circuit, name = exported.circuit, exported.name
    if circuit.num_classes == 1:
        raise UserError(f"{exported.source} has one class, so hardware has nothing to find; train with two or more")
    width, classes = count_width(circuit), circuit.num_classes
    network, num_stages = network_module(name, netlist_of(circuit), exported.levels_per_stage)
    recordings, what = example_recordings(
        exported.config, plan.sensor_size, max(1, exported.most_frames // FRAMES_PER_RECORDING)
    )
    runs = test_runs(recordings)
    expected = [expected_of(run, plan, circuit) for run in runs]
    num_frames = sum(len(it.counts) for it in expected)
    events, outputs = event_lines(runs, expected, plan), expected_lines(expected, width, classes)
    bench = bench_module(name, plan, classes, width, num_stages, events.count("\n"), outputs.count("\n"))
    mark = f"Written by {mark_of(exported.source)}; write it again instead of changing it."
    modules = {
        f"{name}_place": place_module(name, plan),
        f"{name}_accumulate": accumulate_module(name, plan),
        f"{name}_encode": encode_module(name, plan),
        f"{name}_network": network,
        f"{name}_vote": vote_module(name, classes, width),
        f"{name}_stream": top_module(name, plan, classes, width, num_stages, exported.description.lines(circuit)),
    }
    if plan.framing.denoise_time:
        modules[f"{name}_denoise"] = denoise_module(name, plan)
    modules[f"{name}_pins"] = pins_module(name, plan, classes)
    verilog = {f"{module}.v": _module_file(text, mark) for module, text in modules.items()}
    design = [file for file in verilog if file != f"{name}_pins.v"]
    files: dict[str, str | bytes] = {
        **verilog,
        f"{name}_stream_test.v": f"// {mark}\n{bench}",
        f"{name}_events.hex": events,
        f"{name}_expected.hex": outputs,
        "Makefile": makefile(name, design, mark),
        "README.md": readme(name, plan, exported, num_stages, width, what, num_frames, mark, list(verilog)),
    }
    folder = f"{name}_rtl"
    told = f"{exported.size}, {num_stages} stages, to be tested with {num_frames} frames of {what}"
    cycles_per_event = DENOISE_CYCLES if plan.framing.denoise_time else 1
    hardware = Design(
        f"{name}_pins",
        verilog,
        network=f"{name}_network.v",
        what=f"{len(circuit.gates):,} gates in {num_stages} stages, with everything from events to classes",
        latency_cycles=front_cycles(plan) + num_stages,
        cycles_per_event=cycles_per_event,
        cycles_per_frame=None if plan.by_time else cycles_per_event * plan.step,
    )
    written = {f"{folder}/{file}": content for file, content in files.items()}
    return Export(written, told, design=lambda _: hardware, is_pipelined=True)


def _module_file(text: str, mark: str) -> str:
    """Return a module's file: it says what wrote it, and a name that is not declared is an error in it."""
    head = "" if mark in text else f"// {mark}\n"
    return f"{head}`default_nettype none\n{text}`default_nettype wire\n"


def test_runs(recordings: list[Events]) -> list[Run]:
    """Return the recordings and, before and after them, what goes wrong easily.

    That is resets in a recording and while it ends, few events, and timestamps that wrap.
    """
    first = recordings[0]
    half, few = first.chosen(slice(max(1, len(first) // 2))), first.chosen(slice(3))
    resets = [Run(half, is_whole=False, is_reset=True), Run(few), *[Run(few, is_reset=True), Run(few)] * RESETS_AT_END]
    end = int(first.t[len(first) // 2])
    wrapping = replace(first, t=first.t - end + (1 << TIME_BITS))
    runs = [*resets, *map(Run, recordings)]
    return [*runs, Run(wrapping)] if np.all(wrapping.t >= 0) else runs
