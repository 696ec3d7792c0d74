"""Compare jobs in one table and one chart, also written to logs/compare_JOB_JOB….csv and .png.

--hardware adds a chart of the accuracy by vote against the size of the circuit, _hardware.png.

Examples:
  ./job.sh compare job_001 job_002
  ./job.sh compare nmnist_difflogic nmnist_cnn nmnist_mlp
  ./job.sh compare --hardware gates luts4 luts6
"""

from argparse import ArgumentParser, Namespace

from src.command_line import EXIT_DONE, StopSignals, writing_to
from src.helpers import LOG


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `job.sh compare`."""
    parser.add_argument("job_ids", metavar="JOB_ID", nargs="+", help="jobs of logs/ on project storage, done or not")
    parser.add_argument(
        "--hardware", action="store_true", help="draw the accuracy by vote against the LUTs, and name the best jobs"
    )


def run(arguments: Namespace, stop: StopSignals) -> int:
    """Print the table and write it."""
    from src.io_funcs import check_name, project_root
    from src.reports.compare import compare

    job_ids = [check_name(job_id, "job id") for job_id in arguments.job_ids]
    with writing_to(project_root() / "logs"):
        LOG.info("written: %s", ", ".join(map(str, compare(job_ids, arguments.hardware))))
    return EXIT_DONE
