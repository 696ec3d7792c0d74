"""Draw the documentation's diagrams, overview.svg and cluster.svg: python -m helper_scripts.diagrams."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from src.events import Events
from src.events.simulation.digits import DEMO_SETUP
from src.events.simulation.sensor import simulate
from src.io_funcs import write_atomic

DOCS = Path(__file__).parents[1] / "docs"
DIGIT = 13  # an image of a 3
FRAME_EVENTS = 500
EVENTS_DRAWN = 1500
WIDTH, HEIGHT = 1000, 262
PANEL, TOP, SIZE = 250, 40, 170  # pixels: width of a panel, upper edge and height of what it shows
STYLE = """
  text { font: 14px system-ui, sans-serif; fill: #24292f; text-anchor: middle }
  .title { font-weight: 600 }
  .small { font-size: 12px }
  .line { stroke: #57606a; fill: none }
  .box { stroke: #57606a; fill: #ffffff }
  .on { fill: #0969da } .off { fill: #cf222e } .bar { fill: #8c959f } .best { fill: #1a7f37 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .line, .box { stroke: #8b949e }
    .box { fill: #161b22 }
    .on { fill: #58a6ff } .off { fill: #ff7b72 } .bar { fill: #6e7681 } .best { fill: #3fb950 }
  }
"""
GATES = [["AND", "XOR", "OR", "a", "NAND"], ["OR", "AND", "XNOR", "not b"]]
WIRES = [[(0, 3), (1, 2), (4, 6), (5, 7), (2, 7)], [(0, 1), (1, 2), (2, 4), (3, 4)]]
COUNTS = [3, 2, 4, 9, 1, 4, 2, 3, 5, 4]
OVERVIEW = "Events become a frame, the frame's bits go through gates, and the class with most ones is the answer."
CLUSTER = "The laptop sends code, data and an image to project storage; jobs use scratch; results come back."
# x, y, width, height, title, what it holds
BOXES = [
    (20, 70, 190, 110, "Laptop", ["code, configs", "logs, reports, models"]),
    (400, 70, 220, 110, "Project storage (kept)", ["caches, image", "models, logs", "copies of checkpoints"]),
    (780, 20, 200, 90, "Scratch (wiped)", ["caches, image", "checkpoints"]),
    (780, 150, 200, 80, "SLURM job", ["train.sh in the container"]),
]
# from x, y, to x, y, label and its place
ARROWS = [
    (210, 100, 400, 100, "sync_code, _data, _container", 305, 90),
    (400, 150, 210, 150, "sync_logs", 305, 170),
    (620, 90, 780, 60, "the first job copies", 700, 52),
    (780, 185, 620, 150, "models, logs", 700, 192),
    (880, 110, 880, 150, "", 0, 0),
    (880, 150, 880, 110, "", 0, 0),
]


def main() -> None:
    """Write both."""
    _write("overview.svg", WIDTH, HEIGHT, OVERVIEW, _overview())
    _write("cluster.svg", WIDTH, 250, CLUSTER, _cluster())


def _write(name: str, width: int, height: int, label: str, parts: list[str]) -> None:
    """Write a picture that follows the reader's choice of light or dark; the label is for those who cannot see it."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{label}">'
    write_atomic(DOCS / name, "\n".join([head, f"<style>{STYLE}</style>", *parts, "</svg>", ""]).encode())


def _overview() -> list[str]:
    """Draw events, a frame, gates and classes, from left to right."""
    image = load_digits().images[DIGIT] / 16.0
    events = simulate(image, DEMO_SETUP, np.random.default_rng(0))
    panels = [
        ("Events", "brighter or darker, at a time", _events(events)),
        ("Frame", "had a pixel an event?", _frame(events)),
        ("Gates", "each is one of sixteen, learned", _gates()),
        ("Class", "the one with most ones", _classes()),
    ]
    parts = []
    for number, (title, caption, content) in enumerate(panels):
        parts.append(f'<g transform="translate({number * PANEL} 0)">')
        parts.append(f'<text class="title" x="{PANEL / 2}" y="22">{title}</text>')
        parts.append(f'<text class="small" x="{PANEL / 2}" y="{TOP + SIZE + 34}">{caption}</text>')
        parts += [*content, "</g>"]
    for number in range(1, len(panels)):
        x, y = number * PANEL, TOP + SIZE / 2
        parts.append(f'<path class="line" stroke-width="2" d="M{x - 14} {y}h24m-7 -6l7 6l-7 6"/>')
    return parts


def _events(events: Events) -> list[str]:
    """Draw events as points in x, y and time, which runs to the right."""
    chosen = np.linspace(0, len(events) - 1, EVENTS_DRAWN).astype(int)
    t = (events.t[chosen] - events.t[0]) / (events.t[-1] - events.t[0])
    x = 24 + 150 * t + 1.6 * events.x[chosen]
    y = TOP + 10 + 3.4 * events.y[chosen] + (34 - events.x[chosen].astype(float))
    names = np.where(events.p[chosen] > 0, "on", "off")
    return [f'<circle class="{c}" cx="{a:.1f}" cy="{b:.1f}" r="1"/>' for a, b, c in zip(x, y, names, strict=True)]


def _frame(events: Events) -> list[str]:
    """Draw the pixels that had one of the first events; both polarities share a picture."""
    pixel, left = SIZE / 34, (PANEL - SIZE) / 2
    parts = [f'<rect class="box" x="{left}" y="{TOP}" width="{SIZE}" height="{SIZE}"/>']
    for polarity, name in ((0, "off"), (1, "on")):
        first = events.p[:FRAME_EVENTS] == polarity
        for x, y in sorted(set(zip(events.x[:FRAME_EVENTS][first], events.y[:FRAME_EVENTS][first], strict=True))):
            parts.append(
                f'<rect class="{name}" x="{left + x * pixel:.0f}" y="{TOP + y * pixel:.0f}" width="5" height="5"/>'
            )
    return parts


def _gates() -> list[str]:
    """Draw two layers of gates, each with its two inputs."""
    inputs = [(32.0, TOP + 10 + 21.0 * number) for number in range(8)]
    parts = [f'<circle class="on" cx="{x}" cy="{y}" r="4"/>' for x, y in inputs]
    below = inputs
    for layer, (names, wires) in enumerate(zip(GATES, WIRES, strict=True)):
        x, gap = 82.0 + 90 * layer, SIZE / len(names)
        places = [(x, TOP + gap * (number + 0.5)) for number in range(len(names))]
        for name, (left, top), inputs_of_gate in zip(names, places, wires, strict=True):
            for shift, wire in zip((-6, 6), inputs_of_gate, strict=True):
                from_x, from_y = below[wire]
                parts.append(f'<path class="line" d="M{from_x} {from_y:.0f}L{left} {top + shift:.0f}"/>')
            parts.append(f'<rect class="box" x="{left}" y="{top - 13:.0f}" width="52" height="26" rx="6"/>')
            parts.append(f'<text class="small" x="{left + 26}" y="{top + 4:.0f}">{name}</text>')
        below = [(left + 52, top) for left, top in places]
    return parts


def _classes() -> list[str]:
    """Draw the count of each class, and mark the largest."""
    parts = []
    for number, count in enumerate(COUNTS):
        height, x = 15 * count, 30 + 19 * number
        name = "best" if count == max(COUNTS) else "bar"
        parts.append(f'<rect class="{name}" x="{x}" y="{TOP + SIZE - 15 - height}" width="13" height="{height}"/>')
        parts.append(f'<text class="small" x="{x + 6.5}" y="{TOP + SIZE}">{number}</text>')
    return parts


def _cluster() -> list[str]:
    """Draw what goes where on a cluster."""
    parts = [
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path class="line" d="M1 1L7 4L1 7"/></marker></defs>'
    ]
    for x, y, width, height, title, lines in BOXES:
        parts.append(f'<rect class="box" x="{x}" y="{y}" width="{width}" height="{height}" rx="8"/>')
        parts.append(f'<text class="title" x="{x + width / 2}" y="{y + 24}">{title}</text>')
        for number, line in enumerate(lines):
            parts.append(f'<text class="small" x="{x + width / 2}" y="{y + 46 + 18 * number}">{line}</text>')
    for from_x, from_y, to_x, to_y, label, x, y in ARROWS:
        parts.append(f'<path class="line" marker-end="url(#tip)" d="M{from_x} {from_y}L{to_x} {to_y}"/>')
        parts.append(f'<text class="small" x="{x}" y="{y}">{label}</text>')
    return parts


if __name__ == "__main__":
    main()
