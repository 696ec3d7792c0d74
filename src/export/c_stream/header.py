"""NAME_stream.h of a StreamDesign: the state of a recording, and the functions that take its events."""

from src.export.c_stream.design import StreamDesign
from src.export.c_stream.one_frame import PlacedGates
from src.export.c_text import comment
from src.export.description import mark_of


def header(design: StreamDesign, placed: PlacedGates) -> str:
    """Return the text of the header."""
    name, upper = design.name, design.name.upper()
    fields = "\n".join(f"    {field}" for field in _private_fields(design, placed))
    return f"""{comment(_about(design))}
#ifndef {upper}_STREAM_H
#define {upper}_STREAM_H

#include <stdint.h>

#define {upper}_CLASSES {design.circuit.num_classes}

#ifdef __cplusplus
extern "C" {{
#endif

typedef struct {{
    int32_t counts[{upper}_CLASSES]; /* class counts of the newest frame */
    int64_t votes[{upper}_CLASSES]; /* sums of the counts of all frames of the recording so far */
    int32_t frame_class; /* class of the newest frame; -1 before the first one */
    uint32_t frames; /* number of frames so far */
    uint32_t outside; /* events so far that were left out because they lie outside the sensor */

    /* The rest is private. */
{fields}
}} {name}_state;

/* Begins a recording; what the state held before does not matter. */
void {name}_begin({name}_state *state);

{comment(_about_push(design)).rstrip()}
int {name}_push({name}_state *state, uint32_t t, uint16_t x, uint16_t y, uint8_t p);

{comment(_about_next(design)).rstrip()}
int {name}_next({name}_state *state);

{comment(_about_end(design)).rstrip()}
int {name}_end({name}_state *state);

#ifdef __cplusplus
}}
#endif

#endif
"""


def _private_fields(design: StreamDesign, placed: PlacedGates) -> list[str]:
    width, height, channels = design.plan.frame_size
    size = f"{channels} * {height} * {width}" if design.plan.thresholds else str(design.frame_words)
    open_type = "uint8_t" if design.plan.thresholds else "uint32_t"
    fields = [
        f"uint32_t bits[{placed.num_words}]; /* of the network's inputs, then of its gates */",
        f"{open_type} open[{design.plan.num_open}][{size}]; /* frames that are not full */",
        "uint32_t oldest; /* of the open frames */",
    ]
    if design.plan.by_time:
        fields += [
            "uint32_t begin; /* of the oldest open frame */",
            "uint32_t latest; /* time of the events so far */",
            "uint32_t now, pixel; /* of the event that waits until the frames before it are classified */",
            "uint32_t empty_frames; /* that the newest frames are */",
            "uint8_t is_waiting, has_begun;",
        ]
    else:
        fields.append("uint32_t since; /* events since the begin of the oldest open frame */")
    if design.plan.framing.denoise_time:
        _, _, columns, rows = design.plan.region
        fields += [
            f"uint32_t times[{columns * rows}]; /* of the newest event of each pixel, for denoising */",
            "uint32_t newest, checked; /* the newest time, and that of the last look for old times */",
            "uint8_t has_times;",
        ]
    return fields


def _about(design: StreamDesign) -> list[str]:
    width, height, polarities = design.plan.sensor_size
    polarity = "p is 0, or 1 for brighter" if polarities == 2 else "p is 0"
    return [
        f"{design.name}: classifies a recording of an event camera while its events come, by a network of",
        f"{len(design.circuit.gates)} logic gates. No allocation, no floating point, no division by a variable, and no "
        f"static data that changes:",
        "each state is a recording of its own. Independent of the other exported files.",
        f"Sensor: {width} x {height} pixels; {polarity}. Times are in microseconds.",
        *_about_frames(design),
        *(f"Class {number}: {class_name!a}." for number, class_name in enumerate(design.class_names)),
        f"A frame's class is the first of the largest counts. A score is a count divided by {design.circuit.tau!r}.",
        "A recording's class is the first of the largest sums of its frames' counts.",
        f"Written by {mark_of(design.source)}; write it again instead of changing it.",
    ]


def _about_frames(design: StreamDesign) -> list[str]:
    framing = design.plan.framing
    unit = "microseconds" if design.plan.by_time else "events"
    width, height, channels = design.plan.frame_size
    lines = [
        f"A frame: {framing.size} {unit}; the next one begins {design.plan.step} {unit} after it. It has {channels} "
        f"channels, {height} rows and {width} columns of {'counts' if design.plan.thresholds else 'bits'}."
    ]
    if framing.crop is not None:
        left, top, columns, rows = framing.crop
        lines.append(f"Events are used in the region of {columns} x {rows} pixels from ({left}, {top}) on.")
    if framing.denoise_time:
        lines += [
            f"An event is used if one of its four neighbours had an event less than {framing.denoise_time} "
            f"microseconds before.",
            "As in training, every pixel counts as having had an event at time 0.",
            "Each recording must have an event at another pixel than (0, 0): training uses no event of one without.",
        ]
    if design.plan.stack > 1:
        lines.append(f"The network looks at {design.plan.stack} frames: the newest one and those before it.")
    return lines


def _about_push(design: StreamDesign) -> list[str]:
    lines = [
        "Takes the next event. Returns the class of the frame that it completes, -1 if it completes none.",
        "t may wrap: of a longer timestamp, give the low 32 bits. Consecutive events are less than 2^31 microseconds",
        "(35 minutes) apart, and times go back by less than 2^30 microseconds.",
    ]
    if design.plan.by_time:
        lines += [
            "An event may complete several frames: call next until it returns -1 to see them all. If you do not, the",
            "next push or end classifies them, so votes have them in any case.",
        ]
    return lines


def _about_next(design: StreamDesign) -> list[str]:
    if design.plan.by_time:
        return ["Returns the class of the next frame that the last event completed, -1 if there is none."]
    return ["Returns -1: an event completes at most one frame. With frames of time it may complete several."]


def _about_end(design: StreamDesign) -> list[str]:
    left = "A recording without a whole frame has a frame of the events that it has."
    if not design.plan.framing.drop_incomplete:
        left = "If events are left after the last whole frame, they make a frame."
    return [f"Ends the recording; returns its class. {left}", "Call begin before the next push."]
