"""The modules that place events in frames and fill the frames: NAME_place and NAME_accumulate."""

from src.export.rtl.bits import bits_for
from src.export.rtl.lists import wrapped
from src.export.stream_plan import TIME_BITS, StreamPlan


def place_module(name: str, plan: StreamPlan) -> str:
    """Return NAME_place: an event's place in a frame, as one bit for its row and one for its column and polarity."""
    _, _, width, height = plan.region
    columns, rows, polarities = plan.frame_size
    x_bits, y_bits = bits_for(width - 1), bits_for(height - 1)
    tables = _scale_tables(plan)
    column, row = ("column(in_x)", "row(in_y)") if tables else ("in_x", "in_y")
    one_column = f"{{{columns - 1}'d0, 1'b1}} << {column}" if columns > 1 else "1'b1"
    one_row = f"{{{rows - 1}'d0, 1'b1}} << {row}" if rows > 1 else "1'b1"
    if polarities == 1:
        line = "one_column"
        unused = "\n    wire _unused = &{1'b0, in_p};"
    else:
        line = f"in_p ? {{one_column, {columns}'d0}} : {{{columns}'d0, one_column}}"
        unused = ""
    declarations, time, updates = _TIME if plan.by_time else ("", "in_t", "")
    return f"""\
// Turns an event's place into one-hot numbers: its row, and its column in the half of its polarity.
module {name}_place (
    input wire clk,
    input wire rst,
    input wire in_valid,
    output wire in_ready,
    input wire in_keep,
    input wire [{x_bits - 1}:0] in_x,
    input wire [{y_bits - 1}:0] in_y,
    input wire in_p,
    input wire [{TIME_BITS - 1}:0] in_t,
    input wire in_last,
    output reg out_valid,
    input wire out_ready,
    output reg out_keep,
    output reg [{rows - 1}:0] out_row,
    output reg [{polarities * columns - 1}:0] out_column,
    output reg [{TIME_BITS - 1}:0] out_t,
    output reg out_last
);
{tables}{declarations}    wire [{columns - 1}:0] one_column = {one_column};
    wire [{rows - 1}:0] one_row = {one_row};{unused}

    assign in_ready = !out_valid || out_ready;
    always @(posedge clk) begin
        if (in_ready) begin
            out_valid <= in_valid;
            out_keep <= in_keep;
            out_row <= one_row;
            out_column <= {line};
            out_t <= {time};
            out_last <= in_last;
        end
{updates}        if (rst) out_valid <= 1'b0;
    end
endmodule
"""


# For windows of time: declarations, the time that counts, and updates. It is known a cycle before it is compared with
# the end of a window, which lets the clock be faster.
_TIME = (
    f"""\
    // An event whose time is before the latest counts as if it came then.
    reg started;  // this recording had an event that is kept
    reg [{TIME_BITS - 1}:0] latest;
    wire [{TIME_BITS - 1}:0] later = in_t - latest;
    wire [{TIME_BITS - 1}:0] now = started && later[{TIME_BITS - 1}] ? latest : in_t;
    wire _unused_later = &{{1'b0, later[{TIME_BITS - 2}:0]}};
""",
    "now",
    """\
        if (in_valid && in_ready) begin
            if (in_keep) latest <= now;
            started <= (started || in_keep) && !in_last;
        end
        if (rst) started <= 1'b0;
""",
)


def _scale_tables(plan: StreamPlan) -> str:
    """Return functions that give a frame's column and row of a pixel, if frames are smaller than the region."""
    if plan.framing.downsample == 1:
        return ""
    _, _, width, height = plan.region
    columns, rows, _ = plan.frame_size
    return _table("column", width, columns, plan.framing.downsample) + _table(
        "row", height, rows, plan.framing.downsample
    )


def _table(name: str, size: int, frame_size: int, factor: float) -> str:
    """Return a function by ranges: the pixels that fall into each column are neighbours."""
    bits, to_bits = bits_for(size - 1), bits_for(frame_size - 1)
    places = [int(pixel * factor) for pixel in range(size)]  # the arithmetic of `find_pixels`
    lines = [f"            {bits}'d{pixel}: {name} = {to_bits}'d{place};" for pixel, place in enumerate(places)]
    return f"""\
    function [{to_bits - 1}:0] {name}(input [{bits - 1}:0] pixel);
        case (pixel)
{chr(10).join(lines)}
            default: {name} = {to_bits}'d0;
        endcase
    endfunction

"""


