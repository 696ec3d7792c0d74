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
        root = from_repository(config.data.data_root)
        yield "rw", root
        if config.data.folder is not None:
            yield "ro", root / expand_path(config.data.folder, "data.folder")
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
    from src.events.datasets import get_dataset  # imports numba, a second
    from src.events.download.archives import source_of

    root = from_repository(config.data.data_root)
    if config.data.folder is not None:
        yield "ro", root / expand_path(config.data.folder, "data.folder")
        return
    archives = get_dataset(config.data.name).archives
    with contextlib.suppress(UserError):  # it comes up when the archives are needed
        if archives and isinstance(source := source_of(archives[0], url), Path):
            yield "ro", source.parent
    # A missing folder of the user's is a mistake, unless the recordings are simulated.
    yield "make" if not archives or root == from_repository(Data().data_root) else "rw", root
