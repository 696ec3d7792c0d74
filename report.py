#!/usr/bin/env python3
"""Write a job's report, logs/JOB_ID/report.html and plots, from the files that the job has left."""

import argparse
import sys

from src.command_line import CommandLine, StopSignals, UserError, run_command
from src.helpers import LOG


def _arguments() -> argparse.Namespace:
    parser = CommandLine(prog="report", description=__doc__)
    parser.add_argument("job_id", metavar="JOB_ID", help="a job of logs/ on project storage, done or not")
    parser.add_argument("--debug", action="store_true", help="debug logging, tracebacks")
    return parser.parse_args()


def main() -> int:
    """Run the command line; return the exit code."""
    arguments = _arguments()

    def command(stop: StopSignals) -> int:
        from src.io_funcs import check_name
        from src.jobs.folders import Job
        from src.reports.report import write_report

        job = Job(check_name(arguments.job_id, "job id"))
        try:
            LOG.info("report in %s", write_report(job))
        except OSError as error:
            where = error.filename2 or error.filename or job.logs
            raise UserError(f"{where}: {error.strerror or error}; see PROJECT_STORAGE_DIR") from error
        return 0

    return run_command(command, arguments.debug)


if __name__ == "__main__":
    sys.exit(main())
