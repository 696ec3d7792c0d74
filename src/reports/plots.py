"""Charts of jobs and pictures of frames, drawn by matplotlib: as PNG, and as SVG in the colours of its page.

A colour is a role. In a PNG it is a fixed colour on white; in an SVG it is `var(--role)`, which the page's style sheet
sets, so that one drawing suits light, dark and paper.
"""

import functools
import io
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from src.drawing import LABEL_BEGIN, coloured, drawing, fonts_for, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

# Colours of Okabe and Ito, which colour-blind readers can tell apart too; every two lines also differ in style.
ROLES = {
    "ink": "#24292f",
    "muted": "#6b7480",
    "grid": "#dfe3e8",
    "on-fill": "#fefefe",  # text on a dark cell
    "blue": "#0072b2",
    "orange": "#d55e00",
    "green": "#009e73",
    "pink": "#cc79a7",
    "amber": "#b88700",
    "sky": "#3f9fd8",
}
LINES = ("blue", "orange", "green", "pink", "amber", "sky")
STYLES = ("-", "--", ":", "-.")
MOST_TEXT_CELLS = 20 * 20  # of a heat map, in which the values can be read
MOST_NAMED = 15  # points, all of which have their names
WIDTH = 3.4  # inches, of which a phone's 340 pixels make letters of 11 pixels
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
_SETTINGS: dict[str, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": ROLES["ink"],
    "axes.edgecolor": ROLES["muted"],
    "axes.labelcolor": ROLES["muted"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": ROLES["grid"],
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "lines.markersize": 4,
    "text.color": ROLES["ink"],
    "text.parse_math": False,
    "xtick.color": ROLES["muted"],
    "ytick.color": ROLES["muted"],
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.fonttype": "none",  # text stays text: small, and in the page's font
    "figure.constrained_layout.use": True,
}


def _styled(draw: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Have a function draw under _SETTINGS."""

    @functools.wraps(draw)
    def styled(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with drawing(_SETTINGS):
            return draw(*args, **kwargs)

    return styled


@dataclass(frozen=True)
class Line:
    """One line of a chart: points (x, y), and a role and a style that tell it apart."""

    label: str
    points: Sequence[tuple[float, float]]
    role: str = "blue"
    style: str = "-"


@dataclass(frozen=True)
class Chart:
    """A drawn figure: `name` for its file, `alt` says what it shows to those who cannot see it."""

    name: str
    alt: str
    figure: "Figure" = field(repr=False)

    @property
    def is_wide(self) -> bool:
        """Whether a phone shows it in parts, to be scrolled to."""
        return bool(self.figure.get_figwidth() > 1.5 * WIDTH)

    @_styled
    def png(self) -> bytes:
        """On white, 150 dots an inch."""
        file = io.BytesIO()
        self.figure.savefig(file, format="png", dpi=150, facecolor="white", metadata={"Software": None})
        return file.getvalue()

    @_styled
    def svg(self) -> str:
        """Return an <svg> element without size or background, whose colours are CSS variables."""
        from matplotlib import rc_context

        file = io.StringIO()
        # The salt makes ids that do not change from run to run and do not meet those of another chart.
        with rc_context({"svg.hashsalt": self.name}):
            self.figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
        text = re.sub(r"<metadata>.*?</metadata>", "", file.getvalue(), flags=re.DOTALL)
        text = text[text.index("<svg") :]
        text = re.sub(r'^<svg ([^>]*?)width="[^"]*"', r"<svg \1", text)
        text = re.sub(r'^<svg ([^>]*?)height="[^"]*"', r'<svg \1role="img"', text)
        # Ids of groups are the same in all charts, and nothing refers to them.
        text = re.sub(r' id="[a-zA-Z0-9.]+_\d+"', "", text)
        for role, colour in ROLES.items():
            text = text.replace(colour, f"var(--{role})")
        return text


@_styled
def line_chart(
    name: str, title: str, unit: str, lines: Sequence[Line], alt: str, zero: bool = False, x_label: str = "epoch"
) -> Chart:
    """Lines over epochs; `unit` labels the y axis, which `zero` makes begin at 0 or show it."""
    figure, axes = _axes(WIDTH, 2.4)
    for line in lines:
        marker = "o" if len(line.points) <= 12 else ""
        x, y = zip(*line.points, strict=True) if line.points else ((), ())
        axes.plot(x, y, line.style, marker=marker, color=ROLES[line.role], label=line.label)
    axes.set_title(title)
    axes.set_xlabel(x_label)
    axes.set_ylabel(unit)
    _whole_numbers(axes)
    if zero:
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, 0), max(high, 0))
        axes.axhline(0, color=ROLES["muted"], linewidth=0.8)
    if len(lines) > 1:
        axes.legend(loc="best", handlelength=2.8)
    return Chart(name, alt, figure)


@_styled
def confusion_chart(name: str, title: str, confusion: Sequence[Sequence[int]], class_names: Sequence[str]) -> Chart:
    """Draw a confusion matrix whose rows are true classes, shaded by the share of the row."""
    counts = np.asarray(confusion)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = min(max(WIDTH, 0.27 * len(counts) + 0.9), 9.0)
    figure, axes = _axes(side, side)
    texts = [[str(count) if count else "" for count in row] for row in counts.tolist()]
    _heat_map(axes, shares, texts, list(class_names), list(class_names))
    axes.set_aspect("equal")
    longest = max(len(label(name)) for name in class_names)
    axes.set_title(title, loc="left" if longest <= LABEL_BEGIN else "right")  # long labels leave no room on the right
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    return Chart(name, f"{title}: rows are true classes, columns predicted ones", figure)


@_styled
def gates_chart(
    name: str, title: str, shares: NDArray[np.float64], layers: Sequence[str], gates: Sequence[str]
) -> Chart:
    """Draw the shares of the gates [layers, gates] in percent, one row per layer."""
    figure, axes = _axes(2 * WIDTH, 1.6 + 0.34 * len(layers))
    texts = [[f"{100 * share:.0f}" if share >= 0.005 else "" for share in row] for row in shares]
    _heat_map(axes, shares / max(float(shares.max()), 1e-9), texts, list(layers), list(gates))
    axes.set_title(title)
    return Chart(name, f"{title}: rows are layers, columns the {len(gates)} kinds", figure)


@_styled
def bars_chart(name: str, title: str, labels: Sequence[str], groups: Mapping[str, Sequence[int]]) -> Chart:
    """Horizontal bars, of up to three groups beside each other."""
    figure, axes = _axes(WIDTH, 1.4 + 0.26 * len(labels))
    height = 0.8 / len(groups)
    places = np.arange(len(labels))
    for i, (group, values) in enumerate(groups.items()):
        axes.barh(places + (i - (len(groups) - 1) / 2) * height, values, height, color=ROLES[LINES[i]], label=group)
    axes.set_yticks(places, labels)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_formatter(_thousands())
    axes.locator_params(axis="x", nbins=5)  # numbers of seven digits fit beside each other
    axes.set_title(title)
    axes.legend(loc="lower right")
    return Chart(name, f"{title}: " + ", ".join(groups), figure)


@_styled
def frontier_chart(
    name: str,
    title: str,
    x_label: str,
    unit: str,
    points: Mapping[str, tuple[float, float]],
    best: Sequence[str],
    own: str | None = None,
) -> Chart:
    """Points (size, value) by name on a logarithmic scale of sizes; a line through those that are best of their size.

    `own` names the point to point out. It and the best ones are labelled, and of few points the others too.
    """
    figure, axes = _axes(2 * WIDTH, 3.6)
    sizes_on_x(axes)
    x, y = zip(*points.values(), strict=True)
    axes.plot(x, y, "o", color=ROLES["muted"], markersize=4)
    x, y = zip(*(points[each] for each in best), strict=True)
    axes.step(x, y, where="post", marker="o", markersize=4, color=ROLES[LINES[0]])
    if own is not None:
        axes.plot(*points[own], "o", color=ROLES[LINES[1]], markersize=7)
    axes.set_title(title)
    axes.set_xlabel(x_label)
    axes.set_ylabel(unit)
    sizes = [max(size, 1) for size, _ in points.values()]
    axes.set_xlim(min(sizes) / 2, 2 * max(sizes))  # wide enough for a number on the axis, and for names
    axes.margins(y=0.12)
    others = points if len(points) <= MOST_NAMED else ()
    names = dict.fromkeys([*([own] if own is not None else []), *best, *others])
    _name_points(figure, axes, {each: points[each] for each in names})
    alt = ", ".join(f"{each}: {points[each][0]:,.0f} and {points[each][1]:.1f} {unit}" for each in best)
    return Chart(name, f"{title} against {x_label}; the best of their size are {alt}", figure)


def _name_points(figure: "Figure", axes: "Axes", points: Mapping[str, tuple[float, float]]) -> None:
    """Write names beside points, the first ones first; one that nothing has room for is left out."""
    figure.draw_without_rendering()  # the layout decides where points are
    taken: list[Bbox] = []
    for name, point in points.items():
        for x, y in itertools.product((5, -5), (-9, 4, -17, 12)):
            side = "left" if x > 0 else "right"
            text = axes.annotate(name, point, (x, y), textcoords="offset points", fontsize=7, ha=side)
            text.set_in_layout(False)
            box = text.get_window_extent()
            within = axes.bbox.contains(box.x0, box.y0) and axes.bbox.contains(box.x1, box.y1)
            if within and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            text.remove()


def distinct_lines(curves: Mapping[str, Sequence[tuple[float, float]]]) -> list[Line]:
    """Lines of points by label, each of another colour or style, as long as there are any."""
    looks = itertools.cycle(itertools.product(STYLES, LINES))
    return [
        Line(label, points, role, style) for (label, points), (style, role) in zip(curves.items(), looks, strict=False)
    ]


@_styled
def frames_png(frames: NDArray[np.uint8], scale: int = 1) -> bytes:
    """Draw frames [F, P, H, W] beside each other as a PNG in the colours of `drawing.coloured`, with see-through gaps.

    Each pixel becomes scale x scale.
    """
    from matplotlib.image import imsave

    gap = np.zeros((frames.shape[2], 1, 4))
    parts = [gap] * (2 * len(frames) - 1)
    parts[::2] = [np.dstack([coloured(frame), np.ones(frame.shape[1:])]) for frame in frames]
    file = io.BytesIO()
    imsave(file, np.concatenate(parts, axis=1).repeat(scale, 0).repeat(scale, 1), format="png")
    return file.getvalue()


def _axes(width: float, height: float) -> tuple["Figure", "Axes"]:
    # No pyplot, which keeps figures and looks for a screen.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def sizes_on_x(axes: "Axes") -> None:
    """Give axes a logarithmic scale of sizes, with numbers that have room beside each other."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(_thousands())


def _whole_numbers(axes: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _thousands() -> Any:
    from matplotlib.ticker import StrMethodFormatter

    return StrMethodFormatter("{x:,.0f}")


def _heat_map(
    axes: "Axes", strengths: NDArray[np.float64], texts: list[list[str]], rows: list[str], columns: list[str]
) -> None:
    """Cells as shades (0 to 1) of blue over whatever is behind them; those of 0 are left out."""
    from matplotlib.patches import Rectangle

    readable = strengths.size <= MOST_TEXT_CELLS
    for r, c in np.argwhere(strengths > 0):
        strength = float(strengths[r, c])
        shade = 0.06 + 0.94 * strength
        axes.add_patch(Rectangle((c - 0.5, r - 0.5), 1, 1, facecolor=ROLES["blue"], alpha=shade, linewidth=0))
        if readable:
            role = "on-fill" if shade > 0.65 else "ink"
            axes.text(c, r, texts[r][c], ha="center", va="center", fontsize=8, color=ROLES[role])
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    for names, set_ticks in ((columns, axes.set_xticks), (rows, axes.set_yticks)):
        step = -(-len(names) // 34)  # so that labels do not run into each other
        texts_shown = [label(name) for name in names[::step]]
        set_ticks(range(0, len(names), step), texts_shown, fontfamily=fonts_for(texts_shown)[0])
    if max(map(len, columns)) > 3:
        for text in axes.get_xticklabels():
            text.set(rotation=60, ha="right", rotation_mode="anchor")
