"""Read the files that a job leaves: checked values; a file that is damaged or of another form is left out.

A file that is left out is one warning, which names it, what is wrong with it and what writes it again.
"""

import csv
import io
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from src.helpers import LOG, one_line
from src.io_funcs import read_bytes
from src.jobs.folders import Job, evaluation_path, luts_path, microcontroller_path
from src.options.yaml_text import decode, parse_yaml

MOST_BYTES = 100_000_000  # of a file; nothing that a job writes is near it
MOST_CHARACTERS = 100_000  # of a text in a file
MOST_WHOLE = 10**15  # of a count
MOST_SHOWN = 60  # characters of a value that is wrong

Shape = Callable[[Any], Any]  # returns the value that it was given, checked; raises ValueError for another one

# What content that is damaged, or another program's, makes a parser raise.
_BAD_CONTENT = (OSError, ValueError, RecursionError, csv.Error)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"


def number(low: float = -math.inf, high: float = math.inf) -> Shape:
    """Return the shape of a number within limits."""

    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError(f"{_shown(value)} is not a number from {low:g} to {high:g}")
        return float(value)

    return check


def whole(low: int = 0, high: int = MOST_WHOLE) -> Shape:
    """Return the shape of a whole number within limits."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"{_shown(value)} is not a whole number from {low} to {high}")
        return value

    return check


def loss(value: Any) -> Any:
    """Check a loss, which may be infinite or not a number: training can diverge."""
    return value if isinstance(value, float) and not math.isfinite(value) else number(-1e100, 1e100)(value)


def text(value: Any) -> str:
    """Check a text; what cannot be printed, such as what would steer a terminal, becomes an escape."""
    if not isinstance(value, str) or len(value) > MOST_CHARACTERS:
        raise ValueError(f"{_shown(value)} is not a text")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value)


def optional(shape: Shape) -> Shape:
    """Return the shape of a value that may be None."""
    return lambda value: None if value is None else shape(value)


def listing(shape: Shape, length: int | None = None) -> Shape:
    """Return the shape of a list, of any length or of this one."""

    def check(value: Any) -> list[Any]:
        if not isinstance(value, list) or length not in (None, len(value)):
            raise ValueError(f"{_shown(value)} is not a list{'' if length is None else f' of {length}'}")
        return [_named(shape, entry, f"[{i}]") for i, entry in enumerate(value)]

    return check


def record(required: dict[str, Shape], others: dict[str, Shape] | None = None) -> Shape:
    """Return the shape of a mapping: its required keys, and others that may be missing; more keys are left out."""

    def check(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValueError(f"{_shown(value)} is not a mapping")
        for key in required:
            if key not in value:
                raise ValueError(f"{key} is missing")
        shapes = required | (others or {})
        return {key: _named(shape, value[key], key) for key, shape in shapes.items() if key in value}

    return check


def mapping(shape: Shape) -> Shape:
    """Return the shape of a mapping from any texts to values of one shape."""
    return lambda value: record({text(key): shape for key in value} if isinstance(value, dict) else {})(value)


def _named(shape: Shape, value: Any, name: str) -> Any:
    """Check a part of a value; an error names the part, such as recordings.classes[3].f1."""
    try:
        return shape(value)
    except ValueError as error:
        inner = str(error)
        is_path = re.match(r"[\w.\[\]]+(: | is missing$)", inner)
        joint = ": " if not is_path else "" if inner.startswith("[") else "."
        raise ValueError(f"{name}{joint}{inner}") from error


SHARE = number(0, 1)
AMOUNT = number(0, 1e15)
_MEASURES: dict[str, Shape] = {
    name: shape
    for prefix in ("", "relaxed_")
    for name, shape in {
        f"{prefix}loss": loss,
        f"{prefix}frame_accuracy": SHARE,
        f"{prefix}recording_accuracy": SHARE,
    }.items()
} | {"vote_accuracy": SHARE, "discretisation_gap": number(-1, 1)}

METRICS_ROW = record(
    {"step": whole(), "epoch": whole(), "split": text},
    _MEASURES | {"learning_rate": AMOUNT, "frames_per_second": AMOUNT, "train_seconds": AMOUNT, "debug": text},
)
_TESTED = record({"frame_accuracy": SHARE, "recording_accuracy": SHARE}, _MEASURES)
_SIZE = record({"gates": whole(), "luts": whole(), "depth": whole()})
_RESULT = record(
    {"epochs": whole(), "steps": whole()},
    {
        "best_epoch": whole(),
        "train_seconds": AMOUNT,
        "test": _TESTED,
        "best_test": _TESTED,
        "circuit": _SIZE,
        "best_circuit": _SIZE,
        "debug": text,
    },
)
_CONFIG = record(
    {},
    {
        "data": record({}, {"name": text, "folder": optional(text)}),
        "model": record({}, {"model_type": text}),
        "train": record({}, {"epochs": whole(), "best_metric": text}),
    },
)
_START = record(
    {
        "started": text,
        "command": listing(text),
        "step": whole(),
        "parameters": whole(),
        "machine": text,
        "versions": mapping(optional(text)),
    }
)
_LUTS = record({"luts": whole(), "step": whole()})
_MICROCONTROLLER = record({"flash": whole(), "ram": whole(), "step": whole()})
_HARDWARE = record(
    {
        "step": whole(),
        "results": listing(
            record(
                {
                    "family": text,
                    "top": text,
                    "what": text,
                    **dict.fromkeys(("luts", "registers", "block_rams"), whole()),
                    "cells": mapping(whole()),
                    "full": mapping(AMOUNT),
                },
                {
                    "device": text,
                    "latency_cycles": whole(),
                    **dict.fromkeys(("fmax_mhz", "latency_ns", "seconds"), AMOUNT),
                    **dict.fromkeys(("events_per_second", "frames_per_second"), AMOUNT),
                },
            )
        ),
    }
)


def _evaluation(value: Any) -> dict[str, Any]:
    """Check an evaluation, whose parts all have as many classes as it names."""
    classes = len(record({"class_names": listing(text)})(value)["class_names"])
    ratio = optional(SHARE)
    by_class = record({"precision": ratio, "recall": ratio, "f1": ratio, "support": whole()})
    unit: dict[str, Shape] = {
        "count": whole(),
        "accuracy": SHARE,
        "classes": listing(by_class, classes),
        "confusion": listing(listing(whole(), classes), classes),
    }
    label = whole(0, classes - 1)
    mistake = record({"recording": whole(), "label": label, "predicted": label, "share": SHARE}, {"file": text})
    part: dict[str, Shape] = {
        "frames": record(unit),
        "recordings": record(unit | {"misclassified": listing(mistake)}, {"vote_accuracy": SHARE}),
    }
    about = {"model": text, "model_type": text, "step": whole(), "split": text, "cache": _cache_name}
    shape = record({"class_names": listing(text), **about, **part}, {"relaxed": record(part)})
    checked: dict[str, Any] = shape(value)
    if not classes:
        raise ValueError("class_names is empty")
    return checked


def _cache_name(value: Any) -> str:
    """Check a cache's name, DATASET/FOLDER, which leads nowhere else."""
    name = text(value)
    if not re.fullmatch(r"[^/]+/[^/]+", name) or {".", ".."} & set(name.split("/")):
        raise ValueError(f"{_shown(value)} is not the name of a frame cache")
    return name


