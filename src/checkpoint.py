"""Checkpoints and model files: write a run's state and read it back exactly. src/training/state.py says what it holds.

A checkpoint is a safetensors file. It holds tensors by their path in the state, everything else as JSON in the header,
and a SHA-256 of both. Nothing is unpickled.
"""

import contextlib
import hashlib
import json
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from src.command_line import UserError
from src.helpers import LOG, one_line
from src.io_funcs import require_regular, write_atomic
from src.jobs.folders import list_checkpoints

FORMAT_VERSION = "1"
KEPT = 2  # checkpoints per folder
_TENSOR = "__tensor__"
_ELSEWHERE = "take another copy, or the job's other model or a checkpoint; --restart trains the job again"


class DamagedCheckpointError(Exception):
    """A checkpoint file cannot be used; its text says why.

    Attributes:
        for_good: whether its content is wrong. If not, it cannot be read at the moment, or another version of the
            program wrote it.
    """

    def __init__(self, text: str, for_good: bool) -> None:
        super().__init__(text)
        self.for_good = for_good


def random_states(device: torch.device) -> dict[str, Any]:
    """Return the states of the global random generators: Python's, NumPy's, PyTorch's on the CPU and on a GPU."""
    version, numbers, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "python": [version, list(numbers), gauss],
        "numpy": [name, np.asarray(keys).tolist(), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": [torch.cuda.get_rng_state(device)] if device.type == "cuda" else [],
    }


def restore_random_states(states: dict[str, Any], device: torch.device) -> None:
    """Put the random generators back into `random_states`; the GPU's number may differ from the one that it had.

    The states of a run on the CPU have none for a GPU, whose generator then stays as the seed has left it.
    """
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    torch.set_rng_state(states["torch"])
    if device.type == "cuda" and states["cuda"]:
        torch.cuda.set_rng_state(states["cuda"][0], device)


def save_tree(path: Path, tree: dict[str, Any]) -> None:
    """Write a tree of dicts, lists, tensors and JSON values, atomically and with a checksum."""
    tensors: dict[str, torch.Tensor] = {}
    values = json.dumps(take_tensors(tree, "", tensors))
    metadata = {"format_version": FORMAT_VERSION, "values": values, "sha256": checksum(values, tensors)}
    write_atomic(path, _safetensors(tensors, metadata))


def load_tree(path: Path) -> dict[str, Any]:
    """Return the tree that `save_tree` wrote, its tensors on the CPU.

    Raises:
        DamagedCheckpointError: the file is truncated, altered, of another version, or no checkpoint.
    """
    try:
        require_regular(path)  # safe_open would wait at a pipe
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        raise DamagedCheckpointError(f"{path} cannot be read: {error}", not isinstance(error, OSError)) from error
    if metadata.get("format_version") != FORMAT_VERSION:
        raise DamagedCheckpointError(
            f"{path} is of checkpoint format {metadata.get('format_version')}, not {FORMAT_VERSION}", for_good=False
        )
    if metadata.get("sha256") != checksum(metadata.get("values", ""), tensors):
        raise DamagedCheckpointError(f"{path} is damaged: its checksum is wrong", for_good=True)
    return put_tensors(json.loads(metadata["values"]), tensors)


