"""A sweep's YAML file -> its configurations and jobs, all checked before anything runs; which jobs are done."""

import hashlib
import itertools
import json
import math
import random
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.command_line import UserError
from src.config import MOST_SEED, Config, load_config
from src.helpers import LOG
from src.io_funcs import check_name, from_repository, project_root, write_atomic
from src.jobs.folders import SWEEP_FILE
from src.options import Reader, find_option, option, option_type, read_config, shown, tree_of, value_of, with_option

METRICS = tuple(f"{split}.{what}_accuracy" for split in ("val", "test") for what in ("frame", "recording"))
LONGEST_LABEL = 60  # of a configuration, in job ids

_MOST_JOBS = 10**5
_TRIES = 100  # draws for each trial, until one is new


@dataclass(frozen=True)
class SweepFile:
    """What a sweep's YAML may hold; keys of options are written with dots: train.learning_rate."""

    config: str = option("", "base config; a relative path starts at the repository")
    name: str | None = option(None, "sweep's folder and the beginning of its job ids; null: the file's name")
    seeds: Any = option(1, "values of base.seed: a list, or their number, from 0 on")
    overrides: Any = option(None, "{key: value} of all jobs")
    variants: Any = option(None, "{name: {key: value}}: named configurations, each with all of grid or random")
    grid: Any = option(None, "{key: [values]}: every combination")
    random: Any = option(None, "{key: Range}: `trials` draws")
    trials: int = option(10, "number of different draws", least=1, most=10**4)
    seed: int = option(0, "seed of the draws", least=0, most=MOST_SEED)
    metric: str = option("val.frame_accuracy", "what the table is sorted by", choices=METRICS)
    model: str = option("best", "model whose accuracies are in the table", choices=("best", "final"))


@dataclass(frozen=True)
class Range:
    """Where `random` draws an option's values from: between low and high, or from choices, all equally likely."""

    low: float | None = option(None, "smallest value")
    high: float | None = option(None, "largest value")
    log: bool = option(False, "make all values of the logarithm equally likely")
    choices: Any = option(None, "list of values")


@dataclass(frozen=True)
class SweepJob:
    """One job: a configuration with one seed.

    Attributes:
        job_id: the sweep's name, the configuration's label and the seed.
        override: what `main.py --override` gets on top of the base config.
        config: the outcome.
    """

    job_id: str
    override: str
    config: Config


@dataclass(frozen=True)
class Configuration:
    """What all its jobs share: all but the seed."""

    variant: str | None
    label: str  # short, for job ids; empty if the sweep varies seeds only
    settings: dict[str, Any]  # option -> value, on top of the base config
    jobs: list[SweepJob]

    def value(self, key: str) -> Any:
        """Return an option's value, which the settings or the base config give."""
        return value_of(self.jobs[0].config, key)


@dataclass(frozen=True)
class Sweep:
    """A checked sweep."""

    name: str
    path: Path
    content: bytes  # of the file
    base: Path
    metric: str
    model: str
    configurations: list[Configuration]
    overrides: dict[str, Any]  # of all jobs

    @property
    def jobs(self) -> list[SweepJob]:
        """Return all jobs, those of the first seed first, so that a sweep that is stopped shows all configurations."""
        by_seed = zip(*(configuration.jobs for configuration in self.configurations), strict=True)
        return [job for jobs in by_seed for job in jobs]

    @property
    def folder(self) -> Path:
        """Return the folder on project storage that holds tables, the jobs' output and the lists for SLURM."""
        return project_root() / "logs" / self.name


def base_config(path: str | Path) -> Path:
    """Return the base config that a sweep's file names, which need not exist."""
    errors: list[str] = []
    file = _parse(read_config(Path(path)), Path(path), errors)
    if errors:
        raise UserError("\n".join(errors))
    return _base(file, path)


