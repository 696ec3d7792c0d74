"""NAME_stream.c of a StreamDesign: events -> frames -> bits -> class counts, one event and one frame at a time."""

from src.export.c_stream.design import StreamDesign
from src.export.c_stream.header import header
from src.export.c_stream.one_frame import evaluator, place_gates
from src.export.c_text import array, comment
from src.export.description import mark_of
from src.export.stream_plan import LONGEST


def to_stream_c(design: StreamDesign) -> dict[str, str]:
    """Return NAME_stream.h and NAME_stream.c, by file name.

    The program cuts frames as `FrameStream` does, bit for bit, and counts what the circuit counts.
    """
    placed = place_gates(design.circuit, design.input_places, design.plan.stack * design.frame_words)
    parts = [
        comment([f"See {design.name}_stream.h.", f"Written by {mark_of(design.source)}."]),
        _head(design),
        evaluator(design, placed),
        _complete(design),
        _add(design),
        _BEFORE if design.plan.by_time or design.plan.framing.denoise_time else "",
        _denoise(design) if design.plan.framing.denoise_time else "",
        _begin(design),
        _next(design),
        _push(design),
        _end(design),
    ]
    name = f"{design.name}_stream"
    return {f"{name}.h": header(design, placed), f"{name}.c": "\n".join(part for part in parts if part)}


def _head(design: StreamDesign) -> str:
    upper = design.name.upper()
    unit = "microseconds" if design.plan.by_time else "events"
    return f"""#include "{design.name}_stream.h"

#include <string.h>

#define CLASSES {upper}_CLASSES
#define FRAME_SIZE UINT32_C({design.plan.framing.size}) /* {unit} */
#define FRAME_STEP UINT32_C({design.plan.step}) /* {unit} from one frame to the next */
#define OPEN_FRAMES {design.plan.num_open} /* that an event can belong to */
#define STACK {design.plan.stack} /* frames that the network looks at */
#define FRAME_WORDS {design.frame_words} /* of the bits of one of them */
#define FIRST_GATE_WORD (STACK * FRAME_WORDS)

typedef {design.name}_state state_type;
"""


def _complete(design: StreamDesign) -> str:
    shift = "    memmove(s->bits, s->bits + FRAME_WORDS, (STACK - 1) * FRAME_WORDS * sizeof *s->bits);\n"
    evaluate = "run_gates(s->bits);\n    for (int c = 0; c < CLASSES; c++)\n        s->counts[c] = "
    evaluate += "offsets[c] + count(s->bits, starts[c], starts[c + 1]);"
    argument, skip = "", ""
    if design.plan.by_time:
        argument = ", int is_empty"
        skip = """    s->empty_frames = is_empty ? s->empty_frames + 1 : 0;
    if (s->empty_frames > STACK)
        return voted(s); /* the network has seen as many empty frames: its counts are the same */
"""
    return f"""{_load(design)}
/* Adds the counts to the votes; returns the frame's class. */
static int voted(state_type *s)
{{
    int best = 0;
    for (int c = 0; c < CLASSES; c++) {{
        s->votes[c] += s->counts[c];
        if (s->counts[c] > s->counts[best])
            best = c;
    }}
    s->frames++;
    s->frame_class = best;
    return best;
}}

/* Classifies the oldest open frame, and makes it an empty one after the others. */
static int complete(state_type *s{argument})
{{
    const uint32_t frame = s->oldest;
    s->oldest = frame + 1 < OPEN_FRAMES ? frame + 1 : 0;
{skip}{shift if design.plan.stack > 1 else ""}    load(s, frame);
    memset(s->open[frame], 0, sizeof s->open[frame]);
    {evaluate}
    return voted(s);
}}
"""


