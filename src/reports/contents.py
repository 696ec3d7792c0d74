"""What a job's report shows, collected from the files that the job has left; report.html.j2 lays it out."""

import base64
import shlex
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.circuit.circuit import Circuit
from src.circuit.luts import circuit_size
from src.command_line import UserError
from src.evaluation.evaluate import MODEL_NAMES
from src.evaluation.inference import load_model
from src.evaluation.metrics import best_epoch
from src.export.c_stream.microcontroller import CORE
from src.export.devices import FAMILIES
from src.frame_cache.cache import read_manifest, read_split
from src.frame_cache.preview import unpacked
from src.helpers import LOG, format_duration, format_percent
from src.io_funcs import project_root, scratch_root
from src.jobs.files import JobFiles, read_evaluation, read_job, read_luts, read_microcontroller
from src.jobs.folders import Job
from src.logic.gates import GATE_NAMES, PLACES, inputs_that_matter
from src.reports import plots
from src.reports.frontier import frontier_chart, jobs_beside
from src.reports.hardware import HEADER, hardware_rows
from src.reports.plots import Chart, Line

UNITS = ("recordings", "frames")
MOST_PICTURES = 12  # misclassified recordings
FRAMES_PER_PICTURE = 4
MOST_LAYERS = 32  # shown; if there are more, evenly chosen ones


@dataclass(frozen=True)
class Tile:
    """A number at the top of the page."""

    name: str
    number: str
    remark: str = ""


@dataclass(frozen=True)
class Table:
    """A table; its first column is text, the others are numbers."""

    header: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Test:
    """An evaluation on a split: what was evaluated, and for recordings and frames, confusions and a row per class."""

    what: str
    charts: list[Chart]
    classes: dict[str, Table]


@dataclass(frozen=True)
class Picture:
    """A misclassified recording; `source` is a data: URI, empty if there are no frames."""

    source: str
    alt: str
    true: str
    predicted: str
    share: float
    recording: str


@dataclass(frozen=True)
class Misclassified:
    """The misclassified recordings that the network was surest of, and the number of all."""

    count: int
    pictures: list[Picture]


@dataclass(frozen=True)
class LearnedCircuit:
    """The gates that a model has learned; `size_chart` and `sizes` are None if simplifying them takes too long."""

    model: str
    gates: Chart
    size_chart: Chart | None = None
    sizes: Table | None = None


@dataclass
class Contents:
    """Everything on the page."""

    job_id: str
    kind: str = ""
    tiles: list[Tile] = field(default_factory=list)
    training: list[Chart] = field(default_factory=list)
    test: Test | None = None
    misclassified: Misclassified | None = None
    circuit: LearnedCircuit | None = None
    frontier: Chart | None = None
    hardware: Table | None = None
    origin: list[tuple[str, str]] = field(default_factory=list)
    config: str = ""
    images: dict[str, bytes] = field(default_factory=dict)  # PNGs by name, to be written beside the charts

    def charts(self) -> list[Chart]:
        """Return all charts."""
        circuit = (
            [self.frontier] if self.circuit is None else [self.circuit.gates, self.circuit.size_chart, self.frontier]
        )
        test = [] if self.test is None else self.test.charts
        return [*self.training, *test, *(chart for chart in circuit if chart is not None)]


def collect(job: Job, most_gates: int | None) -> Contents:
    """Return what the report of a job shows; leave out what the job has not left.

    Args:
        job: the job, done or not.
        most_gates: a larger circuit is not simplified; None: any circuit is.
    """
    files, evaluation = read_job(job), read_evaluation(job)
    contents = Contents(job.job_id, config=files.config.content)
    _add_training(contents, files)
    if evaluation is not None:
        _add_evaluation(contents, evaluation)
    _add_circuit(contents, job, most_gates)
    points = jobs_beside(job, files)
    if len(points) > 1:
        contents.frontier = frontier_chart(points, job.job_id)
    contents.origin = _origin(files)
    return contents


