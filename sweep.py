#!/usr/bin/env python3
"""Train a grid, random draws or variants of a config with several seeds, and make one table of all."""

import argparse
import sys

from src.command_line import EXIT_DONE, EXIT_FAILED, CommandLine, StopSignals, UserError, print_result, run_command
from src.helpers import LOG


def _arguments() -> argparse.Namespace:
    parser = CommandLine(prog="sweep", description=__doc__)
    parser.add_argument("sweep", help="YAML file, such as configs/sweep_example.yaml")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--parallel", metavar="N", type=_count, default=1, help="jobs at once on this machine (default: 1)"
    )
    how.add_argument(
        "--slurm", action="store_true", help="run nothing; write a script that submits the jobs as an array"
    )
    how.add_argument("--table", action="store_true", help="run nothing; make the table of the jobs that are done")
    parser.add_argument("--debug", action="store_true", help="debug logging, tracebacks")
    return parser.parse_args()


def _count(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= 1024):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 1 to 1024")
    return int(text)


def main() -> int:
    """Run the command line; return the exit code."""
    arguments = _arguments()

    def command(stop: StopSignals) -> int:
        from src.sweeps.specification import load_sweep

        sweep = load_sweep(arguments.sweep)
        from src.sweeps.run import read_failures, run_sweep, write_slurm_array  # imports numba, after the checks

        if arguments.slurm:
            script = write_slurm_array(sweep)
            LOG.info("all jobs are done" if script is None else f"submit the jobs with {script}, then see --table")
            return EXIT_DONE
        if not arguments.table:
            run_sweep(sweep, arguments.parallel, stop)
        from src.sweeps.table import write_table  # imports PyTorch

        failures = read_failures(sweep)
        try:
            print_result(write_table(sweep, failures).removesuffix("\n"))
        except OSError as error:
            raise UserError(f"cannot write the table: {error}; see PROJECT_STORAGE_DIR") from error
        LOG.info("written: %s and sweep.csv beside it", sweep.folder / "sweep.txt")
        return EXIT_FAILED if failures and not arguments.table else EXIT_DONE

    return run_command(command, arguments.debug)


if __name__ == "__main__":
    sys.exit(main())
