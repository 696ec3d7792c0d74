#!/usr/bin/env python3
"""List every frame cache, verify it on both storages, and replace missing or damaged copies by valid ones."""

import argparse
import sys

from src.command_line import CommandLine, StopSignals, run_command


def _arguments() -> argparse.Namespace:
    parser = CommandLine(prog="check_and_sync_data", description=__doc__)
    parser.add_argument("--fast", action="store_true", help="compare sizes only, not checksums")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, change nothing")
    parser.add_argument("--dataset", metavar="NAME", help="look at the caches of this dataset only")
    parser.add_argument(
        "--prune",
        action="store_true",
        help="remove damaged and incomplete caches of which there is no valid copy, and orphaned temporary files",
    )
    parser.add_argument("--debug", action="store_true", help="debug logging, tracebacks")
    return parser.parse_args()


def main() -> int:
    """Run the command line; return the exit code."""
    arguments = _arguments()

    def command(stop: StopSignals) -> int:
        from src.frame_cache.sync import check_and_sync

        well = check_and_sync(arguments.fast, arguments.dry_run, stop.check, arguments.dataset, arguments.prune)
        return 0 if well else 1

    return run_command(command, arguments.debug)


if __name__ == "__main__":
    sys.exit(main())
