"""The module between frames and the network: NAME_encode, the thermometer and the frames before."""

from src.export.rtl.lists import unused_wire
from src.export.stream_plan import StreamPlan


def encode_module(name: str, plan: StreamPlan) -> str:
    """Return NAME_encode: the bits that the network reads, of a frame and those before it in its recording."""
    columns, rows, polarities = plan.frame_size
    line, bits = polarities * columns, plan.count_bits
    num_in, num_frame = rows * line * bits, plan.bits_per_frame
    lines = []
    for p in range(polarities):
        for level, threshold in enumerate(plan.thresholds or (0,)):
            channel = p * max(len(plan.thresholds), 1) + level
            for y in range(rows):
                to = (channel * rows + y) * columns
                if threshold < 0:
                    lines.append(f"    assign bits[{to} +: {columns}] = {{{columns}{{1'b1}}}};")
                    continue
                if bits == 1:
                    lines.append(f"    assign bits[{to} +: {columns}] = frame[{y * line + p * columns} +: {columns}];")
                    continue
                for x in range(columns):
                    pixel = bits * (y * line + p * columns + x)
                    lines.append(f"    assign bits[{to + x}] = {_above(threshold, pixel, plan)};")
    history = plan.stack - 1
    before = ""
    sample = "bits"
    if history:
        sample = "{bits, older}"
        shifted = f"{{bits, older[{history * num_frame - 1}:{num_frame}]}}" if history > 1 else "bits"
        before = f"""
    reg [{history * num_frame - 1}:0] older;  // the frames before, the newest last
    always @(posedge clk) begin
        if (frame_valid) older <= {shifted};
        if (rst || ends) older <= {{{history}{{{_empty_frame(plan)}}}}};
    end"""
    unread = [*([] if history else ["clk", "rst", "frame_valid", "ends"]), *(["frame"] if plan.thresholds else [])]
    return f"""\
// {_encoding_text(plan)}
module {name}_encode (
    input wire clk,
    input wire rst,
    input wire frame_valid,
    input wire ends,
    input wire [{num_in - 1}:0] frame,
    output wire [{plan.stack * num_frame - 1}:0] sample
);
    wire [{num_frame - 1}:0] bits;
{chr(10).join(lines)}{before}
    assign sample = {sample};
{unused_wire(unread)}endmodule
"""


def _above(threshold: int, pixel: int, plan: StreamPlan) -> str:
    """Return whether the count of the pixel whose bits begin at `pixel` is above a threshold."""
    if threshold < 0:
        return "1'b1"  # a learned threshold
    if threshold >= plan.most_counted:
        return "1'b0"
    if plan.counts_in_unary:
        return f"frame[{pixel + threshold}]"
    return f"frame[{pixel} +: {plan.count_bits}] > {plan.count_bits}'d{threshold}"


def _empty_frame(plan: StreamPlan) -> str:
    """Return the bits of a frame without events: those of thresholds below 0 are 1."""
    if min(plan.thresholds, default=0) >= 0:
        return f"{plan.bits_per_frame}'d0"
    columns, rows, polarities = plan.frame_size
    channels = [f"{{{rows * columns}{{1'b{int(threshold < 0)}}}}}" for threshold in plan.thresholds] * polarities
    return f"{{{', '.join(reversed(channels))}}}"


def _encoding_text(plan: StreamPlan) -> str:
    levels = ", ".join(map(str, plan.thresholds))
    encoding = f"A bit says whether a pixel's count is above a threshold ({levels})." if levels else "Frames are bits."
    reads = "one frame at a time" if plan.stack == 1 else f"{plan.stack} frames at a time, the oldest first"
    return f"{encoding}\n// The network reads {reads}."
