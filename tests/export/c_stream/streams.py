"""What tests of NAME_stream share: running it on recordings, and what training's own code makes of the same events."""

import itertools
import subprocess
from dataclasses import dataclass

import numpy as np

from src.export.c_stream.source import to_stream_c
from src.export.stream_samples import stream_samples
from tests.export.exports import run, write

FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
SANITIZED = ("-fsanitize=undefined,address", "-fno-sanitize-recover=all")
BEGIN, EVENT, QUIET_EVENT, END = range(4)
# Commands (kind, p, x, y, t) come in; a row per frame and one per recording come out.
RUNNER = r"""
#include "net_stream.h"
#include <stdio.h>
#include <string.h>
struct command { uint8_t kind, p; uint16_t x, y; uint32_t t; };
static net_state s;
static void row(int kind, int label)
{
    int32_t numbers[5 + NET_CLASSES + INPUT_WORDS] = {0};
    numbers[0] = kind;
    numbers[1] = label;
    numbers[2] = s.frame_class;
    numbers[3] = (int32_t)s.frames;
    numbers[4] = (int32_t)s.outside;
    for (int c = 0; c < NET_CLASSES; c++)
        numbers[5 + c] = kind ? (int32_t)s.votes[c] : s.counts[c];
    memcpy(numbers + 5 + NET_CLASSES, s.bits, INPUT_WORDS * sizeof *s.bits);
    fwrite(numbers, sizeof *numbers, sizeof numbers / sizeof *numbers, stdout);
}
int main(void)
{
    struct command c;
    memset(&s, 0xa5, sizeof s);
    while (fread(&c, 1, 1, stdin) && fread(&c.p, 1, 1, stdin) && fread(&c.x, 2, 1, stdin) && fread(&c.y, 2, 1, stdin)
        && fread(&c.t, 4, 1, stdin)) {
        if (c.kind == 0)
            net_begin(&s);
        else if (c.kind < 3)
            for (int label = net_push(&s, c.t, c.x, c.y, c.p); label >= 0 && c.kind == 1; label = net_next(&s))
                row(0, label);
        else {
            const uint32_t before = s.frames;
            const int label = net_end(&s);
            if (s.frames > before)
                row(0, s.frame_class);
            row(1, label);
        }
    }
    return 0;
}
"""
COMMAND = np.dtype([("kind", "u1"), ("p", "u1"), ("x", "<u2"), ("y", "<u2"), ("t", "<u4")])


@dataclass
class Streamed:
    """One recording: per frame its class, counts [F, classes] and input bits [F, inputs]; and its class and votes."""

    labels: list
    counts: np.ndarray
    bits: np.ndarray
    label: int
    votes: list
    outside: int


def program(folder, design, compiler="gcc", flags=("-O1",)):
    """Compile NAME_stream with a program that feeds it; none of the compiler's warnings is allowed."""
    folder = write(folder, {**to_stream_c(design), "runner.c": RUNNER})
    words = design.plan.stack * design.frame_words
    assert run(folder, compiler, *FLAGS, *flags, "-c", "net_stream.c", "-o", "net_stream.o") == ""
    run(folder, compiler, *flags, f"-DINPUT_WORDS={words}", "runner.c", "net_stream.o", "-o", "runner")
    return folder / "runner"


def commands(events, kind=EVENT):
    """The events of a recording as commands, without begin and end."""
    made = np.zeros(len(events), COMMAND)
    made["kind"], made["x"], made["y"], made["p"] = kind, events.x, events.y, events.p
    made["t"] = (events.t & 0xFFFFFFFF).astype(np.uint32)
    return made


def whole(events, kind=EVENT):
    """A recording from its begin to its end as commands."""
    begin, end = np.zeros(1, COMMAND), np.zeros(1, COMMAND)
    begin["kind"], end["kind"] = BEGIN, END
    return np.concatenate([begin, commands(events, kind), end])


def streamed(runner, design, *parts):
    """Run commands; return each recording that comes to its end."""
    done = subprocess.run([runner], input=np.concatenate(parts).tobytes(), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    classes, words = design.circuit.num_classes, design.plan.stack * design.frame_words
    rows = np.frombuffer(done.stdout, np.int32).reshape(-1, 5 + classes + words)
    found = []
    for first, last in itertools.pairwise([-1, *np.flatnonzero(rows[:, 0] == 1)]):
        frames, end = rows[first + 1 : last], rows[last]
        kept = frames[-end[3] :] if end[3] else frames[:0]  # those before a reset belong to no recording
        assert np.array_equal(kept[:, 1], kept[:, 2])
        bits = np.unpackbits(np.ascontiguousarray(kept[:, 5 + classes :]).view(np.uint8), axis=1, bitorder="little")
        counts = kept[:, 5 : 5 + classes]
        assert end[3] >= len(kept)
        found.append(
            Streamed(
                kept[:, 1].tolist(),
                counts,
                bits[:, design.input_places],
                int(end[1]),
                end[5 : 5 + classes].tolist(),
                int(end[4]),
            )
        )
    return found


def expected(design, events):
    """What `stream_samples` and `Circuit` make of a recording."""
    width, height, polarities = design.plan.sensor_size
    inputs = stream_samples(events, design.plan)
    counts = design.circuit(inputs)
    bits = np.unpackbits(inputs, axis=1, count=design.circuit.num_inputs, bitorder="little")
    votes = counts.sum(0, np.int64)
    outside = int(((events.x >= width) | (events.y >= height) | (events.p >= polarities)).sum())
    return Streamed(counts.argmax(1).tolist(), counts, bits, int(votes.argmax()), votes.tolist(), outside)


def assert_same(found, wanted):
    assert found.labels == wanted.labels
    assert np.array_equal(found.bits, wanted.bits)
    assert np.array_equal(found.counts, wanted.counts)
    assert (found.label, found.votes, found.outside) == (wanted.label, wanted.votes, wanted.outside)
