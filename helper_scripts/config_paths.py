"""Print what a command needs of the disk beside code and storages: a line "MODE PATH" each, as its config has it.

Run by the wrappers in the container, as `python3 -m helper_scripts.config_paths SCRIPT CONFIG [SCRIPT's options]`. MODE
is `ro` (to be read), `rw` (to be written to) or `make` (likewise, and to be made if it is not there). The line
`again .` asks to be run once more, with what the lines before it name. A sweep needs what its configs need.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from src.config import Config, Data
from src.helpers import StopSignals, UserError, run_command
from src.io_funcs import from_repository
from src.sweep import base_config, load_sweep


def needed_paths(script: str, config: str, overrides: list[str]) -> Iterator[tuple[str, Path]]:
    """(mode, absolute path) of each; UserError for a mistake in the config."""
    if script != "sweep.py":
        yield from _needed_by(script, Config.from_yaml(config, overrides).data)
        return
    base = base_config(config)
    yield "ro", base
    if not base.exists():
        yield "again", Path()
        return
    needed = (path for job in load_sweep(config).jobs for path in _needed_by("main.py", job.config.data))
    yield from dict.fromkeys(needed)


def _needed_by(script: str, data: Data) -> Iterator[tuple[str, Path]]:
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
        from src.events.archives import source_of
        from src.events.datasets import get_dataset  # imports numba, a second

        archives = get_dataset(data.name).archives
        if not archives or root == from_repository(Data().data_root):  # else a missing folder is a mistake
            mode = "make"
        with contextlib.suppress(UserError):  # told when they are needed
            if archives and isinstance(source := source_of(archives[0], url), Path):
                yield "ro", source.parent
    yield mode, root


def main() -> int:
    """Print the paths; return the exit code, 2 for a mistake in the config."""
    parser = argparse.ArgumentParser(prog="config_paths")
    parser.add_argument("script")
    parser.add_argument("config")
    parser.add_argument("--override", action="append", default=[])
    arguments, _ = parser.parse_known_args()

    def command(stop: StopSignals) -> int:
        for mode, path in needed_paths(Path(arguments.script).name, arguments.config, arguments.override):
            if "\n" in str(path):
                raise UserError(f"{str(path)!r}: a container cannot bind a path with a line break; move or rename it")
            print(mode, os.path.abspath(path) if mode != "again" else ".")  # noqa: PTH100 - links stay, '..' goes
        return 0

    return run_command(command, debug=False)


if __name__ == "__main__":
    sys.exit(main())
