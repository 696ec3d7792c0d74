"""A miniature of a config's job, on random events: it compiles the kernels that the job itself will run."""

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from src.command_line import StopSignals, UserError
from src.config import Config, Data, Teacher
from src.events.datasets.dataset import Dataset
from src.frame_cache.framing_options import dataset_of
from src.frame_cache.prepare import prepare
from src.helpers import LOG
from src.io_funcs import from_repository
from src.train import train

RECORDINGS = 4  # per class: for training, validation and test
FRAMES = 3  # per recording, at least
SPREAD = 8  # pixels from the centre of the sensor, so that denoising leaves events
_STORAGES = ("PROJECT_STORAGE_DIR", "SCRATCH_STORAGE_DIR")


def run_miniature(config: Config, stop: StopSignals) -> None:
    """Prepare a few recordings of random events as the config says, train on them for an epoch, test, and report.

    Nothing is left of it but compiled kernels.

    Raises:
        UserError: the config does not fit the machine, or names own recordings that are not there.
        Stopped: a signal came.
    """
    dataset = dataset_of(config.data)
    if dataset.complete is not None:
        root = from_repository(config.data.data_root) / dataset.folder
        dataset, found = dataset.complete(root)
        if not found:
            raise UserError(f"data.folder = {config.data.folder}: no recordings in {root}, whose classes are needed")
    with tempfile.TemporaryDirectory(prefix="difflogic-") as folder, _storages_in(Path(folder)), _quiet():
        recordings = Path(folder) / "recordings"
        _write_recordings(recordings, dataset, config.data)
        small = _miniature(config, recordings, dataset)
        prepare(small, stop)
        train(small, "miniature", stop, resume=False, restart=False, debug=True)


def _miniature(config: Config, recordings: Path, dataset: Dataset) -> Config:
    """Return the config with the recordings in place of its own, for one epoch."""
    data = replace(
        config.data,
        name="FOLDER",
        folder=str(recordings),
        sensor_size=dataset.sensor_size[:2],
        group_by=None,
        url=None,
        first_saccade_only=False,
        stabilize=False,
        val_split=0.25,
        test_split=0.25,
        num_threads=1,
        prepare_if_missing=None,
    )
    training = replace(config.train, epochs=1, teacher=Teacher())
    return replace(config, data=data, train=training, base=replace(config.base, wandb="disabled"))


def _write_recordings(folder: Path, dataset: Dataset, data: Data) -> None:
    """Write a folder per class, whose recordings are long enough for some frames, and for a stack of them."""
    rng = np.random.default_rng(0)
    frames = FRAMES + data.stack
    events = frames * (data.events_per_frame if data.frame_mode == "event_count" else 1000)
    microseconds = max(frames * (data.time_window or 0), events)
    width, height, _ = dataset.sensor_size
    for label in range(len(dataset.classes)):
        of_class = folder / f"{label:04d}"
        of_class.mkdir(parents=True)
        for number in range(RECORDINGS):
            np.savez(
                of_class / f"{number}.npz",
                x=np.clip(width // 2 + rng.integers(-SPREAD, SPREAD, events), 0, width - 1),
                y=np.clip(height // 2 + rng.integers(-SPREAD, SPREAD, events), 0, height - 1),
                t=np.linspace(0, microseconds, events, endpoint=False, dtype=np.int64),
                p=rng.integers(0, 2, events),
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """Log errors only, and nowhere else afterwards."""
    level, handlers = LOG.level, list(LOG.handlers)
    LOG.setLevel(logging.ERROR)
    try:
        yield
    finally:
        LOG.setLevel(level)
        LOG.handlers[:] = handlers


@contextmanager
def _storages_in(folder: Path) -> Iterator[None]:
    """Have both storages in a folder."""
    before = {name: os.environ.get(name) for name in _STORAGES}
    os.environ.update({name: str(folder / name.lower()) for name in _STORAGES})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
