"""A job's report: `logs/<job_id>/report.html`, one file that asks nothing of the network, and its charts as PNGs.

It is made from the files that a job leaves, so it can be made anew at any time, of a job that is not done too.
"""

import base64
import shlex
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.circuit.circuit import Circuit
from src.command_line import UserError
from src.evaluation.evaluate import MODEL_NAMES
from src.evaluation.inference import load_model
from src.evaluation.metrics import best_epoch
from src.export.yosys import TARGETS
from src.frame_cache.cache import read_manifest, read_split
from src.frame_cache.preview import BOTH, OFF, ON, unpacked
from src.helpers import LOG, format_duration, format_percent
from src.io_funcs import project_root, scratch_root, write_atomic
from src.jobs.files import JobFiles, is_there, read_evaluation, read_job, read_luts
from src.jobs.folders import Job
from src.logic.gates import GATE_NAMES
from src.reports import plots
from src.reports.plots import Chart, Line

MOST_PICTURES = 12  # misclassified recordings
FRAMES_A_PICTURE = 4
MOST_LAYERS = 32  # shown; of more, as many evenly chosen ones
# Counting a circuit's gates after simplification takes a second for 100,000. A run that ends does not wait longer.
MOST_GATES_AFTER_TRAINING = 200_000


@dataclass
class _Report:
    """What is shown, as it is collected."""

    job: Job
    charts: list[Chart] = field(default_factory=list)  # to be written as PNGs too
    pictures: dict[str, bytes] = field(default_factory=dict)  # PNGs by name
    tiles: list[tuple[str, str, str]] = field(default_factory=list)  # name, number, remark
    sections: list[tuple[str, str]] = field(default_factory=list)  # heading, HTML


def try_to_write_report(job: Job) -> None:
    """Write the report of a run that is done; if that fails, it is a warning, whatever it is."""
    try:
        path = write_report(job, MOST_GATES_AFTER_TRAINING)
    except Exception as error:  # no report is worth a run
        LOG.warning("cannot write the report of job %s: %s: %s", job.job_id, type(error).__name__, error)
    else:
        LOG.info("report in %s", path)


def write_report(job: Job, most_gates: int | None = None) -> Path:
    """Write report.html and plots/*.png in the job's logs; return the path of the report.

    Args:
        job: what it has left is shown; what is missing is left out.
        most_gates: a circuit of more gates is not simplified; None: any is.

    Raises:
        UserError: if there is no such job, or it has no metrics yet.
        OSError: if a file cannot be written.
    """
    if not is_there(job.logs / "metrics.csv"):
        raise UserError(
            f"job {job.job_id} has nothing to report: {job.logs / 'metrics.csv'}, which is written after the first "
            f"epoch, does not exist"
        )
    files, evaluation = read_job(job), read_evaluation(job)
    report = _Report(job)
    _add_training(report, files)
    if evaluation is not None:
        _add_evaluation(report, evaluation)
    _add_circuit(report, most_gates)
    _add_origin(report, files)
    folder = job.logs / "plots"
    pngs = {chart.name: chart.png() for chart in report.charts} | report.pictures
    for name, content in pngs.items():
        write_atomic(folder / f"{name}.png", content)
    for old in folder.glob("*.png"):
        if old.stem not in pngs:
            old.unlink(missing_ok=True)
    path = job.logs / "report.html"
    write_atomic(path, _page(report, evaluation))
    return path


# Training


