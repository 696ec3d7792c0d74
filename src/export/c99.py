"""Circuit -> C99 without dependencies: 64 frames at a time, one bit per frame, as circuit/packed.py does with 512.

Gates are numbers in a table, which one loop per kind of gate goes through. As statements they would be no faster (there
are more instructions than fit in the cache of a core), and would take compilers many times as long.
"""

import numpy as np
from numpy.typing import NDArray

from src.circuit.circuit import Circuit
from src.circuit.schedule import Schedule, count_bits
from src.export.c_stream.export import stream_files
from src.export.c_stream.microcontroller import measured_size
from src.export.c_text import array, comment, string
from src.export.description import Description, mark_of
from src.export.exported import Export, ExportedModel

# In the order of schedule.py's kinds.
_KINDS = ("AND", "AND_NOT", "XOR", "OR", "NAND", "OR_NOT", "XNOR", "NOR")
MOST_ROWS_ON_STACK = 1 << 13  # 64 KiB: threads of some C libraries have 128 KiB of stack


def export(exported: ExportedModel) -> Export:
    """Return the C files of a model's circuit."""
    circuit, examples = exported.circuit, exported.examples
    files = to_c(circuit, exported.description, examples.frames, examples.counts, examples.what)
    stream = stream_files(exported)
    size = measured_size(exported.name, stream) if stream else None
    what = f"{exported.size}, to be tested with {examples.what}"
    return Export({**files, **stream}, what, microcontroller=size)


def to_c(
    circuit: Circuit, description: Description, frames: NDArray[np.uint8], counts: NDArray[np.int32], frames_are: str
) -> dict[str, str]:
    """Return the files NAME.h, NAME.c and NAME_selftest.c, by name.

    Args:
        circuit: better simplified, so that it takes no longer than it must.
        description: the names.
        frames: packed, uint8 [N, bytes]: the frames of the self-test.
        counts: int32 [N, classes]: what the self-test expects.
        frames_are: what the frames are, for people.
    """
    name = description.name
    return {
        f"{name}.h": _header(circuit, description),
        f"{name}.c": _source(circuit, description),
        f"{name}_selftest.c": _self_test(description, frames, counts, frames_are),
    }


def _header(circuit: Circuit, description: Description) -> str:
    name, upper = description.name, description.name.upper()
    rows = circuit.schedule.num_rows
    size = f"{-(-rows // 128):,} KiB"
    where = (
        f"They work on the stack, of which they take {size}, and are\n * reentrant."
        if rows <= MOST_ROWS_ON_STACK
        else f"They work in one static buffer of {size}, so they are\n * not "
        f"reentrant: threads call {name}_classify_frames_in."
    )
    return f"""{comment(description.lines(circuit))}
#ifndef {upper}_H
#define {upper}_H

#include <stddef.h>
#include <stdint.h>

#define {upper}_INPUTS {circuit.num_inputs}
#define {upper}_FRAME_BYTES {-(-circuit.num_inputs // 8)}
#define {upper}_CLASSES {circuit.num_classes}
#define {upper}_TAU {circuit.tau!r}
#define {upper}_WORK_WORDS {rows} /* of 64 bits: {size} */

#ifdef __cplusplus
extern "C" {{
#endif

extern const char *const {name}_class_names[{upper}_CLASSES];

/* The class counts of frames, one after the other, {upper}_FRAME_BYTES each: bit i of a frame is bit i % 8, of value
 * 1 << i % 8, of its byte i / 8. Counts are [num_frames][{upper}_CLASSES]. 64 frames take as long as one. `work` is a
 * buffer of {upper}_WORK_WORDS words, whose content does not matter. Reentrant, if each thread gives a buffer of its
 * own. */
void {name}_classify_frames_in(const uint8_t *frames, size_t num_frames, int32_t *counts, uint64_t *work);

/* The same, and the counts of one frame, without a buffer of the caller's.
 * {where} */
void {name}_classify_frames(const uint8_t *frames, size_t num_frames, int32_t *counts);
void {name}_classify(const uint8_t *frame, int32_t counts[{upper}_CLASSES]);

/* The class that these counts mean: the first of the largest. */
int {name}_best_class(const int32_t counts[{upper}_CLASSES]);

#ifdef __cplusplus
}}
#endif

#endif
"""


def _source(circuit: Circuit, description: Description) -> str:
    """Return NAME.c: the circuit as tables, then the code that goes through them."""
    name, upper = description.name, description.name.upper()
    schedule = circuit.schedule
    storage = "" if schedule.num_rows <= MOST_ROWS_ON_STACK else "static "
    parts = [
        comment(description.lines(circuit)),
        _head(circuit, name, upper),
        _class_names(description, name, upper),
        f"typedef {'uint16_t' if schedule.num_rows <= 1 << 16 else 'uint32_t'} row;\n",
        _gates(schedule),
        _outputs(circuit, upper),
        _TRANSPOSE,
        _load_frames(upper),
        _RUN_GATES,
        _COUNT,
        _classify_block(upper),
        _classify_functions(name, upper, storage),
        _best_class(name, upper),
    ]
    return "\n".join(parts)


