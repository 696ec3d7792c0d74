"""The modules before the network: which events are kept, where they lie in a frame, and the frames they fill."""

from src.export.rtl.bits import bits_for
from src.export.stream_plan import TIME_BITS, StreamPlan


def denoise_module(name: str, plan: StreamPlan) -> str:
    """Return NAME_denoise: keeps the events that have a recent event beside them; four cycles per event.

    The memory holds each pixel's latest time. A word of it is written in an event's first cycle, while the first of its
    four neighbours is read; the last neighbour is looked at in the first cycle of the next event.
    """
    _, _, width, height = plan.region
    x_bits, y_bits, address_bits = bits_for(width - 1), bits_for(height - 1), bits_for(width * height - 1)
    return f"""\
// Keeps an event if one of its four neighbouring pixels had an event less than {plan.framing.denoise_time} microseconds
// before, as tonic's Denoise does; an event before that time is kept too if it has a neighbour that had no event yet.
// Takes four cycles per event, and {width * height} cycles after a reset and after a recording, in which the memory is
// cleared.
module {name}_denoise (
    input wire clk,
    input wire rst,
    input wire in_valid,
    output wire in_ready,
    input wire in_inside,
    input wire [{x_bits - 1}:0] in_x,
    input wire [{y_bits - 1}:0] in_y,
    input wire in_p,
    input wire [{TIME_BITS - 1}:0] in_t,
    input wire in_last,
    output wire out_valid,
    input wire out_ready,
    output wire out_keep,
    output wire [{x_bits - 1}:0] out_x,
    output wire [{y_bits - 1}:0] out_y,
    output wire out_p,
    output wire [{TIME_BITS - 1}:0] out_t,
    output wire out_last
);
    localparam [{TIME_BITS - 1}:0] FILTER_TIME = {TIME_BITS}'d{plan.framing.denoise_time};
    localparam [{address_bits - 1}:0] LAST_WORD = {address_bits}'d{width * height - 1};

    // A word is {{had an event, its time}}. While one is written, a neighbour is read, or nothing if words are cleared.
    // So no word is read while it is written, and Yosys need not add logic for that; other tools ignore the attribute.
    (* no_rw_check *)
    reg [{TIME_BITS}:0] memory [0:{width * height - 1}];
    reg [{TIME_BITS}:0] word;

    reg clearing;
    reg [{address_bits - 1}:0] clear_address;

    // The event that is looked at. In phase 0 there is none, or one whose last neighbour has just been read.
    reg [1:0] phase;
    reg busy, in_region, p, last;
    reg [{x_bits - 1}:0] x;
    reg [{y_bits - 1}:0] y;
    reg [{TIME_BITS - 1}:0] t;
    reg has_neighbour;  // the one that is being read lies in the region
    reg supported;  // by a neighbour before
    reg wrapped;  // the timestamps of this recording have begun again at 0
    reg [{TIME_BITS - 1}:0] latest;
    reg started;

    // A neighbour with an event supports if its time > t - FILTER_TIME, as a signed difference; one without, if
    // FILTER_TIME > t.
    reg [{TIME_BITS - 1}:0] too_old;  // t - FILTER_TIME
    reg is_early;  // FILTER_TIME > t
    wire [{TIME_BITS - 1}:0] age = too_old - word[{TIME_BITS - 1}:0];
    wire _unused_age = &{{1'b0, age[{TIME_BITS - 2}:0]}};
    wire is_recent = word[{TIME_BITS}] ? age[{TIME_BITS - 1}] : !wrapped && is_early;
    wire supports = has_neighbour && is_recent;

    assign out_valid = busy && phase == 2'd0;
    assign out_keep = in_region && (supported || supports);
    assign out_x = x;
    assign out_y = y;
    assign out_p = p;
    assign out_t = t;
    assign out_last = last;
    // After the last event of a recording nothing is taken until the memory is cleared.
    assign in_ready = !clearing && phase == 2'd0 && (!busy || (out_ready && !last));
    wire accept = in_valid && in_ready;

    wire [{address_bits - 1}:0] in_address = {_address("in_x", x_bits, "in_y", y_bits, width, address_bits)};
    wire [{address_bits - 1}:0] address = {_address("x", x_bits, "y", y_bits, width, address_bits)};
    reg [{address_bits - 1}:0] read_address;
    reg reads_neighbour;
    always @* begin
        case (phase)
            2'd0: begin
                read_address = in_address - {address_bits}'d1;
                reads_neighbour = in_x != {x_bits}'d0;
            end
            2'd1: begin
                read_address = address + {address_bits}'d1;
                reads_neighbour = x != {x_bits}'d{width - 1};
            end
            2'd2: begin
                read_address = address - {address_bits}'d{width};
                reads_neighbour = y != {y_bits}'d0;
            end
            default: begin
                read_address = address + {address_bits}'d{width};
                reads_neighbour = y != {y_bits}'d{height - 1};
            end
        endcase
    end

    wire writes = clearing || (accept && in_inside);
    wire [{address_bits - 1}:0] write_address = clearing ? clear_address : in_address;
    wire [{TIME_BITS}:0] written = clearing ? {{1'b0, {TIME_BITS}'d0}} : {{1'b1, in_t}};
    wire reads = accept || phase != 2'd0;  // else what was read last is still looked at
    always @(posedge clk) begin
        if (writes) memory[write_address] <= written;
        if (reads) word <= memory[read_address];
        if (reads) has_neighbour <= reads_neighbour;
    end

    wire signed [{TIME_BITS - 1}:0] since = in_t - latest;
    always @(posedge clk) begin
        if (phase != 2'd0) begin
            supported <= phase == 2'd1 ? supports : supported || supports;
            phase <= phase + 2'd1;
        end else if (accept) begin
            phase <= 2'd1;
        end
        if (accept) begin
            {{in_region, x, y, p, t, last}} <= {{in_inside, in_x, in_y, in_p, in_t, in_last}};
            too_old <= in_t - FILTER_TIME;
            is_early <= in_t < FILTER_TIME;
            if (in_inside) begin
                if (started && since >= 0 && in_t < latest) wrapped <= 1'b1;
                started <= 1'b1;
                latest <= in_t;
            end
        end
        busy <= accept || (busy && !(out_valid && out_ready));
        if (clearing) begin
            clear_address <= clear_address + {address_bits}'d1;
            if (clear_address == LAST_WORD) clearing <= 1'b0;
        end
        if (rst || (out_valid && out_ready && last)) begin
            clearing <= 1'b1;
            clear_address <= {address_bits}'d0;
            {{wrapped, started}} <= 2'd0;
        end
        if (rst) {{phase, busy}} <= 3'd0;
    end
endmodule
"""


def _address(x: str, x_bits: int, y: str, y_bits: int, width: int, bits: int) -> str:
    """Return the address of a pixel: y * width + x, by adders, since a product would take a multiplier."""
    row = extended(y, y_bits, bits)
    products = [f"({row} << {place})" for place in range(width.bit_length()) if width >> place & 1]
    return " + ".join([*products, extended(x, x_bits, bits)])


def extended(signal: str, bits: int, to_bits: int) -> str:
    """Return a signal with zeros before it, so that it has `to_bits` bits."""
    return signal if bits >= to_bits else f"{{{to_bits - bits}'d0, {signal}}}"
