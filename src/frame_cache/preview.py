"""A picture of a frame cache: frames of each class, the rate of events over time, frames per recording."""

import itertools
import math
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from src.drawing import BOTH, OFF, ON, coloured, drawing, fonts_for, label
from src.events.datasets.dataset import Dataset, Recording
from src.events.formats.errors import CorruptRecordingError
from src.frame_cache import cache
from src.frame_cache.recording_windows import windows_of
from src.helpers import LOG
from src.io_funcs import atomic_file, project_root

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FRAMES_PER_CLASS = 8
MOST_CLASSES = 16
RECORDINGS_FOR_RATE = 40
EVENTS_FOR_RATE = 1 << 20  # from the beginning of each
TIME_BINS = 100
GAP = 0.06  # between frames, as a fraction of a frame's shorter side

SPLIT_COLOURS = {"train": "#0072B2", "val": "#E69F00", "test": "#009E73"}  # Okabe and Ito's, as those of events
INK = "#333333"


def preview_path(folder: Path, dataset: Dataset) -> Path:
    """Return where a cache's picture lies: `logs/preview_<NAME>_<identity>.png` on project storage."""
    return project_root() / "logs" / f"preview_{dataset.name}_{folder.name}.png"  # folders in logs/ are jobs


def write_preview(folder: Path, dataset: Dataset, recordings: Sequence[Recording] = ()) -> Path | None:
    """Draw the valid cache in `folder`; return the PNG's path, or None after a warning that says what failed.

    Args:
        folder: a cache's folder.
        dataset: what the cache was made from.
        recordings: all recordings of the dataset; RECORDINGS_FOR_RATE of them are read for the rate of events.
    """
    path = preview_path(folder, dataset)
    try:
        _write(path, folder, dataset, recordings)
    except Exception as error:  # a picture must not end a preparation
        LOG.warning("cannot draw the preview %s: %s: %s", path, type(error).__name__, error)
        return None
    LOG.info("preview: %s", path)
    return path


def _write(path: Path, folder: Path, dataset: Dataset, recordings: Sequence[Recording]) -> None:
    manifest = cache.read_manifest(folder)
    if manifest is None:
        raise ValueError(f"{folder} holds no valid cache")
    channels, height, width = manifest["frame_shape"]
    splits = {name: cache.read_split(folder, name) for name in cache.SPLITS}
    shown = next((split for split in splits.values() if len(split)), splits["train"])
    class_names = manifest["class_names"][:MOST_CLASSES]
    chosen = [_choose_frames(shown, label) for label in range(len(class_names))]
    columns = max([1, *map(len, chosen)])
    frames = [unpacked(shown.frames[numbers], (channels, height, width), manifest["frame_dtype"]) for numbers in chosen]

    settings = {
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.edgecolor": "#BBBBBB",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.labelcolor": INK,
        "text.color": INK,
        "text.parse_math": False,
        "xtick.color": INK,
        "ytick.color": INK,
    }
    with drawing(settings):
        # No pyplot, which keeps figures and looks for a screen.
        from matplotlib import rcParams
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        rcParams["font.family"], lacking = fonts_for(class_names)
        class_names = [label(_escaped(name, lacking)) for name in class_names]
        # Inches: the grid is as wide as its rows allow within the page's height.
        row_height = min(0.95, max(0.55, 8.0 / max(len(class_names), 1)))
        grid_height = max(row_height * len(class_names), 4.2)
        grid_width = min(columns * row_height * width / height, 9.0)
        label_width = 0.3 + 0.075 * max(map(_columns, ["", *class_names]))
        total_width, total_height = label_width + grid_width + 6.0, grid_height + 1.5
        figure = Figure(figsize=(total_width, total_height), dpi=150, facecolor="white")
        FigureCanvasAgg(figure)

        def axes(left: float, bottom: float, axes_width: float, axes_height: float) -> "Axes":
            return figure.add_axes(
                (left / total_width, bottom / total_height, axes_width / total_width, axes_height / total_height)
            )

        figure.text(0.2 / total_width, 1 - 0.3 / total_height, f"{dataset.name}  {folder.name}", size=12, weight="bold")
        figure.text(0.2 / total_width, 1 - 0.55 / total_height, _summary(manifest, len(shown)), color="#666666")
        grid = axes(label_width, 0.5, grid_width, grid_height)
        _draw_frames(grid, frames, columns, class_names, len(manifest["class_names"]), (channels, height, width))
        left, half = label_width + grid_width + 0.9, (grid_height - 1.0) / 2
        _draw_rate(axes(left, 0.5 + half + 1.0, 4.8, half), dataset, recordings)
        _draw_frames_a_recording(axes(left, 0.5, 4.8, half), splits)
        with atomic_file(path) as file:
            figure.savefig(file, format="png")


def _summary(manifest: cache.Manifest, num_shown: int) -> str:
    entries = manifest["splits"].items()
    channels, height, width = manifest["frame_shape"]
    sizes = [f"{name} {entry['recordings']:,} recordings, {entry['frames']:,} frames" for name, entry in entries]
    return f"{width} x {height}, {channels} polarities;  ".replace("1 polarities", "1 polarity") + ";  ".join(sizes)


def _escaped(name: str, lacking: set[str]) -> str:
    """Return a name with the code points of characters that cannot be drawn in their place."""
    return "".join(ascii(letter)[1:-1] if letter in lacking else letter for letter in name)


