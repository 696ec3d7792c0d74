"""The teacher: a trained model whose class scores another model learns beside the labels."""

from dataclasses import dataclass

import torch

from src.checkpoint import checksum
from src.command_line import UserError
from src.config import Config
from src.data import FrameCache
from src.evaluation.evaluate import require_fitting_model, warn_of_other_frames
from src.evaluation.inference import find_model, load_model
from src.io_funcs import expand_path, from_repository
from src.jobs.folders import is_circuit, is_path
from src.model import FrameModel


@dataclass(frozen=True)
class Teacher:
    """A trained model, and its identity.

    Attributes:
        model: in eval mode, on the device of the training.
        digest: SHA-256 of its weights, since a resumed run needs the same teacher.
    """

    model: FrameModel
    digest: str

    @torch.no_grad()
    def scores(self, packed: torch.Tensor) -> torch.Tensor:
        """Return the class scores [B, classes] of packed frames as the student gets them."""
        return self.model.forward_packed(packed)


def load_teacher(config: Config, cache: FrameCache, device: torch.device) -> Teacher | None:
    """Return the model that `train.teacher.model` names, a job id or a file; None if it names none.

    Raises:
        UserError: there is no such model, it was trained on another dataset, or it does not take the cache's frames.
    """
    name = config.train.teacher.model
    if name is None:
        return None
    try:
        expanded = expand_path(name, "train.teacher.model")
        path = find_model(from_repository(expanded) if is_path(expanded) else expanded)
        if is_circuit(path):
            raise UserError("it is a circuit, which has no layers on a training's device; give the job it came from")
        model, about = load_model(path)
        own = Config.from_dict(about["config"], str(path))
        if own.data.name != config.data.name:
            raise UserError(f"it was trained on {own.data.name}, not on {config.data.name}")
        require_fitting_model(str(path), about, own.data.frame_dtype, cache)
        warn_of_other_frames(f"train.teacher.model = {name}", about, cache)
    except UserError as error:
        lines = str(error).split("\n")
        raise UserError("\n".join(f"train.teacher.model = {name}: {line}" for line in lines)) from error
    digest = checksum("", model.state_dict())
    return Teacher(model.to(device), digest)