def accumulate_module(name: str, plan: StreamPlan) -> str:
    """Return NAME_accumulate: the frames that are open, and which of them is full."""
    columns, rows, polarities = plan.frame_size
    line_bits = polarities * columns
    rule = _by_time(plan) if plan.by_time else _by_events(plan)
    banks = "\n".join(_bank(number, rows, line_bits, plan) for number in range(plan.num_open))
    num_bits = rows * line_bits * plan.count_bits
    most = (
        ""
        if plan.counts_in_unary
        else f"    localparam [{plan.count_bits - 1}:0] MOST = {plan.count_bits}'d{plan.most_counted};\n"
    )
    return f"""\
// Fills frames with events. {_rule_text(plan)}
module {name}_accumulate (
    input wire clk,
    input wire rst,
    input wire in_valid,
    output wire in_ready,
    input wire in_keep,
    input wire [{rows - 1}:0] in_row,
    input wire [{line_bits - 1}:0] in_column,
    input wire [{TIME_BITS - 1}:0] in_t,
    input wire in_last,
    output {"wire" if plan.num_open == 1 else "reg"} frame_valid,  // a frame is there in this cycle
    output wire [{num_bits - 1}:0] frame,
    output reg ends  // the recording has ended, and its last frame was there
);
{most}    // What happens in this cycle, by the rule below; a bit per open frame.
    wire [{plan.num_open - 1}:0] written;  // takes the event
    wire [{plan.num_open - 1}:0] cleared;  // forgets what it holds, before it takes the event
    wire [{plan.num_open - 1}:0] taken;  // is handed out, as it is before the event
    wire takes;  // a frame is handed out

    // After the last event: 1, 2 and 3 while its frames are handed out, then 0.
    reg [1:0] ending;
    wire accept = in_valid && in_ready;
    wire event_counts = accept && in_keep;
{rule}
    always @(posedge clk) begin
        if (ending != 2'd0) ending <= ending + 2'd1;
        else if (accept && in_last) ending <= 2'd1;
        ends <= ending == 2'd3;
        if (rst) {{ending, ends}} <= 3'd0;
    end

{banks}
{_handing_out(plan, num_bits)}{_unused(plan)}endmodule
"""


def _handing_out(plan: StreamPlan, num_bits: int) -> str:
    """Return how a frame is handed out: the only open one where it lies, one of several by a register."""
    if plan.num_open == 1:
        return """\
    // The only open frame changes after this cycle at the earliest.
    assign frame = bank0;
    assign frame_valid = takes;
    wire _unused_taken = &{1'b0, taken};
"""
    taken = wrapped((f"({{{num_bits}{{taken[{b}]}}}} & bank{b})" for b in range(plan.num_open)), " |")
    return f"""\
    reg [{num_bits - 1}:0] full;
    assign frame = full;
    always @(posedge clk) begin
        if (takes) full <= (
{taken}
        );
        frame_valid <= takes && !rst;
    end
"""


def _unused(plan: StreamPlan) -> str:
    return "" if plan.by_time else "    wire _unused = &{1'b0, in_t};\n"


def _rule_text(plan: StreamPlan) -> str:
    what = "microseconds" if plan.by_time else "events"
    size, number = plan.framing.size, "one is" if plan.num_open == 1 else f"{plan.num_open} are"
    return f"A frame holds {size} {what}; one begins every {plan.step}.\n// At most {number} open."


