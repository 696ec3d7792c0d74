"""A sweep's table from its jobs' files: mean and spread over seeds, sorted; printed and written to its folder."""

import csv
import io
import statistics
from dataclasses import dataclass
from typing import Any

from src.helpers import format_table
from src.io_funcs import write_atomic
from src.jobs.files import read_metrics, read_starts
from src.jobs.finished import finished_result
from src.jobs.folders import Job
from src.reports.status import job_status
from src.sweeps.specification import (
    Configuration,
    Sweep,
    SweepJob,
    keep_file,
    require_own_folder,
    short_key,
    short_value,
)

GAP = "test.gap"
SECONDS = "train_seconds"
COLUMNS = {  # of the table: what -> its title
    "val.frame_accuracy": "val frames %",
    "val.recording_accuracy": "recordings %",
    "test.frame_accuracy": "test frames %",
    "test.recording_accuracy": "recordings %",
    "test.vote_accuracy": "by vote %",
    "test.relaxed_frame_accuracy": "relaxed frames %",
    GAP: "gap %",  # relaxed minus discretised accuracy of test frames
    SECONDS: "seconds a job",  # of training
}


@dataclass(frozen=True)
class _Row:
    """A configuration's outcome: `values` has one number a finished job, by COLUMNS."""

    configuration: Configuration
    done: int
    values: dict[str, list[float]]

    def mean(self, column: str) -> float | None:
        return statistics.mean(self.values[column]) if self.values[column] else None

    def deviation(self, column: str) -> float | None:
        """The sample's standard deviation (n - 1); None for a single value."""
        return statistics.stdev(self.values[column]) if len(self.values[column]) > 1 else None


def write_table(sweep: Sweep, failures: dict[str, str]) -> str:
    """Write sweep.csv and sweep.txt into the sweep's folder; return the text.

    Args:
        sweep: whose jobs may be done or not.
        failures: of jobs that failed, the reason.

    Raises:
        UserError: if the folder is a job's.
        OSError: if a file cannot be written.
    """
    require_own_folder(sweep)
    results = {job.job_id: finished_result(job.config) for job in sweep.jobs}
    rows = [_row(sweep, configuration, results) for configuration in sweep.configurations]
    rows.sort(key=lambda row: -1.0 if (mean := row.mean(sweep.metric)) is None else mean, reverse=True)  # keeps ties
    keys = _differing(sweep)
    text = (
        "\n\n".join(
            part for part in (_heading(sweep, keys), _table(rows, keys), _remarks(sweep, results, failures)) if part
        )
        + "\n"
    )
    keep_file(sweep)
    write_atomic(sweep.folder / "sweep.csv", _csv(rows, keys))
    write_atomic(sweep.folder / "sweep.txt", text)
    return text


def _row(sweep: Sweep, configuration: Configuration, results: dict[str, dict[str, Any] | None]) -> _Row:
    values: dict[str, list[float]] = {column: [] for column in COLUMNS}
    done = 0
    for job in configuration.jobs:
        if (result := results[job.job_id]) is not None:
            done += 1
            for column, value in _outcome(sweep, job, result).items():
                values[column].append(value)
    return _Row(configuration, done, values)


def _outcome(sweep: Sweep, job: SweepJob, result: dict[str, Any]) -> dict[str, float]:
    """Return a finished job's values by COLUMNS, without those that its model or data do not have."""
    metrics = read_metrics(Job(job.job_id).logs / "metrics.csv")
    val = {row["epoch"]: row for row in metrics if row["split"] == "val"}
    epoch = result.get("best_epoch" if sweep.model == "best" else "epochs")
    tested = result.get("best_test" if sweep.model == "best" else "test", {})
    found = {f"val.{name}": value for name, value in val.get(epoch, {}).items()}
    found |= {f"test.{name}": value for name, value in tested.items()}
    if (relaxed := found.get("test.relaxed_frame_accuracy")) is not None:
        found[GAP] = relaxed - found["test.frame_accuracy"]
    found |= {name: result[name] for name in (SECONDS,) if name in result}
    return {column: found[column] for column in COLUMNS if column in found}


