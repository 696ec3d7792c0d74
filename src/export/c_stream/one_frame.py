"""The circuit of a StreamDesign as C tables, and the code that evaluates it for one frame, with one bit per gate.

Gates of a kind stand together: the bits that 32 of them read are gathered into two words, and one instruction computes
all 32. A gate's number is the place of its bit, so a gate takes two numbers of read-only memory and one bit of RAM.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.circuit.circuit import Circuit
from src.circuit.schedule import gates_by_kind, node_levels
from src.export.c_stream.design import StreamDesign
from src.export.c_text import array

# In the order of schedule.py's kinds.
_EXPRESSIONS = ("a & b", "a & ~b", "a ^ b", "a | b", "~(a & b)", "a | ~b", "~(a ^ b)", "~(a | b)")


@dataclass(frozen=True, eq=False)
class PlacedGates:
    """A circuit's gates in the order in which they run, with a place for each bit.

    Attributes:
        runs: int64 [R, 2], kind and number of gates; a run begins a word, and reads what earlier runs wrote.
        first, second: int64 [G], the places of the bits that each gate reads.
        outputs: int64 [N, 3], place and number of bits that follow each other, and how often each of them counts.
        starts: int64 [classes + 1]; class c counts outputs[starts[c] : starts[c + 1]].
        num_words: words of 32 bits that hold all bits.
    """

    runs: NDArray[np.int64]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    outputs: NDArray[np.int64]
    starts: NDArray[np.int64]
    num_words: int


def place_gates(circuit: Circuit, input_places: NDArray[np.int64], input_words: int) -> PlacedGates:
    """Return a circuit's gates in the order in which they run.

    Args:
        circuit: the circuit.
        input_places: int64 [num_inputs], the place of each input's bit.
        input_words: words before the first gate's.
    """
    kinds, a, b = gates_by_kind(circuit.gates, circuit.first, circuit.second)
    levels = node_levels(circuit.num_inputs, a, b)[circuit.num_inputs :]
    order = np.lexsort((*_counting_classes(circuit), kinds, levels))  # bits of a class follow each other
    sorted_runs = np.stack([levels[order], kinds[order]])
    begins = np.flatnonzero(np.any(np.diff(sorted_runs, axis=1, prepend=-1), axis=0))
    sizes = np.diff(np.append(begins, len(order)))
    words = -(-sizes // 32)
    first_words = input_words + np.cumsum(words) - words
    places = np.empty(circuit.num_inputs + len(order), np.int64)
    places[: circuit.num_inputs] = input_places
    places[circuit.num_inputs + order] = np.repeat(32 * first_words - begins, sizes) + np.arange(len(order))
    counted = [
        _ranges(places[circuit.outputs[begin:end]])
        for begin, end in zip(circuit.starts[:-1], circuit.starts[1:], strict=True)
    ]
    return PlacedGates(
        np.stack([kinds[order][begins].astype(np.int64), sizes], axis=1),
        places[a[order]],
        places[b[order]],
        np.concatenate(counted),
        np.cumsum([0, *map(len, counted)]),
        input_words + int(words.sum()),
    )


def _counting_classes(circuit: Circuit) -> tuple[NDArray[np.int64], ...]:
    """Return how often each gate is counted, and the last and the first class that counts it, int64 [G] each."""
    nodes = circuit.num_inputs + len(circuit.gates)
    classes = np.repeat(np.arange(circuit.num_classes), np.diff(circuit.starts))
    first, last = np.full(nodes, circuit.num_classes), np.full(nodes, -1)
    np.minimum.at(first, circuit.outputs, classes)
    np.maximum.at(last, circuit.outputs, classes)
    times = np.bincount(circuit.outputs, minlength=nodes)
    return times[circuit.num_inputs :], last[circuit.num_inputs :], first[circuit.num_inputs :]


def _ranges(places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return places as ranges, int64 [N, 3]: first, number, and how often each place of the range occurs."""
    places, times = np.unique(places, return_counts=True)
    begins = np.flatnonzero((np.diff(places, prepend=-2) != 1) | (np.diff(times, prepend=0) != 0))
    return np.stack([places[begins], np.diff(np.append(begins, len(places))), times[begins]], axis=1)