def _by_events(plan: StreamPlan) -> str:
    """Return the rule for frames of a number of events."""
    size, step, num_open = plan.framing.size, plan.step, plan.num_open
    bits, step_bits, number_bits = bits_for(size), bits_for(step - 1), bits_for(num_open - 1)
    frames = "\n".join(
        f"""\
    reg open{b};
    reg [{bits - 1}:0] num{b};  // events in it
    wire opens{b} = event_counts && begins && next_frame == {number_bits}'d{b};
    wire [{bits - 1}:0] num_now{b} = opens{b} ? {bits}'d1 : num{b} + {bits}'d1;
    assign written[{b}] = opens{b} || (event_counts && open{b});
    assign cleared[{b}] = opens{b}{" || ending == 2'd3" if num_open == 1 else ""};
    wire fills{b} = written[{b}] && num_now{b} == {bits}'d{size};
    always @(posedge clk) begin
        if (written[{b}]) begin
            num{b} <= num_now{b};
            open{b} <= !fills{b};
        end
        if (rst || ending == 2'd3) open{b} <= 1'b0;
    end"""
        for b in range(num_open)
    )
    fills = wrapped(f"fills{b}" for b in reversed(range(num_open)))
    wraps = number_bits if num_open > 1 else 0
    following = (
        f"following == {number_bits}'d{num_open - 1} ? {number_bits}'d0 : following + {number_bits}'d1"
        if wraps
        else f"{number_bits}'d0"
    )
    next_frame = following.replace("following", "next_frame")
    left, after_full, notes_after, forgets = "!any_full", "", "", ""
    if not plan.framing.drop_incomplete:
        left = "!any_full || after_full"
        after_full = "    reg after_full;  // an event came after the last full frame\n"
        notes_after = f"            after_full <= fills == {num_open}'d0;\n"
        forgets = "            after_full <= 1'b0;\n"
    return f"""
    assign in_ready = ending == 2'd0;
    reg [{step_bits - 1}:0] since_begin;  // events since a frame began, counted to {step}
    reg begins;  // whether that is 0; in a register, which shortens the path to every bit of a frame
    reg [{number_bits - 1}:0] next_frame;  // the one that begins next
    reg [{number_bits - 1}:0] following;  // the one that is full next
    reg any_full;  // this recording had a full frame
{after_full}    reg any_event;
    reg [{num_open - 1}:0] filled;  // full since the cycle before
{frames}
    wire [{num_open - 1}:0] fills = {{
{fills}
    }};
    wire [{num_open - 1}:0] oldest = {{
{_one_hot("following", num_open, number_bits)}
    }};
    wire is_last = since_begin == {step_bits}'d{step - 1};
    // What the end of a recording leaves: the first frame if it was never full, or the rest{_if_kept(plan)}
    wire leaves = ending == 2'd1 && ({left});
    assign takes = filled != {num_open}'d0 || leaves;
    assign taken = leaves ? oldest & {{{num_open}{{any_event}}}} : filled;
    always @(posedge clk) begin
        filled <= fills;
        if (event_counts) begin
            since_begin <= is_last ? {step_bits}'d0 : since_begin + {step_bits}'d1;
            begins <= is_last;
            if (begins) next_frame <= {next_frame};
            any_event <= 1'b1;
{notes_after}        end
        if (fills != {num_open}'d0) begin
            any_full <= 1'b1;
            following <= {following};
        end
        if (rst || ending == 2'd3) begin
            since_begin <= {step_bits}'d0;
            begins <= 1'b1;
            next_frame <= {number_bits}'d0;
            following <= {number_bits}'d0;
            {{any_full, any_event}} <= 2'd0;
{forgets}            filled <= {num_open}'d0;
        end
    end
"""


def _if_kept(plan: StreamPlan) -> str:
    return "." if not plan.framing.drop_incomplete else ";\n    // a rest after a full frame is left out."


