"""Train a grid, random draws or variants of a config with several seeds, and make one table of all.

Examples:
  ./job.sh sweep configs/sweep_example.yaml --parallel 2
  ./job.sh sweep configs/sweep_example.yaml --table
"""

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator
from pathlib import Path

from src.command_line import EXIT_DONE, EXIT_FAILED, StopSignals, print_result, writing_to
from src.helpers import LOG


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `job.sh sweep`."""
    parser.add_argument("sweep", metavar="SWEEP.yaml", help="the sweep's file, such as configs/sweep_example.yaml")
    how = parser.add_argument_group("how the jobs run").add_mutually_exclusive_group()
    how.add_argument(
        "--parallel", metavar="N", type=_count, default=1, help="jobs at once on this machine (default: 1)"
    )
    how.add_argument(
        "--slurm", action="store_true", help="run nothing; write a script that submits the jobs as an array"
    )
    how.add_argument("--table", action="store_true", help="run nothing; make the table of the jobs that are done")


def _count(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= 1024):
        raise ArgumentTypeError(f"{text!r}: expected a whole number from 1 to 1024")
    return int(text)


def run(arguments: Namespace, stop: StopSignals) -> int:
    """Run the jobs that are not done, and print the table; or only one of both."""
    from src.io_funcs import config_from_user
    from src.sweeps.specification import load_sweep

    sweep = load_sweep(config_from_user(arguments.sweep))
    from src.sweeps.run import read_failures, run_sweep, write_slurm_array  # imports numba, after the checks

    if arguments.slurm:
        script = write_slurm_array(sweep)
        LOG.info("all jobs are done" if script is None else f"submit the jobs with {script}, then see --table")
        return EXIT_DONE
    if not arguments.table:
        run_sweep(sweep, arguments.parallel, stop)
    from src.sweeps.table import write_table  # imports PyTorch

    failures = read_failures(sweep)
    with writing_to(sweep.folder):
        print_result(write_table(sweep, failures).removesuffix("\n"))
    LOG.info("written: %s and sweep.csv beside it", sweep.folder / "sweep.txt")
    return EXIT_FAILED if failures and not arguments.table else EXIT_DONE


def needed_paths(arguments: Namespace) -> Iterator[tuple[str, Path]]:
    """Yield (mode, path) for the sweep's file, its base config, and what each of its jobs needs."""
    from src.io_funcs import config_from_user
    from src.needed_paths import AGAIN, needed_to_train
    from src.sweeps.specification import base_config, load_sweep

    path = config_from_user(arguments.sweep)
    yield "ro", path
    if not path.exists():
        yield AGAIN
        return
    base = base_config(path)
    yield "ro", base
    if not base.exists():
        yield AGAIN
        return
    yield from dict.fromkeys(needed for job in load_sweep(path).jobs for needed in needed_to_train(job.config))
