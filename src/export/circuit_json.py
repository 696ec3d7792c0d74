"""Circuit <-> JSON: all that a program, ours or one in another language, needs to classify recordings."""

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.circuit.circuit import Circuit
from src.command_line import UserError
from src.config import Data, overlap_of
from src.export.description import Description, identifier, mark_of, source_in
from src.export.exported import Export, ExportedModel
from src.helpers import one_line
from src.io_funcs import read_bytes

FORMAT = "difflogic-tonic circuit"
FORMAT_VERSION = 2
MOST_NODES = 2**31 - 1  # numbers of nodes are int32
_CHECKSUM_LINE = b'  "sha256": '


@dataclass(frozen=True, eq=False)
class CircuitFile:
    """What a circuit's file holds.

    Attributes:
        circuit: simplified, as a rule.
        description: the names.
        data: the options of section `data` that decide frames and splits, by name; see `data_options`.
        sensor_size: (W, H, P) of the recordings.
        thresholds: of the thermometer that makes bits of counts; () if frames are binary.
        step: the training step that the circuit is from.
    """

    circuit: Circuit
    description: Description
    data: dict[str, Any]
    sensor_size: tuple[int, int, int]
    thresholds: tuple[int, ...] = ()
    step: int = 0


def export(exported: ExportedModel) -> Export:
    """Return the JSON file of a model's circuit."""
    file = CircuitFile(
        exported.circuit,
        exported.description,
        data_options(exported.config.data),
        exported.sensor_size,
        exported.model.thresholds,
        exported.step,
    )
    return Export({f"{exported.name}.json": to_json(file)}, exported.size)


def data_options(data: Data) -> dict[str, Any]:
    """Return the options that decide frames and splits, without those that are null, and without folders of a machine.

    The folder of the user's own recordings is left by its name.
    """
    options = {field.name: getattr(data, field.name) for field in dataclasses.fields(data)}
    kept = {field.name for field in dataclasses.fields(data) if not field.metadata["may_change"]}
    options["overlap"] = overlap_of(data)
    if data.folder is not None:
        options["folder"] = PurePath(data.folder).name
        kept.add("folder")
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in options.items()
        if name in kept and value is not None
    }


def to_json(file: CircuitFile) -> str:
    """Return one JSON object with a line per field; docs/export.md says what the fields mean."""
    circuit, description = file.circuit, file.description
    fields = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": description.name,
        "source": mark_of(description.source),
        "step": file.step,
        "class_names": description.class_names,
        "data": file.data,
        "sensor_size": file.sensor_size,
        "thresholds": file.thresholds,
        "frame_shape": description.frame_shape,
        "channels": description.channels,
        "tau": circuit.tau,
        "num_inputs": circuit.num_inputs,
        "gates": "".join(f"{gate:x}" for gate in circuit.gates.tolist()),
        "first": circuit.first.tolist(),
        "second": circuit.second.tolist(),
        "outputs": circuit.outputs.tolist(),
        "starts": circuit.starts.tolist(),
        "offsets": circuit.offsets.tolist(),
    }
    lines = [f"  {json.dumps(key)}: {json.dumps(value, separators=(',', ':'))},\n" for key, value in fields.items()]
    before, after = "".join(["{\n", *lines]), "}\n"
    digest = hashlib.sha256(f"{before}{after}".encode()).hexdigest()
    return f'{before}{_CHECKSUM_LINE.decode()}"{digest}"\n{after}'


def read_circuit_file(path: Path) -> CircuitFile:
    """Return what `to_json` wrote to a file.

    Raises:
        UserError: the file cannot be read, is damaged, of another version, or something else.
    """
    try:
        content = read_bytes(path)
    except OSError as error:
        raise UserError(f"{path}: cannot read the circuit: {error.strerror}") from error
    try:
        return from_json(content)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def from_json(content: bytes) -> CircuitFile:
    """Return what `to_json` wrote; a UserError says what is wrong with the content."""
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"this is no circuit that can be read: it is no JSON: {one_line(error)}") from error
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise UserError(f"this is no circuit that can be read: it is not of the format {FORMAT!r}")
    if fields.get("format_version") != FORMAT_VERSION:
        raise UserError(
            f"it is of format version {json.dumps(fields.get('format_version'))}, and this program reads version "
            f"{FORMAT_VERSION}; export the circuit again from its job"
        )
    if fields.get("sha256") != _checksum(content):
        raise UserError("it is damaged: its checksum is wrong; take another copy, or export the circuit again")
    try:
        return _circuit_file(fields)
    except KeyError as error:
        raise UserError(f"this is no circuit that can be read: it has no {error}") from error
    except ValueError as error:
        raise UserError(f"this is no circuit that can be read: {one_line(error)}") from error