def _add_training(contents: Contents, files: JobFiles) -> None:
    by_split = {split: [row for row in files.metrics if row["split"] == split] for split in ("train", "val")}

    def lines(measure: str) -> list[Line]:
        found = []
        discretised = ", discretised" if any(f"relaxed_{measure}" in row for row in files.metrics) else ""
        for split, role in (("train", "blue"), ("val", "orange")):
            for prefix, style in (("", "-"), ("relaxed_", "--")):
                column = prefix + measure
                points = [(row["epoch"], row[column]) for row in by_split[split] if column in row]
                if points:
                    label = split + (", relaxed" if prefix else discretised)
                    found.append(Line(label, points, role, style))
        return found

    votes = [(row["epoch"], row["vote_accuracy"]) for row in by_split["val"] if "vote_accuracy" in row]
    by_vote = [Line("val, by vote", votes, "green", ":")] if votes else []
    losses = lines("loss")
    charts = [
        *([plots.line_chart("loss", "Loss", "cross entropy", losses, "Loss over epochs")] if losses else []),
        *_accuracy_chart("frame_accuracy", "Accuracy of frames", lines("frame_accuracy")),
        *_accuracy_chart("recording_accuracy", "Accuracy of recordings", [*lines("recording_accuracy"), *by_vote]),
        *_gap_chart(by_split["val"]),
        *_rate_charts(by_split["train"]),
    ]
    best = best_epoch(files.metrics, files.config.best_metric)
    epochs = max((row["epoch"] for row in files.metrics), default=0)
    seconds = max((row.get("train_seconds", 0.0) for row in by_split["train"]), default=0.0)
    speed = by_split["train"][-1].get("frames_per_second", 0) if by_split["train"] else 0
    contents.tiles += [
        Tile("Epochs", f"{epochs}", f"best on val: {best}" if best else ""),
        Tile("Training", format_duration(seconds), f"{speed:,.0f} frames per second"),
    ]
    if (note := files.debug) is not None:
        contents.tiles.insert(0, Tile("No result", "debug", note.removeprefix("debug: ")))
    if not files.result:
        contents.tiles.append(Tile("Not done", "running or stopped", "made from what there is so far"))
    contents.training = charts


def _accuracy_chart(name: str, title: str, lines: list[Line]) -> list[Chart]:
    percents = [replace(line, points=[(epoch, 100 * share) for epoch, share in line.points]) for line in lines]
    return [plots.line_chart(name, title, "%", percents, f"{title} over epochs")] if lines else []


def _gap_chart(rows: list[dict[str, Any]]) -> list[Chart]:
    """Draw relaxed minus discretised accuracy on val."""
    lines = []
    for unit, role, style in (("frame", "blue", "-"), ("recording", "orange", "--")):
        gaps = [
            (row["epoch"], 100 * (row[f"relaxed_{unit}_accuracy"] - row[f"{unit}_accuracy"]))
            for row in rows
            if {f"relaxed_{unit}_accuracy", f"{unit}_accuracy"} <= row.keys()
        ]
        if gaps:
            lines.append(Line(f"{unit}s", gaps, role, style))
    if not lines:
        return []
    title = "Discretisation gap on val"
    alt = "Relaxed minus discretised accuracy on val, over epochs"
    return [plots.line_chart("discretisation_gap", title, "relaxed - discretised, points", lines, alt, zero=True)]


def _rate_charts(rows: list[dict[str, Any]]) -> list[Chart]:
    """Draw the learning rate, and each epoch's frames per second: metrics.csv has their mean since the beginning."""
    charts = []
    rates = [(row["epoch"], row["learning_rate"]) for row in rows if "learning_rate" in row]
    if rates:
        line = Line("learning rate", rates)
        charts.append(plots.line_chart("learning_rate", "Learning rate", "", [line], "Learning rate", zero=True))
    speeds = []
    frames_before = seconds_before = 0.0
    for row in rows:
        seconds = row.get("train_seconds", 0.0)
        frames = row.get("frames_per_second", 0.0) * seconds
        if seconds > seconds_before:
            speeds.append((row["epoch"], (frames - frames_before) / (seconds - seconds_before)))
        frames_before, seconds_before = frames, seconds
    if speeds:
        line = Line("frames per second", speeds)
        title = "Frames per second, while training"
        charts.append(plots.line_chart("frames_per_second", title, "", [line], title, zero=True))
    return charts