def _add_training(report: _Report, files: JobFiles) -> None:
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

    losses = lines("loss")
    charts = [
        *([plots.line_chart("loss", "Loss", "cross entropy", losses, "Loss over epochs")] if losses else []),
        *_accuracy_chart("frame_accuracy", "Accuracy of frames", lines("frame_accuracy")),
        *_accuracy_chart("recording_accuracy", "Accuracy of recordings", lines("recording_accuracy")),
        *_gap_chart(by_split["val"]),
        *_rate_charts(by_split["train"]),
    ]
    best = best_epoch(files.metrics, files.config.best_metric)
    epochs = max((row["epoch"] for row in files.metrics), default=0)
    seconds = max((row.get("train_seconds", 0.0) for row in by_split["train"]), default=0.0)
    speed = by_split["train"][-1].get("frames_per_second", 0) if by_split["train"] else 0
    report.tiles += [
        ("Epochs", f"{epochs}", f"best on val: {best}" if best else ""),
        ("Training", format_duration(seconds), f"{speed:,.0f} frames a second"),
    ]
    if (note := files.debug) is not None:
        report.tiles.insert(0, ("No result", "debug", note.removeprefix("debug: ")))
    if not files.result:
        report.tiles.append(("Not done", "running or stopped", "made from what there is so far"))
    _add_charts(report, "Training", charts)


def _accuracy_chart(name: str, title: str, lines: list[Line]) -> list[Chart]:
    percents = [replace(line, points=[(epoch, 100 * share) for epoch, share in line.points]) for line in lines]
    return [plots.line_chart(name, title, "%", percents, f"{title} over epochs")] if lines else []


def _gap_chart(rows: list[dict[str, Any]]) -> list[Chart]:
    """Relaxed minus discretised accuracy on val."""
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
    """Learning rate, and frames a second of each epoch: metrics.csv has the mean since the beginning."""
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
        line = Line("frames a second", speeds)
        title = "Frames a second, while training"
        charts.append(plots.line_chart("frames_per_second", title, "", [line], title, zero=True))
    return charts


# Evaluation


def _add_evaluation(report: _Report, evaluation: dict[str, Any]) -> None:
    names, relaxed = evaluation["class_names"], evaluation.get("relaxed")
    for unit in ("recordings", "frames"):
        remark = f"of {evaluation[unit]['count']:,} {unit}"
        if relaxed is not None:
            remark = f"discretised, {remark}; relaxed {format_percent(relaxed[unit]['accuracy'])}\N{NO-BREAK SPACE}%"
        tile = (f"Test accuracy, {unit}", f"{format_percent(evaluation[unit]['accuracy'])} %", remark)
        report.tiles.insert(0 if unit == "recordings" else 1, tile)
    charts = [
        plots.confusion_chart(f"confusion_{unit}", f"Confusion of {unit}", evaluation[unit]["confusion"], names)
        for unit in ("recordings", "frames")
    ]
    report.charts += charts
    what = "The {model} model, step {step}, on the {split} split of {cache}".format(**evaluation)
    text = f'<p class="muted">{escape(what)}{"; discretised" if relaxed is not None else ""}.</p>'
    text += _figures(charts, "charts") + f'<div class="card scroll">{_class_table(evaluation)}</div>'
    report.sections.append(("Test", text))
    _add_misclassified(report, evaluation)


def _class_table(evaluation: dict[str, Any]) -> str:
    header = ["class"]
    for unit in ("recordings", "frames"):
        header += [unit, "precision", "recall", "F1"] + (["relaxed F1"] if "relaxed" in evaluation else [])
    rows = []
    for c, name in enumerate(evaluation["class_names"]):
        row = [name]
        for unit in ("recordings", "frames"):
            values = evaluation[unit]["classes"][c]
            row += [f"{values['support']:,}", *(format_percent(values[key]) for key in ("precision", "recall", "f1"))]
            if "relaxed" in evaluation:
                row.append(format_percent(evaluation["relaxed"][unit]["classes"][c]["f1"]))
        rows.append(row)
    return _table(header, rows)


