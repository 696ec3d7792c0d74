"""Frame caches on scratch and project storage: their state, and bringing them into line in the safe direction."""

import contextlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from src.command_line import UserError
from src.frame_cache import cache
from src.helpers import LOG, format_duration, format_size, format_table, match_choice
from src.io_funcs import is_locked, leftovers, project_root, read_bytes, scratch_root

REPLACEABLE = ("missing", "incomplete", "damaged")  # a valid copy may take the place of these
_SHARD = re.compile(r"\.shard-(\d+)-of-(\d+)\.lock")  # see `prepare.prepare_shard`


@dataclass
class CacheState:
    """One cache on both storages.

    A state is one of these: ok; missing; incomplete, without a manifest; damaged; differs, if both are valid but not
    the same; unreadable, if the disk or its permissions fail; other version, of this program, which may be sound; in
    progress, if another process works on it.
    """

    relative: Path  # data/<NAME>/<identity>
    scratch: str
    project: str
    manifest: cache.Manifest | None  # that of a valid copy if there is one

    @property
    def folders(self) -> tuple[Path, Path]:
        """Return the cache's folders on scratch and on project storage."""
        return scratch_root() / self.relative, project_root() / self.relative


def find(dataset: str | None = None) -> list[Path]:
    """Return every cache under either storage root, whole or not, as data/<NAME>/<identity>.

    Raises:
        UserError: if `dataset` is given and there is no cache of it.
    """
    found = sorted(
        {
            path.relative_to(root)
            for root in (scratch_root(), project_root())
            for path in (root / "data").glob("*/*")
            if cache.is_cache_folder(path)
        }
    )
    if dataset is None:
        return found
    there = sorted({relative.parent.name for relative in found})
    if (name := match_choice(dataset, there)) is None:
        raise UserError(f"no frame cache of dataset {dataset!r}; there: {', '.join(there) or 'none'}")
    return [relative for relative in found if relative.parent.name == name]


def survey(fast: bool, check: Callable[[], None] = lambda: None, dataset: str | None = None) -> list[CacheState]:
    """Return the state of every cache, or of those of one dataset; `fast` compares sizes, not checksums."""
    caches = find(dataset)
    manifests = [cache.read_manifest(root / one) for root in (scratch_root(), project_root()) for one in caches]
    total = 0 if fast else sum(cache.cache_size(manifest) for manifest in manifests if manifest)
    with cache.byte_bar("verifying", total) as bar:
        return [_examine(relative, fast, check, bar.update) for relative in caches]


def _examine(relative: Path, fast: bool, check: Callable[[], None], advance: Callable[[int], object]) -> CacheState:
    folders = (scratch_root() / relative, project_root() / relative)
    busy = _is_busy(*folders)
    (scratch, on_scratch), (project, on_project) = (_state(folder, fast, check, advance) for folder in folders)
    if scratch == project == "ok" and on_scratch != on_project:
        scratch = project = "differs"
    if busy or _is_busy(*folders):
        scratch, project = ("in progress" if one in ("incomplete", "damaged") else one for one in (scratch, project))
    return CacheState(relative, scratch, project, on_scratch if scratch == "ok" else on_project or on_scratch)


def _is_busy(*folders: Path) -> bool:
    return any(is_locked(cache.lock_path(folder)) for folder in folders)


def _state(
    folder: Path,
    fast: bool,
    check: Callable[[], None],
    advance: Callable[[int], object] = lambda size: None,
) -> tuple[str, cache.Manifest | None]:
    try:
        if not folder.is_dir():
            return "missing", None
        read_bytes(folder / cache.MANIFEST)
        if cache.is_of_other_version(folder):
            return "other version", None
        manifest = cache.read_manifest(folder)
        broken = cache.damages(folder, manifest, fast, check, advance) if manifest else []
    except FileNotFoundError:
        return "incomplete", None
    except OSError as error:
        LOG.warning("%s", error)
        return "unreadable", None
    for line in broken:
        LOG.warning("%s", line)
    return "ok" if manifest and not broken else "damaged", manifest


def unfinished(dataset: str | None = None) -> list[str]:
    """Return a line for each preparation that has made parts but no cache yet, of one dataset or of all."""
    folders = dict.fromkeys(
        folder.resolve()
        for root in (scratch_root(), project_root())
        for folder in sorted((root / "data").glob("*/.*.parts"))
        if folder.is_dir() and (dataset is None or match_choice(dataset, [folder.parent.name]))
    )
    lines = []
    for folder in folders:
        with contextlib.suppress(OSError):  # it has just been finished
            lines.append(_describe_parts(folder))
    return lines


