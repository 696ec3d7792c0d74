"""A circuit's file -> the model, with the description that a model's own file has."""

from pathlib import Path
from typing import Any

from src.command_line import UserError
from src.config import Config
from src.events.framing import frame_shape
from src.export.circuit_json import read_circuit_file
from src.frame_cache.framing_options import framing_of
from src.models.circuit_model import CircuitModel


def load_circuit_model(path: Path) -> tuple[CircuitModel, dict[str, Any]]:
    """Return the model of a circuit's file, and its description, see `src.evaluation.inference.load_model`.

    Raises:
        UserError: the file is no circuit, or damaged, or its parts do not fit each other.
    """
    file = read_circuit_file(path)
    tree = {"base": {"job_id": file.description.source or None}, "data": file.data}
    data = Config.from_dict(tree, str(path)).data
    channels, height, width = frame_shape(framing_of(data), file.sensor_size)
    shape = data.stack * channels, height, width
    model = CircuitModel(file.circuit, shape, file.thresholds)
    if model.circuit_shape != file.description.frame_shape or model.frame_dtype != data.frame_dtype:
        raise UserError(
            f"{path}: its data section gives {data.frame_dtype} frames of {list(model.circuit_shape)} [P, H, W] bits, "
            f"but its circuit reads {list(file.description.frame_shape)}; export the circuit again from its job"
        )
    about = {
        "config": tree,
        "name": file.description.name,
        "class_names": list(file.description.class_names),
        "input_shape": list(shape),
        "sensor_size": list(file.sensor_size),
        "step": file.step,
        "temperature": 1.0,
        "frames": "",
        "debug": None,
    }
    return model.eval(), about