def _head(circuit: Circuit, name: str, upper: str) -> str:
    return f"""#include "{name}.h"

#define COLUMNS (({upper}_FRAME_BYTES + 7) / 8) /* of 64 bits of a frame */
#define PLANES {count_bits(circuit.starts)} /* bits of a count */
#define TOGETHER (64 / PLANES) /* counts of this many classes fit in 64 bits */
"""


def _class_names(description: Description, name: str, upper: str) -> str:
    class_names = ",\n".join(f"    {string(class_name)}" for class_name in description.class_names)
    return f"""const char *const {name}_class_names[{upper}_CLASSES] = {{
{class_names}
}};
"""


def _gates(schedule: Schedule) -> str:
    runs = [
        f"{{{_KINDS[kind]},{size}}}"
        for kind, size in zip(schedule.kinds.tolist(), np.diff(schedule.run_starts).tolist(), strict=True)
    ]
    gates = np.stack([schedule.first, schedule.second, schedule.result], axis=1).tolist()
    return f"""/* The gates, in runs of one kind; a run needs only what earlier runs have computed. */
enum kind {{ {", ".join(_KINDS)} }};
static const struct {{
    enum kind kind;
    size_t num_gates;
}} runs[] = {{
{array(runs) if runs else "    {AND,0}"}
}};
static const struct gate {{
    row a, b, result;
}} gates[] = {{
{array(f"{{{a},{b},{result}}}" for a, b, result in gates) if gates else "    {0,0,0}"}
}};
"""


def _outputs(circuit: Circuit, upper: str) -> str:
    return f"""/* The rows that are counted, those of class c from starts[c] to starts[c + 1]. */
static const row outputs[] = {{
{array(circuit.schedule.outputs)}
}};
static const uint32_t starts[{upper}_CLASSES + 1] = {{
{array(circuit.starts)}
}};
static const int32_t offsets[{upper}_CLASSES] = {{
{array(circuit.offsets)}
}};
"""


def _load_frames(upper: str) -> str:
    return f"""static void load_frames(const uint8_t *frames, size_t num_frames, uint64_t *v)
{{
    for (size_t column = 0; column < COLUMNS; column++) {{
        const size_t left = {upper}_FRAME_BYTES - 8 * column;
        for (size_t f = 0; f < 64; f++) {{
            const uint8_t *bytes = frames + f * {upper}_FRAME_BYTES + 8 * column;
            v[64 * column + f] = f < num_frames ? little_endian(bytes, left) : 0;
        }}
        transpose(v + 64 * column);
    }}
}}
"""


def _classify_block(upper: str) -> str:
    return f"""static void classify_block(const uint8_t *frames, size_t num_frames, int32_t *counts, uint64_t *v)
{{
    load_frames(frames, num_frames, v);
    run_gates(v);
    for (int first = 0; first < {upper}_CLASSES; first += TOGETHER) {{
        uint64_t numbers[64] = {{0}}; /* a row per bit, then, transposed, a row per frame */
        for (int c = first; c < first + TOGETHER && c < {upper}_CLASSES; c++)
            count(v, outputs + starts[c], starts[c + 1] - starts[c], numbers + PLANES * (c - first));
        transpose(numbers);
        for (size_t f = 0; f < num_frames; f++)
            for (int c = first; c < first + TOGETHER && c < {upper}_CLASSES; c++)
                counts[f * {upper}_CLASSES + (size_t)c] =
                    (int32_t)(numbers[f] >> (PLANES * (c - first)) & ((UINT64_C(1) << PLANES) - 1)) + offsets[c];
    }}
}}
"""


def _classify_functions(name: str, upper: str, storage: str) -> str:
    """Return the functions that classify frames; `storage` is the storage class of their working memory."""
    return f"""void {name}_classify_frames_in(const uint8_t *frames, size_t num_frames, int32_t *counts, uint64_t *work)
{{
    for (size_t done = 0; done < num_frames; done += 64) {{
        const size_t left = num_frames - done;
        int32_t *place = counts + done * {upper}_CLASSES;
        classify_block(frames + done * {upper}_FRAME_BYTES, left < 64 ? left : 64, place, work);
    }}
}}

void {name}_classify_frames(const uint8_t *frames, size_t num_frames, int32_t *counts)
{{
    {storage}uint64_t work[{upper}_WORK_WORDS];
    {name}_classify_frames_in(frames, num_frames, counts, work);
}}

void {name}_classify(const uint8_t *frame, int32_t counts[{upper}_CLASSES])
{{
    {name}_classify_frames(frame, 1, counts);
}}
"""


def _best_class(name: str, upper: str) -> str:
    return f"""int {name}_best_class(const int32_t counts[{upper}_CLASSES])
{{
    int best = 0;
    for (int c = 1; c < {upper}_CLASSES; c++)
        if (counts[c] > counts[best])
            best = c;
    return best;
}}
"""


