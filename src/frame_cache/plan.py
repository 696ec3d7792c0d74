"""What a preparation makes, of which recordings, and where: known before anything is written."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.command_line import StopSignals
from src.config import Config, Data
from src.events.datasets.dataset import Dataset, Recording
from src.events.framing import Framing
from src.frame_cache import cache
from src.frame_cache.framing_options import dataset_of, framing_of, require_crop_on_sensor
from src.frame_cache.recordings import clock_advice, obtain_recordings
from src.frame_cache.splits import assign_splits, require_learnable, warn_of_gaps
from src.frame_cache.work_units import WorkUnit, plan_work_units
from src.helpers import LOG
from src.io_funcs import project_root, require_storages, scratch_root


@dataclass(frozen=True)
class Preparation:
    """What is prepared, and where."""

    dataset: Dataset
    framing: Framing
    recordings: list[Recording]
    names: list[str]  # of the recordings, for people
    parameters: dict[str, Any]
    fingerprint: str
    units: list[WorkUnit]
    relative: Path  # the cache's folder under both storage roots

    @property
    def scratch(self) -> Path:
        """Return the cache's folder on scratch."""
        return scratch_root() / self.relative

    @property
    def project(self) -> Path:
        """Return the cache's folder on project storage."""
        return project_root() / self.relative


def plan_preparation(config: Config, stop: StopSignals) -> Preparation:
    """Return what the config asks for; download or simulate recordings that are to be had.

    Raises:
        UserError: there are no recordings, they do not fit together, or a storage cannot be written to.
        Whatever `stop.check` raises.
    """
    dataset = dataset_of(config.data)
    if dataset.complete is None:  # before a download; own recordings may be at fault, and then nothing is written
        require_storages()
    if dataset.note:
        LOG.info("%s", dataset.note)
    _warn_of_unused(config.data, dataset)
    parameters = cache.cache_parameters(config.data, dataset)
    root, dataset, recordings = obtain_recordings(config.data, dataset, stop.check)
    require_crop_on_sensor(config.data, dataset)
    if advice := clock_advice(recordings, dataset, config.data):
        LOG.warning("%s", advice)
    fingerprint = cache.source_fingerprint(recordings, root)
    splits = assign_splits(recordings, config.data, dataset.own_test_split)
    require_learnable(splits, recordings, dataset)
    require_storages()
    warn_of_gaps(splits, recordings, dataset, config)
    units = plan_work_units(splits, recordings)
    relative = Path("data", dataset.name, cache.cache_identity(parameters, fingerprint))
    names = cache.told_names(recordings, root)
    return Preparation(dataset, framing_of(config.data), recordings, names, parameters, fingerprint, units, relative)


def _warn_of_unused(data: Data, dataset: Dataset) -> None:
    """Warn of options that are not at their defaults and that this dataset does not use."""
    reasons = {
        "test_split": "the dataset has a test split of its own" if dataset.own_test_split else None,
        "url": None if dataset.archives else "the dataset has no archives to download",
    }
    for option, reason in reasons.items():
        if reason is not None and getattr(data, option) != getattr(Data(), option):
            LOG.warning("data.%s is not used with data.name = %s, since %s", option, dataset.name, reason)


def units_folder(folder: Path) -> Path:
    """Return the folder of work units beside a cache's folder; it is hidden, so that nobody takes it for a cache."""
    return folder.with_name(f".{folder.name}.parts")
