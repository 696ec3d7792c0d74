"""Compile the kernels that the jobs of configs run, so that the jobs begin at once.

Kernels are compiled once for a processor and a version of the code, else by the first job that needs them. The command
trains a miniature of each job on random events. What it leaves is in NUMBA_CACHE_DIR, or beside the code; all tasks of
an array may use it at the same time, and an image may hold it.

Examples:
  ./job.sh compile configs/nmnist_difflogic.yaml
  ./job.sh compile configs/nmnist_*.yaml --override "train.device=cpu"
"""

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path

from src.command_line import EXIT_DONE, StopSignals
from src.helpers import LOG, format_duration


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `job.sh compile`."""
    parser.add_argument(
        "config", metavar="CONFIG", nargs="+", help="config of a job, such as configs/demo_difflogic.yaml"
    )
    parser.add_argument(
        "--override",
        action="append",
        default=[],
        metavar='"KEY=VALUE ..."',
        help='such as "train.device=cpu"; may be given more than once, and is for all configs',
    )


def run(arguments: Namespace, stop: StopSignals) -> int:
    """Run the miniatures, and say what was compiled."""
    from src.config import load_config
    from src.io_funcs import config_from_user

    configs = [load_config(config_from_user(path), arguments.override)[0] for path in arguments.config]
    from src.compiling import compiled  # the rest imports PyTorch, after the checks
    from src.kernel_cache import kernel_folder
    from src.miniature import run_miniature

    for path, config in zip(arguments.config, configs, strict=True):
        began, before = time.monotonic(), compiled()
        run_miniature(config, stop)
        kernels = compiled() - before
        LOG.info("%s: %d kernels compiled; %s", path, kernels, format_duration(time.monotonic() - began))
    LOG.info("they are in %s", kernel_folder())
    return EXIT_DONE


def needed_paths(arguments: Namespace) -> Iterator[tuple[str, Path]]:
    """Yield (mode, path) for the configs, and for own recordings, whose classes count."""
    from src.config import load_config
    from src.io_funcs import config_from_user, expand_path, from_repository
    from src.needed_paths import AGAIN

    for path in map(config_from_user, arguments.config):
        yield "ro", path
        if not path.exists():
            yield AGAIN
            return
        data = load_config(path, arguments.override)[0].data
        if data.folder is not None:
            yield "ro", from_repository(data.data_root) / expand_path(data.folder, "data.folder")