def _columns(name: str) -> int:
    """Return a name's width, in characters of Latin text."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in name)


def _choose_frames(split: cache.Split, label: int) -> NDArray[np.int64]:
    """Return up to FRAMES_PER_CLASS frames of a class, spread evenly over its recordings, or over its frames if few."""
    members = np.flatnonzero(split.labels == label)
    numbers, begins, counts = np.unique(split.recordings[members], return_index=True, return_counts=True)
    if len(numbers) >= FRAMES_PER_CLASS:  # the middle frame of evenly spaced recordings
        picked = np.linspace(0, len(numbers) - 1, FRAMES_PER_CLASS).astype(int)
        return members[begins[picked] + counts[picked] // 2]
    return (
        members[np.unique(np.linspace(0, len(members) - 1, FRAMES_PER_CLASS).astype(int))] if len(members) else members
    )


def unpacked(frames: NDArray[np.uint8], shape: tuple[int, int, int], dtype: str) -> NDArray[np.uint8]:
    """Unpack frames of dtype binary or counts, uint8 [F, bytes] as in a cache -> [F, P, H, W]."""
    if dtype == "binary":
        frames = np.unpackbits(frames, axis=1, count=math.prod(shape), bitorder="little")
    return frames.reshape(-1, *shape)


def _draw_frames(
    axes: "Axes",
    frames: list[NDArray[np.uint8]],
    columns: int,
    class_names: list[str],
    num_classes: int,
    shape: tuple[int, int, int],
) -> None:
    """Draw a row per class, all frames in one picture: hundreds of axes would take many seconds."""
    from matplotlib.patches import Patch

    channels, height, width = shape
    gap = max(1, round(GAP * min(height, width)))
    mosaic = np.ones((len(frames) * (height + gap), columns * (width + gap), 3))
    for row, members in enumerate(frames):
        for column, frame in enumerate(members):
            top, left = row * (height + gap), column * (width + gap)
            mosaic[top : top + height, left : left + width] = coloured(frame)
    axes.imshow(mosaic, interpolation="antialiased")
    axes.set_anchor("NW")
    axes.set_yticks([row * (height + gap) + height / 2 for row in range(len(frames))], class_names)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    some = f", the first {len(class_names)} of {num_classes} classes" if len(class_names) < num_classes else ""
    axes.set_title(f"Frames{some}")
    names = {ON: "ON", OFF: "OFF", BOTH: "both"} if channels == 2 else {BOTH: "event"}
    axes.legend(
        handles=[Patch(facecolor=colour, label=name) for colour, name in names.items()],
        loc="upper left",
        bbox_to_anchor=(-0.01, 0.0),
        ncols=3,
        frameon=False,
        handlelength=1.0,
        handleheight=1.0,
    )


def _draw_rate(axes: "Axes", dataset: Dataset, recordings: Sequence[Recording]) -> None:
    """Draw events per second over the time since a recording's first event, the mean of some recordings.

    Of a long recording only the beginning is read, so the time ends where the first such beginning does.
    """
    axes.set_title("Event rate")
    streams, cut = [], []
    for number in range(0, len(recordings), max(1, len(recordings) // RECORDINGS_FOR_RATE)):
        try:
            events, *more = itertools.islice(windows_of(recordings[number], dataset, EVENTS_FOR_RATE), 2)
        except (CorruptRecordingError, ValueError, OSError):
            continue  # the preparation has reported it
        if len(events):
            streams.append((events.t - events.t.min(), events.p))
            cut += [int(streams[-1][0].max())] if more else []
    if not streams:
        _say(axes, "no recordings at hand")
        return
    shown = min(cut) if cut else max(int(t.max()) for t, _ in streams)
    bins = np.linspace(0, max(shown, 1), TIME_BINS + 1)
    seconds = bins / 1e6
    scale = len(streams) * (seconds[1] - seconds[0]) * 1e3
    highest = 0.0
    for polarity, name, colour in ((1, "ON", ON), (0, "OFF", OFF)):
        rate: NDArray[Any] = np.sum([np.histogram(t[p == polarity], bins)[0] for t, p in streams], axis=0) / scale
        axes.stairs(rate, seconds, color=colour, fill=True, alpha=0.12)
        axes.stairs(rate, seconds, color=colour, linewidth=1.4, label=name)
        highest = max(highest, rate.max())
    axes.set_title(f"Event rate, mean of {len(streams)} recordings")
    axes.set_xlim(0, seconds[-1])
    axes.set_ylim(0, 1.05 * highest)
    axes.set_xlabel("seconds since the first event")
    axes.set_ylabel("thousand events per second")
    _draw_legend(axes)


def _draw_frames_a_recording(axes: "Axes", splits: dict[str, cache.Split]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title("Frames per recording")
    counts = {name: np.unique(split.recordings, return_counts=True)[1] for name, split in splits.items() if len(split)}
    if not counts:
        _say(axes, "no frames")
        return
    every = np.concatenate(list(counts.values()))
    step = max(1, math.ceil((every.max() - every.min() + 1) / 50))
    bins = np.arange(every.min(), every.max() + step + 1, step) - 0.5
    axes.hist(
        list(counts.values()),
        list(bins),
        stacked=True,
        color=[SPLIT_COLOURS[name] for name in counts],
        label=list(counts),
        rwidth=0.9,
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.set_xlim(bins[0] - 0.5 * step, bins[-1] + 0.5 * step)
    axes.set_xlabel("frames")
    axes.set_ylabel("recordings")
    _draw_legend(axes)


def _draw_legend(axes: "Axes") -> None:
    """Draw the legend beside the title, where it covers nothing."""
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, borderaxespad=0.2)


def _say(axes: "Axes", text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, color="#888888")
    axes.set_xticks([])
    axes.set_yticks([])
