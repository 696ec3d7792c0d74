"""Frame caches on scratch and project storage: their state, and bringing them into line in the safe direction."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from src import cache
from src.helpers import LOG, format_size, format_table
from src.io_funcs import file_lock, project_root, scratch_root


@dataclass
class CacheState:
    """One cache on both storages; a state is ok, missing, damaged, incomplete (no manifest) or differs."""

    relative: Path  # data/<NAME>/<identity>
    scratch: str
    project: str
    manifest: cache.Manifest | None  # of a valid copy


def survey(fast: bool, check: Callable[[], None] = lambda: None) -> list[CacheState]:
    """The state of every cache folder under either storage root."""
    roots = {"scratch": scratch_root(), "project": project_root()}
    folders = {
        path.relative_to(root)
        for root in roots.values()
        for path in (root / "data").glob("*/*")
        if path.is_dir() and not path.name.startswith(".")
    }
    found = []
    for relative in sorted(folders):
        states, manifests = {}, {}
        for storage, root in roots.items():
            states[storage], manifests[storage] = _state(root / relative, fast, check)
        if states == {"scratch": "ok", "project": "ok"} and manifests["scratch"] != manifests["project"]:
            states = {"scratch": "differs", "project": "differs"}
        found.append(CacheState(relative, **states, manifest=manifests["project"] or manifests["scratch"]))
    return found


def _state(folder: Path, fast: bool, check: Callable[[], None]) -> tuple[str, cache.Manifest | None]:
    if not folder.is_dir():
        return "missing", None
    manifest = cache.read_manifest(folder)
    if manifest is None:
        return "damaged" if (folder / cache.MANIFEST).exists() else "incomplete", None
    broken = cache.damages(folder, manifest, fast, check)
    for line in broken:
        LOG.warning("%s", line)
    return ("damaged", None) if broken else ("ok", manifest)


def check_and_sync(fast: bool, dry_run: bool, check: Callable[[], None] = lambda: None) -> bool:
    """Print a table of all caches, copy valid ones over missing and damaged ones; return whether all is well now.

    A damaged copy never replaces anything; two valid copies that differ are reported and left alone.
    """
    states = survey(fast, check)
    if not states:
        LOG.info("no frame caches under %s or %s", scratch_root() / "data", project_root() / "data")
        return True
    LOG.info("frame caches\n%s", _table(states))
    well = True
    for state in states:
        source, target = scratch_root() / state.relative, project_root() / state.relative
        if state.scratch == "ok" and state.project == "ok":
            continue
        if state.project == "ok":
            source, target = target, source
        elif state.scratch != "ok":
            differs = "the copies differ; remove the one that you do not want"
            reason = (
                differs
                if state.scratch == "differs"
                else "no valid copy is left; prepare it again with data.reset_cache=true"
            )
            LOG.error("%s: %s", state.relative, reason)
            well = False
            continue
        if dry_run:
            LOG.info("would copy %s to %s", source, target)
            well = False
            continue
        lock = (project_root() / state.relative).with_name(f".{state.relative.name}.lock")
        with file_lock(lock, f"another process is working on {state.relative}; waiting for it", check):
            LOG.info("copying %s to %s", source, target)
            cache.copy_cache(source, target, check)
    return well


def _table(states: list[CacheState]) -> str:
    rows = []
    for state in states:
        splits = state.manifest["splits"].values() if state.manifest else []
        rows.append(
            [
                state.relative.parent.name,
                state.relative.name,
                f"{sum(entry['recordings'] for entry in splits):,}" if state.manifest else "?",
                f"{sum(entry['frames'] for entry in splits):,}" if state.manifest else "?",
                format_size(cache.cache_size(state.manifest)) if state.manifest else "?",
                state.scratch,
                state.project,
            ]
        )
    header = ["dataset", "parameters", "recordings", "frames", "size", "on scratch", "on project"]
    return format_table(header, rows)
