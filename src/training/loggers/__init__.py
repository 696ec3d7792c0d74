"""Loggers: a run's numbers in TensorBoard, Weights & Biases and whatever else src/registry.py lists.

A logger starts with everything that the run's checkpoint knows, and then gets each new number once. It replaces what
earlier processes of the job left on this disk. Nothing is therefore there twice, and nothing is missing that a killed
process had not written yet.
"""

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from src.config import Config
from src.helpers import LOG
from src.registry import LOGGERS
from src.training.loggers.logger import Logger

Entry = tuple[int, dict[str, float]]  # step; values by tag, such as val/frame_accuracy


def _asked_for(config: Config) -> list[type[Logger]]:
    kinds: list[type[Logger]] = [LOGGERS.load(name) for name in LOGGERS]
    return [kind for kind in kinds if kind.is_asked_for(config)]


def require_packages(config: Config) -> None:
    """Raise UserError if the config asks for a logger whose package cannot be imported."""
    for kind in _asked_for(config):
        kind.require_package(config)


class Loggers:
    """The loggers that a config asks for.

    A logger that fails gets no more numbers, and a warning says so. It never ends the run.
    """

    def __init__(self, config: Config, folder: Path) -> None:
        """Write nothing until `start`; `folder` is logs/<job_id>."""
        self._config, self._folder = config, folder
        self._active: list[Logger] = []

    def start(self, history: Iterable[Entry], resume: bool) -> None:
        """Start the loggers with what the run has logged so far, in the order of steps.

        Args:
            history: what the run has logged.
            resume: whether Weights & Biases keeps the id of its run.
        """
        for kind in _asked_for(self._config):
            try:
                self._active.append(kind(self._config, self._folder, resume))
            except Exception as error:
                self._warn(kind.name, error)
        for entry in history:
            self.log(*entry)

    def log(self, step: int, values: dict[str, float]) -> None:
        """Log values by their tags, after `step` batches; steps never fall."""
        for logger in list(self._active):
            try:
                logger.log(step, values)
            except Exception as error:
                self._active.remove(logger)
                self._warn(logger.name, error)

    def __enter__(self) -> "Loggers":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        for logger in self._active:
            try:
                logger.close(failed=kind is not None)
            except Exception as problem:
                self._warn(logger.name, problem)

    def _warn(self, name: str, error: Exception) -> None:
        LOG.warning("%s failed, and gets no more from this process; --resume sends it everything: %s", name, error)


def row_entry(row: dict[str, Any]) -> Entry:
    """Return the loggers' entry of a row of metrics.csv; only the training row's has the learning rate."""
    split = row["split"]
    left_out = {"step", "epoch", "split", "debug"} | (set() if split == "train" else {"learning_rate"})
    return row["step"], {f"{split}/{name}": value for name, value in row.items() if name not in left_out}
