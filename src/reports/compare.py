"""Several jobs beside each other: a table and a chart, printed and written to `logs/` on project storage."""

import csv
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.command_line import UserError, print_result
from src.evaluation.metrics import best_epoch
from src.export.devices import FAMILIES
from src.helpers import format_duration, format_percent, format_table
from src.io_funcs import project_root, write_atomic
from src.jobs.files import is_there, read_evaluation, read_job
from src.jobs.find import require_jobs
from src.jobs.folders import Job
from src.reports import plots
from src.reports.frontier import SIZES, best_of_their_size, frontier_chart, size_of, tested_of
from src.reports.hardware import results_of

ACCURACIES = (
    "frame_accuracy",
    "recording_accuracy",
    "vote_accuracy",
    "relaxed_frame_accuracy",
    "relaxed_recording_accuracy",
)
COLUMNS = (
    "job",
    "dataset",
    "model",
    "parameters",
    *SIZES,
    "epochs",
    "best_epoch",
    "val_frame_accuracy",
    *(f"test_{name}" for name in ACCURACIES),
    "train_seconds",
    "frames_per_second",
    *(f"{family}_{name}" for family in FAMILIES for name in ("luts", "fmax_mhz")),
    "debug",
    "cache",
)
LONGEST_NAME = 100  # of a comparison's files


@dataclass(frozen=True)
class _Summary:
    """A row of the table by COLUMNS, None where a job has no such value, and points (epoch, val frame accuracy)."""

    row: dict[str, Any]
    curve: list[tuple[float, float]]


def compare(job_ids: list[str], hardware: bool = False) -> list[Path]:
    """Print a table of jobs and write it as CSV, their val accuracy over epochs as PNG; return the paths.

    Accuracies on test are the best model's; jobs that are not done have none yet. With `hardware`, another PNG shows
    accuracy by vote against the LUTs of the circuit, and the jobs that no other one beats in both.

    Raises:
        UserError: naming every job that is not there, or has no metrics yet.
        OSError: if a file cannot be written.
    """
    job_ids = list(dict.fromkeys(job_ids))
    without = [job_id for job_id in job_ids if not is_there(Job(job_id).logs / "metrics.csv")]
    if without:
        require_jobs(without)
        raise UserError(
            f"{' and '.join(without)}: nothing to compare; metrics.csv in {project_root() / 'logs'}/JOB, which is "
            f"written after the first epoch, does not exist"
        )
    summaries = [_summary(Job(job_id)) for job_id in job_ids]
    print_result(_table([summary.row for summary in summaries]))
    stem = project_root() / "logs" / f"compare_{_name(job_ids)}"
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(summary.row for summary in summaries)
    curves = {
        summary.row["job"]: [(epoch, 100 * accuracy) for epoch, accuracy in summary.curve] for summary in summaries
    }
    title = "Accuracy of val frames"
    chart = plots.line_chart("compare", title, "%", plots.distinct_lines(curves), f"{title} over epochs")
    paths = [stem.with_name(f"{stem.name}.{suffix}") for suffix in ("csv", "png")]
    write_atomic(paths[0], text.getvalue())
    write_atomic(paths[1], chart.png())
    if hardware:
        paths.append(stem.with_name(f"{stem.name}_hardware.png"))
        write_atomic(paths[-1], _frontier([summary.row for summary in summaries]).png())
    return paths


def _frontier(rows: list[dict[str, Any]]) -> plots.Chart:
    """Print and draw which jobs' networks are the best of their size; a UserError if no job has a size."""
    points = {
        row["job"]: (row["luts"], row["test_vote_accuracy"])
        for row in rows
        if row["luts"] is not None and row["test_vote_accuracy"] is not None
    }
    if not points:
        raise UserError(
            "--hardware needs jobs that are done, of model.model_type=difflogic and trained by this version, whose "
            "result.json has the size of their circuit"
        )
    lines = [
        f"{name}: {points[name][0]:,} LUTs, {format_percent(points[name][1])} %" for name in best_of_their_size(points)
    ]
    print_result("\n".join(["accuracy by vote that no smaller network reaches:", *lines]))
    return frontier_chart(points)