@dataclass(frozen=True)
class JobConfig:
    """What can be read of a job's config.yaml; None is what it does not say.

    Attributes:
        content: the text as it stands in the file; empty without a sound file.
    """

    content: str = ""
    dataset: str | None = None
    model_type: str | None = None
    epochs: int | None = None
    best_metric: str = "frame_accuracy"  # of configs older than the option


@dataclass(frozen=True)
class JobFiles:
    """The files of a job that are there and sound.

    Attributes:
        metrics: rows of metrics.csv: step, epoch, split and measures; a measure that does not apply is not in a row.
        result: of result.json; None if the job is not done.
        starts: of runs.json, the first start first.
    """

    metrics: list[dict[str, Any]] = field(default_factory=list)
    result: dict[str, Any] | None = None
    config: JobConfig = JobConfig()
    starts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def debug(self) -> str | None:
        """What --debug has cut short, in words; None for a real run."""
        return debug_note(self.metrics) or (self.result or {}).get("debug")


def read_job(job: Job) -> JobFiles:
    """Read what every job leaves."""
    return JobFiles(read_metrics(job.logs / "metrics.csv"), read_result(job), read_job_config(job), read_starts(job))


def debug_note(rows: list[dict[str, Any]]) -> str | None:
    """Return what the metrics of a run with --debug say of it; None for a real run."""
    return next((row["debug"] for row in rows if row.get("debug")), None)


