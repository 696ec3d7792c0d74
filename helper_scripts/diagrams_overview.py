"""The diagrams of the whole: from events to a class, and what goes where on a cluster."""

import numpy as np
from sklearn.datasets import load_digits

from helper_scripts.diagrams_svg import arrow, box, dot, labelled_box, line, moved, text
from src.events import Events
from src.events.simulation.digits import DEMO_SETUP
from src.events.simulation.sensor import simulate

DIGIT = 13  # an image of a 3
FRAME_EVENTS = 500
EVENTS_DRAWN = 1500
PANEL, TOP, SIZE = 240, 40, 170  # pixels: width of a panel, upper edge and height of what it shows
ROW = 250  # height of a panel with its title and caption
GATES = [["AND", "XOR", "OR", "a", "NAND"], ["OR", "AND", "XNOR", "not b"]]
WIRES = [[(0, 3), (1, 2), (4, 6), (5, 7), (2, 7)], [(0, 1), (1, 2), (2, 4), (3, 4)]]
COUNTS = [3, 2, 4, 9, 1, 4, 2, 3, 5, 4]
# x, y, width, height, title, what it holds
BOXES = [
    (130, 10, 220, 74, "Laptop", ["code, configs", "logs, reports, models"]),
    (130, 170, 220, 92, "Project storage (kept)", ["caches, image", "models, logs", "copies of checkpoints"]),
    (10, 350, 200, 74, "Scratch (wiped)", ["caches, image", "checkpoints"]),
    (270, 350, 200, 74, "SLURM job", ["train.sh", "in the container"]),
]
# from x, y, to x, y, label and its place
ARROWS = [
    (200, 84, 200, 170, "sync_code, _data, _container", 100, 131),
    (280, 170, 280, 84, "sync_logs", 320, 131),
    (170, 262, 110, 350, "the first job copies", 72, 311),
    (370, 350, 310, 262, "models, logs", 386, 311),
    (210, 376, 270, 376, "", 0, 0),
    (270, 398, 210, 398, "", 0, 0),
]


def overview() -> list[str]:
    """Draw events, a frame, gates and classes, in two rows."""
    image = load_digits().images[DIGIT] / 16.0
    events = simulate(image, DEMO_SETUP, np.random.default_rng(0))
    panels = [
        ("1. Events", "brighter or darker, at a time", _events(events)),
        ("2. Frame", "had a pixel an event?", _frame(events)),
        ("3. Gates", "each is one of sixteen, learned", _gates()),
        ("4. Class", "the one with most ones", _classes()),
    ]
    parts = []
    for number, (title, caption, content) in enumerate(panels):
        words = [text(PANEL / 2, 22, title, "title"), text(PANEL / 2, TOP + SIZE + 24, caption)]
        parts += moved(number % 2 * PANEL, number // 2 * ROW, [*words, *content])
    return [*parts, *(arrow(PANEL - 12, TOP + SIZE / 2 + row * ROW) for row in range(2))]


def _events(events: Events) -> list[str]:
    """Draw events as points in x, y and time, which runs to the right."""
    chosen = np.linspace(0, len(events) - 1, EVENTS_DRAWN).astype(int)
    t = (events.t[chosen] - events.t[0]) / (events.t[-1] - events.t[0])
    x = 14 + 150 * t + 1.6 * events.x[chosen]
    y = TOP + 10 + 3.4 * events.y[chosen] + (34 - events.x[chosen].astype(float))
    kinds = np.where(events.p[chosen] > 0, "on", "off")
    return [dot(round(a, 1), round(b, 1), kind, 1) for a, b, kind in zip(x, y, kinds, strict=True)]


def _frame(events: Events) -> list[str]:
    """Draw the pixels that had one of the first events; both polarities share a picture."""
    pixel, left = SIZE / 34, (PANEL - SIZE) / 2
    parts = [box(left, TOP, SIZE, SIZE)]
    for polarity, kind in ((0, "off"), (1, "on")):
        first = events.p[:FRAME_EVENTS] == polarity
        for x, y in sorted(set(zip(events.x[:FRAME_EVENTS][first], events.y[:FRAME_EVENTS][first], strict=True))):
            parts.append(box(round(left + x * pixel), round(TOP + y * pixel), 5, 5, kind=kind))
    return parts


def _gates() -> list[str]:
    """Draw two layers of gates, each with its two inputs."""
    below = [(24.0, TOP + 10 + 21.0 * number) for number in range(8)]
    parts = [dot(x, y) for x, y in below]
    for layer, (names, wires) in enumerate(zip(GATES, WIRES, strict=True)):
        left, gap = 74.0 + 90 * layer, SIZE / len(names)
        tops = [TOP + gap * (number + 0.5) for number in range(len(names))]
        for name, top, inputs in zip(names, tops, wires, strict=True):
            parts += [line(*below[wire], left, top + shift) for shift, wire in zip((-6, 6), inputs, strict=True)]
            parts += labelled_box(left, top - 13, 52, 26, name)
        below = [(left + 52, top) for top in tops]
    return parts


def _classes() -> list[str]:
    """Draw the count of each class, and mark the largest."""
    parts = []
    for number, count in enumerate(COUNTS):
        height, x = 15 * count, 30 + 19 * number
        parts.append(box(x, TOP + SIZE - 15 - height, 13, height, kind="best" if count == max(COUNTS) else "bar"))
        parts.append(text(x + 6.5, TOP + SIZE, str(number)))
    return parts


def cluster() -> list[str]:
    """Draw what goes where on a cluster."""
    parts = [
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path class="line" d="M1 1L7 4L1 7"/></marker></defs>'
    ]
    for x, y, width, height, title, lines in BOXES:
        parts += [box(x, y, width, height, 8), text(x + width / 2, y + 24, title, "title")]
        parts += [text(x + width / 2, y + 46 + 18 * number, words) for number, words in enumerate(lines)]
    for from_x, from_y, to_x, to_y, label, x, y in ARROWS:
        parts.append(f'<path class="line" marker-end="url(#tip)" d="M{from_x} {from_y}L{to_x} {to_y}"/>')
        parts += [text(x, y, label)] if label else []
    return parts
