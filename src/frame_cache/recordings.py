"""A dataset's recordings on this machine: found, downloaded or simulated."""

from collections.abc import Callable
from pathlib import Path, PurePath

from src.command_line import UserError
from src.config import Data
from src.events.datasets.dataset import Dataset, Recording, broken_links
from src.events.datasets.listing import entries_of
from src.events.download.archives import fetch, strange_folders
from src.events.formats.reading import format_of
from src.helpers import LOG, format_size, printable
from src.io_funcs import file_lock, from_repository, remove_if_empty
from src.registry import FILE_FORMATS


def obtain_recordings(
    data: Data, dataset: Dataset, check: Callable[[], None] = lambda: None
) -> tuple[Path, Dataset, list[Recording]]:
    """Return the recordings' folder, the dataset with what lies there, and the recordings, in this order.

    If there are none, they are downloaded or simulated first.
    """
    root = from_repository(data.data_root) / dataset.folder
    try:
        if dataset.complete is not None:
            dataset, recordings = dataset.complete(root)
        else:
            recordings = dataset.find_recordings(root)
    except OSError as error:
        path = printable(str(error.filename or root))
        raise UserError(f"cannot list the recordings of {dataset.name}: {path}: {error.strerror}") from error
    if links := broken_links(root):
        link, target = printable(links[0]), printable(str(Path(links[0]).readlink()))
        some = f"links that lead nowhere: {len(links):,}, such as {link} -> {target}"
        what_to_do = "Bring the files that they name (git annex get, dvc pull), or mount their disk"
        if not recordings:
            raise UserError(f"no recordings in {printable(str(root))}, only {some}. {what_to_do}")
        LOG.warning("recordings in %s are left out, %s. %s", root, some, what_to_do)
    if dataset.of_options is None and (not recordings or not dataset.is_current(root, data.seed)):
        try:
            _bring_recordings(data, dataset, root, check)
        except OSError as error:
            raise UserError(f"cannot bring the recordings of {dataset.name} to {root}: {error}") from error
        recordings = dataset.find_recordings(root)
    if not recordings:
        raise UserError(_why_none(data, dataset, root))
    if dataset.archives and (strangers := _unused_folders(dataset, root, recordings)):
        LOG.warning("nothing is taken from %s in %s: not a folder of %s", ", ".join(strangers), root, dataset.name)
    if len(recordings) < dataset.full_size:
        LOG.warning(
            "%s: %d of %d recordings found under %s; using those",
            dataset.name,
            len(recordings),
            dataset.full_size,
            root,
        )
    return root, dataset, recordings


def _why_none(data: Data, dataset: Dataset, root: Path) -> str:
    """Say that there are no recordings, and what to do about it."""
    where = printable(str(root))
    if dataset.of_options is None:
        return f"no recordings of {dataset.name} under {where}; is data.data_root right?"
    if missing := missing_folder_text(data, dataset, root):
        return missing
    what_to_do = "Make a folder per class and put its recordings into it, or list them in a labels.csv"
    for place in (root, *(root / name for name in entries_of(root)["folder"])):
        if loose := entries_of(place)["file"]:
            lie = "1 file lies" if len(loose) == 1 else f"{len(loose):,} files lie"
            return f"no recordings in {where}, but {lie} directly in {printable(str(place))}. {what_to_do}"
    return f"no recordings in {where}. {what_to_do}"


def missing_folder_text(data: Data, dataset: Dataset, root: Path) -> str:
    """Say that the folder of the user's own recordings is missing, and what to do; empty if it is there."""
    if dataset.of_options is None or root.is_dir():
        return ""
    option, where = f"data.folder = {printable(str(data.folder))}", printable(str(root))
    if root.exists():
        return f"{option}: {where} is a file; name the folder that holds a folder per class, or a labels.csv"
    begins = (
        "" if Path(dataset.folder).is_absolute() else f"; a relative path begins in data.data_root = {data.data_root}"
    )
    return f"{option}: there is no folder {where}{begins}"


def _unused_folders(dataset: Dataset, root: Path, recordings: list[Recording]) -> list[str]:
    """Return the folders that are none of the dataset's archives and hold no recording of it, sorted."""
    strangers = strange_folders(dataset.archives, root)
    if not strangers:
        return []
    used = {PurePath(recording.path).relative_to(root).parts[0] for recording in recordings}
    return [name for name in strangers if name not in used]


def _bring_recordings(data: Data, dataset: Dataset, root: Path, check: Callable[[], None]) -> None:
    """Download or simulate the recordings; a failed download leaves only what the next one goes on with."""
    made_data_root = not root.parent.exists()
    if dataset.archives and made_data_root and root.parent != from_repository(Data().data_root):
        size = format_size(sum(archive.size for archive in dataset.archives))
        raise UserError(
            f"data.data_root = {data.data_root}: there is no such folder; correct it, or make the folder if "
            f"{dataset.name} ({size}) is to be downloaded to it"
        )
    if dataset.archives and dataset.find_recordings(root.parent):
        raise UserError(
            f"data.data_root = {data.data_root} is itself the folder of the recordings of {dataset.name}: name it "
            f"{dataset.folder}, if it is not, and give the folder that it lies in"
        )
    lock, waiting = root.with_name(f".{root.name}.lock"), f"another process brings {root}; waiting for it"
    try:
        with file_lock(lock, waiting, check, remove=True):
            if dataset.find_recordings(root) and dataset.is_current(root, data.seed):
                return
            if dataset.archives:
                fetch(dataset.archives, root, data.url, check)
            elif dataset.obtain:
                dataset.obtain(root, data.seed)
    finally:
        if made_data_root:
            remove_if_empty(root.parent)


def clocked_format(path: str, dataset: Dataset) -> str | None:
    """Return the format of one of the user's own recordings if `data.evt3_clock` decides about its timestamps."""
    if dataset.of_options is None:
        return None
    try:
        name = format_of(path)
    except OSError:  # reported when it is read
        return None
    return name if name is not None and FILE_FORMATS.load(name).clocks is not None else None


def clock_advice(recordings: list[Recording], dataset: Dataset, data: Data) -> str:
    """Return what to say of the timestamps of the user's own recordings, by the first one's format; often nothing."""
    name = clocked_format(recordings[0].path, dataset) if data.evt3_clock == Data().evt3_clock else None
    if name is None:
        return ""
    return (
        f"{name} files: timestamps are made as {data.evt3_clock} makes them, which in a camera's files run faster "
        f"than its clock; there data.evt3_clock=metavision gives the camera's"
    )