_RESUMING = "train.sh … --resume writes it again"


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a metrics.csv; none without a sound one."""
    return read_file(path, _metrics, _RESUMING) or []


def read_result(job: Job) -> dict[str, Any] | None:
    """Read what a job that is done has left in result.json."""
    return read_file(job.logs / "result.json", json_of(_RESULT), _RESUMING)


def read_job_config(job: Job) -> JobConfig:
    """Read a job's config.yaml, of any version."""
    return read_file(job.logs / "config.yaml", _config, _RESUMING) or JobConfig()


def read_starts(job: Job) -> list[dict[str, Any]]:
    """Read how a job's runs were started, the first one first."""
    return read_file(job.logs / "runs.json", json_of(listing(_START)), "the next start writes it again") or []


def read_evaluation(job: Job, split: str = "test") -> dict[str, Any] | None:
    """Read the evaluation of the job's best model on a split of its own cache."""
    remedy = f"main.py … --evaluate --split {split} writes it again"
    return read_file(evaluation_path(job, split), json_of(_evaluation), remedy)


def read_luts(job: Job, target: str) -> dict[str, Any] | None:
    """Read yosys's estimate of a job's circuit for an FPGA family: `luts`, and the `step` of the model."""
    return read_file(luts_path(job, target), json_of(_LUTS), f"job.sh export … --estimate {target} writes it again")


def read_microcontroller(job: Job) -> dict[str, Any] | None:
    """Read the size of a job's C program on a microcontroller, `flash` and `ram` in bytes, and the model's `step`."""
    remedy = "job.sh export … --to c writes it again"
    return read_file(microcontroller_path(job), json_of(_MICROCONTROLLER), remedy)


def read_hardware(path: Path) -> dict[str, Any] | None:
    """Read the results of synthesis: the `step` of the model, and `results` with the attributes of `Hardware`."""
    return read_file(path, json_of(_HARDWARE), "job.sh export … --synthesize writes it again")


def read_file(path: Path, parse: Callable[[bytes], Any], remedy: str) -> Any:
    """Return what `parse` makes of a file; None, after a warning, if that cannot be done; None if there is no file."""
    try:
        if not is_there(path):
            return None
        return parse(read_bytes(path, MOST_BYTES))
    except _BAD_CONTENT as error:
        LOG.warning("%s is left out: %s; %s", path, _reason(error), remedy)
        return None


def is_there(path: Path) -> bool:
    """Return whether anything lies at a path, even a link that leads nowhere; OSError if that cannot be looked at."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "it is a link that leads nowhere"
    if isinstance(error, OSError):
        return error.strerror or one_line(error)
    if isinstance(error, RecursionError):
        return "it nests too deeply"
    if isinstance(error, UnicodeError):
        return "it is not UTF-8 text"
    reason = text(one_line(error))
    return reason if len(reason) <= 3 * MOST_SHOWN else f"{reason[: 3 * MOST_SHOWN]}…"


def json_of(shape: Shape) -> Callable[[bytes], Any]:
    """Return a parser, for `read_file`, of JSON that has this shape."""
    return lambda content: shape(json.loads(content.decode("utf-8-sig")))


def _config(content: bytes) -> JobConfig:
    words = decode(content)
    tree = _CONFIG(parse_yaml(words))
    data, model, train = (tree.get(section, {}) for section in ("data", "model", "train"))
    metric = train.get("best_metric", JobConfig.best_metric)
    dataset = " ".join(filter(None, (data.get("name"), data.get("folder"))))  # the folder tells own recordings apart
    return JobConfig(words, dataset or None, model.get("model_type"), train.get("epochs"), metric)


def _metrics(content: bytes) -> list[dict[str, Any]]:
    lines = content.decode("utf-8-sig")
    if not lines.endswith("\n"):
        raise ValueError("its last line is cut off")
    rows = []
    for i, cells in enumerate(csv.DictReader(io.StringIO(lines, newline="")), 2):
        if None in cells or None in cells.values():
            raise ValueError(f"line {i} does not have as many cells as the first one")
        values = {name: _cell(value) for name, value in cells.items() if value}
        rows.append(_named(METRICS_ROW, values, f"line {i}"))
    return rows


def _cell(value: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value
