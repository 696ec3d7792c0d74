"""The ways to cut a recording into frames: what the size and the overlap of a frame count in each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FrameMode:
    """One way to cut recordings, named as in tonic's ToFrame.

    Attributes:
        size: name of the option that says how large a frame is.
        unit: what that option counts.
        word: stands for the mode in the names of frame caches.
        in_bins: a recording gives a fixed number of frames, and the overlap is a fraction of one. In the other modes
            frames have a fixed size, and the overlap counts what the size counts.
        overlap: of consecutive frames, unless another one is asked for.
    """

    size: str
    unit: str
    word: str
    in_bins: bool = False
    overlap: int = 0


FRAME_MODES = {
    "event_count": FrameMode("events_per_frame", "events", "events", overlap=1000),
    "time_window": FrameMode("time_window", "microseconds", "window"),
    "n_time_bins": FrameMode("n_time_bins", "frames per recording", "timebins", in_bins=True),
    "n_event_bins": FrameMode("n_event_bins", "frames per recording", "eventbins", in_bins=True),
}


def framing_errors(name: str, size: int | None, overlap: float) -> list[str]:
    """Return a line for each reason why frames of this mode cannot have this size and overlap."""
    mode, errors = FRAME_MODES[name], []
    if size is None:
        errors.append(f"data.frame_mode = {name} needs data.{mode.size}, {mode.unit}")
    if mode.in_bins:
        if overlap >= 1:
            errors.append(
                f"data.overlap = {overlap} must be less than 1: with data.frame_mode = {name} it is a fraction of a bin"
            )
    elif overlap != int(overlap):
        errors.append(f"data.overlap = {overlap} must be whole: with data.frame_mode = {name} it counts {mode.unit}")
    elif size is not None and overlap >= size:
        errors.append(
            f"data.overlap = {overlap} must be smaller than data.{mode.size} = {size}, since a frame begins "
            f"{mode.size} - overlap {mode.unit} after the last"
        )
    return errors
