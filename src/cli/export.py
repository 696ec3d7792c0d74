"""Write a trained model as C, Verilog, ONNX or JSON, with frames that test it.

Examples:
  ./job.sh export job_001 --to c
  ./job.sh export job_001 --to verilog --estimate ice40
  ./job.sh export job_001 --to rtl --levels-per-stage 6
  ./job.sh export project_storage/models/job_001/best.safetensors --to onnx --out here
"""

import contextlib
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator
from pathlib import Path

from src.command_line import EXIT_DONE, StopSignals, UserError, writing_to
from src.export.yosys import TARGETS, estimate_luts, warn_if_too_large
from src.helpers import LOG
from src.io_funcs import from_user, read_bytes, write_atomic, write_json
from src.jobs.folders import Job, is_path, luts_path, microcontroller_path
from src.registry import EXPORT_TARGETS


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `job.sh export`."""
    parser.add_argument("model", metavar="JOB_OR_MODEL", help="a job id or a .safetensors file")
    written = parser.add_argument_group("what is written")
    written.add_argument(
        "--to",
        required=True,
        type=str.lower,
        choices=list(EXPORT_TARGETS),
        help="what to write; a model that is not made of gates has ONNX only",
    )
    written.add_argument("--out", metavar="FOLDER", help="default: export/ beside the job's models or the file")
    written.add_argument(
        "--levels-per-stage",
        metavar="N",
        type=_positive,
        default=8,
        help="with --to rtl: gates in a row between two registers of the network's pipeline (default: 8)",
    )
    checks = parser.add_argument_group("tests and size")
    checks.add_argument(
        "--frames",
        metavar="N",
        type=_positive,
        default=100,
        help="test C and Verilog with about this number of frames of the model's test split (default: 100)",
    )
    checks.add_argument(
        "--estimate",
        type=str.lower,
        choices=list(TARGETS),
        help="with --to verilog: synthesise for this FPGA family with yosys, and count the LUTs",
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10**6:
        raise ArgumentTypeError(f"{text!r}: expected a number from 1 to 1000000")
    return int(text)


def run(arguments: Namespace, stop: StopSignals) -> int:
    """Write the files of the export."""
    from src.config import Config
    from src.evaluation.inference import find_model, load_model, model_sensor_size
    from src.export.c_stream.microcontroller import size_text
    from src.export.exported import ExportedModel

    path = find_model(from_user(arguments.model, "model") if is_path(arguments.model) else arguments.model)
    model, about = load_model(path)
    config = Config.from_dict(about["config"], str(path))
    source = config.base.job_id or path.stem
    names, sensor_size = tuple(about["class_names"]), model_sensor_size(path, about, config)
    frames, levels = arguments.frames, arguments.levels_per_stage
    exported = ExportedModel(model, config, names, about["step"], source, sensor_size, frames, levels)
    export = EXPORT_TARGETS.load(arguments.to)(exported)
    if arguments.estimate and not export.verilog_module:
        raise UserError("--estimate needs --to verilog")
    beside = path.parent if is_path(arguments.model) else Job(arguments.model).models
    folder = from_user(arguments.out, "--out") if arguments.out is not None else beside / "export"
    _refuse_to_replace_others(folder, list(export.files), source)
    with writing_to(folder, "--out names another folder"):
        for file_name, content in export.files.items():
            stop.check()
            write_atomic(folder / file_name, content)
    LOG.info("wrote %s to %s: %s", ", ".join(export.files), folder, export.what)
    if export.microcontroller is not None:
        LOG.info("%s", size_text(export.microcontroller))
        if not is_path(arguments.model):
            write_json(microcontroller_path(Job(arguments.model)), {**export.microcontroller, "step": exported.step})
    if arguments.estimate:
        job = None if is_path(arguments.model) else Job(arguments.model)
        _estimate(folder / export.verilog_module, arguments.estimate, job, exported.step, stop)
    return EXIT_DONE


def _refuse_to_replace_others(folder: Path, file_names: list[str], source: str) -> None:
    """Raise a UserError if one of the files is there and is the export of another job or model file."""
    from src.export.description import mark_of, source_in

    for file_name in file_names:
        with contextlib.suppress(OSError):
            other = source_in(read_bytes(folder / file_name))
            if other not in (None, source_in(mark_of(source).encode())):
                raise UserError(
                    f"{folder / file_name} is the export of {other}, which this one of {source} would replace: their "
                    f"names give the same file name; --out names another folder"
                )


def _estimate(module: Path, target: str, job: Job | None, step: int, stop: StopSignals) -> None:
    """Log the size that Yosys gives a Verilog module; keep a job's for its report, which does not wait for Yosys."""
    cells = estimate_luts(module, target, check=stop.check)
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in cells.items() if kind != "luts")
    LOG.info("yosys, %s: %s LUTs (cells: %s)", target, f"{cells['luts']:,}", kinds)
    warn_if_too_large(target, cells["luts"])
    if job is not None:
        write_json(luts_path(job, target), {**cells, "step": step})


def needed_paths(arguments: Namespace) -> Iterator[tuple[str, Path]]:
    """Yield (mode, path) for the model and for the folder that is written to; a job's lie on project storage."""
    from src.needed_paths import AGAIN

    if is_path(arguments.model):
        path = from_user(arguments.model, "model")
        yield "ro", path
        if arguments.out is None and path.is_file():
            yield "make", path.parent / "export"
        elif arguments.out is None:
            yield AGAIN  # nothing is made beside a file that is not there
    if arguments.out is not None:
        yield "make", from_user(arguments.out, "--out")
