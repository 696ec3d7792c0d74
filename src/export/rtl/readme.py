"""The page about the hardware, and its Makefile."""

from src.export.exported import ExportedModel
from src.export.rtl.bits import VOTE_BITS, bits_for
from src.export.stream_plan import TIME_BITS, StreamPlan

DENOISE_CYCLES = 4  # per event


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

lint: $(DESIGN)
\tverilator --lint-only -Wall --top-module {name}_stream $(DESIGN)

.PHONY: all icarus verilator lint
"""


def front_cycles(plan: StreamPlan) -> int:
    """Return the cycles from the event that makes a frame full, or that ends its window, until the network has it."""
    handing_out = 0 if plan.num_open == 1 else 1  # one of several open frames goes through a register
    return (DENOISE_CYCLES if plan.framing.denoise_time else 0) + 1 + (0 if plan.by_time else 1) + handing_out


def recording_cycles(plan: StreamPlan, num_stages: int, num_classes: int) -> int:
    """Return the cycles from a recording's last event to its class."""
    return (DENOISE_CYCLES if plan.framing.denoise_time else 0) + 5 + num_stages + num_classes + 1


def readme(
    name: str,
    plan: StreamPlan,
    exported: ExportedModel,
    num_stages: int,
    count_width: int,
    recordings_are: str,
    num_frames: int,
    mark: str,
) -> str:
    """Return the page about ports, timing and what the hardware computes."""
    classes, front = len(exported.class_names), front_cycles(plan)
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

`make` simulates the hardware with {num_frames} frames of {recordings_are}, a reset in the middle of a
recording, a recording of few events and timestamps that begin again at 0. It fails on any difference to the trained
network. `make lint` runs Verilator's checks.

## What it computes

Frames of {plan.framing.size} {what}, one every {plan.step}{together}. A frame's
class is the first of the largest class counts. A recording's class is the first of the largest sums of its frames'
counts.
{_denoise_note(plan)}
## Ports of `{name}_stream`

{_table(("port", "bits", "direction", "meaning"), _ports(plan, classes, count_width))}

Keep `event_valid` and the event as they are until `event_ready` is 1. Outputs have no ready: take them when they are
valid.

{_DIAGRAM}
## Timing

- {_speed(plan)}
- A frame's class comes {front + num_stages} cycles after {ending}:
  {front} until the frame is full, {num_stages} in the network.
- A recording's class comes {cycles} cycles after its last event{waiting}.
  Until then `event_ready` is 0.

## Modules

{_table(("file", "what it does"), _modules(name, plan.framing.denoise_time > 0))}

## Classes

{_table(("number", "class"), class_lines)}
"""


def _ports(plan: StreamPlan, classes: int, count_width: int) -> list[tuple[str, ...]]:
    width, height, _ = plan.sensor_size
    vote_width, class_bits = count_width + VOTE_BITS, bits_for(classes - 1)
    place_bits = f"{bits_for(width - 1)}, {bits_for(height - 1)}"
    count = f"class c's count is `frame_counts[{count_width} * c +: {count_width}]`"
    votes = f"class c's sum is `recording_counts[{vote_width} * c +: {vote_width}]`; up to {1 << VOTE_BITS:,} frames"
    return [
        ("`clk`, `rst`", "1", "in", "registers change at the rising edge; `rst` is synchronous, for a cycle or more"),
        ("`event_valid`, `event_ready`", "1", "in, out", "an event is taken in a cycle in which both are 1"),
        ("`event_x`, `event_y`", place_bits, "in", f"column and row; beyond {width} x {height} it is passed over"),
        ("`event_p`", "1", "in", "polarity; 1: brighter"),
        ("`event_t`", f"{TIME_BITS}", "in", "microseconds; may begin again at 0"),
        ("`event_last`", "1", "in", "the last event of a recording"),
        ("`frame_valid`", "1", "out", "a frame is classified in this cycle"),
        ("`frame_class`", f"{class_bits}", "out", "its class"),
        ("`frame_counts`", f"{classes * count_width}", "out", count),
        ("`recording_valid`", "1", "out", "a recording is classified in this cycle"),
        ("`recording_class`", f"{class_bits}", "out", "its class"),
        ("`recording_counts`", f"{classes * vote_width}", "out", votes),
    ]


def _speed(plan: StreamPlan) -> str:
    """Say how often an event can be taken."""
    _, _, width, height = plan.region
    text = "An event in every cycle."
    if plan.framing.denoise_time:
        text = f"""\
An event every {DENOISE_CYCLES} cycles, since denoising reads the four neighbours of its pixel. Its memory is cleared
  after a reset and after each recording, in {width * height} cycles."""
    return f"{text} A window of time that ends before an event takes one cycle more." if plan.by_time else text


def _denoise_note(plan: StreamPlan) -> str:
    if not plan.framing.denoise_time:
        return ""
    return f"""
Denoising is tonic's, bit for bit, for every recording with an event at another pixel than (0, 0) of the region. Times
of neighbouring pixels are compared as differences of {TIME_BITS} bits, so no pixel may be silent for more than 35
minutes within a recording.
"""


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


_DIAGRAM = """\
```text
clk               __/‾‾\\__/‾‾\\__/‾‾\\__/‾‾\\__/‾‾\\__   __/‾‾\\__/‾‾\\__   __/‾‾\\__
event_valid       ‾‾‾‾‾‾‾‾‾‾‾‾‾‾‾‾‾‾‾‾‾‾‾‾\\______   ______________   ________
event_ready       ‾‾‾‾‾‾\\_____/‾‾‾‾‾‾‾‾‾‾‾\\______   ______________   /‾‾‾‾‾‾‾
event_x, y, p, t   A   | B         | C    |
event_last        __________________/‾‾‾‾‾\\______   ______________   ________
frame_valid       ______________________________   /‾‾‾‾‾\\_______   ________
recording_valid   ______________________________   ______________   /‾‾‾‾‾\\_
                  A is taken, B waits, C is last   a frame's class   a recording's
```
"""


def _modules(name: str, denoises: bool) -> list[tuple[str, ...]]:
    rows = [
        ("stream", "connects the others; events outside the region that frames show are passed over"),
        *([("denoise", "keeps events that have a recent one beside them; its memory is a RAM")] if denoises else []),
        ("place", "finds an event's row and column in a frame"),
        ("accumulate", "fills frames, of which several may be open"),
        ("encode", "turns counts into bits, and joins frames"),
        ("network", "the gates, the class counts and the best class, in stages"),
        ("vote", "adds up the counts of a recording, and finds its class"),
    ]
    return [(f"`{name}_{module}.v`", what) for module, what in rows]
