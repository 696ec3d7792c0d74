"""The test bench of the hardware: recordings as it is to take them, and what it is to give for them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.circuit.circuit import Circuit
from src.events.events import Events
from src.export.rtl.bits import VOTE_BITS, bits_for
from src.export.rtl.readme import clearing_cycles, event_cycles, front_cycles, recording_cycles
from src.export.stream_plan import TIME_BITS, StreamPlan
from src.export.stream_samples import stream_samples

EVENTS_PER_OUTSIDE = 20  # about, of those that are put between a recording's events
OUTPUT_BITS = 20  # of a reset's time, its number of outputs; the others are its cycles


@dataclass(frozen=True, eq=False)
class Run:
    """A recording that the hardware is given.

    Attributes:
        events: N events, at least 1.
        is_whole: whether its last event is given as such.
        reset_after: cycles between its last event and a reset, fewer than `most_reset_cycles`; None: no reset follows,
            which a recording that is not whole needs.
    """

    events: Events
    is_whole: bool = True
    reset_after: int | None = None

    def __post_init__(self) -> None:
        if not self.is_whole and self.reset_after is None:
            raise ValueError("a recording without an end is followed by a reset")


@dataclass(frozen=True, eq=False)
class Expected:
    """What comes out of a recording, int64: counts of each frame [F, classes], and their sums, if it is whole."""

    counts: NDArray[np.int64]
    sums: NDArray[np.int64] | None


def expected_of(run: Run, plan: StreamPlan, circuit: Circuit) -> Expected:
    """Return what a recording is to give, by the code that prepares frames and by the circuit."""
    counts = circuit(stream_samples(run.events, plan, run.is_whole)).astype(np.int64)
    return Expected(counts, counts.sum(0) if run.is_whole else None)


def event_lines(runs: Sequence[Run], expected: Sequence[Expected], plan: StreamPlan) -> str:
    """Return the file of events: a line per event or reset, {reset, last, p, y, x, t} in hexadecimal.

    Events outside the sensor, which are to change nothing, come between the others, and end every second recording that
    is whole. The t of a reset is {cycles since the event before it, outputs before it if it cuts none off}.
    """
    width, height, _ = plan.sensor_size
    x_bits, y_bits = bits_for(width - 1), bits_for(height - 1)
    digits = -(-event_bits(plan) // 4)
    shift = TIME_BITS + x_bits + y_bits
    lines, num_outputs = [], 0
    rng = np.random.default_rng(0)
    for number, (run, it) in enumerate(zip(runs, expected, strict=True)):
        events = _with_outside(run.events, plan, rng, ends_outside=run.is_whole and number % 2 == 1)
        words = events.t.astype(np.uint64) & np.uint64((1 << TIME_BITS) - 1)
        words |= events.x.astype(np.uint64) << np.uint64(TIME_BITS)
        words |= events.y.astype(np.uint64) << np.uint64(TIME_BITS + x_bits)
        last = (np.arange(len(events)) == len(events) - 1) & run.is_whole
        top = events.p.astype(np.uint64) | last.astype(np.uint64) << np.uint64(1)
        lines += [f"{high << shift | low:0{digits}x}" for high, low in zip(top.tolist(), words.tolist(), strict=True)]
        num_outputs += len(it.counts) + (it.sums is not None)
        if run.reset_after is not None:
            if num_outputs >> OUTPUT_BITS:
                raise ValueError(f"a reset after {num_outputs} outputs: put those with a reset first")
            lines.append(f"{4 << shift | run.reset_after << OUTPUT_BITS | num_outputs:0{digits}x}")
    return "".join(f"{line}\n" for line in lines)


def _with_outside(events: Events, plan: StreamPlan, rng: np.random.Generator, ends_outside: bool) -> Events:
    """Return the events with others between them, at any time, outside the sensor; none if its sides leave no room."""
    x, y = pixels_outside(plan.sensor_size)
    if len(x) == 0:
        return events
    n = len(events)
    before = np.flatnonzero(rng.integers(0, EVENTS_PER_OUTSIDE, n) == 0)
    before = np.append(before, n) if ends_outside else before
    pixels = rng.integers(0, len(x), len(before))
    return Events(
        np.insert(events.x, before, x[pixels].astype(events.x.dtype)),
        np.insert(events.y, before, y[pixels].astype(events.y.dtype)),
        np.insert(events.t, before, rng.integers(0, 1 << TIME_BITS, len(before))),
        np.insert(events.p, before, rng.integers(0, 2, len(before)).astype(events.p.dtype)),
    )


def pixels_outside(sensor_size: tuple[int, int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return x and y of the pixels that the hardware's coordinates can name, but the sensor does not have."""
    width, height, _ = sensor_size
    x_end, y_end = 1 << bits_for(width - 1), 1 << bits_for(height - 1)
    x, y = np.divmod(np.arange(x_end * y_end), y_end)
    is_outside = (x >= width) | (y >= height)
    return x[is_outside], y[is_outside]