def _name(job_ids: list[str]) -> str:
    """Return the jobs' names; if there are many, the beginning and a hash of all."""
    name = "_".join(job_ids)
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 11]}_{hashlib.sha256(name.encode()).hexdigest()[:10]}"


def _summary(job: Job) -> _Summary:
    files = read_job(job)
    val = {row["epoch"]: row["frame_accuracy"] for row in files.metrics if _is_val(row)}
    train: dict[str, Any] = next((row for row in reversed(files.metrics) if row["split"] == "train"), {})
    tested = tested_of(files)
    size = size_of(files)
    evaluation = read_evaluation(job)
    best = best_epoch(files.metrics, files.config.best_metric)
    hardware = {result["family"]: result for result in results_of(job, evaluation["step"] if evaluation else None)}
    row = {
        "job": job.job_id,
        "dataset": files.config.dataset,
        "model": files.config.model_type,
        "parameters": files.starts[-1]["parameters"] if files.starts else None,
        **{name: size.get(name) for name in SIZES},
        "epochs": max((row["epoch"] for row in files.metrics), default=0),
        "best_epoch": best or None,
        "val_frame_accuracy": val.get(best),
        **{f"test_{name}": tested.get(name) for name in ACCURACIES},
        "train_seconds": train.get("train_seconds"),
        "frames_per_second": train.get("frames_per_second"),
        **{
            f"{family}_{name}": hardware.get(family, {}).get(name)
            for family in FAMILIES
            for name in ("luts", "fmax_mhz")
        },
        "debug": files.debug,
        "cache": None if evaluation is None else evaluation["cache"],
    }
    return _Summary(row, sorted(val.items()))


def _is_val(row: dict[str, Any]) -> bool:
    return row["split"] == "val" and "frame_accuracy" in row


def _table(rows: list[dict[str, Any]]) -> str:
    header = ["job", "dataset", "model", "parameters", "gates", "LUT6", "epochs", "best epoch", "frames"]
    header += ["frames", "recordings", "by vote", "frames", "recordings", "time", "frames/s"]
    groups = {"": 8, "val, %": 1, "test, %": 3, "test, relaxed, %": 2, "training": 2}
    families = [family for family in FAMILIES if any(row[f"{family}_luts"] is not None for row in rows)]
    if families:
        header += families
        groups["LUTs (MHz)"] = len(families)

    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:,.0f}"

    cells = [
        [
            row["job"],
            row["dataset"] or "-",
            row["model"] or "-",
            *(number(row[name]) for name in ("parameters", "gates", "luts", "epochs", "best_epoch")),
            format_percent(row["val_frame_accuracy"]),
            *(format_percent(row[f"test_{name}"]) for name in ACCURACIES),
            "-" if row["train_seconds"] is None else format_duration(row["train_seconds"]),
            number(row["frames_per_second"]),
            *(number(row[f"{family}_luts"]) + _megahertz(row[f"{family}_fmax_mhz"]) for family in families),
        ]
        for row in rows
    ]
    remarks = [f"{row['job']}: {row['debug']}" for row in rows if row["debug"]]
    if unfinished := [row["job"] for row in rows if row["test_frame_accuracy"] is None]:
        remarks.append(f"not done, or without a test split: {', '.join(unfinished)}")
    return "\n".join([format_table(header, cells, groups), *remarks, *_different_data(rows)])


def _megahertz(frequency: float | None) -> str:
    return "" if frequency is None else f" ({frequency:.0f})"


def _different_data(rows: list[dict[str, Any]]) -> list[str]:
    """Return a line that says what keeps the jobs' accuracies from being compared, if anything is known to."""
    for what, name in (
        ("datasets, whose accuracies", "dataset"),
        ("frame caches, whose accuracies of frames", "cache"),
    ):
        jobs_by_value: dict[str, list[str]] = {}
        for row in rows:
            if row[name] is not None:
                jobs_by_value.setdefault(row[name], []).append(row["job"])
        if len(jobs_by_value) > 1:
            parts = "; ".join(f"{value}: {', '.join(jobs)}" for value, jobs in jobs_by_value.items())
            return [f"different {what} cannot be compared: {parts}"]
    return []
