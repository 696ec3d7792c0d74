"""The diagrams of docs/models.md. What they show is computed by the layers that they explain."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from helper_scripts.diagrams_svg import arrow, box, dot, labelled_box, line, moved, text
from src.logic.connections import (
    candidate_connections,
    local_connections,
    pixel_positions,
    random_connections,
    unique_connections,
)
from src.logic.convolution import tree_connections
from src.logic.gates import GATE_NAMES, gate_coefficients
from src.logic.parametrisation import GateOptions, discretised_gates, relaxed_coefficients, relaxed_outputs
from src.logic.thermometer import Thermometer
from src.logic.votes import VoteSum, lowest_sums

WIDTH = 400  # of all of these diagrams: that of a phone
PLACES = ("00", "01", "10", "11")  # a and b in a truth table
CORNERS = torch.tensor([[1.0, 0, 0, 0], [1, 0, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]])  # 1, a, b and ab at these places
WEIGHTS = {
    "softmax": [-0.2, 0.3, -0.8, 1.0, 0.4, 0.9, 1.1, 2.8, -1.2, -0.6, -1.0, 0.2, -0.4, 0.5, 0.1, 0.7],
    "light": [-1.6, 1.9, 1.1, 2.6],
    "walsh": [-0.9, 1.1, 1.4, 0.7],
}
FEATURES = 8  # of the layer below, in the diagram of connections
FIELD, LEAVES, PIXEL = 5, 8, 12  # of the diagram of a convolution: height of the field, leaves, pixels per pixel
BITS = [1, 0, 1, 1, 0, 1]
VOTES = [[2.2, -0.8, 0.9, 1.0, 0.0, -1.1], [-1.0, 0.9, 1.2, 0.0, 2.1, 0.2], [0.3, 0.0, -0.9, 1.1, 1.0, 1.8]]
PIXEL_COUNTS, THRESHOLDS = [0, 1, 2, 6], [0, 1, 3]


def gates() -> list[str]:
    """Draw the truth tables of the sixteen gates."""
    parts = [text(12, 26, "output for a, b =", "small start")]
    for place, name in enumerate(PLACES):
        parts += labelled_box(116 + 30 * place, 10, 30, 24, name, radius=0)
    outputs = gate_coefficients() @ CORNERS.T
    for gate, (name, row) in enumerate(zip(GATE_NAMES, outputs.tolist(), strict=True)):
        x, y = 14 + 100 * (gate % 4), 54 + 52 * (gate // 4)
        parts += [*_truth_table(x, y, 18, row), text(x + 36, y + 34, name)]
    return parts


def _truth_table(x: float, y: float, size: float, values: Sequence[float]) -> list[str]:
    """Draw a square for each place of a truth table, filled from below as far as its value."""
    parts = []
    for place, value in enumerate(values):
        left, height = x + size * place, round(size * value, 1)
        parts += [box(left, y, size, size), box(left, round(y + size - height, 1), size, height, kind="on")]
        parts.append(box(left, y, size, size, kind="line"))
    return parts


def parametrisations() -> list[str]:
    """Draw weights, the truth table of the relaxed gate, and the discretised gate."""
    parts = [text(152, 18, "weights", "title"), text(279, 18, "relaxed gate", "title"), text(367, 18, "gate", "title")]
    parts += [text(240 + 26 * place, 36, name) for place, name in enumerate(PLACES)]
    for row, (name, weights) in enumerate(WEIGHTS.items()):
        y, options = 78 + 66 * row, GateOptions(name)
        learned = torch.tensor([weights])
        values = relaxed_outputs(relaxed_coefficients(learned, options) @ CORNERS.T, options)[0].tolist()
        parts += [text(8, y + 4, name, "start"), *_bars(76, y, weights), arrow(209, y, 12)]
        parts += _truth_table(227, y - 13, 26, values)
        parts.append(text(367, y + 4, GATE_NAMES[int(discretised_gates(learned, options))]))
    return parts


def _bars(x: float, y: float, weights: Sequence[float]) -> list[str]:
    """Draw weights as bars up and down from a line."""
    parts = [line(x - 2, y, x + 8 * len(weights), y)]
    for number, weight in enumerate(weights):
        height = 10 * abs(weight)
        kind = "best" if weight == max(weights) and len(weights) == len(GATE_NAMES) else "bar"
        parts.append(box(x + 8 * number, y - max(10 * weight, 0), 6, height, kind=kind))
    return parts


def connections() -> list[str]:
    """Draw a layer of neurons above the features that they see, for each way to connect them."""
    along = pixel_positions((1, 1, FEATURES))
    drawn: list[tuple[str, str, Callable[[], torch.Tensor]]] = [
        ("random", "all equally often", lambda: random_connections(FEATURES, FEATURES)[..., None]),
        ("unique", "no pair twice", lambda: unique_connections(FEATURES, FEATURES)[..., None]),
        ("local", "both in one window", lambda: local_connections(along, FEATURES, 3)[0][..., None]),
        ("learned", "chosen among candidates", lambda: candidate_connections(FEATURES, FEATURES // 2, 3)),
    ]
    parts = []
    for number, (name, caption, draw) in enumerate(drawn):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            candidates = draw()
        words = [text(100, 18, name, "title"), text(100, 36, caption)]
        parts += moved(200 * (number % 2), 152 * (number // 2), [*words, *_layer(candidates)])
    return parts


def _layer(candidates: torch.Tensor) -> list[str]:
    """Draw neurons, sorted by where their inputs lie, and the features; the first candidates are the chosen ones."""
    order = candidates[..., 0].float().mean(0).argsort(stable=True)
    neurons = candidates[:, order].permute(1, 0, 2).tolist()
    gap = 184 / len(neurons)
    wires, boxes = [], []
    for number, inputs in enumerate(neurons):
        x = 8 + gap * (number + 0.5)
        boxes.append(box(x - 8, 50, 16, 14, 4))
        for shift, (chosen, *others) in zip((-4, 4), inputs, strict=True):
            wires += [line(x + shift, 64, _feature_x(other), 126, "line dashed") for other in others]
            wires.append(line(x + shift, 64, _feature_x(chosen), 126))
    return [*wires, *boxes, *(dot(_feature_x(feature), 130) for feature in range(FEATURES))]


def _feature_x(feature: int) -> float:
    return 8 + 184 / FEATURES * (feature + 0.5)


def convolution() -> list[str]:
    """Draw a kernel: the pixels that its leaves read, its tree of gates, and the pooling of its outputs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        leaves = tree_connections(2, 1, LEAVES, FIELD)[:, 0].T.tolist()
    parts = [text(46, 18, "field", "title"), text(180, 18, "tree of gates", "title"), text(340, 18, "pooling", "title")]
    for channel in range(2):
        top = _field_top(channel)
        parts += [box(16, top, FIELD * PIXEL, FIELD * PIXEL), text(46, top + FIELD * PIXEL + 15, f"channel {channel}")]
    nodes = [(116.0, 36 + 22.0 * leaf) for leaf in range(LEAVES)]
    for (channel, row, column), (x, y) in zip(leaves, nodes, strict=True):
        left, top = 16 + PIXEL * column, _field_top(channel) + PIXEL * row
        parts += [line(left + PIXEL / 2, top + PIXEL / 2, x, y, "line dashed"), dot(x, y)]
        parts.append(box(left, top, PIXEL, PIXEL, kind="on"))
    for gate, (left, top) in enumerate(_tree_gates(nodes)):
        inputs = nodes[2 * gate : 2 * gate + 2]
        parts += [line(x, y, left, top + shift) for shift, (x, y) in zip((-5, 5), inputs, strict=True)]
        parts += labelled_box(left, top - 11, 28, 22, f"g{gate + 1}")
        nodes.append((left + 28, top))
    parts += [box(306 + 17 * x, 96 + 17 * y, 17, 17) for y in range(2) for x in range(2)]
    parts += [box(306, 96, 17, 17, kind="on"), line(*nodes[-1], 306, 105), line(340, 113, 356, 113)]
    return [*parts, *labelled_box(356, 100, 34, 26, "OR"), text(323, 150, "4 positions")]