def most_reset_cycles(plan: StreamPlan, num_stages: int, num_classes: int) -> int:
    """Return the cycles after a recording's last event within which the bench may reset: until its class is there."""
    return recording_cycles(plan, num_stages, num_classes) + 1


def event_bits(plan: StreamPlan) -> int:
    """Return the bits of a line of the file of events."""
    width, height, _ = plan.sensor_size
    return 3 + bits_for(height - 1) + bits_for(width - 1) + TIME_BITS


def expected_lines(expected: Sequence[Expected], count_width: int, num_classes: int) -> str:
    """Return the file of what is to come out: a line per frame and recording, {is a recording, class, counts}."""
    return "".join(
        f"{word:0{-(-output_bits(count_width, num_classes) // 4)}x}\n"
        for word in _words(expected, count_width, num_classes)
    )


def output_bits(count_width: int, num_classes: int) -> int:
    """Return the bits of a line of the file of what is to come out."""
    return 1 + bits_for(num_classes - 1) + num_classes * (count_width + VOTE_BITS)


def _words(expected: Sequence[Expected], count_width: int, num_classes: int) -> Iterator[int]:
    for it in expected:
        for counts in it.counts.tolist():
            yield _word(0, counts, count_width, count_width, num_classes)
        if it.sums is not None:
            yield _word(1, it.sums.tolist(), count_width + VOTE_BITS, count_width, num_classes)


def _word(is_recording: int, counts: list[int], width: int, count_width: int, num_classes: int) -> int:
    word = is_recording << bits_for(num_classes - 1) | counts.index(max(counts))
    word <<= num_classes * (count_width + VOTE_BITS)
    for c, count in enumerate(counts):
        word |= count << width * c
    return word