def _add_misclassified(report: _Report, evaluation: dict[str, Any]) -> None:
    wrong = evaluation["recordings"]["misclassified"]
    heading = "Misclassified recordings"
    if not wrong:
        report.sections.append((heading, '<p class="muted">None.</p>'))
        return
    names = evaluation["class_names"]
    shown = wrong[:MOST_PICTURES]
    try:
        frames = _frames_of([entry["recording"] for entry in shown], evaluation)
    except (OSError, ValueError, LookupError, TypeError) as error:
        LOG.debug("no pictures of misclassified recordings: %s", error)
        frames = {}
    figures = []
    for entry in shown:
        number, true, predicted = entry["recording"], names[entry["label"]], names[entry["predicted"]]
        recording = f"recording {number}" + (f", {entry['file']}" if "file" in entry else "")
        picture = ""
        if number in frames:
            name = f"misclassified_{number}"
            png = plots.frames_png(frames[number])
            report.pictures[name] = plots.frames_png(frames[number], scale=4)
            alt = f"frames of {recording}, true class {true}, predicted {predicted}"
            picture = f'<img alt="{escape(alt)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
        figures.append(
            f"<figure>{picture}<figcaption><b>{escape(true)}</b>, predicted <b>{escape(predicted)}</b> "
            f'<span class="muted">({100 * entry["share"]:.0f} %), {escape(recording)}</span></figcaption></figure>'
        )
    some = f"The {len(shown)} surest of {len(wrong)}" if len(wrong) > len(shown) else f"All {len(wrong)}"
    text = f'<p class="muted key">{some}; up to {FRAMES_A_PICTURE} frames of each.'
    if frames:
        keys = ((ON, "ON events"), (OFF, "OFF events"), (BOTH, "both"))
        text += "".join(f' <span><i style="background:{colour}"></i>{name}</span>' for colour, name in keys)
    else:
        text += " Their frame cache is not there any more, or not whole."
    report.sections.append((heading, f'{text}</p><div class="pictures">{"".join(figures)}</div>'))


def _frames_of(recordings: list[int], evaluation: dict[str, Any]) -> dict[int, NDArray[np.uint8]]:
    """Up to FRAMES_A_PICTURE frames, uint8 [F, P, H, W], of each of these recordings that a cache still has."""
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
                chosen = np.unique(np.linspace(0, len(members) - 1, FRAMES_A_PICTURE).round().astype(int))
                packed = split.frames[members[chosen]]
                frames[number] = unpacked(packed, tuple(manifest["frame_shape"]), manifest["frame_dtype"])
        return frames
    return {}


# Circuit


def _add_circuit(report: _Report, most_gates: int | None) -> None:
    """Add which gates were learned, and the size of the circuit, if the model is made of gates."""
    path = next((path for name in MODEL_NAMES if (path := report.job.models / f"{name}.safetensors").is_file()), None)
    if path is None:
        return
    try:
        model, about = load_model(path)
    except UserError as error:
        LOG.warning("the report is without a circuit: %s", error)
        return
    parameters = sum(parameter.numel() for parameter in model.parameters())
    layers = model.gates_by_layer()
    if not layers:
        report.tiles.append(("Parameters", f"{parameters:,}", ""))
        return
    chosen = np.unique(np.linspace(0, len(layers) - 1, MOST_LAYERS).round().astype(int))
    counts = np.array([np.bincount(layers[i], minlength=16) for i in chosen])
    shares = counts / counts.sum(1, keepdims=True)
    title = "Learned gates, % of a layer's neurons"
    gates = plots.gates_chart("learned_gates", title, shares, [f"layer {i + 1}" for i in chosen], GATE_NAMES)
    report.charts.append(gates)
    text = f'<p class="muted">Of the {path.stem} model.</p>' + _figures([gates], "", "wide")
    circuit = model.circuit()
    if most_gates is not None and len(circuit.gates) > most_gates:
        report.tiles.append(("Gates", f"{len(circuit.gates):,}", f"{parameters:,} parameters"))
        text += (
            f'<p class="muted">The size after simplification is worked out by ./job.sh report {report.job.job_id}.</p>'
        )
    else:
        simplified = circuit.simplified()
        remark = f"of {len(circuit.gates):,} before simplification; {parameters:,} parameters"
        report.tiles.append(("Gates", f"{len(simplified.gates):,}", remark))
        text += _circuit_size(report, circuit, simplified, about["step"])
    report.sections.append(("Circuit", text))