def _field_top(channel: int) -> float:
    return 32 + 92 * channel


def _tree_gates(leaves: list[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Yield where the gates of a tree are, as it numbers them: each between its two inputs."""
    below, x = [y for _, y in leaves], 142.0
    while len(below) > 1:
        below = [(a + b) / 2 for a, b in zip(below[::2], below[1::2], strict=True)]
        yield from ((x, y) for y in below)
        x += 50


def readouts() -> list[str]:
    """Draw how classes count the bits of the last layer: each its own, or all by votes."""
    parts = [text(8, 48, "sum", "title start")]
    for label, own in enumerate(np.split(np.array(BITS), 3)):
        x = 92 + 72 * label
        parts += [*_bits(x, 30, own), text(x + 32, 72, f"class {label}: {own.sum()}")]
    readout = VoteSum(len(BITS), len(VOTES))
    readout.weights.data = torch.tensor(VOTES)
    added = -lowest_sums(readout.whole_votes()).min()
    parts += [text(8, 120, "votes", "title start"), *_bits(92, 102, BITS), text(352, 120, f"count + {added}")]
    counts = readout.eval().forward_features(torch.tensor(BITS, dtype=torch.float32)[:, None])[0]
    for label, votes in enumerate(readout.whole_votes().tolist()):
        y = 154 + 24 * label
        parts.append(text(48, y, f"class {label}"))
        for number, vote in enumerate(votes):
            parts.append(text(108 + 36 * number, y, f"{vote:+d}" if vote else "0", "title" if BITS[number] else ""))
        parts.append(text(352, y, f"{counts[label]:g}"))
    return parts


def _bits(x: float, y: float, bits: Sequence[int] | np.ndarray) -> list[str]:
    """Draw bits in a row, 36 pixels apart."""
    parts = []
    for number, bit in enumerate(bits):
        parts += labelled_box(x + 36 * number, y, 32, 26, str(bit))
    return parts


def committee() -> list[str]:
    """Draw a committee of four members that read one frame, and whose votes are added up."""
    parts = [*labelled_box(8, 86, 64, 30, "frame"), *labelled_box(328, 86, 64, 30, "counts")]
    parts += [text(176, 16, "trees"), text(176 + 88, 16, "votes"), text(316, 72, "+", "title")]
    for member in range(4):
        y = 40 + 41 * member
        parts += [line(72, 101, 118, y), line(218, y, 240, y), line(288, y, 328, 101)]
        parts += labelled_box(118, y - 15, 100, 30, f"member {member + 1}")
        parts += labelled_box(240, y - 15, 48, 30, "votes")
    return parts


def thermometer() -> list[str]:
    """Draw counts of pixels against thresholds, and the bits that these give."""
    encoder = Thermometer(len(THRESHOLDS), 1)
    encoder.thresholds.copy_(torch.tensor(THRESHOLDS))
    bits = encoder(torch.tensor(PIXEL_COUNTS)[:, None]).reshape(len(THRESHOLDS), -1).T.int().tolist()
    base, unit = 150, 20
    parts = [text(12, base + 24, "count", "small start"), text(12, base + 48, "bits", "small start")]
    for number, (count, own) in enumerate(zip(PIXEL_COUNTS, bits, strict=True)):
        x = 90 + 66 * number
        parts.append(box(x - 14, base - unit * count, 28, unit * count, kind="bar"))
        parts += [text(x, base + 24, str(count)), text(x, base + 48, " ".join(map(str, own)), "title")]
    for level, threshold in enumerate(THRESHOLDS, 1):
        y = base - unit * threshold
        parts += [line(56, y, 330, y, "line dashed"), text(366, y + 4, f"t{level} = {threshold}")]
    return parts
