"""Write a trained model as C, Verilog, ONNX or JSON, with frames that test it.

Examples:
  ./job.sh export job_001 --to c
  ./job.sh export job_001 --to verilog --estimate ice40
  ./job.sh export job_001 --to rtl --levels-per-stage 1
  ./job.sh export job_001 --to rtl --synthesize ecp5
  ./job.sh export --model project_storage/models/job_001/best.safetensors --to onnx --out here
  ./job.sh export --model examples/demo.json --to c
"""

import contextlib
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from src.command_line import EXIT_DONE, StopSignals, UserError, writing_to
from src.export.devices import FAMILIES
from src.export.hardware_tools import find_tool
from src.helpers import LOG
from src.io_funcs import from_user, read_bytes, write_atomic, write_json
from src.jobs.find import model_from_user
from src.jobs.folders import Job, hardware_path, luts_path, microcontroller_path
from src.registry import EXPORT_TARGETS

if TYPE_CHECKING:
    from src.export.exported import ExportedModel
    from src.export.synthesis import Design


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `job.sh export`."""
    parser.add_argument("job", metavar="JOB", nargs="?", help="a job id, whose best model is taken")
    parser.add_argument("--model", metavar="FILE", help="a model's .safetensors or a circuit's .json file, not a job")
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
        help="with --to rtl: LUTs of six inputs in a row between two registers of the network's pipeline; those of "
        "trained gates count twice (default: 2)",
    )
    checks = parser.add_argument_group("tests and size")
    checks.add_argument(
        "--frames",
        metavar="N",
        type=_positive,
        default=100,
        help="test C and Verilog with about this number of frames of the model's test split, and rtl with whole "
        "recordings of as many, or of fewer if a frame takes more than 5,000 clock cycles (default: 100)",
    )
    checks.add_argument(
        "--estimate",
        type=str.lower,
        choices=list(FAMILIES),
        help="with --to verilog or rtl: count the LUTs that the gates take on this FPGA family, by yosys",
    )
    checks.add_argument(
        "--synthesize",
        type=str.lower,
        choices=[*FAMILIES, "all"],
        help="with --to verilog or rtl: synthesise, place and route for this FPGA family, by yosys and nextpnr",
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
    from src.export.exported import LEVELS_PER_STAGE, ExportedModel

    wanted = _wanted(arguments)
    path = find_model(wanted)
    model, about = load_model(path)
    config = Config.from_dict(about["config"], str(path))
    source = config.base.job_id or path.stem
    names, sensor_size = tuple(about["class_names"]), model_sensor_size(path, about, config)
    numbers = arguments.frames, arguments.levels_per_stage or LEVELS_PER_STAGE
    exported = ExportedModel(
        model, config, names, about["step"], source, sensor_size, *numbers, circuit_name=about.get("name", "")
    )
    export = EXPORT_TARGETS.load(arguments.to)(exported)
    if export.design is None and (arguments.estimate or arguments.synthesize):
        raise UserError(f"{'--estimate' if arguments.estimate else '--synthesize'} needs --to verilog or rtl")
    if arguments.levels_per_stage is not None and not export.is_pipelined:
        raise UserError("--levels-per-stage needs --to rtl, which alone divides the network by registers")
    every = {"all": [*reversed(FAMILIES)], None: []}  # first the families whose tools are quick
    families = every.get(arguments.synthesize, [arguments.synthesize])
    tools = ["yosys"] if arguments.estimate else []
    for tool in [*tools, *(tool for family in families for tool in FAMILIES[family].tools)]:
        find_tool(tool)
    job = None if isinstance(wanted, Path) else Job(wanted)
    beside = path.parent if job is None else job.models
    folder = from_user(arguments.out, "--out") if arguments.out is not None else beside / "export"
    _refuse_to_replace_others(folder, list(export.files), source)
    with writing_to(folder, "--out names another folder"):
        for file_name, content in export.files.items():
            stop.check()
            write_atomic(folder / file_name, content)
    LOG.info("wrote %s to %s: %s", ", ".join(export.files), folder, export.what)
    if export.microcontroller is not None:
        LOG.info("%s", size_text(export.microcontroller))
        if job is not None:
            write_json(microcontroller_path(job), {**export.microcontroller, "step": exported.step})
    if arguments.estimate:
        _estimate(exported, export.is_pipelined, arguments.estimate, job, stop)
    for family in families:
        _synthesize(export.design(family), family, exported, folder, job, stop)
    return EXIT_DONE


def _wanted(arguments: Namespace) -> Path | str:
    """Return the model's file, or the job id; UserError if the command line names none, or both."""
    if arguments.job is None and arguments.model is None:
        raise UserError("no model: a job comes first, or --model FILE")
    if arguments.job is not None and arguments.model is not None:
        raise UserError(f"job {arguments.job} and --model {arguments.model} are two models: leave one out")
    return model_from_user(arguments.job or "", arguments.model)


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


def _estimate(exported: "ExportedModel", is_pipelined: bool, family: str, job: Job | None, stop: StopSignals) -> None:
    """Log the number of LUTs that a circuit takes; keep a job's for its report, which does not wait for yosys."""
    from src.circuit.netlist import netlist_of
    from src.export.yosys import estimate_luts, log_fit

    netlist = netlist_of(exported.circuit, counter_inputs=FAMILIES[family].counter_inputs)
    luts = estimate_luts(netlist, family, check=stop.check)
    LOG.info(
        "%s: %s LUTs for the network of a frame, with the counters and the comparison of the classes%s",
        family,
        f"{luts:,}",
        "; --synthesize counts all of the stream" if is_pipelined else "",
    )
    log_fit(family, luts)
    if job is not None:
        write_json(luts_path(job, family), {"luts": luts, "step": exported.step})


def _synthesize(
    design: "Design", family: str, exported: "ExportedModel", folder: Path, job: Job | None, stop: StopSignals
) -> None:
    """Synthesise a design; write what was found beside the export and, for the report, to a job's logs."""
    from src.export.synthesis import summary, synthesize, with_result
    from src.jobs.files import read_hardware

    hardware = synthesize(design, family, stop.check)
    LOG.info("%s", summary(hardware))
    paths = [folder / f"{exported.name}_hardware.json", *([] if job is None else [hardware_path(job)])]
    for path in paths:
        write_json(path, with_result(read_hardware(path), hardware, exported.step))
    LOG.info("written: %s", ", ".join(map(str, paths)))


def needed_paths(arguments: Namespace) -> Iterator[tuple[str, Path]]:
    """Yield (mode, path) for the model and for the folder that is written to; a job's lie on project storage."""
    from src.needed_paths import AGAIN

    path = _wanted(arguments)
    if isinstance(path, Path):
        yield "ro", path
        if arguments.out is None and path.is_file():
            yield "make", path.parent / "export"
        elif arguments.out is None:
            yield AGAIN  # nothing is made beside a file that is not there
    if arguments.out is not None:
        yield "make", from_user(arguments.out, "--out")
