#!/usr/bin/env python3
"""Turn a dataset's recordings into a frame cache on scratch and project storage."""

import argparse
import sys
from collections.abc import Sequence

from src.command_line import CommandLine, StopSignals, run_command
from src.config import Config


def read_arguments(words: Sequence[str] | None = None, prog: str = "prepare_data") -> argparse.Namespace:
    """The command line's, or those of other words; a mistake ends the process with a line that begins with `prog`."""
    parser = CommandLine(prog=prog, description=__doc__)
    parser.add_argument("config", help="YAML config, such as configs/prepare_nmnist.yaml")
    parser.add_argument(
        "--override",
        action="append",
        default=[],
        metavar='"KEY=VALUE ..."',
        help='such as "data.overlap=500"',
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--preview", action="store_true", help="draw the cache again, as each preparation does")
    what.add_argument(
        "--shard",
        metavar="I/N",
        type=_shard,
        help="make every N-th part only, from the I-th (1 to N); when all N are made, run without --shard",
    )
    parser.add_argument("--debug", action="store_true", help="debug logging, tracebacks")
    return parser.parse_args(words)


def _shard(text: str) -> tuple[int, int]:
    shard, slash, shards = text.partition("/")
    if not (slash and shard.isdecimal() and shards.isdecimal() and 1 <= int(shard) <= int(shards)):
        raise argparse.ArgumentTypeError(f"{text!r}: expected I/N with 1 <= I <= N, such as 1/8")
    return int(shard), int(shards)


def main() -> int:
    """Run the command line; return the exit code."""
    arguments = read_arguments()

    def command(stop: StopSignals) -> int:
        config = Config.from_yaml(arguments.config, arguments.override)
        from src.frame_cache.prepare import (  # imports numba: a mistake in the config is told before
            prepare,
            prepare_shard,
        )

        if arguments.shard is None:
            prepare(config, stop, arguments.preview)
        else:
            shard, shards = arguments.shard
            prepare_shard(config, shard, shards, stop)
        return 0

    return run_command(command, arguments.debug)


if __name__ == "__main__":
    sys.exit(main())