def _differing(sweep: Sweep) -> list[str]:
    """Return the options in which configurations differ, in the order of the sweep's file."""
    keys = dict.fromkeys(key for configuration in sweep.configurations for key in configuration.settings)
    return [key for key in keys if len({repr(configuration.value(key)) for configuration in sweep.configurations}) > 1]


def _heading(sweep: Sweep, keys: list[str]) -> str:
    """Return the table's heading; `keys` are the options that differ."""
    seeds = [job.config.base.seed for job in sweep.configurations[0].jobs]
    lines = [
        f"sweep {sweep.name} of {sweep.base.name}: {len(sweep.configurations)} configurations, seed {_listed(seeds)}"
    ]
    if common := [f"{key}={short_value(value)}" for key, value in sweep.overrides.items() if key not in keys]:
        lines.append(f"all with {_listed(common)}")
    lines.append(f"{sweep.model} model of each job; mean ± standard deviation over seeds; sorted by {sweep.metric}")
    machines = {start["machine"] for job in sweep.jobs for start in read_starts(Job(job.job_id))}
    return "\n".join(lines + [f"on {machine}" for machine in sorted(machines)])


def _listed(values: Any) -> str:
    return ", ".join(map(str, values))


def _table(rows: list[_Row], keys: list[str]) -> str:
    # With variants, their names stand for what they set: a column for each option would be mostly the base's values.
    variants = rows[0].configuration.variant is not None
    if variants:
        keys = [key for key in keys if all(key in row.configuration.settings for row in rows)]
    columns = [column for column in COLUMNS if any(row.values[column] for row in rows)]
    header = ["variant"] if variants else []
    header += [*(short_key(key, keys) for key in keys), "seeds", *(COLUMNS[column] for column in columns)]
    cells = [
        [
            *([str(row.configuration.variant)] if variants else []),
            *(short_value(row.configuration.value(key)) for key in keys),
            str(row.done)
            if row.done == len(row.configuration.jobs)
            else f"{row.done} of {len(row.configuration.jobs)}",
            *(_mean_and_spread(row, column) for column in columns),
        ]
        for row in rows
    ]
    return format_table(header, cells)


def _mean_and_spread(row: _Row, column: str) -> str:
    mean, deviation = row.mean(column), row.deviation(column)
    scale, digits = (1, 1) if column == SECONDS else (100, 2)
    if mean is None:
        return "-"
    spread = "" if deviation is None else f" ± {scale * deviation:.{digits}f}"
    return f"{scale * mean:.{digits}f}{spread}"


def _csv(rows: list[_Row], keys: list[str]) -> str:
    """Return a row per configuration: accuracies as fractions in full precision, empty if there is none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    statistics_of = [f"{column}_{what}" for column in COLUMNS for what in ("mean", "std")]
    writer.writerow(["variant", *keys, "seeds_done", "seeds", *statistics_of])
    for row in rows:
        numbers = [value for column in COLUMNS for value in (row.mean(column), row.deviation(column))]
        values = [row.configuration.value(key) for key in keys]
        writer.writerow([row.configuration.variant, *values, row.done, len(row.configuration.jobs), *numbers])
    return text.getvalue()


def _remarks(sweep: Sweep, results: dict[str, dict[str, Any] | None], failures: dict[str, str]) -> str:
    """Return remarks on the jobs that are not done, and on those that --debug has cut short."""
    lines, debug = [], []
    for job in sweep.jobs:
        if (result := results[job.job_id]) is None:
            status = job_status(job.job_id)
            state = "not begun" if status.state == "stopped" and status.step is None else status.state
            if job.job_id in failures and status.state != "running":
                state = f"failed: {failures[job.job_id]}"
            lines.append(f"{job.job_id}: {state}")
        elif note := result.get("debug"):
            debug.append(f"{job.job_id}: {note}")
    return "\n".join(debug + (["not done:", *lines] if lines else []))