def load_sweep(path: str | Path) -> Sweep:
    """Load a sweep's file and the config of each of its jobs.

    Raises:
        UserError: naming every mistake of the file and of the configs that it leads to.
    """
    path = Path(path)
    errors: list[str] = []
    content = read_config(path)
    file = _parse(content, path, errors)
    if file.name is None and not path.is_file():
        errors.append(f"{path}: name: a sweep that comes from a pipe needs one")
    name = path.stem if file.name is None else file.name
    _check_name(name, "name", path, errors)
    seeds = _seeds(file.seeds, path, errors)
    overrides = _mapping(file.overrides, "overrides", path, errors)
    variants = _variants(file.variants, path, errors)
    combinations = _combinations(file, path, errors)
    _check_keys_stand_once(overrides, variants, combinations, path, errors)
    if (jobs_in_all := len(variants) * len(combinations) * len(seeds)) > _MOST_JOBS:
        errors.append(f"{path}: {jobs_in_all:,} jobs: variants times combinations times seeds; at most {_MOST_JOBS:,}")
    if errors:
        raise UserError("\n".join(errors))

    base = _base(file, path)
    configurations: list[Configuration] = []
    warnings: dict[str, None] = {}  # each once, though many jobs have the same
    for (variant, settings), combination in itertools.product(variants.items(), combinations):
        every = {**overrides, **settings, **combination}
        try:
            config, unused = load_config(base, [_override_text(every)] if every else [], str(path))
        except UserError as error:
            errors += str(error).split("\n")
            continue
        warnings |= dict.fromkeys(unused)
        label = _label(variant, {key: value_of(config, key) for key in combination})
        jobs = [_job(name, label, every, config, seed) for seed in seeds]
        configurations.append(Configuration(variant, label, {**settings, **combination}, jobs))
        _check_name(jobs[-1].job_id, "job id", path, errors)
        if file.metric.startswith("val.") and config.data.val_split == 0:
            errors.append(f"{path}: metric = {file.metric} needs data.val_split > 0")
        if file.model == "best" and not config.train.save_model:
            errors.append(f"{path}: model = best needs train.save_model = true; or take model: final")
    labels = [configuration.label for configuration in configurations]
    errors += [
        f"{path}: configuration {label} stands twice" for label in sorted(set(labels)) if labels.count(label) > 1
    ]
    if errors:
        raise UserError("\n".join(dict.fromkeys(errors)))
    for line in warnings:
        LOG.warning("%s", line)
    return Sweep(name, path, content, base, file.metric, file.model, configurations, overrides)


def require_own_folder(sweep: Sweep) -> None:
    """Raise UserError if the sweep's folder is a job's."""
    if (sweep.folder / "config.yaml").exists():
        raise UserError(f"name = {sweep.name}: {sweep.folder} is a job's folder; choose another name for the sweep")


def keep_file(sweep: Sweep) -> None:
    """Copy the sweep's file into its folder; a warning if another has given its name to that folder before."""
    copy = sweep.folder / SWEEP_FILE
    if copy.is_file() and copy.read_bytes() != sweep.content:
        LOG.warning(
            "sweep %s has run with another file, or with this one before it was changed: its table is made again; two "
            "sweeps need two names",
            sweep.name,
        )
    write_atomic(copy, sweep.content)


# Reading the file


def _parse(content: bytes, path: Path, errors: list[str]) -> SweepFile:
    tree = tree_of(content, path, SweepFile())
    if "config" not in tree and {"base", "data", "train"} & set(tree):
        raise UserError(
            f"{path}: this is a config, not the file of a sweep, which names one as `config: {path}` and says what "
            f"varies; see configs/sweep_example.yaml"
        )
    reader = Reader()
    file = reader.fill(SweepFile(), tree, str(path))
    errors += reader.errors
    if not file.config:
        errors.append(f"{path}: config: which config is to be varied? Give its path, such as configs/nmnist_cnn.yaml")
    return file


def _base(file: SweepFile, path: str | Path) -> Path:
    base = from_repository(file.config, f"{path}: config")
    if base.exists() and not base.is_file():
        raise UserError(f"{path}: config = {file.config}: every job reads it, so it must be a file")
    return base