def _load(design: StreamDesign) -> str:
    """Return C that makes the network's newest input of an open frame."""
    if not design.plan.thresholds:
        return """/* Makes an open frame the newest one of the network's input. */
static void load(state_type *s, uint32_t frame)
{
    memcpy(s->bits + (STACK - 1) * FRAME_WORDS, s->open[frame], sizeof s->open[frame]);
}
"""
    width, height, channels = design.plan.frame_size
    return f"""/* A pixel's bits say which thresholds its count is above. */
static const int32_t thresholds[] = {{
{array(design.plan.thresholds)}
}};

/* Makes the bits of an open frame the newest ones of the network's input: [channel][threshold][pixel]. */
static void load(state_type *s, uint32_t frame)
{{
    uint32_t *word = s->bits + (STACK - 1) * FRAME_WORDS;
    uint32_t bits = 0, used = 0;
    for (uint32_t channel = 0; channel < {channels}; channel++)
        for (uint32_t level = 0; level < {len(design.plan.thresholds)}; level++) {{
            const uint8_t *counts = s->open[frame] + channel * {height * width};
            for (uint32_t i = 0; i < {height * width}; i++) {{
                bits |= (uint32_t)(counts[i] > thresholds[level]) << used;
                if (++used == 32) {{
                    *word++ = bits;
                    bits = used = 0;
                }}
            }}
        }}
    if (used != 0)
        *word = bits;
}}
"""


def _add(design: StreamDesign) -> str:
    put = "s->open[frame][pixel / 32] |= UINT32_C(1) << pixel % 32;"
    if design.plan.thresholds:
        put = "if (s->open[frame][pixel] < 255)\n            s->open[frame][pixel]++;"
    return f"""/* Puts an event into the open frames that it belongs to; `since` is its place in the oldest one. */
static void add(state_type *s, uint32_t since, uint32_t pixel)
{{
    for (uint32_t frame = s->oldest;; since -= FRAME_STEP) {{
        {put}
        if (since < FRAME_STEP)
            return;
        frame = frame + 1 < OPEN_FRAMES ? frame + 1 : 0;
    }}
}}
"""


_BEFORE = """/* Whether a time is before another one that is less than 2^31 away, also where the clock wraps. */
static int is_before(uint32_t t, uint32_t other)
{
    return t - other > UINT32_C(0x7fffffff);
}
"""


def _denoise(design: StreamDesign) -> str:
    _, _, columns, rows = design.plan.region
    return f"""#define COLUMNS {columns} /* of the region that is used */
#define ROWS {rows}
#define DENOISE_TIME UINT32_C({design.plan.framing.denoise_time}) /* microseconds */
#define OLD UINT32_C({2 * LONGEST}) /* the age, in microseconds, that older events are given, so that none wraps */
#define CHECK_INTERVAL UINT32_C({LONGEST}) /* microseconds */

/* Whether a neighbour's event is less than DENOISE_TIME before this one; times may have gone back. */
static int supports(uint32_t neighbour, uint32_t t)
{{
    return t - neighbour + UINT32_C(0x80000000) < UINT32_C(0x80000000) + DENOISE_TIME;
}}

/* Notes an event; returns whether denoising keeps it. At first, all pixels have an event at time 0, as in training. */
static int is_kept(state_type *s, uint32_t t, uint32_t x, uint32_t y)
{{
    uint32_t *own = s->times + y * COLUMNS + x;
    if (!s->has_times) {{
        for (uint32_t i = 0; i < COLUMNS * ROWS; i++)
            s->times[i] = t < OLD ? 0 : t - OLD;
        s->newest = s->checked = t;
        s->has_times = 1;
    }}
    if (!is_before(t, s->newest))
        s->newest = t;
    if (s->newest - s->checked >= CHECK_INTERVAL) {{
        for (uint32_t i = 0; i < COLUMNS * ROWS; i++)
            if (s->newest - s->times[i] > OLD)
                s->times[i] = s->newest - OLD;
        s->checked = s->newest;
    }}
    *own = t;
    return (x > 0 && supports(*(own - 1), t)) || (x + 1 < COLUMNS && supports(*(own + 1), t))
        || (y > 0 && supports(*(own - COLUMNS), t)) || (y + 1 < ROWS && supports(*(own + COLUMNS), t));
}}
"""


def _begin(design: StreamDesign) -> str:
    lines = ["memset(s, 0, sizeof *s);", "s->frame_class = -1;"]
    if design.plan.stack > 1 and min(design.plan.thresholds, default=0) < 0:  # bits of empty frames are not all 0
        lines += [
            "for (int i = 0; i < STACK; i++) {",
            "    memmove(s->bits, s->bits + FRAME_WORDS, (STACK - 1) * FRAME_WORDS * sizeof *s->bits);",
            "    load(s, 0);",
            "}",
        ]
    body = "\n".join(f"    {line}" for line in lines)
    return f"""void {design.name}_begin(state_type *s)
{{
{body}
}}
"""