_TRANSPOSE = """\
/* Bit i of row j and bit j of row i change places (Hacker's Delight, section 7-3). */
static void transpose(uint64_t *rows)
{
    uint64_t low = UINT64_C(0xffffffff);
    for (unsigned by = 32; by != 0; by >>= 1, low ^= low << by)
        for (unsigned i = 0; i < 64; i = ((i | by) + 1) & ~by) {
            const uint64_t change = (rows[i] >> by ^ rows[i + by]) & low;
            rows[i] ^= change << by;
            rows[i + by] ^= change;
        }
}

/* Eight bytes, or as many as are left, as a number. */
static uint64_t little_endian(const uint8_t *b, size_t left)
{
    uint64_t number = 0;
    if (left >= 8)
        return (uint64_t)b[0] | (uint64_t)b[1] << 8 | (uint64_t)b[2] << 16 | (uint64_t)b[3] << 24
            | (uint64_t)b[4] << 32 | (uint64_t)b[5] << 40 | (uint64_t)b[6] << 48 | (uint64_t)b[7] << 56;
    for (size_t i = 0; i < left; i++)
        number |= (uint64_t)b[i] << (8 * i);
    return number;
}
"""

_RUN_GATES = """\
#define EACH(expression) \\
    for (; gate < end; gate++) { \\
        const uint64_t a = v[gate->a], b = v[gate->b]; \\
        v[gate->result] = expression; \\
    } \\
    break

static void run_gates(uint64_t *v)
{
    const struct gate *gate = gates;
    for (size_t run = 0; run < sizeof runs / sizeof *runs; run++) {
        const struct gate *end = gate + runs[run].num_gates;
        switch (runs[run].kind) {
        case AND: EACH(a & b);
        case AND_NOT: EACH(a & ~b);
        case XOR: EACH(a ^ b);
        case OR: EACH(a | b);
        case NAND: EACH(~(a & b));
        case OR_NOT: EACH(a | ~b);
        case XNOR: EACH(~(a ^ b));
        case NOR: EACH(~(a | b));
        }
    }
}
"""

_COUNT = """\
/* Adds up rows into binary numbers, bit p of each frame's in sums[p]. As one counts on fingers: sums[p] takes two rows
 * of weight 2^p at a time and hands on a carry, which waits until there are two; bit p of the number of pairs says
 * whether one waits. */
static void count(const uint64_t *v, const row *rows, size_t num_rows, uint64_t *sums)
{
    uint64_t waiting[PLANES + 1];
    const size_t pairs = (num_rows + 1) / 2;
    for (size_t pair = 0; pair < pairs; pair++) {
        uint64_t x = v[rows[2 * pair]];
        uint64_t y = 2 * pair + 1 < num_rows ? v[rows[2 * pair + 1]] : 0;
        for (int p = 0;; p++) {
            const uint64_t half = x ^ y;
            const uint64_t carry = (x & y) | (half & sums[p]);
            sums[p] ^= half;
            if (p + 1 == PLANES)
                break;
            if (!(pair >> p & 1)) {
                waiting[p + 1] = carry;
                break;
            }
            x = waiting[p + 1];
            y = carry;
        }
    }
    for (int p = 0; p + 1 < PLANES; p++)
        if (pairs >> p & 1) {
            uint64_t x = waiting[p + 1];
            for (int q = p + 1; q < PLANES; q++) {
                const uint64_t carry = sums[q] & x;
                sums[q] ^= x;
                x = carry;
            }
        }
}
"""


def _self_test(description: Description, frames: NDArray[np.uint8], counts: NDArray[np.int32], frames_are: str) -> str:
    name, upper = description.name, description.name.upper()
    frame_rows = ",\n".join("    {" + ",".join(map(str, frame)) + "}" for frame in frames.tolist())
    count_rows = ",\n".join("    {" + ",".join(map(str, row)) + "}" for row in counts.tolist())
    lines = [
        f"Self-test of {name}: {frames_are}, and the counts that the network has for them.",
        f"Written by {mark_of(description.source)}.",
    ]
    return f"""{comment(lines)}
#include "{name}.h"

#include <stdio.h>

#define FRAMES {len(frames)}

static const uint8_t frames[FRAMES][{upper}_FRAME_BYTES] = {{
{frame_rows}
}};

static const int32_t expected[FRAMES][{upper}_CLASSES] = {{
{count_rows}
}};

static int32_t together[FRAMES][{upper}_CLASSES];

int main(void)
{{
    int wrong = 0;
    {name}_classify_frames(frames[0], FRAMES, together[0]);
    for (int f = 0; f < FRAMES; f++) {{
        int32_t alone[{upper}_CLASSES];
        int differs = 0;
        {name}_classify(frames[f], alone);
        for (int c = 0; c < {upper}_CLASSES; c++)
            differs |= together[f][c] != expected[f][c] || alone[c] != expected[f][c];
        wrong += differs;
    }}
    printf("{name}: %d of %d frames have the expected counts\\n", FRAMES - wrong, FRAMES);
    return wrong != 0;
}}
"""
