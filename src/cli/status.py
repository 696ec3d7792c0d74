"""Show where jobs are: state, step, epoch, validation accuracy and age of the last checkpoint.

Examples:
  ./job.sh status
  ./job.sh status job_001 job_002
"""

from argparse import ArgumentParser, Namespace

from src.command_line import EXIT_DONE, EXIT_FAILED, StopSignals, print_result


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `job.sh status`."""
    parser.add_argument(
        "job_id", metavar="JOB_ID", nargs="*", help="the jobs to show; default: all on scratch and project storage"
    )


def run(arguments: Namespace, stop: StopSignals) -> int:
    """Print the table."""
    from src.reports.status import status_table

    return EXIT_DONE if print_result(status_table(arguments.job_id)) else EXIT_FAILED
