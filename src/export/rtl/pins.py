"""The module that is placed and routed to find out what the hardware takes: NAME_pins."""

from src.export.rtl.bits import VOTE_BITS, bits_for
from src.export.stream_plan import TIME_BITS, StreamPlan


def pins_module(name: str, plan: StreamPlan, num_classes: int, count_width: int) -> str:
    """Return NAME_pins: NAME_stream with few enough pins for every package, to measure size and clock.

    An event is shifted in bit by bit, in every cycle, so that no sender could wait for event_ready. The counts stay
    inside, where the classes are found from them.
    """
    width, height, _ = plan.sensor_size
    x_bits, y_bits, class_bits = bits_for(width - 1), bits_for(height - 1), bits_for(num_classes - 1)
    highest = x_bits + y_bits + TIME_BITS + 1
    return f"""\
// Measures size and clock of {name}_stream, and is not for a board: it has few enough pins for every package, since an
// event is shifted in bit by bit, in every cycle, and the counts stay inside.
module {name}_pins (
    input wire clk,
    input wire rst,
    input wire event_valid,
    output wire event_ready,
    input wire event_bit,
    output wire frame_valid,
    output wire [{class_bits - 1}:0] frame_class,
    output wire recording_valid,
    output wire [{class_bits - 1}:0] recording_class,
    output wire recording_overflow
);
    reg [{highest}:0] word;
    wire [{x_bits - 1}:0] event_x;
    wire [{y_bits - 1}:0] event_y;
    wire [{TIME_BITS - 1}:0] event_t;
    wire event_p, event_last;
    wire [{num_classes * count_width - 1}:0] frame_counts;
    wire [{num_classes * (count_width + VOTE_BITS) - 1}:0] recording_counts;
    assign {{event_x, event_y, event_t, event_p, event_last}} = word;
    always @(posedge clk) word <= {{word[{highest - 1}:0], event_bit}};
    {name}_stream stream (
        .clk(clk), .rst(rst),
        .event_valid(event_valid), .event_ready(event_ready),
        .event_x(event_x), .event_y(event_y), .event_p(event_p), .event_t(event_t), .event_last(event_last),
        .frame_valid(frame_valid), .frame_class(frame_class),
        .recording_valid(recording_valid), .recording_class(recording_class),
        .frame_counts(frame_counts), .recording_counts(recording_counts), .recording_overflow(recording_overflow)
    );
    wire _unused = &{{1'b0, frame_counts, recording_counts}};
endmodule
"""