def _add_evaluation(contents: Contents, evaluation: dict[str, Any]) -> None:
    names, relaxed = evaluation["class_names"], evaluation.get("relaxed")
    for place, unit in enumerate(UNITS):
        remark = f"of {evaluation[unit]['count']:,} {unit}"
        if relaxed is not None:
            remark = f"discretised, {remark}; relaxed {format_percent(relaxed[unit]['accuracy'])}\N{NO-BREAK SPACE}%"
        percent = f"{format_percent(evaluation[unit]['accuracy'])} %"
        contents.tiles.insert(place, Tile(f"Test accuracy, {unit}", percent, remark))
    by_vote = evaluation["recordings"].get("vote_accuracy")
    percent = format_percent(by_vote) + ("" if by_vote is None else " %")
    remark = "of recordings, by the largest sum of class counts"
    contents.tiles.insert(1, Tile("Test accuracy, by vote", percent, remark))
    charts = [
        plots.confusion_chart(f"confusion_{unit}", f"Confusion of {unit}", evaluation[unit]["confusion"], names)
        for unit in UNITS
    ]
    what = "The {model} model, step {step}, on the {split} split of {cache}".format(**evaluation)
    contents.kind = evaluation["model_type"] + " on " + evaluation["cache"]
    contents.test = Test(
        what + ("; discretised" if relaxed is not None else ""),
        charts,
        {unit: _class_table(evaluation, unit) for unit in UNITS},
    )
    contents.misclassified = _misclassified(contents, evaluation)


def _class_table(evaluation: dict[str, Any], unit: str) -> Table:
    """Return how well each class is recognised, per recording or per frame."""
    relaxed = evaluation.get("relaxed")
    header = ["class", "number", "precision", "recall", "F1"] + (["relaxed F1"] if relaxed is not None else [])
    rows = []
    for c, name in enumerate(evaluation["class_names"]):
        values = evaluation[unit]["classes"][c]
        row = [name, f"{values['support']:,}", *(format_percent(values[key]) for key in ("precision", "recall", "f1"))]
        if relaxed is not None:
            row.append(format_percent(relaxed[unit]["classes"][c]["f1"]))
        rows.append(row)
    return Table(header, rows)


def _misclassified(contents: Contents, evaluation: dict[str, Any]) -> Misclassified:
    wrong, names = evaluation["recordings"]["misclassified"], evaluation["class_names"]
    shown = wrong[:MOST_PICTURES]
    try:
        frames = _frames_of([entry["recording"] for entry in shown], evaluation)
    except (OSError, ValueError, LookupError, TypeError) as error:
        LOG.debug("no pictures of misclassified recordings: %s", error)
        frames = {}
    pictures = []
    for entry in shown:
        number, true, predicted = entry["recording"], names[entry["label"]], names[entry["predicted"]]
        recording = f"recording {number}" + (f", {entry['file']}" if "file" in entry else "")
        source = ""
        if number in frames:
            source = "data:image/png;base64," + base64.b64encode(plots.frames_png(frames[number])).decode()
            contents.images[f"misclassified_{number}"] = plots.frames_png(frames[number], scale=4)
        alt = f"frames of {recording}, true class {true}, predicted {predicted}"
        pictures.append(Picture(source, alt, true, predicted, entry["share"], recording))
    return Misclassified(len(wrong), pictures)


def _frames_of(recordings: list[int], evaluation: dict[str, Any]) -> dict[int, NDArray[np.uint8]]:
    """Return up to FRAMES_PER_PICTURE frames, uint8 [F, P, H, W], of each recording that a cache still has."""
    folders = [root / "data" / evaluation["cache"] for root in (scratch_root(), project_root())]
    for folder in folders:
        manifest = read_manifest(folder)
        if manifest is None:
            continue
        split = read_split(folder, evaluation["split"])
        frames = {}
        for number in recordings:
            members = np.flatnonzero(split.recordings == number)
            if len(members):
                chosen = np.unique(np.linspace(0, len(members) - 1, FRAMES_PER_PICTURE).round().astype(int))
                packed = split.frames[members[chosen]]
                frames[number] = unpacked(packed, tuple(manifest["frame_shape"]), manifest["frame_dtype"])
        return frames
    return {}