def _circuit_size(report: _Report, circuit: Circuit, simplified: Circuit, step: int) -> str:
    before, after = circuit.gate_counts(), simplified.gate_counts()
    kinds = [name for name in GATE_NAMES if name in before or name in after]
    groups = {
        "before simplification": [before.get(kind, 0) for kind in kinds],
        "after": [after.get(kind, 0) for kind in kinds],
    }
    chart = plots.bars_chart("circuit_size", "Gates of the circuit, by kind", kinds, groups)
    report.charts.append(chart)
    rows = [[kind, f"{before.get(kind, 0):,}", f"{after.get(kind, 0):,}"] for kind in kinds]
    rows.append(["all gates", f"{len(circuit.gates):,}", f"{len(simplified.gates):,}"])
    rows.append(["depth", f"{circuit.depth():,}", f"{simplified.depth():,}"])
    for target in sorted(TARGETS):
        cells = read_luts(report.job, target)
        if cells and cells["step"] == step:  # not of an older model
            rows.append([f"LUTs, {target} (yosys)", "", f"{cells['luts']:,}"])
    table = _table(["", "before simplification", "after"], rows)
    return f'<div class="charts">{_figure(chart)}<div class="card scroll">{table}</div></div>'


# Origin, and the page


def _add_origin(report: _Report, files: JobFiles) -> None:
    rows = []
    for start in files.starts:
        step = f"resumed after step {start['step']}" if start["step"] else "begun"
        rows += [
            (f"{step} at", start["started"]),
            ("command", shlex.join(["python", *start["command"]])),
            ("machine", start["machine"]),
            ("versions", ", ".join(f"{name} {number}" for name, number in start["versions"].items() if number)),
        ]
    facts = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows)
    text = f'<div class="card"><table class="facts">{facts}</table></div>' if rows else ""
    report.sections.append(("How it was made", text or '<p class="muted">Nothing was recorded.</p>'))
    report.sections.append(("Config", f'<div class="card"><pre>{escape(files.config.content)}</pre></div>'))


def _page(report: _Report, evaluation: dict[str, Any] | None) -> str:
    css = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
    job_id = escape(report.job.job_id)
    kind = evaluation["model_type"] + " on " + evaluation["cache"] if evaluation else ""
    tiles = "".join(
        f'<div class="tile"><span class="name">{escape(name)}</span><b>{escape(number)}</b>'
        f"<span>{escape(remark)}</span></div>"
        for name, number, remark in report.tiles
    )
    sections = "\n".join(f"<section><h2>{heading}</h2>{text}</section>" for heading, text in report.sections)
    # The policy has a browser refuse whatever a mistake here might ask of the network.
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{job_id} - DiffLogic Tonic</title>
<style>
{css}</style>
</head>
<body>
<header><h1>{job_id}</h1><p class="muted">{escape(kind)}</p></header>
<div class="tiles">{tiles}</div>
{sections}
</body>
</html>
"""


def _add_charts(report: _Report, heading: str, charts: list[Chart]) -> None:
    report.charts += charts
    report.sections.append((heading, _figures(charts, "charts")))


def _figures(charts: list[Chart], grid: str, figure: str = "") -> str:
    return f'<div class="{grid}">{"".join(_figure(chart, figure) for chart in charts)}</div>'


def _figure(chart: Chart, css_class: str = "") -> str:
    svg = chart.svg().replace('role="img"', f'role="img" aria-label="{escape(chart.alt)}"', 1)
    return f'<figure class="{css_class}">{svg}</figure>'


def _table(header: list[str], rows: list[list[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
