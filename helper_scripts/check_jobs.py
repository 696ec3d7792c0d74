"""Exit 2, saying why, if a job that is about to be submitted could only fail at its start.

Run by slurm_submit.sh as `python -m helper_scripts.check_jobs {COUNT WRAPPER ARGUMENT...}...`, with the words that
slurm_job.sh is given. Only the machine that runs a job knows its recordings, caches, GPUs and
scratch disk, so they are not checked.
"""

import sys

import main
import prepare_data
from src.command_line import StopSignals, UserError, read_command_line, run_command
from src.config import load_config
from src.jobs.folders import Job, refuse_existing


def check(wrapper: str, config: str, *words: str) -> None:
    """Check a wrapper's arguments; UserError, or the end of the process, with a line that names the job."""
    if wrapper == "prepare_data.sh":
        preparation = read_command_line(wrapper, prepare_data.__doc__, prepare_data.add_arguments, [config, *words])
        load_config(preparation.config, preparation.override)  # the job itself warns of options without effect
        return
    job_id, *options = words
    try:
        arguments = main.read_arguments([config, f"--job_id={job_id}", *options], f"job {job_id}")
        main.checked_config(arguments)
    except UserError as error:
        raise UserError("\n".join(f"job {job_id}: {line}" for line in str(error).split("\n"))) from error
    if not (arguments.resume or arguments.restart or arguments.evaluate):
        refuse_existing(Job(job_id))


def command(stop: StopSignals) -> int:
    """Check all jobs."""
    words = sys.argv[1:]
    while words:
        end = int(words[0]) + 1
        check(*words[1:end])
        words = words[end:]
    return 0


if __name__ == "__main__":
    sys.exit(run_command(command, debug=False))
