"""The framing that a config's data section asks for."""

from src.command_line import UserError
from src.config import Data, overlap_of, size_of
from src.events.datasets.dataset import Dataset
from src.events.framing import Framing
from src.frame_modes import framing_errors


def framing_of(data: Data) -> Framing:
    """Return the framing that the data section asks for; UserError names every option that does not fit."""
    size, overlap = size_of(data), overlap_of(data)
    if errors := framing_errors(data.frame_mode, size, overlap):
        raise UserError("\n".join(errors))
    assert size is not None
    return Framing(
        mode=data.frame_mode,
        size=size,
        overlap=overlap,
        drop_incomplete=data.drop_incomplete,
        dtype=data.frame_dtype,
        polarities=data.polarities,
        downsample=data.downsample,
        denoise_time=data.denoise_time,
        first_saccade_only=data.first_saccade_only,
        stabilize=data.stabilize,
    )


def require_fitting_dataset(data: Data, dataset: Dataset) -> None:
    """Raise UserError if the data section asks for what recordings of this dataset do not have."""
    if dataset.has_saccades:
        return
    for name in ("first_saccade_only", "stabilize"):
        if getattr(data, name):
            raise UserError(
                f"data.{name} = true is for recordings with the saccades of N-MNIST, which those of data.name = "
                f"{dataset.name} do not have; leave it out"
            )