def evaluator(design: StreamDesign, placed: PlacedGates) -> str:
    """Return C: the tables, and `classify(state)`, which makes counts of the input bits of a state."""
    most = max(32 * placed.num_words, int(placed.outputs.max(initial=0)))
    expressions = "\n".join(f"    case {kind}: return {text};" for kind, text in enumerate(_EXPRESSIONS))
    offsets = design.circuit.offsets.tolist()
    return f"""typedef {"uint16_t" if most < 1 << 16 else "uint32_t"} bit_place; /* bit n % 32 of word n / 32 */

/* Gates of a kind, which read bits of frames and of earlier runs; a run's own bits begin a word. */
static const struct {{
    uint8_t kind;
    uint32_t num_gates;
}} runs[] = {{
{array((f"{{{kind},{size}}}" for kind, size in placed.runs.tolist()), "{0,0}")}
}};
#define RUNS {len(placed.runs)}

static const struct gate {{
    bit_place a, b;
}} gates[] = {{
{array((f"{{{a},{b}}}" for a, b in zip(placed.first.tolist(), placed.second.tolist(), strict=True)), "{0,0}")}
}};

/* Bits that are counted, those of class c from starts[c] to starts[c + 1]: `number` bits from `first` on, each of which
 * counts `times`. */
static const struct {{
    bit_place first, number, times;
}} outputs[] = {{
{array((f"{{{a},{n},{t}}}" for a, n, t in placed.outputs.tolist()), "{0,0,0}")}
}};
static const uint32_t starts[] = {{
{array(placed.starts.tolist())}
}};
static const int32_t offsets[] = {{
{array(offsets)}
}};

static uint32_t combined(unsigned kind, uint32_t a, uint32_t b)
{{
    switch (kind) {{
{expressions}
    }}
    return 0;
}}

static void run_gates(uint32_t *bits)
{{
    const struct gate *gate = gates;
    uint32_t *result = bits + FIRST_GATE_WORD;
    for (unsigned run = 0; run < RUNS; run++)
        for (uint32_t left = runs[run].num_gates; left != 0;) {{
            const uint32_t number = left < 32 ? left : 32;
            uint32_t a = 0, b = 0;
            for (const struct gate *end = gate + number; gate != end; gate++) {{
                a = a >> 1 | bits[gate->a / 32] >> gate->a % 32 << 31;
                b = b >> 1 | bits[gate->b / 32] >> gate->b % 32 << 31;
            }}
            *result++ = combined(runs[run].kind, a, b) >> (32 - number);
            left -= number;
        }}
}}

/* The number of ones of a word (Hacker's Delight, section 5-1). */
static uint32_t ones(uint32_t word)
{{
    word -= word >> 1 & UINT32_C(0x55555555);
    word = (word & UINT32_C(0x33333333)) + (word >> 2 & UINT32_C(0x33333333));
    word = (word + (word >> 4)) & UINT32_C(0x0f0f0f0f);
    return (word * UINT32_C(0x01010101)) >> 24;
}}

static int32_t count(const uint32_t *bits, uint32_t begin, uint32_t end)
{{
    uint32_t sum = 0;
    for (; begin < end; begin++) {{
        uint32_t first = outputs[begin].first, left = outputs[begin].number, ones_here = 0;
        while (left != 0) {{
            const uint32_t room = 32 - first % 32, number = left < room ? left : room;
            ones_here += ones(bits[first / 32] >> first % 32 & UINT32_MAX >> (32 - number));
            first += number;
            left -= number;
        }}
        sum += ones_here * outputs[begin].times;
    }}
    return (int32_t)sum;
}}

static int best_of(const int64_t *sums)
{{
    int best = 0;
    for (int c = 1; c < CLASSES; c++)
        if (sums[c] > sums[best])
            best = c;
    return best;
}}
"""
