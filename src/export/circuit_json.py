"""Circuit <-> JSON, for programs in other languages."""

import json

import numpy as np

from src.circuit.circuit import Circuit
from src.command_line import UserError
from src.export.description import Description, mark_of, source_in
from src.export.exported import Export, ExportedModel
from src.logic.gates import GATE_NAMES

FORMAT = "difflogic-tonic circuit"
FORMAT_VERSION = 1


def export(exported: ExportedModel) -> Export:
    """Return the JSON file of a model's circuit."""
    return Export({f"{exported.name}.json": to_json(exported.circuit, exported.description)}, exported.size)


def to_json(circuit: Circuit, description: Description) -> str:
    """Return one JSON object with the fields of `Circuit` and `Description`: gates by name, one line per list."""
    fields = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": description.name,
        "source": mark_of(description.source),
        "frame_shape": list(description.frame_shape),
        "class_names": list(description.class_names),
        "channels": list(description.channels),
        "tau": circuit.tau,
        "num_inputs": circuit.num_inputs,
        "gates": [GATE_NAMES[gate] for gate in circuit.gates.tolist()],
        "first": circuit.first.tolist(),
        "second": circuit.second.tolist(),
        "outputs": circuit.outputs.tolist(),
        "starts": circuit.starts.tolist(),
        "offsets": circuit.offsets.tolist(),
    }
    return "{\n" + ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in fields.items()) + "\n}\n"


def from_json(text: str) -> tuple[Circuit, Description]:
    """Return what `to_json` wrote; a UserError says that the text is something else."""
    try:
        fields = json.loads(text)
        if (fields["format"], fields["format_version"]) != (FORMAT, FORMAT_VERSION):
            raise ValueError(f"it is of another format than {FORMAT} version {FORMAT_VERSION}")
        channels, height, width = fields["frame_shape"]
        circuit = Circuit(
            int(fields["num_inputs"]),
            np.array([GATE_NAMES.index(gate) for gate in fields["gates"]], np.uint8),
            np.array(fields["first"], np.int32),
            np.array(fields["second"], np.int32),
            np.array(fields["outputs"], np.int32),
            np.array(fields["starts"], np.int64),
            np.array(fields["offsets"], np.int64),
            float(fields["tau"]),
        )
        _check(circuit)
        shape = channels, height, width
        names = tuple(fields["class_names"]), tuple(fields.get("channels", ()))
        return circuit, Description(fields["name"], shape, *names, source_in(text.encode()) or "")
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise UserError(f"this is no circuit that can be read: {error!r}") from error


def _check(circuit: Circuit) -> None:
    nodes = circuit.num_inputs + np.arange(len(circuit.gates))
    for inputs in (circuit.first, circuit.second):
        if inputs.shape != nodes.shape or np.any(inputs < 0) or np.any(inputs >= nodes):
            raise ValueError("a gate's inputs must come before it")
    if np.any(circuit.outputs < 0) or np.any(circuit.outputs >= circuit.num_inputs + len(nodes)):
        raise ValueError("an output is no node")
    starts = circuit.starts
    if len(starts) != circuit.num_classes + 1 or starts[0] != 0 or starts[-1] != len(circuit.outputs):
        raise ValueError("the classes do not divide the outputs")
    if np.any(np.diff(starts) < 0):
        raise ValueError("the classes' starts must rise")
