"""A trained logic gate network -> Verilog that takes events, with a test bench, a Makefile and a page about it."""

import bisect
import math
from dataclasses import replace

import numpy as np

from src.circuit.circuit import Circuit
from src.circuit.netlist import netlist_of
from src.command_line import UserError
from src.events.events import Events
from src.export.description import mark_of
from src.export.example_recordings import example_recordings
from src.export.exported import Export, ExportedModel
from src.export.rtl.accumulator import accumulate_module, place_module
from src.export.rtl.bench import (
    Run,
    bench_module,
    event_lines,
    expected_lines,
    expected_of,
    most_reset_cycles,
    pixels_outside,
)
from src.export.rtl.encoder import encode_module
from src.export.rtl.front import denoise_module
from src.export.rtl.network import network_module, vote_module
from src.export.rtl.pins import pins_module
from src.export.rtl.readme import clearing_cycles, event_cycles, front_cycles, makefile, readme, recording_cycles
from src.export.rtl.top import top_module
from src.export.stream_plan import TIME_BITS, StreamPlan, plan_of
from src.export.stream_samples import stream_samples
from src.export.synthesis import Design
from src.export.verilog import count_width

RESET_CYCLES = 50_000  # about, for recordings with a reset at each of the cycles while they end
LEAST_RESETS = 2  # of such recordings, if each takes long
CYCLES_PER_FRAME = 5000  # of a simulation, at most, unless a single recording takes more
TIES_TRIED = 1000  # beginnings of recordings
MOST_TIED_EVENTS = 4096  # of such a beginning


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
    found, kind = example_recordings(exported.config, plan.sensor_size, exported.most_frames)
    hard = hard_runs(found, plan, circuit, num_stages)
    expected = [expected_of(run, plan, circuit) for run in hard]
    left = exported.most_frames - sum(len(it.counts) for it in expected)
    recordings = [Run(each) for each in _enough(found, plan, max(exported.most_frames // 4, left))]
    runs, expected = [*hard, *recordings], [*expected, *(expected_of(run, plan, circuit) for run in recordings)]
    what = f"{sum(len(it.counts) for it in expected)} frames of {len(recordings)} {kind}"
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
    modules[f"{name}_pins"] = pins_module(name, plan, classes, width)
    verilog = {f"{module}.v": _module_file(text, mark) for module, text in modules.items()}
    design = [file for file in verilog if file != f"{name}_pins.v"]
    files: dict[str, str | bytes] = {
        **verilog,
        f"{name}_stream_test.v": f"// {mark}\n{bench}",
        f"{name}_events.hex": events,
        f"{name}_expected.hex": outputs,
        "Makefile": makefile(name, design, mark),
        "README.md": readme(name, plan, exported, num_stages, width, what, mark, list(verilog)),
    }
    folder = f"{name}_rtl"
    stages = "1 stage" if num_stages == 1 else f"{num_stages} stages"
    told = f"{exported.size}, {stages}, to be tested with {what}"
    hardware = Design(
        f"{name}_pins",
        verilog,
        network=f"{name}_network.v",
        what=f"{len(circuit.gates):,} gates in {stages}, with everything from events to classes",
        latency_cycles=front_cycles(plan) + num_stages,
        cycles_per_event=event_cycles(plan),
        cycles_per_frame=None if plan.by_time else event_cycles(plan) * plan.step,
    )
    written = {f"{folder}/{file}": content for file, content in files.items()}
    return Export(written, told, design=lambda _: hardware, is_pipelined=True)


def _module_file(text: str, mark: str) -> str:
    """Return a module's file: it says what wrote it, and a name that is not declared is an error in it."""
    head = "" if mark in text else f"// {mark}\n"
    return f"{head}`default_nettype none\n{text}`default_nettype wire\n"


def _enough(recordings: list[Events], plan: StreamPlan, most_frames: int) -> list[Events]:
    """Return recordings, spread evenly over those given, that have about this number of frames, or take too long."""
    num_frames = max(1, sum(len(stream_samples(each, plan)) for each in recordings))
    num_cycles = max(1, event_cycles(plan) * sum(map(len, recordings)) + clearing_cycles(plan) * len(recordings))
    share = min(most_frames / num_frames, CYCLES_PER_FRAME * most_frames / num_cycles, 1)
    number = max(1, math.ceil(share * len(recordings)))
    return [recordings[i] for i in np.linspace(0, len(recordings) - 1, number).round().astype(int)]


def hard_runs(recordings: list[Events], plan: StreamPlan, circuit: Circuit, num_stages: int) -> list[Run]:
    """Return recordings that hardware easily gets wrong, made of the beginnings of real ones.

    They are resets in a recording, when a frame is full and while a recording ends; recordings without an event that
    counts, after a reset and after another one; few events; votes of which two are the largest; and timestamps that
    wrap. A bench gives them first.
    """
    first = recordings[0]
    half, few = first.chosen(slice(max(1, len(first) // 2))), first.chosen(slice(3))
    filling = _filling(first, plan)
    resets = [Run(half, is_whole=False, reset_after=0), *_blank(few, plan), Run(few)]
    resets += [Run(filling.chosen(slice(-1)) if len(filling) > 1 else half), *_blank(few, plan)]
    resets += [Run(half, is_whole=False, reset_after=0), Run(first)]
    for cycles in range(front_cycles(plan) + 1 if len(filling) else 0):
        resets.append(Run(filling, is_whole=False, reset_after=cycles))
    resets += [Run(few, reset_after=cycles) for cycles in _reset_cycles(plan, num_stages, circuit.num_classes)]
    resets.append(Run(few))
    end = int(first.t[len(first) // 2])
    wrapping = replace(first, t=first.t - end + (1 << TIME_BITS))
    runs = [*resets, *_tied(recordings, plan, circuit)]
    return [*runs, Run(wrapping)] if np.all(wrapping.t >= 0) else runs


def _filling(events: Events, plan: StreamPlan) -> Events:
    """Return the events up to the one that gives a recording's first frame; none if only its end does."""

    def num_frames(number: int) -> int:
        return len(stream_samples(events.chosen(slice(number)), plan, is_whole=False))

    number = bisect.bisect_left(range(1, len(events) + 1), 1, key=num_frames) + 1
    return events.chosen(slice(number if number <= len(events) else 0))


def _blank(few: Events, plan: StreamPlan) -> list[Run]:
    """Return a recording whose events are all outside the sensor; none if the hardware cannot be given such events."""
    x, y = pixels_outside(plan.sensor_size)
    if len(x) == 0:
        return []
    return [Run(replace(few, x=np.full_like(few.x, x[0]), y=np.full_like(few.y, y[0])))]


def _reset_cycles(plan: StreamPlan, num_stages: int, num_classes: int) -> list[int]:
    """Return cycles from a recording's last event to a reset: all of those in which it ends, if that is quick."""
    of_a_reset = 2 * (recording_cycles(plan, num_stages, num_classes) + clearing_cycles(plan))
    most = most_reset_cycles(plan, num_stages, num_classes)
    number = max(LEAST_RESETS, RESET_CYCLES // of_a_reset)
    return sorted(set(np.linspace(0, most - 1, min(number, most)).round().astype(int).tolist()))


def _tied(recordings: list[Events], plan: StreamPlan, circuit: Circuit) -> list[Run]:
    """Return the beginning of a recording in whose votes two classes are the largest, if one is soon found."""
    rng = np.random.default_rng(0)
    whole = (recordings * TIES_TRIED)[:TIES_TRIED]
    parts = [it.chosen(slice(int(min(len(it), MOST_TIED_EVENTS) ** rng.random()))) for it in whole]  # many short ones
    samples = [stream_samples(part, plan) for part in parts]
    counts = circuit(np.concatenate(samples)).astype(np.int64)
    ends = np.cumsum([len(each) for each in samples])
    for part, of_frames in zip(parts, np.split(counts, ends[:-1]), strict=True):
        second, largest = np.sort(of_frames.sum(0))[-2:]
        if second == largest:
            return [Run(part)]
    return []