def _check_name(name: str, what: str, path: Path, errors: list[str]) -> None:
    try:
        check_name(name, what)
    except UserError as error:
        errors.append(f"{path}: {error}")


def _mapping(value: Any, what: str, path: Path, errors: list[str]) -> dict[str, Any]:
    if value is None:  # a section with nothing under it
        return {}
    if not isinstance(value, dict):
        errors.append(f"{path}: {what} = {shown(value)}: expected a mapping, such as train.learning_rate: 0.01")
        return {}
    for key in ("base.seed", "base.job_id"):
        if key in value:
            errors.append(f"{path}: {what}.{key}: the sweep sets it itself, see seeds and name")
    return {str(key): entry for key, entry in value.items()}


def _seeds(value: Any, path: Path, errors: list[str]) -> list[int]:
    def whole(number: Any, least: int) -> bool:
        return isinstance(number, int) and not isinstance(number, bool) and least <= number <= MOST_SEED

    if whole(value, 1) and value <= 10**4:
        return list(range(value))
    if isinstance(value, list) and value and all(whole(seed, 0) for seed in value) and len(set(value)) == len(value):
        return value
    errors.append(
        f"{path}: seeds = {shown(value)}: expected how many, such as 3, or a list of different whole numbers >= 0"
    )
    return []


def _variants(value: Any, path: Path, errors: list[str]) -> dict[str | None, dict[str, Any]]:
    """Return the settings of each variant; if there are none, one without a name."""
    variants = _mapping(value, "variants", path, errors)
    for name in variants:
        _check_name(name, "variants: the name", path, errors)
    named: dict[str | None, dict[str, Any]] = {
        name: _mapping(settings, f"variants.{name}", path, errors) for name, settings in variants.items()
    }
    return named or {None: {}}


def _combinations(file: SweepFile, path: Path, errors: list[str]) -> list[dict[str, Any]]:
    """Return the settings of each point of the grid, or of each trial; one that sets nothing if there is neither."""
    grid = _mapping(file.grid, "grid", path, errors)
    ranges = _mapping(file.random, "random", path, errors)
    if grid and ranges:
        errors.append(f"{path}: grid and random exclude each other; give one, or choices under random")
        return []
    if ranges:
        return _draws(ranges, file, path, errors)
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            errors.append(f"{path}: grid.{key} = {shown(values)}: expected a list of values, such as [0.01, 0.02]")
    if errors:
        return []
    if (points := math.prod(map(len, grid.values()))) > _MOST_JOBS:  # before they are all in memory
        errors.append(f"{path}: grid: {points:,} combinations; at most {_MOST_JOBS:,}")
        return []
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def _check_keys_stand_once(
    overrides: dict[str, Any],
    variants: dict[str | None, dict[str, Any]],
    combinations: list[dict[str, Any]],
    path: Path,
    errors: list[str],
) -> None:
    """Add an error for each option that has two values; but a variant may change an override."""
    for key in combinations[0] if combinations else ():
        if key in overrides:
            errors.append(f"{path}: {key} stands in overrides and is varied too; remove one")
        for name, settings in variants.items():
            if key in settings:
                errors.append(f"{path}: {key} stands in variants.{name} and is varied too; remove one")


# Drawing at random


def _draws(ranges: dict[str, Any], file: SweepFile, path: Path, errors: list[str]) -> list[dict[str, Any]]:
    """Return `trials` different draws; more trials begin with the same ones."""
    checked = {key: _range(key, value, path, errors) for key, value in ranges.items()}
    whole = {}
    for key in checked:
        try:
            whole[key] = option_type(*find_option(Config(), key)) in (int, int | None)
        except UserError as error:
            errors.append(f"{path}: {error}")
            continue
        low, high = checked[key].low, checked[key].high
        if whole[key] and low is not None and high is not None and math.ceil(low) > math.floor(high):
            errors.append(f"{path}: random.{key}: there is no whole number from {low} to {high}")
    if errors:
        return []
    rng = random.Random(file.seed)
    draws: list[dict[str, Any]] = []
    for _ in range(_TRIES * file.trials):
        draw = {key: _draw(rng, checked[key], whole[key]) for key in checked}
        if draw not in draws:
            draws.append(draw)
        if len(draws) == file.trials:
            return draws
    errors.append(f"{path}: trials = {file.trials}: the ranges have hardly more than {len(draws)} different draws")
    return []


