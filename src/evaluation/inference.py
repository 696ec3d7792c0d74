"""A job id or a model's file -> the model, ready to classify frames, or its circuit."""

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from src.checkpoint import DamagedCheckpointError, load_model_state, load_tree, unreadable_model
from src.circuit.circuit import Circuit
from src.command_line import UserError
from src.config import Config
from src.evaluation.circuit_model import load_circuit_model
from src.frame_cache.framing_options import dataset_of
from src.helpers import one_line
from src.io_funcs import check_name, expand_path, open_regular
from src.jobs.find import GIVE_A_MODEL, require_jobs, require_model_file
from src.jobs.folders import MODEL_SUFFIXES, Job, is_circuit, is_path, list_checkpoints
from src.logic.temperature import set_temperature
from src.model import FrameModel, create_model
from src.options import with_option


def load_model(path_or_job: str | Path) -> tuple[FrameModel, dict[str, Any]]:
    """Return the model of a file or job (see `find_model`), on the CPU and in eval mode, and its description.

    The description has `config` (nested dicts), `class_names`, `input_shape` [P, H, W], `sensor_size` [W, H, P] of the
    recordings (None in files of older versions), `step`, `temperature` (that of the gates in train mode), `frames` (the
    checksum of the cache that the model was trained on) and `debug` (a text about a run with --debug, or None). That of
    a circuit's file is less: its config has the data section, `temperature` is 1 and `frames` is empty. It alone has a
    `name`, that of exported files.

    Raises:
        UserError: if there is no such model, or its file is damaged or does not fit its description.
    """
    path = find_model(path_or_job)
    if is_circuit(path):
        return load_circuit_model(path)
    weights, description = _read(path)
    config = Config.from_dict(description["config"], str(path))
    # The implementation that it was trained with may need a GPU.
    config = with_option(config, "model.difflogic.implementation", "auto")
    with torch.random.fork_rng(devices=[]):  # the first weights are drawn, and then replaced
        model = create_model(
            config.model, tuple(description["input_shape"]), len(description["class_names"]), config.data.frame_dtype
        )
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"{path}: the weights do not fit the config in the file: {one_line(error)}") from error
    set_temperature(model, description["temperature"])  # the temperature of its epoch, not of the first
    return model.eval(), description


def load_circuit(path_or_job: str | Path) -> Circuit:
    """Return the circuit of a model, not simplified; it reads what `FrameModel.circuit_inputs` gives.

    Raises:
        UserError: as `load_model` does, and if the model is not made of gates.
    """
    return load_model(path_or_job)[0].circuit()


def find_model(path_or_job: str | Path) -> Path:
    """Return the file of a model: itself, or a job's best model, else its final one, else its newest checkpoint.

    A text that ends with .safetensors or .json or has a slash names a file; anything else is a job id.
    """
    text = str(path_or_job)
    if is_path(text):
        path = Path(expand_path(text, "model"))
        require_model_file(path)
        return path
    job = Job(check_name(text, "job id"))
    models = [job.models / f"{name}.safetensors" for name in ("best", "final")]
    for path in [*models, *list_checkpoints(job.checkpoints, job.checkpoint_copies)]:
        if path.exists():
            return path
    require_jobs([text])
    raise UserError(f"job {text} has no model and no checkpoint: looked in {job.models} and {job.checkpoints}")


def model_sensor_size(path: Path, about: dict[str, Any], config: Config) -> tuple[int, int, int]:
    """Return the sensor's size (W, H, P) that the model's file names, or that of an older file follows from."""
    data, dataset = config.data, dataset_of(config.data)
    if about["sensor_size"] is not None:
        width, height, polarities = about["sensor_size"]
        return width, height, polarities
    if dataset.complete is None:
        return dataset.sensor_size
    if data.sensor_size is not None:
        return data.sensor_size[0], data.sensor_size[1], dataset.sensor_size[2]
    if data.crop is None and data.downsample == 1:
        return about["input_shape"][2], about["input_shape"][1], dataset.sensor_size[2]
    raise UserError(
        f"{path}: an older version wrote it, without the size of the sensor; train the job again, or --resume it with "
        f"more train.epochs"
    )


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return the weights and the description in a model's file or a checkpoint."""
    try:
        open_regular(path).close()  # safe_open would wait at a pipe, and call a file that may not be read missing
        with safe_open(path, framework="pt") as file:
            is_checkpoint = "values" in (file.metadata() or {})
    except (OSError, SafetensorError) as error:
        if isinstance(error, SafetensorError) and path.suffix not in MODEL_SUFFIXES:
            raise UserError(f"{path}: it holds no model; {GIVE_A_MODEL}") from error
        raise unreadable_model(path, error) from error
    if is_checkpoint:
        try:
            description = load_tree(path)
        except DamagedCheckpointError as error:
            raise UserError(str(error)) from error
        weights = description.get("model", {})
    else:
        weights, description = load_model_state(path)
    for key, fits in _FITS.items():
        if not fits(description.get(key)):
            raise UserError(
                f"{path}: its header has no {key} that can be used ({json.dumps(description.get(key), default=str)}); "
                f"give a file that train.sh wrote: best, final or step_*.safetensors"
            )
    return weights, {key: description.get(key) for key in _FITS}


def _are(kind: type, values: Any) -> bool:
    return isinstance(values, list) and len(values) > 0 and all(type(value) is kind for value in values)


def _is_size(values: Any) -> bool:
    return _are(int, values) and len(values) == 3 and min(values) > 0


_FITS = {
    "config": lambda value: isinstance(value, dict),
    "class_names": lambda value: _are(str, value),
    "input_shape": _is_size,
    "sensor_size": lambda value: value is None or _is_size(value),
    "step": lambda value: type(value) is int,
    "temperature": lambda value: type(value) in (int, float) and 0 < value < math.inf,
    "frames": lambda value: isinstance(value, str),
    "debug": lambda value: value is None or isinstance(value, str),
}
