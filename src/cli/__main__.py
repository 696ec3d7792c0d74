"""Run one command: python src/cli COMMAND [ARGUMENT]..., which is what job.sh does.

Each other file of this folder is a command, named by the file. It has a docstring, whose first line `job.sh --help`
shows, `add_arguments(parser)`, and `run(arguments, stop)`, which returns the exit code. A command that reads or writes
files outside of the storages has `needed_paths(arguments)`, which tells a container what to bind.
"""

import importlib
import sys
from pathlib import Path


def main() -> int:
    """Run the command that the first argument names; return the exit code."""
    from src.command_line import EXIT_USER_ERROR, run_command_line

    commands = [path.stem for path in Path(__file__).parent.glob("[a-z]*.py")]
    name, *words = sys.argv[1:] or ["--help"]
    if name not in commands:
        print(f"usage: job.sh COMMAND [ARGUMENT]...; the commands are {', '.join(sorted(commands))}", file=sys.stderr)
        return EXIT_USER_ERROR
    command = importlib.import_module(f"src.cli.{name}")
    return run_command_line(f"job.sh {name}", command.__doc__, command.add_arguments, command.run, words)


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # not this folder, whose files are no modules of their own
    from src.command_line import leave

    leave(main())