def _describe_parts(folder: Path) -> str:
    files = [path.stat() for path in folder.iterdir()]
    num_parts = len(list(folder.glob("*.json")))
    age = time.time() - max((file.st_mtime for file in files), default=folder.stat().st_mtime)
    words = [
        f"{num_parts} part{'s' * (num_parts != 1)}, {format_size(sum(file.st_size for file in files))}, "
        f"last written {format_duration(max(age, 0.0))} ago"
    ]
    is_busy = _is_busy(folder.with_name(folder.name.removeprefix(".").removesuffix(".parts")))
    found = (_SHARD.fullmatch(path.name) for path in folder.iterdir())
    for shard, shards in sorted((int(match[1]), int(match[2])) for match in found if match):
        lock = folder / f".shard-{shard}-of-{shards}.lock"
        is_running = is_locked(lock)
        is_busy = is_busy or is_running
        state = "in progress" if is_running else "done" if lock.with_suffix(".done").exists() else "stopped"
        words.append(f"shard {shard}/{shards} {state}")
    advice = "in progress" if is_busy else "prepare_data.sh with its config, without --shard, finishes it"
    return f"unfinished preparation {folder}: {'; '.join(words)}: {advice}"


def check_and_sync(
    fast: bool,
    dry_run: bool,
    check: Callable[[], None] = lambda: None,
    dataset: str | None = None,
    prune: bool = False,
) -> bool:
    """Print a table of all caches, copy valid ones over missing and damaged ones; return whether all is well now.

    A damaged copy never replaces anything. Two valid copies that differ are reported and left alone. A cache that
    another process works on is left alone, and is no fault. Unfinished preparations are shown above the table.

    Args:
        fast: compare sizes, not checksums; copies are verified anyway.
        dry_run: say what would be done, and do nothing.
        check: called often; may raise to stop.
        dataset: look at the caches of this dataset only.
        prune: remove damaged and incomplete caches that have no valid copy, and orphaned temporary files.
    """
    for line in unfinished(dataset):
        LOG.info("%s", line)
    states = survey(fast, check, dataset)
    if not states:
        LOG.info("no frame caches under %s or %s", scratch_root() / "data", project_root() / "data")
        return True
    LOG.info("frame caches\n%s", _table(states))
    settled = [_settle(state, fast, dry_run, prune, check) for state in states]
    return all(settled)


def _settle(state: CacheState, fast: bool, dry_run: bool, prune: bool, check: Callable[[], None]) -> bool:
    """Do what one cache needs; return whether it is well now."""
    if state.scratch == state.project == "ok" and not (prune and _orphans(state)):
        return True
    try:
        if dry_run:
            if _is_busy(*state.folders):
                raise BlockingIOError
            return _act(state, dry_run, prune, check)
        with cache.both_locked(state.relative):
            # Another process may have mended meanwhile what is to be replaced or removed.
            for storage, folder in zip(("scratch", "project"), state.folders, strict=True):
                if getattr(state, storage) in (*REPLACEABLE, "in progress"):
                    setattr(state, storage, _state(folder, fast, check)[0])
            return _act(state, dry_run, prune, check)
    except BlockingIOError:
        LOG.info("%s: another process is working on it; left alone", state.relative)
        return True
    except UserError as error:
        LOG.error("%s: %s", state.relative, error)
    except OSError as error:
        LOG.error("%s: %s; see the disk and its permissions", state.relative, error)
    return False


def _act(state: CacheState, dry_run: bool, prune: bool, check: Callable[[], None]) -> bool:
    """Do the work of `_settle` while nobody else works on the cache."""
    (scratch, project), states = state.folders, (state.scratch, state.project)
    if prune:
        for path in _orphans(state):
            LOG.info("%s %s", "would remove" if dry_run else "removing", path)
            if not dry_run:
                path.unlink(missing_ok=True)
    if states in (("ok", "ok"), ("missing", "missing")):
        return True
    for source, target, direction in ((project, scratch, states[::-1]), (scratch, project, states)):
        if direction[0] == "ok" and direction[1] in REPLACEABLE:
            LOG.info("%s %s to %s", "would copy" if dry_run else "copying", source, target)
            if not dry_run:
                cache.copy_cache(source, target, check)
            return not dry_run
    if prune and set(states) <= set(REPLACEABLE):
        for folder in (scratch, project):
            if folder.is_dir():
                LOG.info("%s %s: no valid copy is left", "would remove" if dry_run else "removing", folder)
                if not dry_run:
                    cache.remove_cache(folder)
        return not dry_run
    if "other version" in states:
        LOG.warning("%s: made by another version of this program; left as it is", state.relative)
        return True
    if "differs" in states:
        advice = "the copies differ; move the one that you do not want elsewhere"
    elif "unreadable" in states:
        advice = "cannot be read; see the disk and its permissions"
    else:
        advice = "no valid copy is left; prepare it again with data.reset_cache=true, or remove it with --prune"
    LOG.error("%s: %s", state.relative, advice)
    return False


def _orphans(state: CacheState) -> list[Path]:
    return [path for folder in state.folders for path in leftovers(folder)]


def _table(states: list[CacheState]) -> str:
    rows = []
    for state in states:
        splits = state.manifest["splits"].values() if state.manifest else []
        rows.append(
            [
                state.relative.parent.name,
                state.relative.name,
                f"{sum(entry['frames'] for entry in splits):,}" if state.manifest else "?",
                f"{sum(entry['recordings'] for entry in splits):,}" if state.manifest else "?",
                format_size(cache.cache_size(state.manifest)) if state.manifest else "?",
                state.scratch,
                state.project,
            ]
        )
    header = ["dataset", "parameters", "frames", "recordings", "size", "on scratch", "on project"]
    return format_table(header, rows)
