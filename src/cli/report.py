"""Write a job's report: logs/JOB_ID/report.html and plots, from the files that the job has left.

Examples:
  ./job.sh report job_001
  ./job.sh report demo
"""

from argparse import ArgumentParser, Namespace

from src.command_line import EXIT_DONE, StopSignals, writing_to
from src.helpers import LOG


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `job.sh report`."""
    parser.add_argument("job_id", metavar="JOB_ID", help="a job of logs/ on project storage, done or not")


def run(arguments: Namespace, stop: StopSignals) -> int:
    """Write the report."""
    from src.io_funcs import check_name
    from src.jobs.folders import Job
    from src.reports.report import write_report

    job = Job(check_name(arguments.job_id, "job id"))
    with writing_to(job.logs):
        LOG.info("report in %s", write_report(job))
    return EXIT_DONE