def bench_module(
    name: str, plan: StreamPlan, num_classes: int, count_width: int, num_stages: int, num_events: int, num_outputs: int
) -> str:
    """Return NAME_stream_test, which gives the events with random gaps and compares what comes out."""
    width, height, _ = plan.sensor_size
    x_bits, y_bits = bits_for(width - 1), bits_for(height - 1)
    bits, out_bits, class_bits = event_bits(plan), output_bits(count_width, num_classes), bits_for(num_classes - 1)
    frame_bits, vote_bits = num_classes * count_width, num_classes * (count_width + VOTE_BITS)
    ending = recording_cycles(plan, num_stages, num_classes)
    clearing = clearing_cycles(plan)
    # A window of time that ends before an event takes a cycle more, and a pause ends any number of windows.
    declarations, in_time = ("", "") if plan.by_time else _in_time(bits, plan, num_stages, ending)
    return f"""\
// Gives the events of {name}_events.hex to {name}_stream, with random gaps and resets, and compares every frame and
// recording that comes out with {name}_expected.hex. Prints PASSED, or FAILED and ends the simulator with an exit code
// above 0. +gaps=N: up to N cycles before an event (default: 3).

`default_nettype none
module {name}_stream_test;
    localparam NUM_EVENTS = {num_events};
    localparam NUM_OUTPUTS = {num_outputs};
    localparam MOST_QUIET = {2 * (ending + clearing)};  // cycles without an event or output; more are a failure
    localparam MOST_WRONG = 10;
    reg [{bits - 1}:0] events [0:NUM_EVENTS - 1];
    reg [{out_bits - 1}:0] expected [0:NUM_OUTPUTS - 1];

    reg clk = 1'b0;
    always #5 clk = !clk;
    reg rst = 1'b1;
    reg event_valid = 1'b0;
    wire event_ready;
    reg [{bits - 2}:0] word = {bits - 1}'d0;
    wire frame_valid, recording_valid, recording_overflow;
    wire [{class_bits - 1}:0] frame_class, recording_class;
    wire [{frame_bits - 1}:0] frame_counts;
    wire [{vote_bits - 1}:0] recording_counts;
    {name}_stream stream (
        .clk(clk), .rst(rst), .event_valid(event_valid), .event_ready(event_ready),
        .event_t(word[{TIME_BITS - 1}:0]), .event_x(word[{TIME_BITS + x_bits - 1}:{TIME_BITS}]),
        .event_y(word[{TIME_BITS + x_bits + y_bits - 1}:{TIME_BITS + x_bits}]), .event_p(word[{bits - 3}]),
        .event_last(word[{bits - 2}]), .frame_valid(frame_valid), .frame_class(frame_class),
        .frame_counts(frame_counts), .recording_valid(recording_valid), .recording_class(recording_class),
        .recording_counts(recording_counts), .recording_overflow(recording_overflow)
    );

    reg [31:0] noise = 32'd1;  // pseudo-random, a shift register with feedback
    reg was_rst = 1'b0;  // an edge had rst
    reg is_decoy = 1'b0;
    integer next = 0, wait_cycles = 0, reset_cycles = 0, gaps = 3;
    integer num_resets = 0, num_out = 0, num_right = 0, num_cut_off = 0, num_wrong = 0;
    integer cycles = 0, quiet = 0, last_taken = 0, latency = 0;
{declarations}    wire [{out_bits - 1}:0] frame_out = {{1'b0, frame_class, {vote_bits - frame_bits}'d0, frame_counts}};
    wire [{out_bits - 1}:0] recording_out = {{1'b1, recording_class, recording_counts}};
    wire resets_next = next < NUM_EVENTS && events[next][{bits - 1}] === 1'b1;
    wire resets_after = next + 1 < NUM_EVENTS && events[next + 1][{bits - 1}] === 1'b1;

    task compare(input [{out_bits - 1}:0] out);
        begin
            if (num_out < NUM_OUTPUTS && out === expected[num_out]) begin
                num_right = num_right + 1;
            end else begin
                $display("output %0d is %h, not %h", num_out, out, expected[num_out]);
                num_wrong = num_wrong + 1;
            end
            num_out = num_out + 1;
        end
    endtask

    // A reset cuts off what has not come out yet.
    task cut_off(input integer most);
        begin
            if (num_out > most) begin
                $display("%0d outputs before a reset, not %0d", num_out, most);
                num_wrong = num_wrong + 1;
            end
            num_cut_off = num_cut_off + most - num_out;
            num_out = most;
        end
    endtask

    task finish;
        begin
            $display(
                "{name}: %0d of %0d outputs are right, resets cut off %0d more, in %0d cycles",
                num_right, NUM_OUTPUTS - num_cut_off, num_cut_off, cycles
            );
            $display("a recording's class comes %0d cycles after its last event", latency);
            if (quiet > MOST_QUIET && (next != NUM_EVENTS || event_valid))
                $display("event_ready stays 0 before line %0d of the events", next);
            if (num_wrong == 0 && num_out == NUM_OUTPUTS && next == NUM_EVENTS && !event_valid) begin
                $display("PASSED");
                $finish;
            end else begin
                $display("FAILED");
                $fatal(1);
            end
        end
    endtask

    initial begin
        if (!$value$plusargs("gaps=%d", gaps)) gaps = 3;
        $readmemh("{name}_events.hex", events);
        $readmemh("{name}_expected.hex", expected);
    end

    // Inputs change behind the rising edge, as those of registers do.
    always @(posedge clk) begin
        cycles <= cycles + 1;
        noise <= {{noise[30:0], noise[31] ^ noise[21] ^ noise[1] ^ noise[0]}};
        was_rst <= rst;
        if (rst ? event_ready !== 1'b0 || (was_rst && {{frame_valid, recording_valid, recording_overflow}} !== 3'd0)
                : ^{{event_ready, frame_valid, recording_valid}} === 1'bx || recording_overflow !== 1'b0) begin
            $display(
                "with rst = %b, event_ready, frame_valid, recording_valid and recording_overflow are %b, %b, %b and %b",
                rst, event_ready, frame_valid, recording_valid, recording_overflow
            );
            num_wrong = num_wrong + 1;
        end
        if (!rst && frame_valid) compare(frame_out);
        if (!rst && recording_valid) compare(recording_out);
        if (recording_valid) latency <= cycles - last_taken;
        if (event_valid && event_ready) last_taken <= cycles;
        if (rst || frame_valid || recording_valid || (event_valid && event_ready)) quiet <= 0;
        else if (wait_cycles == 0 || event_valid) quiet <= quiet + 1;
{in_time}
        if (rst && reset_cycles != 0) begin
            reset_cycles <= reset_cycles - 1;
        end else if (!rst && event_valid && !event_ready && !is_decoy) begin
            // The event waits.
        end else if (!rst && wait_cycles != 0) begin
            // While a recording ends an event is there that is never taken, as a reset comes first.
            event_valid <= resets_next && word[{bits - 2}];
            is_decoy <= resets_next && word[{bits - 2}];
            wait_cycles <= wait_cycles - 1;
        end else if (resets_next) begin
            rst <= 1'b1;
            reset_cycles <= num_resets == 0 ? 1 : 0;
            num_resets <= num_resets + 1;
            event_valid <= noise[18];
            cut_off({{{32 - OUTPUT_BITS}'d0, events[next][{OUTPUT_BITS - 1}:0]}});
            next <= next + 1;
        end else begin
            rst <= 1'b0;
            event_valid <= next < NUM_EVENTS;
            is_decoy <= 1'b0;
            if (next < NUM_EVENTS) begin
                word <= events[next][{bits - 2}:0];
                next <= next + 1;
                wait_cycles <= resets_after ? {{{OUTPUT_BITS}'d0, events[next + 1][{TIME_BITS - 1}:{OUTPUT_BITS}]}}
                    : {{16'd0, noise[15:0]}} % (gaps + 1);
            end
        end
        if (num_wrong > MOST_WRONG || quiet > MOST_QUIET) finish;
    end
endmodule
`default_nettype wire
"""


