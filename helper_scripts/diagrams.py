"""Draw the documentation's diagrams, docs/*.svg: python -m helper_scripts.diagrams."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from helper_scripts import diagrams_models as models
from helper_scripts import diagrams_overview as whole
from helper_scripts.diagrams_svg import svg
from src.io_funcs import write_atomic

DOCS = Path(__file__).parents[1] / "docs"


class Diagram(NamedTuple):
    """A diagram: its size in pixels, what it says, and what draws its parts."""

    width: int
    height: int
    label: str
    draw: Callable[[], list[str]]


DIAGRAMS = {
    "overview": Diagram(
        2 * whole.PANEL,
        2 * whole.ROW,
        "Events become a frame, the frame's bits go through gates, and the class with most ones is the answer.",
        whole.overview,
    ),
    "cluster": Diagram(
        480,
        434,
        "The laptop sends code, data and an image to project storage; jobs use scratch; results come back.",
        whole.cluster,
    ),
    "gates": Diagram(models.WIDTH, 252, "The truth tables of the sixteen gates of two inputs.", models.gates),
    "parametrisations": Diagram(
        models.WIDTH,
        244,
        "16 weights of softmax, or 4 of light and walsh, give a truth table between 0 and 1, and then a gate.",
        models.parametrisations,
    ),
    "connections": Diagram(
        models.WIDTH,
        300,
        "Neurons and the two inputs of each: random, unique, local, and learned among candidates.",
        models.connections,
    ),
    "convolution": Diagram(
        models.WIDTH,
        220,
        "Pixels of a receptive field are the leaves of a tree of gates, and the OR of its outputs is kept.",
        models.convolution,
    ),
    "readouts": Diagram(
        models.WIDTH,
        216,
        "With sum, a class counts its own bits; with votes, it counts each bit a whole number of times.",
        models.readouts,
    ),
    "committee": Diagram(
        models.WIDTH, 190, "Four members read one frame, and their votes are added up.", models.committee
    ),
    "thermometer": Diagram(
        models.WIDTH, 210, "A pixel's bits say which thresholds its count is above.", models.thermometer
    ),
}


def drawing(name: str) -> str:
    """Return the SVG of a diagram."""
    diagram = DIAGRAMS[name]
    return svg(diagram.width, diagram.height, diagram.label, diagram.draw())


def main() -> None:
    """Write all diagrams."""
    for name in DIAGRAMS:
        write_atomic(DOCS / f"{name}.svg", drawing(name).encode())


if __name__ == "__main__":
    main()
