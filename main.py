#!/usr/bin/env python3
"""Train, resume or evaluate one job.

Examples:
  ./train.sh configs/demo_difflogic.yaml demo
  ./train.sh configs/nmnist_difflogic.yaml job_001 --resume --override "train.epochs=20 train.device=cuda"
  ./train.sh configs/nmnist_difflogic.yaml job_001 --evaluate --split val
  ./train.sh --explain train.dataloader
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.command_line import (
    EXIT_DONE,
    EXIT_USER_ERROR,
    CommandLine,
    EndedElsewhere,
    StopSignals,
    UserError,
    end_with_launcher,
    leave,
    print_result,
    run_command,
)
from src.helpers import LOG, launched_rank

if TYPE_CHECKING:  # --help runs without packages, so functions import what needs one
    from src.config import Config

USAGE = """train.sh CONFIG JOB_ID [OPTION]...
       python main.py CONFIG [--job_id JOB_ID] [OPTION]..."""


class Explain(argparse.Action):
    """Prints what options are, as --help prints what arguments are, and ends the process."""

    def __init__(self, option_strings: Sequence[str], dest: str, **others: Any) -> None:
        super().__init__(option_strings, dest, nargs="*", **others)

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, keys: Any, option_string: Any = None) -> None:
        """Print the options with these keys, or all."""
        from src.config import Config
        from src.options.explain import explain

        try:
            print_result("\n".join(explain(Config(), key) for key in keys or [None]))
        except UserError as error:
            parser.error(str(error))
        parser.exit()


def read_arguments(words: Sequence[str] | None = None, prog: str = "train.sh") -> argparse.Namespace:
    """Return the arguments of the command line, or of `words`; a mistake ends the process with a line of `prog`."""
    parser = CommandLine(prog, __doc__, USAGE)
    parser.also_takes = ["JOB_ID"]
    parser.add_argument("config", metavar="CONFIG", help="YAML config, such as configs/demo_difflogic.yaml")

    which = parser.add_argument_group("which job")
    which.add_argument(
        "--job_id",
        help="names the job's folders; train.sh takes it after CONFIG, main.py can do without it",
    )
    going_on = which.add_mutually_exclusive_group()
    going_on.add_argument("--resume", action="store_true", help="go on from the newest checkpoint, if there is one")
    going_on.add_argument("--restart", action="store_true", help="begin again, replacing the job's checkpoints")
    going_on.add_argument("--evaluate", action="store_true", help="evaluate a model that the job has saved")

    evaluation = parser.add_argument_group("with --evaluate")
    evaluation.add_argument("--split", metavar="NAME", help="train, val or test (default: test)")
    evaluation.add_argument("--model", metavar="NAME", help="best or final (default: best)")

    options = parser.add_argument_group("options of the config")
    options.add_argument(
        "--override",
        action="append",
        default=[],
        metavar='"KEY=VALUE ..."',
        help='such as "train.epochs=10 train.learning_rate=0.001"; may be given more than once',
    )
    options.add_argument("--explain", action=Explain, metavar="KEY", help="print all options, a section, or one")

    processes = parser.add_argument_group("several processes")
    processes.add_argument(
        "--nproc", metavar="N", type=int, help="processes on this machine, each with a GPU or a share of the CPU"
    )
    processes.add_argument(
        "--nodes",
        metavar="N",
        type=int,
        default=1,
        help="machines of the job, each started with these three (SLURM jobs are)",
    )
    processes.add_argument("--node_rank", metavar="I", type=int, default=0, help="this machine's number, from 0")
    processes.add_argument("--endpoint", metavar="HOST:PORT", help="on machine 0, where the machines find each other")

    parser.add_argument("--debug", action="store_true", help="debug logging, 20 batches per epoch, tracebacks")
    return parser.parse_args(words)


def checked_config(arguments: argparse.Namespace) -> tuple[Config, list[str]]:
    """Return the config with its overrides and its job id, and lines that name the options that have no effect.

    Raises:
        UserError: for what no machine can do.
    """
    from src.config import load_config, unread_overrides
    from src.io_funcs import check_name
    from src.options import with_option

    config, unused = load_config(arguments.config, arguments.override)
    if arguments.job_id is not None:
        config = with_option(config, "base.job_id", arguments.job_id)
    if config.base.job_id is not None:
        check_name(config.base.job_id, "job id")
    several = arguments.nproc is not None or arguments.nodes > 1
    if arguments.evaluate and several:
        raise UserError("--nproc and --nodes are for training, not for --evaluate")
    if arguments.evaluate and config.base.job_id is None:
        raise UserError("--evaluate: which job? Give --job_id")
    if arguments.evaluate:
        reads = ("base.job_id", "data", "train.device", "train.dataloader")
        reason = "--evaluate takes the job's model as it is, and reads only data, train.device and train.dataloader"
        unused = unread_overrides(arguments.override, reads, reason)  # in place of other reasons
    for name, value in (("--split", arguments.split), ("--model", arguments.model)):
        if value is not None and not arguments.evaluate:
            raise UserError(f"{name} {value}: only with --evaluate")
    for name, value, least, below in (
        ("--nproc", 1 if arguments.nproc is None else arguments.nproc, 1, 10**4),
        ("--nodes", arguments.nodes, 1, 10**4),
        ("--node_rank", arguments.node_rank, 0, arguments.nodes),
    ):
        if not least <= value < below:
            raise UserError(f"{name} {value}: must be at least {least} and less than {below}")
    if arguments.nodes > 1 and not re.fullmatch(r"\S+:\d+", arguments.endpoint or ""):
        given = "" if arguments.endpoint is None else f" {arguments.endpoint}"
        raise UserError(f"--endpoint{given}: several machines need HOST:PORT of machine 0")
    return config, unused


def main() -> int:
    """Run the command line; return the exit code."""
    end_with_launcher()
    arguments = read_arguments()
    # Deterministic matrix products on CUDA need this before CUDA starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

    def command(stop: StopSignals) -> int:
        config, unused = checked_config(arguments)
        if not _starts_others(arguments):  # else the first of the others warns
            for line in unused:
                LOG.warning("%s", line)
        if arguments.evaluate:
            from src.evaluation.evaluate import evaluate_job  # late: PyTorch's import takes seconds

            evaluate_job(config, str(config.base.job_id), arguments.split or "test", arguments.model or "best", stop)
            return 0
        from src.io_funcs import check_name
        from src.jobs.folders import Job, restart_noted
        from src.options import with_option

        if config.base.job_id is None and launched_rank() is not None:
            raise UserError("several processes need a job id that they share: give --job_id")
        if config.base.job_id is None:
            name = f"{Path(arguments.config).stem}_{time.strftime('%Y%m%d-%H%M%S')}"
            config = with_option(config, "base.job_id", check_name(name, "job id"))
        if not arguments.restart or launched_rank() is not None or arguments.node_rank > 0:
            return _train(arguments, config, stop)
        with restart_noted(Job(str(config.base.job_id))):
            code = _train(arguments, config, stop)
            if code == EXIT_USER_ERROR:
                raise EndedElsewhere("the processes have said why", code)
            return code

    return run_command(command, arguments.debug)


def _starts_others(arguments: argparse.Namespace) -> bool:
    """Return whether this process starts those that train, and does not train itself."""
    return launched_rank() is None and (arguments.nproc is not None or arguments.nodes > 1)


def _train(arguments: argparse.Namespace, config: Config, stop: StopSignals) -> int:
    if arguments.resume and arguments.nodes == 1 and launched_rank() is None and _is_complete(config, arguments.debug):
        return EXIT_DONE
    if _starts_others(arguments):
        return _launch(arguments, config, stop)
    from src.train import train  # late: PyTorch's import takes seconds

    train(config, str(config.base.job_id), stop, arguments.resume, arguments.restart, arguments.debug)
    return EXIT_DONE


def _is_complete(config: Config, debug: bool) -> bool:
    """Return whether a job has nothing left to do, and say so; this needs neither its frames nor PyTorch."""
    from src.jobs.finished import complete_result

    result = complete_result(config, debug)
    if result is None:
        return False
    tested = result.get("best_test", result.get("test"))
    accuracy = "" if tested is None else f": {100 * tested['frame_accuracy']:.2f} % of the test's frames"
    LOG.info("job %s is done, after %d epochs%s; nothing is left to do", config.base.job_id, result["epochs"], accuracy)
    return True


def _launch(arguments: argparse.Namespace, config: Config, stop: StopSignals) -> int:
    from src.distributed.launch import Nodes, launch, require_divisible

    processes = arguments.nproc if arguments.nproc is not None else 1
    require_divisible(config.train, processes * arguments.nodes)
    nodes = Nodes(arguments.nodes, arguments.node_rank, arguments.endpoint) if arguments.nodes > 1 else Nodes()
    with tempfile.TemporaryDirectory(prefix="difflogic-") as folder:
        words = sys.argv
        if not Path(arguments.config).is_file():  # a pipe, which each process would have to read
            copy = Path(folder) / "config.yaml"
            copy.write_text(config.to_yaml(), encoding="utf-8")
            words = [str(copy) if word == arguments.config else word for word in words]
        return launch([*words, f"--job_id={config.base.job_id}"], processes, nodes, stop)


if __name__ == "__main__":
    leave(main())
