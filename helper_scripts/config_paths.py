"""Print what a command needs of the disk beside code and storages, a line "MODE PATH" each.

The wrappers run it in the container, as `python3 -m helper_scripts.config_paths SCRIPT [ARGUMENT]...`. MODE is `ro` (to
be read), `rw` (to be written to) or `make` (likewise, and to be made if it is not there). The line `again .` asks to be
run once more, with what the lines before it name.
"""

import importlib
import os
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path

from src.command_line import StopSignals, UserError, read_command_line, run_command
from src.config import Config
from src.needed_paths import needed_to_prepare, needed_to_train


def needed_paths(script: str, words: list[str]) -> Iterator[tuple[str, Path]]:
    """Yield (mode, path) for what an entry point or a command of src/cli needs; UserError for a mistake."""
    name = Path(script).name
    if name == "cli":
        command = importlib.import_module(f"src.cli.{words[0]}")
        yield from command.needed_paths(
            read_command_line(f"job.sh {words[0]}", command.__doc__, command.add_arguments, words[1:])
        )
        return
    parser = ArgumentParser(prog=name, allow_abbrev=False)
    parser.add_argument("config")
    parser.add_argument("--override", action="append", default=[])
    arguments, _ = parser.parse_known_args(words)
    config = Config.from_yaml(arguments.config, arguments.override)
    yield from needed_to_prepare(config) if name == "prepare_data.py" else needed_to_train(config)


def main() -> int:
    """Print the paths; return the exit code, 2 for a mistake in the config or the arguments."""

    def command(stop: StopSignals) -> int:
        for mode, path in needed_paths(sys.argv[1], sys.argv[2:]):
            _print(mode, os.path.abspath(path) if mode != "again" else ".")  # noqa: PTH100 - links stay, '..' goes
        return 0

    return run_command(command, debug=False)


def _print(mode: str, path: str) -> None:
    if "\n" in path:
        raise UserError(f"{path!r}: a container cannot bind a path with a line break; move or rename it")
    print(mode, path)


if __name__ == "__main__":
    sys.exit(main())