def _checksum(content: bytes) -> str:
    """Return the SHA-256 of all lines but that of the checksum."""
    lines = content.splitlines(keepends=True)
    return hashlib.sha256(b"".join(line for line in lines if not line.startswith(_CHECKSUM_LINE))).hexdigest()


def _circuit_file(fields: dict[str, Any]) -> CircuitFile:
    if not isinstance(fields["gates"], str):
        raise ValueError("gates must be a text of hexadecimal digits")
    circuit = Circuit(
        _whole(fields, "num_inputs"),
        np.array([int(digit, 16) for digit in fields["gates"]], np.uint8),
        _numbers(fields, "first").astype(np.int32),
        _numbers(fields, "second").astype(np.int32),
        _numbers(fields, "outputs").astype(np.int32),
        _numbers(fields, "starts"),
        _numbers(fields, "offsets"),
        _tau(fields),
    )
    _check(circuit)
    class_names, source = _texts(fields, "class_names"), source_in(str(fields["source"]).encode()) or ""
    if len(class_names) != circuit.num_classes:
        raise ValueError(f"there are {len(class_names)} class names for {circuit.num_classes} classes")
    if not isinstance(fields["data"], dict):
        raise ValueError("data must be an object of options")
    frame_shape = _size(fields, "frame_shape")
    if math.prod(frame_shape) != circuit.num_inputs:
        raise ValueError(f"num_inputs = {circuit.num_inputs} is not the number of bits of frame_shape {frame_shape}")
    name = fields["name"]
    if not isinstance(name, str) or not name or identifier(name) != name:
        raise ValueError(f"name = {name!r} can be no name in C and Verilog")
    return CircuitFile(
        circuit,
        Description(name, frame_shape, class_names, _texts(fields, "channels"), source),
        fields["data"],
        _size(fields, "sensor_size"),
        tuple(_numbers(fields, "thresholds", least=-MOST_NODES).tolist()),
        _whole(fields, "step", least=0),
    )


def _whole(fields: dict[str, Any], key: str, least: int = 1) -> int:
    value = fields[key]
    if type(value) is not int or not least <= value <= MOST_NODES:
        raise ValueError(f"{key} = {value!r} must be a whole number from {least} to {MOST_NODES}")
    return value


def _tau(fields: dict[str, Any]) -> float:
    tau = fields["tau"]
    if type(tau) not in (int, float) or not 0 < tau < math.inf:
        raise ValueError(f"tau = {tau!r} must be a number above 0")
    return float(tau)


def _numbers(fields: dict[str, Any], key: str, least: int = 0) -> NDArray[np.int64]:
    values = fields[key]
    if not isinstance(values, list) or not all(type(value) is int and least <= value <= MOST_NODES for value in values):
        raise ValueError(f"{key} must be a list of whole numbers from {least} to {MOST_NODES}")
    return np.array(values, np.int64)


def _size(fields: dict[str, Any], key: str) -> tuple[int, int, int]:
    sizes = _numbers(fields, key).tolist()
    if len(sizes) != 3 or min(sizes) < 1:
        raise ValueError(f"{key} = {sizes} must be three numbers above 0")
    return sizes[0], sizes[1], sizes[2]


def _texts(fields: dict[str, Any], key: str) -> tuple[str, ...]:
    texts = fields[key]
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{key} must be a list of texts")
    return tuple(texts)


def _check(circuit: Circuit) -> None:
    nodes = circuit.num_inputs + np.arange(len(circuit.gates))
    for inputs in (circuit.first, circuit.second):
        if inputs.shape != nodes.shape or np.any(inputs >= nodes):
            raise ValueError("a gate's inputs must come before it")
    if np.any(circuit.outputs >= circuit.num_inputs + len(nodes)):
        raise ValueError("an output is no node")
    starts = circuit.starts
    if len(starts) != circuit.num_classes + 1 or starts[0] != 0 or starts[-1] != len(circuit.outputs):
        raise ValueError("the classes do not divide the outputs")
    if np.any(np.diff(starts) < 0):
        raise ValueError("the classes' starts must rise")
    if circuit.num_classes == 0 or np.any(circuit.offsets + np.diff(starts) > MOST_NODES):
        raise ValueError("a class count does not fit into 32 bits")