_AT_ONCE = """\
        if (!rst && behind_class && !event_ready) begin
            $display("event_ready is 0 in the cycle after a recording's class");
            num_wrong = num_wrong + 1;
        end
"""


def _in_time(bits: int, plan: StreamPlan, num_stages: int, ending: int) -> tuple[str, str]:
    """Return declarations and statements that check the cycles in which README.md says events and classes come."""
    most_waiting, filling = event_cycles(plan) - 1, front_cycles(plan) + num_stages
    declarations = f"""\
    integer waited = 0;
    reg behind_end = 1'b1;  // no event since a reset or a last one
    reg behind_class = 1'b0;  // a recording's class came in the cycle before
    reg [{filling - 1}:0] taken = {filling}'d0;  // the latest cycles in which an event was taken
"""
    at_once = "" if clearing_cycles(plan) else _AT_ONCE
    return (
        declarations,
        f"""\
        if (rst || (event_valid && event_ready)) waited <= 0;
        else if (event_valid) waited <= waited + 1;
        if (rst) behind_end <= 1'b1;
        else if (event_valid && event_ready) behind_end <= word[{bits - 2}];
        behind_class <= !rst && recording_valid;
        taken <= {{taken, !rst && event_valid && event_ready}};
        if (!rst && event_valid && event_ready && !behind_end && waited > {most_waiting}) begin
            $display("an event before line %0d of the events waited %0d cycles, not {most_waiting}", next, waited);
            num_wrong = num_wrong + 1;
        end
        if (!rst && frame_valid && !behind_end && !taken[{filling - 1}]) begin
            $display("no event was taken {filling} cycles before the class of a frame");
            num_wrong = num_wrong + 1;
        end
        if (!rst && recording_valid && cycles - last_taken != {ending}) begin
            $display("a recording's class comes %0d cycles after its last event, not {ending}", cycles - last_taken);
            num_wrong = num_wrong + 1;
        end
{at_once}""",
    )