def take_tensors(node: Any, path: str, tensors: dict[str, torch.Tensor]) -> Any:
    """Return the tree in JSON values, and put its tensors into `tensors`, on the CPU, by their path below `path`."""
    if isinstance(node, torch.Tensor):
        tensors[path] = node.detach().cpu().contiguous()
        return {_TENSOR: path}
    if isinstance(node, dict):
        # JSON has no numbers as keys, which an optimizer's state has: they become text.
        return {str(key): take_tensors(value, f"{path}/{key}", tensors) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [take_tensors(value, f"{path}/{i}", tensors) for i, value in enumerate(node)]
    return node


def put_tensors(node: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """Return the tree whose tensors `take_tensors` has taken."""
    if isinstance(node, dict):
        if set(node) == {_TENSOR}:
            return tensors[node[_TENSOR]]
        return {key: put_tensors(value, tensors) for key, value in node.items()}
    if isinstance(node, list):
        return [put_tensors(value, tensors) for value in node]
    return node


def checksum(values: str, tensors: dict[str, torch.Tensor]) -> str:
    """Return the SHA-256, in hexadecimal, of a text and of CPU tensors with their names, dtypes and shapes."""
    digest = hashlib.sha256(values.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _safetensors(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> bytes:
    """Return the bytes of a safetensors file, which depend on its content alone.

    The library itself writes metadata in a random order.
    """
    content = save(tensors, metadata)
    (size,) = struct.unpack("<Q", content[:8])
    header = json.dumps(json.loads(content[8 : 8 + size]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + content[8 + size :]


def save_checkpoint(folder: Path, step: int, state: dict[str, Any], kept: int = KEPT) -> Path:
    """Write the state after `step` batches; return the file.

    The folder keeps `kept` checkpoints: this one and those right before it. Newer ones stay as well, since a run that
    goes on from an older checkpoint has passed them over.
    """
    path = folder / f"step_{step:010d}.safetensors"
    save_tree(path, state)
    older = [other for other in list_checkpoints(folder) if other.name < path.name]
    for old in older[kept - 1 :]:
        with contextlib.suppress(OSError):  # a folder with a checkpoint's name
            old.unlink(missing_ok=True)
    return path


def load_newest(*folders: Path) -> dict[str, Any] | None:
    """Return the state of the newest whole checkpoint in these folders; None if there are no checkpoints.

    Damaged checkpoints that are newer are renamed, so that later checkpoints are not removed as older ones. The caller
    holds the job's lock.

    Raises:
        UserError: all checkpoints are damaged. Whether to begin again is the user's decision.
    """
    paths = list_checkpoints(*folders)
    damaged = []
    for path in paths:
        try:
            state = load_tree(path)
        except DamagedCheckpointError as error:
            LOG.warning("%s; passing over it", error)
            if error.for_good:
                damaged.append(path)
            continue
        LOG.info("resuming from %s", path)
        for other in damaged:
            _set_aside(other)
        return state
    if paths:
        where = " and ".join(map(str, folders))
        raise UserError(f"no checkpoint in {where} can be read; --restart begins the job again")
    return None


def _set_aside(path: Path) -> None:
    aside = path.with_name(f"damaged_{path.name}")
    try:
        path.replace(aside)
    except OSError as error:
        LOG.warning("cannot rename the damaged %s: %s", path, error)
    else:
        LOG.info("the damaged checkpoint is kept as %s", aside)


def save_model(path: Path, model: torch.nn.Module, description: dict[str, Any]) -> None:
    """Write a model's whole state dict as a safetensors file, atomically.

    The header holds the values of `description`, each as JSON, and a SHA-256 of both.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    header = {key: json.dumps(value) for key, value in description.items()}
    write_atomic(path, _safetensors(tensors, {**header, "sha256": json.dumps(_model_checksum(header, tensors))}))


def load_model_state(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return the state dict and the description that `save_model` wrote.

    Raises:
        UserError: the file cannot be read, or is not what was written.
    """
    try:
        require_regular(path)  # safe_open would wait at a pipe
        with safe_open(path, framework="pt") as file:
            header = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError, ValueError) as error:
        raise unreadable_model(path, error) from error
    written = header.pop("sha256", None)
    if written is None:
        raise UserError(
            f"{path}: its header has no checksum; give a file that train.sh wrote: best, final or step_*.safetensors"
        )
    if written != json.dumps(_model_checksum(header, tensors)):
        raise UserError(f"{path} is damaged: its checksum is wrong; {_ELSEWHERE}")
    return tensors, {key: json.loads(value) for key, value in header.items()}


def unreadable_model(path: Path, error: Exception) -> UserError:
    """Return the error to raise if a model's file cannot be opened or makes no sense."""
    reason = one_line(error).removesuffix(f": {path}")
    return UserError(f"{path}: cannot read the model: {reason}; {_ELSEWHERE}")


def _model_checksum(header: dict[str, str], tensors: dict[str, torch.Tensor]) -> str:
    return checksum(json.dumps(header, sort_keys=True), tensors)
