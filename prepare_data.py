#!/usr/bin/env python3
"""Turn a dataset's recordings into a frame cache on scratch and project storage.

Examples:
  ./prepare_data.sh configs/prepare_nmnist.yaml
  ./prepare_data.sh configs/prepare_nmnist.yaml --override "data.overlap=500"
  ./prepare_data.sh configs/my_recordings.yaml --inspect
"""

import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace

from src.command_line import EXIT_DONE, StopSignals, print_result, run_command_line
from src.helpers import LOG


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("config", metavar="CONFIG", help="YAML config, such as configs/prepare_nmnist.yaml")
    options = parser.add_argument_group("options of the config")
    options.add_argument(
        "--override",
        action="append",
        default=[],
        metavar='"KEY=VALUE ..."',
        help='such as "data.overlap=500"; may be given more than once',
    )
    what = parser.add_argument_group("less than the whole cache").add_mutually_exclusive_group()
    what.add_argument("--inspect", action="store_true", help="only list what recordings there are; write nothing")
    what.add_argument("--preview", action="store_true", help="only draw the cache's picture again")
    what.add_argument(
        "--shard",
        metavar="I/N",
        type=_shard,
        help="make every N-th part only, from the I-th (1 to N); when all N are made, run without --shard",
    )


def _shard(text: str) -> tuple[int, int]:
    shard, slash, shards = text.partition("/")
    if not (slash and shard.isdecimal() and shards.isdecimal() and 1 <= int(shard) <= int(shards)):
        raise ArgumentTypeError(f"{text!r}: expected I/N with 1 <= I <= N, such as 1/8")
    return int(shard), int(shards)


def run(arguments: Namespace, stop: StopSignals) -> int:
    """Prepare the cache, some of its parts, or its pictures."""
    from src.config import Config, unread_overrides

    config = Config.from_yaml(arguments.config, arguments.override)
    for line in unread_overrides(arguments.override, ["data"], "a preparation reads only data"):
        LOG.warning("%s", line)
    if arguments.inspect:
        from src.frame_cache.inspect import inspect

        inspect(config, print_result, stop.check)
        return EXIT_DONE
    from src.frame_cache.prepare import prepare, prepare_shard  # imports numba, after the check of the config

    if arguments.shard is None:
        prepare(config, stop, arguments.preview)
    else:
        shard, shards = arguments.shard
        prepare_shard(config, shard, shards, stop)
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(run_command_line("prepare_data.sh", __doc__, add_arguments, run))
