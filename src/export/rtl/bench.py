"""The test bench of the hardware: recordings as it is to take them, and what it is to give for them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.circuit.circuit import Circuit
from src.events.events import Events
from src.export.rtl.bits import VOTE_BITS, bits_for
from src.export.stream_plan import TIME_BITS, StreamPlan
from src.export.stream_samples import stream_samples

IDLE_CYCLES = 4  # after the pipeline, before a reset


@dataclass(frozen=True, eq=False)
class Run:
    """A recording that the hardware is given.

    Attributes:
        events: N events, at least 1.
        is_whole: whether it ends; if not, a reset follows its events.
    """

    events: Events
    is_whole: bool = True


@dataclass(frozen=True, eq=False)
class Expected:
    """What comes out of a recording, int64: counts of each frame [F, classes], and their sums, if it is whole."""

    counts: NDArray[np.int64]
    sums: NDArray[np.int64] | None


def expected_of(run: Run, plan: StreamPlan, circuit: Circuit) -> Expected:
    """Return what a recording is to give, by the code that prepares frames and by the circuit."""
    counts = circuit(stream_samples(run.events, plan, run.is_whole)).astype(np.int64)
    return Expected(counts, counts.sum(0) if run.is_whole else None)


def event_lines(runs: Sequence[Run], plan: StreamPlan) -> str:
    """Return the file of events: a line per event, {reset, last, p, y, x, t} in hexadecimal; a reset has no event."""
    width, height, _ = plan.sensor_size
    x_bits, y_bits = bits_for(width - 1), bits_for(height - 1)
    digits = -(-event_bits(plan) // 4)
    lines = []
    for run in runs:
        events = run.events
        words = events.t.astype(np.uint64) & np.uint64((1 << TIME_BITS) - 1)
        words |= events.x.astype(np.uint64) << np.uint64(TIME_BITS)
        words |= events.y.astype(np.uint64) << np.uint64(TIME_BITS + x_bits)
        last = (np.arange(len(events)) == len(events) - 1) & run.is_whole
        top = events.p.astype(np.uint64) | last.astype(np.uint64) << np.uint64(1)
        shift = TIME_BITS + x_bits + y_bits
        lines += [f"{high << shift | low:0{digits}x}" for high, low in zip(top.tolist(), words.tolist(), strict=True)]
        if not run.is_whole:
            lines.append(f"{4 << shift:0{digits}x}")
    return "".join(f"{line}\n" for line in lines)


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
    drain = num_stages + 12 + IDLE_CYCLES
    return f"""\
// Gives the events of {name}_events.hex to {name}_stream, with random gaps, and compares every frame and recording
// that comes out with {name}_expected.hex. Ends with the line PASSED or FAILED. +gaps=N: up to N cycles before an
// event (default: 3).

`default_nettype none
module {name}_stream_test;
    localparam NUM_EVENTS = {num_events};
    localparam NUM_OUTPUTS = {num_outputs};
    reg [{bits - 1}:0] events [0:NUM_EVENTS - 1];
    reg [{out_bits - 1}:0] expected [0:NUM_OUTPUTS - 1];

    reg clk = 1'b0;
    always #5 clk = !clk;
    reg rst = 1'b1;
    reg event_valid = 1'b0;
    wire event_ready;
    reg [{bits - 2}:0] word = {bits - 1}'d0;
    wire frame_valid, recording_valid;
    wire [{class_bits - 1}:0] frame_class, recording_class;
    wire [{frame_bits - 1}:0] frame_counts;
    wire [{vote_bits - 1}:0] recording_counts;
    {name}_stream stream (
        .clk(clk), .rst(rst), .event_valid(event_valid), .event_ready(event_ready),
        .event_t(word[{TIME_BITS - 1}:0]), .event_x(word[{TIME_BITS + x_bits - 1}:{TIME_BITS}]),
        .event_y(word[{TIME_BITS + x_bits + y_bits - 1}:{TIME_BITS + x_bits}]), .event_p(word[{bits - 3}]),
        .event_last(word[{bits - 2}]), .frame_valid(frame_valid), .frame_class(frame_class),
        .frame_counts(frame_counts), .recording_valid(recording_valid), .recording_class(recording_class),
        .recording_counts(recording_counts)
    );

    reg [31:0] noise = 32'd1;  // pseudo-random, a shift register with feedback
    integer next = 0, num_out = 0, num_wrong = 0, wait_cycles = 0, gaps = 3;
    integer cycles = 0, quiet = 0, last_taken = 0, latency = 0, frame_latency = 0;
    wire [{out_bits - 1}:0] frame_out = {{1'b0, frame_class, {vote_bits - frame_bits}'d0, frame_counts}};
    wire [{out_bits - 1}:0] recording_out = {{1'b1, recording_class, recording_counts}};

    task compare(input [{out_bits - 1}:0] out);
        begin
            if (num_out >= NUM_OUTPUTS || out !== expected[num_out]) begin
                if (num_wrong < 10) $display("output %0d is %h, not %h", num_out, out, expected[num_out]);
                num_wrong = num_wrong + 1;
            end
            num_out = num_out + 1;
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
        quiet <= quiet + 1;
        if (frame_valid) compare(frame_out);
        if (recording_valid) compare(recording_out);
        if (recording_valid) latency <= cycles - last_taken;
        if (frame_valid) frame_latency <= cycles - last_taken;
        if (event_valid && event_ready) last_taken <= cycles;
        if (frame_valid || recording_valid || (event_valid && event_ready)) quiet <= 0;
        if (rst) begin
            rst <= cycles < 2;
        end else if (event_valid && !event_ready) begin
        end else if (wait_cycles != 0) begin
            event_valid <= 1'b0;
            wait_cycles <= wait_cycles - 1;
        end else if (next < NUM_EVENTS) begin
            if (events[next][{bits - 1}] === 1'b1) begin  // a reset, when all has come out
                event_valid <= 1'b0;
                if (quiet > {drain}) begin
                    rst <= 1'b1;
                    next <= next + 1;
                end
            end else begin
                event_valid <= 1'b1;
                word <= events[next][{bits - 2}:0];
                next <= next + 1;
                if (gaps != 0) wait_cycles <= {{16'd0, noise[15:0]}} % (gaps + 1);
            end
        end else begin
            event_valid <= 1'b0;
            if (quiet > {drain + num_classes + 2}) begin
                $display(
                    "{name}: %0d of %0d outputs are right, in %0d cycles", num_out - num_wrong, NUM_OUTPUTS, cycles
                );
                $display(
                    "a recording's class comes %0d cycles after its last event, the last frame's %0d after an event",
                    latency, frame_latency
                );
                if (num_wrong == 0 && num_out == NUM_OUTPUTS) $display("PASSED");
                else $display("FAILED");
                $finish;
            end
        end
    end
endmodule
`default_nettype wire
"""
