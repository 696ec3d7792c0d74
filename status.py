#!/usr/bin/env python3
"""Show where jobs are: state, step, epoch, validation accuracy and age of the last checkpoint."""

import argparse
import sys

from src.command_line import EXIT_DONE, EXIT_FAILED, CommandLine, StopSignals, print_result, run_command


def _arguments() -> argparse.Namespace:
    parser = CommandLine(prog="status", description=__doc__)
    parser.add_argument("job_id", nargs="*", help="the jobs to show; default: all on scratch and project storage")
    parser.add_argument("--debug", action="store_true", help="debug logging, tracebacks")
    return parser.parse_args()


def main() -> int:
    """Run the command line; return the exit code."""
    arguments = _arguments()

    def command(stop: StopSignals) -> int:
        from src.reports.status import status_table

        return EXIT_DONE if print_result(status_table(arguments.job_id)) else EXIT_FAILED

    return run_command(command, arguments.debug)


if __name__ == "__main__":
    sys.exit(main())
