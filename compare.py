#!/usr/bin/env python3
"""Compare jobs: one table and one chart of their accuracies, also written to logs/compare_JOB_JOB….csv and .png."""

import argparse
import sys

from src.command_line import CommandLine, StopSignals, UserError, run_command
from src.helpers import LOG


def _arguments() -> argparse.Namespace:
    parser = CommandLine(prog="compare", description=__doc__)
    parser.add_argument("job_ids", metavar="JOB_ID", nargs="+", help="jobs of logs/ on project storage, done or not")
    parser.add_argument("--debug", action="store_true", help="debug logging, tracebacks")
    return parser.parse_args()


def main() -> int:
    """Run the command line; return the exit code."""
    arguments = _arguments()

    def command(stop: StopSignals) -> int:
        from src.io_funcs import check_name
        from src.reports.compare import compare

        try:
            paths = compare([check_name(job_id, "job id") for job_id in arguments.job_ids])
        except OSError as error:
            raise UserError(
                f"{error.filename2 or error.filename}: {error.strerror}; see PROJECT_STORAGE_DIR"
            ) from error
        LOG.info("written: %s", ", ".join(map(str, paths)))
        return 0

    return run_command(command, arguments.debug)


if __name__ == "__main__":
    sys.exit(main())