def _next(design: StreamDesign) -> str:
    if not design.plan.by_time:
        return f"""int {design.name}_next(state_type *s)
{{
    (void)s;
    return -1;
}}
"""
    return f"""int {design.name}_next(state_type *s)
{{
    if (!s->is_waiting)
        return -1;
    if (s->now - s->begin >= FRAME_SIZE) {{
        const int is_empty = is_before(s->latest, s->begin);
        s->begin += FRAME_STEP;
        return complete(s, is_empty);
    }}
    add(s, s->now - s->begin, s->pixel);
    s->latest = s->now;
    s->is_waiting = 0;
    return -1;
}}
"""


def _push(design: StreamDesign) -> str:
    name, framing = design.name, design.plan.framing
    width, height, polarities = design.plan.sensor_size
    drain = f"    while ({name}_next(s) >= 0)\n        ; /* frames that the last event completed */\n"
    crop = ""
    if framing.crop is not None:
        left, top, columns, rows = framing.crop
        crop = f"""    x = (uint16_t)(x - {left}); /* those left of the region become large */
    y = (uint16_t)(y - {top});
    if (x >= {columns} || y >= {rows})
        return -1;
"""
    denoise = "    if (!is_kept(s, t, x, y))\n        return -1;\n" if framing.denoise_time else ""
    tables, pixel = _pixel(design)
    if design.plan.by_time:
        take = f"""    s->pixel = {pixel};
    if (!s->has_begun) {{
        s->begin = s->latest = t;
        s->has_begun = 1;
    }}
    s->now = is_before(t, s->latest) ? s->latest : t;
    s->is_waiting = 1;
    return {name}_next(s);"""
    else:
        take = f"""    add(s, s->since, {pixel});
    if (++s->since < FRAME_SIZE)
        return -1;
    s->since -= FRAME_STEP;
    return complete(s);"""
    used = "" if design.plan.by_time or framing.denoise_time else "    (void)t;\n"
    return f"""{tables}int {name}_push(state_type *s, uint32_t t, uint16_t x, uint16_t y, uint8_t p)
{{
{used}{drain if design.plan.by_time else ""}    if (x >= {width} || y >= {height} || p >= {polarities}) {{
        s->outside++;
        return -1;
    }}
{crop}{denoise}{take}
}}
"""


def _pixel(design: StreamDesign) -> tuple[str, str]:
    """Return tables, and the expression of an event's place in a frame."""
    width, height, _ = design.plan.frame_size
    plane = "" if design.plan.framing.polarities == "merged" else f"(uint32_t)p * {height * width} + "
    factor = design.plan.framing.downsample
    if factor == 1:
        return "", f"{plane}(uint32_t)y * {width} + x"
    _, _, columns, rows = design.plan.region
    tables = {
        "column_of": [int(x * factor) for x in range(columns)],
        "row_of": [int(y * factor) * width for y in range(rows)],
    }
    texts = [
        f"static const {'uint16_t' if values[-1] < 1 << 16 else 'uint32_t'} {name}[] = {{\n{array(values)}\n}};\n"
        for name, values in tables.items()
    ]
    about = "/* The column and the first pixel of the row of a frame that columns and rows of the sensor become. */\n"
    return f"{about}{''.join(texts)}\n", f"{plane}(uint32_t)row_of[y] + column_of[x]"


def _end(design: StreamDesign) -> str:
    left = "s->frames == 0"
    lines = []
    if design.plan.by_time:
        lines.append(f"while ({design.name}_next(s) >= 0)\n        ;")
    if not design.plan.framing.drop_incomplete:
        since = "s->latest - s->begin" if design.plan.by_time else "s->since"
        left += f" || {since} > FRAME_SIZE - FRAME_STEP"
    lines.append(f"if ({left})\n        complete(s{', 0' if design.plan.by_time else ''});")
    lines.append("return best_of(s->votes);")
    body = "\n".join(f"    {line}" for line in lines)
    return f"""int {design.name}_end(state_type *s)
{{
{body}
}}
"""
