"""Print what a command needs of the disk beside code and storages, a line "MODE PATH" each.

Run by the wrappers in the container, as `python3 -m helper_scripts.config_paths FOLDER SCRIPT [SCRIPT's arguments]`.
FOLDER is where the user is; relative paths of the command line start there. MODE is `ro` (to be read), `rw` (to be
written to) or `make` (likewise, and to be made if it is not there). The line `again .` asks to be run once more, with
what the lines before it name. A line `argument N WORD` gives the SCRIPT's N-th argument, from 1, with an absolute path.
This is the one place that knows which options are paths.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from src.command_line import StopSignals, UserError, run_command
from src.config import Config, Data
from src.io_funcs import expand_path, from_repository
from src.jobs.folders import is_path
from src.sweeps.specification import base_config, load_sweep


def needed_paths(script: str, config: str, overrides: list[str]) -> Iterator[tuple[str, Path]]:
    """(mode, absolute path) of each that a config leads to; UserError for a mistake in it."""
    if script != "sweep.py":
        yield from _needed_by(script, Config.from_yaml(config, overrides))
        return
    base = base_config(config)
    yield "ro", base
    if not base.exists():
        yield "again", Path()
        return
    needed = (path for job in load_sweep(config).jobs for path in _needed_by("main.py", job.config))
    yield from dict.fromkeys(needed)


def needed_to_export(model: str, out: str | None, folder: Path) -> Iterator[tuple[str, Path]]:
    """(mode, absolute path) of each that an export needs; a job's model lies on project storage."""
    if is_path(model):
        path = folder / expand_path(model, "model")
        yield "ro", path
        if out is None and path.is_file():
            yield "make", path.parent / "export"
        elif out is None:
            yield "again", Path()  # nothing is made beside a file that is not there
    if out is not None:
        yield "make", folder / expand_path(out, "--out")


def absolute_arguments(words: list[str], folder: Path) -> Iterator[tuple[int, str]]:
    """(number, word) of each argument of an export that is a path."""
    if is_path(words[0]):
        yield 1, _absolute(words[0], "model", folder)
    for i, word in enumerate(words):
        if word == "--out" and i + 1 < len(words):
            yield i + 2, _absolute(words[i + 1], "--out", folder)
        elif word.startswith("--out="):
            yield i + 1, f"--out={_absolute(word.removeprefix('--out='), '--out', folder)}"


def _absolute(path: str, what: str, folder: Path) -> str:
    return os.path.abspath(folder / expand_path(path, what))  # noqa: PTH100 - links stay, '..' goes


def _needed_by(script: str, config: Config) -> Iterator[tuple[str, Path]]:
    data, teacher = config.data, config.train.teacher.model
    if script == "main.py" and teacher is not None and is_path(expanded := expand_path(teacher, "train.teacher.model")):
        yield "ro", from_repository(expanded)
    brings_recordings, url = script == "prepare_data.py", data.url
    if not brings_recordings and data.prepare_if_missing is not None:
        preparation = from_repository(data.prepare_if_missing)
        yield "ro", preparation
        if not preparation.exists():
            yield "again", Path()
        with contextlib.suppress(UserError):  # told when it is needed
            brings_recordings, url = True, Config.from_yaml(preparation).data.url
    mode, root = "rw", from_repository(data.data_root)
    if brings_recordings:
        from src.events.datasets import get_dataset  # imports numba, a second
        from src.events.download.archives import source_of

        archives = get_dataset(data.name).archives
        if not archives or root == from_repository(Data().data_root):  # else a missing folder is a mistake
            mode = "make"
        with contextlib.suppress(UserError):  # told when they are needed
            if archives and isinstance(source := source_of(archives[0], url), Path):
                yield "ro", source.parent
    yield mode, root


def main() -> int:
    """Print the paths; return the exit code, 2 for a mistake in the config or the arguments."""
    parser = argparse.ArgumentParser(prog="config_paths", allow_abbrev=False)
    parser.add_argument("folder", type=Path)
    parser.add_argument("script")
    parser.add_argument("first", help="the config, or what is exported")
    parser.add_argument("--override", action="append", default=[])
    parser.add_argument("--out")
    arguments, _ = parser.parse_known_args()
    script = Path(arguments.script).name

    def command(stop: StopSignals) -> int:
        if script == "export.py":
            needed = needed_to_export(arguments.first, arguments.out, arguments.folder)
            for number, word in absolute_arguments(sys.argv[3:], arguments.folder):
                _print("argument", f"{number} {word}")
        else:
            needed = needed_paths(script, arguments.first, arguments.override)
        for mode, path in needed:
            _print(mode, os.path.abspath(path) if mode != "again" else ".")  # noqa: PTH100 - links stay, '..' goes
        return 0

    return run_command(command, debug=False)


def _print(mode: str, path: str) -> None:
    if "\n" in path:
        raise UserError(f"{path!r}: a container cannot bind a path with a line break; move or rename it")
    print(mode, path)


if __name__ == "__main__":
    sys.exit(main())
