"""The models that `model.model_type` can name: creating one, and what must hold before. The types are in models/."""

from src.config import Model
from src.models.cnn import CNN
from src.models.difflogic import DiffLogic
from src.models.frame_model import FrameModel, FrameShape, Size, unpack_frames
from src.models.mlp import MLP
from src.registry import MODEL_TYPES

__all__ = [
    "CNN",
    "MLP",
    "DiffLogic",
    "FrameModel",
    "FrameShape",
    "Size",
    "create_model",
    "least_size",
    "require_fitting_frames",
    "schedule_over_all_epochs",
    "unpack_frames",
]


def create_model(options: Model, frame_shape: FrameShape, num_classes: int, frame_dtype: str = "binary") -> FrameModel:
    """Return the model that `model.model_type` names, its weights drawn from PyTorch's global generator.

    Raises:
        UserError: if the options do not fit the frames or the classes.
    """
    require_fitting_frames(options, frame_dtype)
    return _type_of(options)(frame_shape, num_classes, frame_dtype, options)


def least_size(options: Model, frame_shape: FrameShape, num_classes: int) -> Size:
    """Return the least size of the model that `create_model` returns."""
    return _type_of(options).least_size(frame_shape, num_classes, options)


def require_fitting_frames(options: Model, frame_dtype: str) -> None:
    """Raise a UserError if the model cannot take frames of this dtype, or if its options contradict each other."""
    _type_of(options).require_fitting_frames(options, frame_dtype)


def schedule_over_all_epochs(options: Model) -> str | None:
    """Return the option by which the model's training depends on the number of all epochs, if one does."""
    return _type_of(options).schedule_over_all_epochs(options)


def _type_of(options: Model) -> type[FrameModel]:
    model_type: type[FrameModel] = MODEL_TYPES.load(options.model_type)
    return model_type