def _range(key: str, value: Any, path: Path, errors: list[str]) -> Range:
    where = f"{path}: random.{key}"
    if not isinstance(value, dict):
        errors.append(f"{where} = {shown(value)}: expected {{low: 0.001, high: 0.1, log: true}} or {{choices: [1, 2]}}")
        return Range()
    reader = Reader()
    drawn = reader.fill(Range(), value, str(path), f"random.{key}.")
    errors += reader.errors
    if reader.errors:
        return drawn
    if drawn.choices is not None:
        if not isinstance(drawn.choices, list) or not drawn.choices:
            errors.append(f"{where}.choices = {shown(drawn.choices)}: expected a list of values")
        if drawn.low is not None or drawn.high is not None or drawn.log:
            errors.append(f"{where}: give choices, or low and high")
    elif drawn.low is None or drawn.high is None:
        errors.append(f"{where}: give low and high, or choices")
    elif not drawn.low < drawn.high:
        errors.append(f"{where}: low = {drawn.low} must be less than high = {drawn.high}")
    elif drawn.log and drawn.low <= 0:
        errors.append(f"{where}: with log: true, low = {drawn.low} must be greater than 0")
    return drawn


def _draw(rng: random.Random, drawn: Range, whole: bool) -> Any:
    """Return a value with three digits, which can be read and typed; a whole number if the option is one."""
    if drawn.choices is not None:
        return rng.choice(drawn.choices)
    low, high = drawn.low, drawn.high
    assert low is not None
    assert high is not None
    value = math.exp(rng.uniform(math.log(low), math.log(high))) if drawn.log else rng.uniform(low, high)
    if whole:
        return min(max(round(value), math.ceil(low)), math.floor(high))
    return min(max(float(f"{value:.3g}"), low), high)


# Jobs


def _override_text(settings: dict[str, Any]) -> str:
    """Return settings as an argument of `main.py --override`; JSON is YAML."""
    return shlex.join(f"{key}={_text(value)}" for key, value in settings.items())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _label(variant: str | None, combination: dict[str, Any]) -> str:
    """Return a configuration's short name, which depends on nothing else, so that a grid may grow."""
    parts = list(_parts(combination))
    readable = "_".join([variant, *parts] if variant is not None else parts)
    plain = re.sub(r"[^A-Za-z0-9._-]", "-", readable)
    if plain == readable and len(plain) <= LONGEST_LABEL:
        return plain
    return f"{plain[: LONGEST_LABEL - 9]}_{hashlib.sha256(readable.encode()).hexdigest()[:8]}"


def _parts(combination: dict[str, Any]) -> Iterator[str]:
    for key, value in combination.items():
        yield f"{short_key(key, list(combination))}-{short_value(value)}"


def short_key(key: str, keys: list[str]) -> str:
    """Return the last part of an option's key, or the whole key if another of these keys has the same last part."""
    last = key.rsplit(".", 1)[-1]
    return last if [other.rsplit(".", 1)[-1] for other in keys].count(last) == 1 else key


def short_value(value: Any) -> str:
    """Return an option's value as in YAML, but a whole float without its .0."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else _text(value)


def _job(name: str, label: str, settings: dict[str, Any], config: Config, seed: int) -> SweepJob:
    job_id = "_".join(part for part in (name, label, f"s{seed}") if part)
    config = with_option(with_option(config, "base.seed", seed), "base.job_id", job_id)
    return SweepJob(job_id, _override_text({**settings, "base.seed": seed}), config)
