"""The framing that a config's data section asks for."""

from src.command_line import UserError
from src.config import SIZE_OPTIONS, Data, framing_errors, overlap_of
from src.events.framing import Framing


def framing_of(data: Data) -> Framing:
    """The framing that the data section asks for; UserError names every option that does not fit."""
    if errors := framing_errors(data):
        raise UserError("\n".join(errors))
    size = getattr(data, SIZE_OPTIONS[data.frame_mode])
    return Framing(
        mode=data.frame_mode,
        size=size,
        overlap=overlap_of(data),
        drop_incomplete=data.drop_incomplete,
        dtype=data.frame_dtype,
        polarities=data.polarities,
        downsample=data.downsample,
        denoise_time=data.denoise_time,
        first_saccade_only=data.first_saccade_only,
        stabilize=data.stabilize,
    )
