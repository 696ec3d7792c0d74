"""What a config leads to on the disk beside code and storages: a container shows a command nothing else.

A path comes with a mode: `ro` (to be read), `rw` (to be written to) or `make` (likewise, and to be made if it is not
there). AGAIN says that a path before it has to be read first, to find out what it leads to.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from src.command_line import UserError
from src.config import Config, Data
from src.io_funcs import expand_path, from_repository
from src.jobs.folders import is_path

AGAIN = ("again", Path())


def needed_to_train(config: Config) -> Iterator[tuple[str, Path]]:
    """Yield (mode, absolute path) for what a training job reads or writes."""
    teacher = config.train.teacher.model
    if teacher is not None and is_path(expanded := expand_path(teacher, "train.teacher.model")):
        yield "ro", from_repository(expanded)
    if config.data.prepare_if_missing is None:
        yield "rw", from_repository(config.data.data_root)
        return
    preparation = from_repository(config.data.prepare_if_missing)
    yield "ro", preparation
    if not preparation.exists():
        yield AGAIN
    try:
        url = Config.from_yaml(preparation).data.url
    except UserError:  # it comes up when the config is needed
        yield "rw", from_repository(config.data.data_root)
    else:
        yield from _needed_for_recordings(config, url)


def needed_to_prepare(config: Config) -> Iterator[tuple[str, Path]]:
    """Yield (mode, absolute path) for what the preparation of a frame cache reads or writes."""
    yield from _needed_for_recordings(config, config.data.url)


def _needed_for_recordings(config: Config, url: str | None) -> Iterator[tuple[str, Path]]:
    from src.events.download.archives import source_of  # imports numba, a second
    from src.frame_cache.framing_options import dataset_of

    root = from_repository(config.data.data_root)
    dataset = dataset_of(config.data)
    if dataset.complete is not None:
        yield "ro", root / dataset.folder
        return
    archives = dataset.archives
    with contextlib.suppress(UserError):  # it comes up when the archives are needed
        if archives and isinstance(source := source_of(archives[0], url), Path):
            yield "ro", source.parent
    # A missing folder of the user's is a mistake, unless the recordings are simulated.
    yield "make" if not archives or root == from_repository(Data().data_root) else "rw", root
