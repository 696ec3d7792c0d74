"""NAME_stream_selftest.c: recordings, and what the network counts for each of their frames."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.events.events import Events
from src.export.c_stream.design import StreamDesign
from src.export.c_text import array, comment
from src.export.description import mark_of


@dataclass(frozen=True, eq=False)
class StreamExamples:
    """Recordings that test a program.

    Attributes:
        recordings: their events.
        counts: int32 [frames, classes] for each of them.
        what: what they are, for people.
    """

    recordings: Sequence[Events]
    counts: Sequence[NDArray[np.int32]]
    what: str


def self_test(design: StreamDesign, examples: StreamExamples) -> dict[str, str]:
    """Return the program that compares the counts and classes of frames and recordings, by its file name."""
    name, upper = design.name, design.name.upper()
    about = [
        f"Self-test of {name}_stream: {examples.what}, and the counts that the network has for their frames.",
        f"Written by {mark_of(design.source)}.",
    ]
    recordings = (
        f"{{{len(events)},{len(counts)},{counts.sum(0, np.int64).argmax()}}}"
        for events, counts in zip(examples.recordings, examples.counts, strict=True)
    )
    counts = np.concatenate(examples.counts)
    text = f"""{comment(about)}
#include "{name}_stream.h"

#include <stdio.h>

/* Events of all recordings: microseconds since the event before, or for the first one of a recording since 0. */
static const struct event {{
    uint32_t later;
    uint16_t x, y;
    uint8_t p;
}} events[] = {{
{array(_events(examples.recordings))}
}};

static const struct {{
    uint32_t events, frames;
    int32_t class_number;
}} recordings[] = {{
{array(recordings)}
}};

static const int32_t expected[][{upper}_CLASSES] = {{
{array("{" + ",".join(map(str, row)) + "}" for row in counts.tolist())}
}};

static {name}_state state;

/* Whether a frame has the expected counts, and the class that they mean. */
static int is_right(const int32_t *counts)
{{
    int best = 0;
    for (int c = 0; c < {upper}_CLASSES; c++) {{
        if (state.counts[c] != counts[c])
            return 0;
        if (counts[c] > counts[best])
            best = c;
    }}
    return state.frame_class == best;
}}

int main(void)
{{
    const unsigned number = sizeof recordings / sizeof *recordings, all_frames = sizeof expected / sizeof *expected;
    const struct event *event = events;
    unsigned right_frames = 0, right_recordings = 0, first = 0;
    for (unsigned r = 0; r < number; r++) {{
        const unsigned before = right_frames;
        uint32_t t = 0, done = 0;
        int class_number;
        {name}_begin(&state);
        for (uint32_t i = 0; i < recordings[r].events; i++, event++) {{
            t += event->later;
            for (int c = {name}_push(&state, t, event->x, event->y, event->p); c >= 0; c = {name}_next(&state), done++)
                if (done < recordings[r].frames)
                    right_frames += (unsigned)is_right(expected[first + done]);
        }}
        class_number = {name}_end(&state);
        if (state.frames > done && done < recordings[r].frames)
            right_frames += (unsigned)is_right(expected[first + done]);
        first += recordings[r].frames;
        right_recordings += class_number == recordings[r].class_number && state.frames == recordings[r].frames
            && right_frames - before == recordings[r].frames;
    }}
    printf("{name}: %u of %u frames have the expected counts, %u of %u recordings the expected class\\n", right_frames,
        all_frames, right_recordings, number);
    return right_frames != all_frames || right_recordings != number;
}}
"""
    return {f"{name}_stream_selftest.c": text}


def _events(recordings: Sequence[Events]) -> Iterator[str]:
    for events in recordings:
        later = np.diff(events.t, prepend=0).astype(np.uint32)
        for row in zip(later.tolist(), events.x.tolist(), events.y.tolist(), events.p.tolist(), strict=True):
            yield "{" + ",".join(map(str, row)) + "}"
