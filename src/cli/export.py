"""Write a trained model as C, Verilog, ONNX or JSON, with frames that test it."""

import contextlib
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator
from pathlib import Path

from src.command_line import EXIT_DONE, StopSignals, UserError, writing_to
from src.helpers import LOG

KINDS = ("c", "verilog", "onnx", "json")
TARGETS = ("xilinx", "ice40")  # those of src.export.yosys, whose import takes seconds


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `job.sh export`."""
    parser.add_argument("model", metavar="JOB_OR_MODEL", help="a job id or a .safetensors file")
    parser.add_argument(
        "--to", required=True, type=str.lower, choices=KINDS, help="c, verilog and json are for difflogic models"
    )
    parser.add_argument("--out", metavar="FOLDER", help="default: export/ beside the job's models or the file")
    parser.add_argument(
        "--frames",
        metavar="N",
        type=_positive,
        default=100,
        help="test C and Verilog with this number of frames of the model's test split (default: 100)",
    )
    parser.add_argument(
        "--estimate",
        type=str.lower,
        choices=TARGETS,
        help="with --to verilog: synthesise for this FPGA family with yosys, and count the LUTs",
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10**6:
        raise ArgumentTypeError(f"{text!r}: expected a number from 1 to 1000000")
    return int(text)


def run(arguments: Namespace, stop: StopSignals) -> int:
    """Write the files of the export."""
    if arguments.estimate and arguments.to != "verilog":
        raise UserError("--estimate needs --to verilog")
    import torch

    from src.config import Config
    from src.evaluation.inference import find_model, load_model
    from src.export import (
        Description,
        channel_names,
        estimate_luts,
        identifier,
        mark_of,
        source_in,
        to_c,
        to_json,
        to_verilog,
        warn_if_too_large,
    )
    from src.export.example_frames import example_frames
    from src.export.onnx import to_onnx
    from src.io_funcs import from_user, read_bytes, write_atomic, write_json
    from src.jobs.folders import Job, is_path, luts_path

    path = find_model(from_user(arguments.model, "model") if is_path(arguments.model) else arguments.model)
    model, about = load_model(path)
    config = Config.from_dict(about["config"], str(path))
    source = config.base.job_id or path.stem
    name = identifier(source)
    files: dict[str, str | bytes]
    if arguments.to == "onnx":
        files = {f"{name}.onnx": to_onnx(model, name, about["class_names"], source)}
        what = f"the {config.model.model_type} of step {about['step']}"
    else:
        full = model.circuit()
        circuit = full.simplified()
        stack, thresholds = config.data.stack, model.thresholds
        plain = stack == 1 and not thresholds
        channels = () if plain else channel_names(stack, model.frame_shape[0] // stack, thresholds)
        description = Description(name, model.circuit_shape, tuple(about["class_names"]), channels, source)
        what = f"{len(circuit.gates):,} gates, of {len(full.gates):,} before simplification"
        if arguments.to == "json":
            files = {f"{name}.json": to_json(circuit, description)}
        else:
            examples, frames_are = example_frames(config, model.frame_shape, arguments.frames)
            frames = model.circuit_inputs(torch.from_numpy(examples)).numpy()
            to_text = {"c": to_c, "verilog": to_verilog}[arguments.to]
            files = {**to_text(circuit, description, frames, full(frames), frames_are)}
            what += f", to be tested with {frames_are}"

    beside = path.parent if is_path(arguments.model) else Job(arguments.model).models
    folder = from_user(arguments.out, "--out") if arguments.out is not None else beside / "export"
    for file_name in files:
        with contextlib.suppress(OSError):
            other = source_in(read_bytes(folder / file_name))
            if other not in (None, source_in(mark_of(source).encode())):
                raise UserError(
                    f"{folder / file_name} is the export of {other}, which this one of {source} would replace: their "
                    f"names give the same file name; --out names another folder"
                )
    with writing_to(folder, "--out names another folder"):
        for file_name, content in files.items():
            stop.check()
            write_atomic(folder / file_name, content)
    LOG.info("wrote %s to %s: %s", ", ".join(files), folder, what)
    if arguments.estimate:
        cells = estimate_luts(folder / f"{name}_classify.v", arguments.estimate, check=stop.check)
        kinds = ", ".join(f"{number:,} {kind}" for kind, number in cells.items() if kind != "luts")
        LOG.info("yosys, %s: %s LUTs (cells: %s)", arguments.estimate, f"{cells['luts']:,}", kinds)
        warn_if_too_large(arguments.estimate, cells["luts"])
        if not is_path(arguments.model):  # for the job's report, which does not wait minutes for a synthesis
            write_json(luts_path(Job(arguments.model), arguments.estimate), {**cells, "step": about["step"]})
    return EXIT_DONE


def needed_paths(arguments: Namespace) -> Iterator[tuple[str, Path]]:
    """Yield (mode, path) for the model and for the folder that is written to; a job's lie on project storage."""
    from src.io_funcs import from_user
    from src.jobs.folders import is_path
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
