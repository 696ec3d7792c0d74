#!/usr/bin/env python3
"""List every frame cache, verify it on both storages, and replace missing or damaged copies by valid ones.

Examples:
  ./check_and_sync_data.sh
  ./check_and_sync_data.sh --dry-run --dataset NMNIST
"""

import sys
from argparse import ArgumentParser, Namespace

from src.command_line import EXIT_DONE, EXIT_FAILED, StopSignals, run_command_line


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments."""
    which = parser.add_argument_group("what is checked")
    which.add_argument("--dataset", metavar="NAME", help="the caches of this dataset only")
    which.add_argument("--fast", action="store_true", help="sizes only, not checksums")
    done = parser.add_argument_group("what is done")
    done.add_argument("--dry-run", action="store_true", help="say what would be done, change nothing")
    done.add_argument(
        "--prune",
        action="store_true",
        help="remove damaged and incomplete caches of which there is no valid copy, and orphaned temporary files",
    )


def run(arguments: Namespace, stop: StopSignals) -> int:
    """Check the caches; the exit code says whether every one is well."""
    from src.frame_cache.sync import check_and_sync

    well = check_and_sync(arguments.fast, arguments.dry_run, stop.check, arguments.dataset, arguments.prune)
    return EXIT_DONE if well else EXIT_FAILED


if __name__ == "__main__":
    sys.exit(run_command_line("check_and_sync_data.sh", __doc__, add_arguments, run))
