"""The top module, which connects the others."""

from src.export.rtl.bits import VOTE_BITS, bits_for
from src.export.rtl.lists import wrapped
from src.export.stream_plan import TIME_BITS, StreamPlan


def top_module(
    name: str, plan: StreamPlan, num_classes: int, count_width: int, num_stages: int, head: list[str]
) -> str:
    """Return NAME_stream: events in, classes out."""
    sensor_width, sensor_height, _ = plan.sensor_size
    left, top, width, height = plan.region
    columns, rows, polarities = plan.frame_size
    x_bits, y_bits = bits_for(sensor_width - 1), bits_for(sensor_height - 1)
    region_x_bits, region_y_bits = bits_for(width - 1), bits_for(height - 1)
    class_bits, vote_bits = bits_for(num_classes - 1), count_width + VOTE_BITS
    frame_bits = rows * polarities * columns * plan.count_bits
    sample_bits = plan.stack * plan.bits_per_frame
    denoises = plan.framing.denoise_time > 0
    in_region = _inside("event_x", x_bits, left, width) + " && "
    in_region += _inside("event_y", y_bits, top, height)
    counts = wrapped(f"count{c}" for c in reversed(range(num_classes)))
    wires = "\n".join(f"    wire [{count_width - 1}:0] count{c};" for c in range(num_classes))
    ports = wrapped(f".count{c}(count{c})" for c in range(num_classes))
    if denoises:
        source = f"""\
    wire kept_valid, kept_ready, kept, kept_p, kept_last;
    wire [{region_x_bits - 1}:0] kept_x;
    wire [{region_y_bits - 1}:0] kept_y;
    wire [{TIME_BITS - 1}:0] kept_t;
    {name}_denoise denoise (
        .clk(clk), .rst(rst), .in_valid(taken_valid), .in_ready(taken_ready), .in_inside(in_region), .in_x(x), .in_y(y),
        .in_p(event_p), .in_t(event_t), .in_last(event_last), .out_valid(kept_valid), .out_ready(kept_ready),
        .out_keep(kept), .out_x(kept_x), .out_y(kept_y), .out_p(kept_p), .out_t(kept_t), .out_last(kept_last)
    );
    {name}_place place (
        .clk(clk), .rst(rst), .in_valid(kept_valid), .in_ready(kept_ready), .in_keep(kept), .in_x(kept_x),
        .in_y(kept_y), .in_p(kept_p), .in_t(kept_t), .in_last(kept_last),"""
    else:
        source = f"""\
    {name}_place place (
        .clk(clk), .rst(rst), .in_valid(taken_valid), .in_ready(taken_ready), .in_keep(in_region), .in_x(x), .in_y(y),
        .in_p(event_p), .in_t(event_t), .in_last(event_last),"""
    return f"""\
// {f"{chr(10)}// ".join(head)}
module {name}_stream (
    input wire clk,
    input wire rst,  // synchronous
    // Events of a recording in the order of time; the last one has event_last. An event is taken in a cycle in which
    // event_valid and event_ready are both 1.
    input wire event_valid,
    output wire event_ready,
    input wire [{x_bits - 1}:0] event_x,
    input wire [{y_bits - 1}:0] event_y,
    input wire event_p,  // 1: brighter
    input wire [{TIME_BITS - 1}:0] event_t,  // microseconds, modulo 2^{TIME_BITS}
    input wire event_last,
    // A frame: its class and the counts of all classes, {count_width} bits each, valid in a cycle with frame_valid.
    output wire frame_valid,
    output wire [{class_bits - 1}:0] frame_class,
    output wire [{num_classes * count_width - 1}:0] frame_counts,
    // A recording: its class and the sums of its frames' counts, {vote_bits} bits each, valid in a cycle with
    // recording_valid.
    output wire recording_valid,
    output wire [{class_bits - 1}:0] recording_class,
    output wire [{num_classes * vote_bits - 1}:0] recording_counts,
    output wire recording_overflow  // 1 until the recording ends: frames are left out, since the sums are full
);
    // After the last event of a recording nothing is taken until its class is there.
    reg draining;
    wire taken_valid = event_valid && !draining && !rst;
    wire taken_ready;
    assign event_ready = taken_ready && !draining && !rst;
    always @(posedge clk) begin
        if (event_valid && event_ready && event_last) draining <= 1'b1;
        if (rst || recording_valid) draining <= 1'b0;
    end

    // Events outside the sensor or the region that frames show are accepted and ignored.
    wire in_region = {in_region};
{_offset("x", x_bits, region_x_bits, left)}
{_offset("y", y_bits, region_y_bits, top)}
    wire placed_valid, placed_ready, placed, placed_last;
    wire [{rows - 1}:0] placed_row;
    wire [{polarities * columns - 1}:0] placed_column;
    wire [{TIME_BITS - 1}:0] placed_t;
{source}
        .out_valid(placed_valid), .out_ready(placed_ready), .out_keep(placed), .out_row(placed_row),
        .out_column(placed_column), .out_t(placed_t), .out_last(placed_last)
    );

    wire full, ends;
    wire [{frame_bits - 1}:0] frame;
    {name}_accumulate accumulate (
        .clk(clk), .rst(rst), .in_valid(placed_valid), .in_ready(placed_ready), .in_keep(placed), .in_row(placed_row),
        .in_column(placed_column), .in_t(placed_t), .in_last(placed_last), .frame_valid(full),
        .frame(frame), .ends(ends)
    );

    wire [{sample_bits - 1}:0] sample;
    {name}_encode encode (.clk(clk), .rst(rst), .frame_valid(full), .ends(ends), .frame(frame), .sample(sample));

    // A frame's way through the network, and the end of a recording behind it; bit s: before stage s.
    reg [{num_stages}:1] frame_behind, end_behind;
    wire [{num_stages}:0] frame_at = {{frame_behind, full}};
    wire [{num_stages}:0] end_at = {{end_behind, ends}};
    always @(posedge clk) begin
        frame_behind <= frame_at[{num_stages - 1}:0];
        end_behind <= end_at[{num_stages - 1}:0];
        if (rst) {{frame_behind, end_behind}} <= {2 * num_stages}'d0;
    end

{wires}
    {name}_network network (
        .clk(clk), .frame_at(frame_at[{num_stages - 1}:0]), .sample(sample), .best_class(frame_class),
{ports}
    );

    assign frame_valid = frame_at[{num_stages}];
    assign frame_counts = {{
{counts}
    }};

    {name}_vote vote (
        .clk(clk), .rst(rst), .frame_valid(frame_valid), .counts(frame_counts), .ends(end_at[{num_stages}]),
        .recording_valid(recording_valid), .recording_class(recording_class), .recording_counts(recording_counts),
        .recording_overflow(recording_overflow)
    );
endmodule
"""


def _inside(signal: str, bits: int, first: int, size: int) -> str:
    """Return whether a coordinate lies in the region; comparisons that are always true are left out."""
    terms = [f"{signal} >= {bits}'d{first}"] if first else []
    if first + size < 1 << bits:
        terms.append(f"{signal} < {bits}'d{first + size}")
    return " && ".join(terms) or "1'b1"


def _offset(axis: str, bits: int, region_bits: int, first: int) -> str:
    """Return the line that makes a coordinate in the region of one on the sensor."""
    if not first and bits == region_bits:
        return f"    wire [{bits - 1}:0] {axis} = event_{axis};"
    lines = f"    wire [{bits - 1}:0] from_{axis} = event_{axis} - {bits}'d{first};\n"
    lines += f"    wire [{region_bits - 1}:0] {axis} = from_{axis}[{region_bits - 1}:0];"
    if bits > region_bits:
        lines += f"\n    wire _unused_{axis} = &{{1'b0, from_{axis}[{bits - 1}:{region_bits}]}};"
    return lines