def _add_circuit(contents: Contents, job: Job, most_gates: int | None) -> None:
    """Add which gates were learned, and the size of the circuit, if the model is made of gates."""
    path = next((path for name in MODEL_NAMES if (path := job.models / f"{name}.safetensors").is_file()), None)
    if path is None:
        return
    try:
        model, about = load_model(path)
    except UserError as error:
        LOG.warning("the report is without a circuit: %s", error)
        return
    parameters = sum(parameter.numel() for parameter in model.parameters())
    if rows := hardware_rows(job, about["step"]):
        contents.hardware = Table(HEADER, rows)
    if not model.has_circuit:
        contents.tiles.append(Tile("Parameters", f"{parameters:,}"))
        return
    gates = _gates_chart(model.truth_tables_by_layer())
    circuit = model.circuit()
    if most_gates is not None and len(circuit.gates) > most_gates:
        contents.tiles.append(Tile("Gates", f"{len(circuit.gates):,}", f"{parameters:,} parameters"))
        contents.circuit = LearnedCircuit(path.stem, gates)
        return
    simplified = circuit.simplified()
    remark = f"of {len(circuit.gates):,} before simplification; {parameters:,} parameters"
    contents.tiles.append(Tile("Gates", f"{len(simplified.gates):,}", remark))
    size = circuit_size(simplified)
    contents.tiles.append(
        Tile("LUTs of six inputs", f"{size.luts:,}", f"estimated, {size.depth} in a row, with counters and comparison")
    )
    chart, table = _sizes(job, circuit, simplified, about["step"])
    contents.circuit = LearnedCircuit(path.stem, gates, chart, table)


def _gates_chart(layers: list[NDArray[np.bool_]]) -> Chart:
    """Draw which gates each layer has; of gates with more than two inputs, how many of these matter."""
    chosen = np.unique(np.linspace(0, len(layers) - 1, MOST_LAYERS).round().astype(int))
    rows = [f"layer {i + 1}" for i in chosen]
    fan_in = layers[0].shape[1].bit_length() - 1
    if fan_in == 2:
        title, columns = "Learned gates, % of a layer's neurons", list(GATE_NAMES)
        numbers = [layers[i] @ np.array(PLACES) for i in chosen]
    else:
        title, columns = "Inputs that a gate depends on, % of a layer's gates", [str(n) for n in range(fan_in + 1)]
        numbers = [inputs_that_matter(layers[i]) for i in chosen]
    counts = np.array([np.bincount(of_gates, minlength=len(columns)) for of_gates in numbers])
    return plots.gates_chart("learned_gates", title, counts / counts.sum(1, keepdims=True), rows, columns)


def _sizes(job: Job, circuit: Circuit, simplified: Circuit, step: int) -> tuple[Chart, Table]:
    """Return the gates by kind before and after simplification, as a chart and, with the LUTs, as a table."""
    before, after = circuit.gate_counts(), simplified.gate_counts()
    kinds = [name for name in GATE_NAMES if name in before or name in after]
    groups = {
        "before simplification": [before.get(kind, 0) for kind in kinds],
        "after": [after.get(kind, 0) for kind in kinds],
    }
    chart = plots.bars_chart("circuit_size", "Gates of the circuit, by kind", kinds, groups)
    rows = [[kind, *(f"{count:,}" for count in counts)] for kind, *counts in zip(kinds, *groups.values(), strict=True)]
    rows.append(["all gates", f"{len(circuit.gates):,}", f"{len(simplified.gates):,}"])
    rows.append(["depth", f"{circuit.depth():,}", f"{simplified.depth():,}"])
    for target in sorted(FAMILIES):
        cells = read_luts(job, target)
        if cells and cells["step"] == step:  # those of an older model do not count
            rows.append([f"LUTs, {target} (yosys)", "", f"{cells['luts']:,}"])
    size = read_microcontroller(job)
    if size and size["step"] == step:
        rows += [
            [f"{CORE}, bytes of {kind}", "", f"{size[name]:,}"] for name, kind in (("flash", "flash"), ("ram", "RAM"))
        ]
    return chart, Table(["", *groups], rows)


def _origin(files: JobFiles) -> list[tuple[str, str]]:
    """Return how each start of the job was made, as names and values."""
    rows = []
    for start in files.starts:
        step = f"resumed after step {start['step']}" if start["step"] else "begun"
        rows += [
            (f"{step} at", start["started"]),
            ("command", shlex.join(_with_python(start["command"]))),
            ("machine", start["machine"]),
            ("versions", ", ".join(f"{name} {number}" for name, number in start["versions"].items() if number)),
        ]
    return rows


def _with_python(command: list[str]) -> list[str]:
    """Return a command that can be typed: version 0.1.0 recorded what Python was given, without `python`."""
    name = command[0].rpartition("/")[2] if command else ""
    return ["python", *command] if name == "main.py" else command
