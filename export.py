#!/usr/bin/env python3
"""Write a trained model as C, Verilog, ONNX or JSON, with frames that test it."""

import argparse
import contextlib
import sys
from pathlib import Path

from src.command_line import CommandLine, StopSignals, UserError, run_command
from src.helpers import LOG

KINDS = ("c", "verilog", "onnx", "json")
TARGETS = ("xilinx", "ice40")  # of src.export.yosys, whose import takes seconds


def _arguments() -> argparse.Namespace:
    parser = CommandLine(prog="export", description=__doc__)
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
        help="test C and Verilog with so many frames of the model's test split (default: 100)",
    )
    parser.add_argument(
        "--estimate",
        type=str.lower,
        choices=TARGETS,
        help="with --to verilog: synthesise for this FPGA family by yosys, say the LUTs",
    )
    parser.add_argument("--debug", action="store_true", help="debug logging, tracebacks")
    arguments = parser.parse_args()
    if arguments.estimate and arguments.to != "verilog":
        parser.error("--estimate needs --to verilog")
    return arguments


def _positive(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10**6:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number from 1 to 1000000")
    return int(text)


def main() -> int:
    """Run the command line; return the exit code."""
    arguments = _arguments()

    def command(stop: StopSignals) -> int:
        _export(arguments, stop)
        return 0

    return run_command(command, arguments.debug)


def _export(arguments: argparse.Namespace, stop: StopSignals) -> None:
    import torch

    from src.config import Config
    from src.evaluation.inference import circuit_of, find_model, load_model
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
    from src.io_funcs import expand_path, read_bytes, write_atomic, write_json
    from src.jobs.folders import Job, is_path, luts_path
    from src.model import DiffLogic

    path = find_model(arguments.model)
    model, about = load_model(path)
    config = Config.from_dict(about["config"], str(path))
    source = config.base.job_id or path.stem
    name = identifier(source)
    files: dict[str, str | bytes]
    if arguments.to == "onnx":
        files = {f"{name}.onnx": to_onnx(model, name, about["class_names"], source)}
        what = f"the {config.model.model_type} of step {about['step']}"
    else:
        full = circuit_of(model)
        assert isinstance(model, DiffLogic)  # or it had no circuit
        circuit = full.simplified()
        stack, thermometer = config.data.stack, model.thermometer
        thresholds = thermometer.whole_thresholds() if thermometer else ()
        plain = stack == 1 and not thresholds
        channels = () if plain else channel_names(stack, model.frame_shape[0] // stack, thresholds)
        description = Description(name, model.bits_shape, tuple(about["class_names"]), channels, source)
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
    folder = Path(expand_path(arguments.out, "--out")) if arguments.out is not None else beside / "export"
    for file_name in files:
        with contextlib.suppress(OSError):
            other = source_in(read_bytes(folder / file_name))
            if other not in (None, source_in(mark_of(source).encode())):
                raise UserError(
                    f"{folder / file_name} is the export of {other}, which this one of {source} would replace: their "
                    f"names give the same file name; --out names another folder"
                )
    try:
        for file_name, content in files.items():
            stop.check()
            write_atomic(folder / file_name, content)
    except OSError as error:
        raise UserError(f"{folder}: cannot write there: {error.strerror}; --out names another folder") from error
    LOG.info("wrote %s to %s: %s", ", ".join(files), folder, what)
    if arguments.estimate:
        cells = estimate_luts(folder / f"{name}_classify.v", arguments.estimate, check=stop.check)
        kinds = ", ".join(f"{number:,} {kind}" for kind, number in cells.items() if kind != "luts")
        LOG.info("yosys, %s: %s LUTs (cells: %s)", arguments.estimate, f"{cells['luts']:,}", kinds)
        warn_if_too_large(arguments.estimate, cells["luts"])
        if not is_path(arguments.model):  # for the job's report, which does not wait minutes for a synthesis
            write_json(luts_path(Job(arguments.model), arguments.estimate), {**cells, "step": about["step"]})


if __name__ == "__main__":
    sys.exit(main())