def _by_time(plan: StreamPlan) -> str:
    """Return the rule for frames of a time."""
    size, step, num_open, t = plan.framing.size, plan.step, plan.num_open, TIME_BITS
    number_bits, since_bits = bits_for(num_open - 1), bits_for(size - 1)
    begun = "\n".join(f"    wire begun{j} = started && since >= {since_bits}'d{j * step};" for j in range(1, num_open))
    written = "\n".join(
        f"    assign written[{b}] = event_counts && (\n{_any_begun(b, num_open, number_bits)}\n    );"
        for b in range(num_open)
    )
    since, next_following = "", f"{number_bits}'d0"
    if num_open > 1:
        next_following = f"following == {number_bits}'d{num_open - 1} ? {number_bits}'d0 : following + {number_bits}'d1"
        low = f"[{since_bits - 1}:0]"
        since = f"""
    // An event that is taken lies in the window, so that few bits tell where.
    wire {low} since = in_t{low} - end_time{low} + {since_bits}'d{size % (1 << since_bits)};"""
    declarations = updates = left = ""
    if not plan.framing.drop_incomplete:
        left = " || has_rest"
        declarations = f"""
    reg [{t - 1}:0] latest;  // time of the events so far
    wire signed [{t - 1}:0] until_end = latest - end_time;
    reg has_rest;  // an event came after the frames that are full"""
        updates = f"""
        has_rest <= until_end > -{t}'sd{step};
        if (event_counts) latest <= in_t;"""
    return f"""
    reg started;  // there was an event
    reg any_full;  // this recording had a full frame
    reg [{t - 1}:0] end_time;  // of the window that is full next
    reg [{number_bits - 1}:0] following;  // that window{declarations}
    // A window that ends before the event is handed out first, one per cycle, and the event waits.
    wire [{t - 1}:0] past = in_t - end_time;
    wire _unused_past = &{{1'b0, past[{t - 2}:0]}};
    wire waits = in_valid && in_keep && started && !past[{t - 1}];
    assign in_ready = ending == 2'd0 && !waits;
    wire leaves = ending == 2'd2 && (!any_full{left});
    wire hands_out = ending == 2'd0 && waits;
    assign takes = hands_out || leaves;
    assign taken = {{
{_one_hot("following", num_open, number_bits)}
    }};
    assign cleared = ending == 2'd3 ? {{{num_open}{{1'b1}}}} : hands_out ? taken : {num_open}'d0;{since}
{begun}
{written}
    always @(posedge clk) begin{updates}
        if (hands_out) begin
            any_full <= 1'b1;
            end_time <= end_time + {t}'d{step};
            following <= {next_following};
        end
        if (event_counts) begin
            started <= 1'b1;
            if (!started) end_time <= in_t + {t}'d{size};
        end
        if (rst || ending == 2'd3) begin
            {{started, any_full}} <= 2'd0;
            following <= {number_bits}'d0;
        end
    end
"""


def _any_begun(bank: int, num_open: int, bits: int) -> str:
    """Return whether the frame in a bank has begun: it is the j-th after the one that is full next."""
    terms = []
    for j in range(num_open):
        is_it = f"following == {bits}'d{(bank - j) % num_open}"
        terms.append(is_it if j == 0 else f"({is_it} && begun{j})")
    return wrapped(terms, " ||")


def _one_hot(signal: str, size: int, bits: int) -> str:
    """Return the terms of a one-hot number: the highest bit says whether a signal is size - 1."""
    return wrapped(f"{signal} == {bits}'d{number}" for number in reversed(range(size)))


def _bank(number: int, rows: int, line_bits: int, plan: StreamPlan) -> str:
    """Return a frame that is open; an event touches one of its rows."""
    count_bits = plan.count_bits
    width = line_bits * count_bits
    bank, row, hit = f"bank{number}", f"r{number}", f"(written[{number}] && in_row[r{number}])"
    if count_bits == 1:
        variables = row
        line = f"{bank}[{width} * {row} +: {width}]"
        update = f"""{line} <=
                        (cleared[{number}] ? {width}'d0 : {line})
                        | ({hit} ? in_column : {width}'d0);"""
    else:
        variables = f"{row}, c{number}"
        column = f"c{number}"
        pixel = f"{bank}[{width} * {row} + {count_bits} * {column} +: {count_bits}]"
        if plan.counts_in_unary:
            below = f"{bank}[{width} * {row} + {count_bits} * {column} +: {count_bits - 1}]"
            counts = f"if (in_column[{column}])\n{' ' * 28}{pixel} <= {{{below}, 1'b1}}"
        else:
            is_counted = f"in_column[{column}] && {pixel} != MOST"
            counts = f"if ({is_counted})\n{' ' * 28}{pixel} <= {pixel} + {count_bits}'d1"
        update = f"""for ({column} = 0; {column} < {line_bits}; {column} = {column} + 1) begin
                        if (cleared[{number}])
                            {pixel} <= {{{count_bits - 1}'d0, {hit} && in_column[{column}]}};
                        else {counts};
                    end"""
    return f"""\
    reg [{rows * width - 1}:0] {bank};
    integer {variables};
    always @(posedge clk) begin
        if (written[{number}] || cleared[{number}]) begin
            for ({row} = 0; {row} < {rows}; {row} = {row} + 1) begin
                if ({hit} || cleared[{number}]) begin
                    {update}
                end
            end
        end
        if (rst) {bank} <= {rows * width}'d0;
    end
"""
