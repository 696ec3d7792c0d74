"""The module that is placed and routed to find out what the hardware takes: NAME_pins."""

from src.export.rtl.bits import bits_for
from src.export.stream_plan import TIME_BITS, StreamPlan


def pins_module(name: str, plan: StreamPlan, num_classes: int) -> str:
    """Return NAME_pins: NAME_stream with few enough pins for every package.

    An event is shifted in bit by bit. The counts stay inside, where the classes are found from them.
    """
    width, height, _ = plan.sensor_size
    x_bits, y_bits, class_bits = bits_for(width - 1), bits_for(height - 1), bits_for(num_classes - 1)
    highest = x_bits + y_bits + TIME_BITS + 1
    return f"""\
// {name}_stream with few enough pins for every package: an event is shifted in bit by bit, and the counts stay inside.
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
    assign {{event_x, event_y, event_t, event_p, event_last}} = word;
    always @(posedge clk) word <= {{word[{highest - 1}:0], event_bit}};
    {name}_stream stream (
        .clk(clk), .rst(rst),
        .event_valid(event_valid), .event_ready(event_ready),
        .event_x(event_x), .event_y(event_y), .event_p(event_p), .event_t(event_t), .event_last(event_last),
        .frame_valid(frame_valid), .frame_class(frame_class),
        .recording_valid(recording_valid), .recording_class(recording_class),
        .recording_overflow(recording_overflow)
    );
endmodule
"""
