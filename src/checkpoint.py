"""What a run's state is; saving and restoring it exactly.

A checkpoint is a safetensors file: tensors by their path in the state, everything else as JSON in the header, with a
SHA-256 over both. Nothing is unpickled.
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
KEPT = 2
_TENSOR = "__tensor__"
_ELSEWHERE = "take another copy, or the job's other model or a checkpoint; --restart trains the job anew"


class DamagedCheckpointError(Exception):
    """A checkpoint file cannot be used; its text says why.

    Attributes:
        for_good: its content is wrong; else it could not be read now, or another version of the program wrote it.
    """

    def __init__(self, text: str, for_good: bool) -> None:
        super().__init__(text)
        self.for_good = for_good


def random_states(device: torch.device) -> dict[str, Any]:
    """The state of the global random generators: Python's, NumPy's, PyTorch's on the CPU and on a CUDA device."""
    version, numbers, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "python": [version, list(numbers), gauss],
        "numpy": [name, np.asarray(keys).tolist(), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": [torch.cuda.get_rng_state(device)] if device.type == "cuda" else [],
    }


def restore_random_states(states: dict[str, Any], device: torch.device) -> None:
    """Put the generators back to `random_states`, whatever number this device has among those that can be seen.

    A run that was on the CPU has no state for a GPU, which then keeps that of the seed.
    """
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    torch.set_rng_state(states["torch"])
    if device.type == "cuda" and states["cuda"]:
        torch.cuda.set_rng_state(states["cuda"][0], device)


def save_tree(path: Path, tree: dict[str, Any]) -> None:
    """Write a tree of dicts, lists, tensors and JSON values, atomically and checksummed."""
    tensors: dict[str, torch.Tensor] = {}
    values = json.dumps(take_tensors(tree, "", tensors))
    metadata = {"format_version": FORMAT_VERSION, "values": values, "sha256": checksum(values, tensors)}
    write_atomic(path, _safetensors(tensors, metadata))


def load_tree(path: Path) -> dict[str, Any]:
    """Read what `save_tree` wrote, on the CPU.

    Raises:
        DamagedCheckpointError: if the file is truncated, altered, of another version, or no checkpoint.
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
    """The tree as JSON has it, its tensors put into `tensors`, on the CPU, by their path below `path`."""
    if isinstance(node, torch.Tensor):
        tensors[path] = node.detach().cpu().contiguous()
        return {_TENSOR: path}
    if isinstance(node, dict):
        # Keys that are numbers, such as those of an optimiser's state, become text, as JSON has it.
        return {str(key): take_tensors(value, f"{path}/{key}", tensors) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [take_tensors(value, f"{path}/{i}", tensors) for i, value in enumerate(node)]
    return node


def put_tensors(node: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """The tree of which `take_tensors` took the tensors."""
    if isinstance(node, dict):
        if set(node) == {_TENSOR}:
            return tensors[node[_TENSOR]]
        return {key: put_tensors(value, tensors) for key, value in node.items()}
    if isinstance(node, list):
        return [put_tensors(value, tensors) for value in node]
    return node


def checksum(values: str, tensors: dict[str, torch.Tensor]) -> str:
    """SHA-256, in hexadecimal, of a text and of CPU tensors with their names, dtypes and shapes."""
    digest = hashlib.sha256(values.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _safetensors(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> bytes:
    """A safetensors file whose bytes depend on its content alone: the library writes metadata in a random order."""
    content = save(tensors, metadata)
    (size,) = struct.unpack("<Q", content[:8])
    header = json.dumps(json.loads(content[8 : 8 + size]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + content[8 + size :]


def save_checkpoint(folder: Path, step: int, state: dict[str, Any], kept: int = KEPT) -> Path:
    """Write the state after `step` batches; keep `kept` checkpoints of the folder, this and those right before it.

    Newer ones stay beside them: a run that goes on from an older checkpoint has passed them over.
    """
    path = folder / f"step_{step:010d}.safetensors"
    save_tree(path, state)
    older = [other for other in list_checkpoints(folder) if other.name < path.name]
    for old in older[kept - 1 :]:
        with contextlib.suppress(OSError):  # a folder with a checkpoint's name
            old.unlink(missing_ok=True)
    return path


def load_newest(*folders: Path) -> dict[str, Any] | None:
    """The state of the newest checkpoint in these folders that is whole; None if there are no checkpoints.

    Damaged ones that are newer are renamed, so that no later checkpoint is taken for older than they are. The caller
    holds the job's lock.

    Raises:
        UserError: if there are checkpoints but all are damaged: starting afresh is the user's decision.
    """
    paths = list_checkpoints(*folders)
    damaged = []
    for path in paths:
        try:
            state = load_tree(path)
        except DamagedCheckpointError as error:
            LOG.warning("%s; it is passed over", error)
            if error.for_good:
                damaged.append(path)
            continue
        LOG.info("resuming from %s", path)
        for other in damaged:
            _set_aside(other)
        return state
    if paths:
        where = " and ".join(map(str, folders))
        raise UserError(f"no checkpoint in {where} can be read; --restart begins the job anew")
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
    """Write a model's whole state dict as safetensors, atomically.

    The header carries `description`, each value as JSON, and a SHA-256 over both.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    header = {key: json.dumps(value) for key, value in description.items()}
    write_atomic(path, _safetensors(tensors, {**header, "sha256": json.dumps(_model_checksum(header, tensors))}))


def load_model_state(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The state dict and the description that `save_model` wrote.

    Raises:
        UserError: if the file cannot be read, or is not what was written; one without a checksum is taken as it is.
    """
    try:
        require_regular(path)  # safe_open would wait at a pipe
        with safe_open(path, framework="pt") as file:
            header = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        written = json.loads(header.pop("sha256", "null"))
        description = {key: json.loads(value) for key, value in header.items()}
    except (OSError, SafetensorError, ValueError) as error:
        raise unreadable_model(path, error) from error
    if written is not None and written != _model_checksum(header, tensors):
        raise UserError(f"{path} is damaged: its checksum is wrong; {_ELSEWHERE}")
    return tensors, description


def unreadable_model(path: Path, error: Exception) -> UserError:
    """What to raise where a model's file cannot be opened or makes no sense."""
    reason = one_line(error).removesuffix(f": {path}")
    return UserError(f"{path}: cannot read the model: {reason}; {_ELSEWHERE}")


def _model_checksum(header: dict[str, str], tensors: dict[str, torch.Tensor]) -> str:
    return checksum(json.dumps(header, sort_keys=True), tensors)
