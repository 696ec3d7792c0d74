"""The framing that a config's data section asks for."""

from src.command_line import UserError
from src.config import Data, overlap_of, size_of
from src.events.datasets import get_dataset
from src.events.datasets.dataset import Dataset, OwnRecordings
from src.events.framing import Framing
from src.frame_modes import framing_errors
from src.io_funcs import expand_path


def dataset_of(data: Data) -> Dataset:
    """Return the dataset that the data section names; for the user's own recordings, as its options describe it.

    Raises:
        UserError: if there is no such dataset, or an option of the user's own recordings does not fit.
    """
    dataset = get_dataset(data.name)
    own = OwnRecordings(
        folder=None if data.folder is None else expand_path(data.folder, "data.folder"),
        sensor_size=None if data.sensor_size is None else (data.sensor_size[0], data.sensor_size[1]),
        evt3_clock=data.evt3_clock,
        group_by=data.group_by,
    )
    if dataset.of_options is not None:
        return dataset.of_options(own)
    given = [name for name, value in vars(own).items() if value != getattr(OwnRecordings(), name)]
    if given:
        raise UserError(
            f"data.{given[0]} is for your own recordings, and data.name = {dataset.name} is not: leave it out, or set "
            f"data.name to FOLDER"
        )
    return dataset


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
        crop=None if data.crop is None else (data.crop[0], data.crop[1], data.crop[2], data.crop[3]),
        downsample=data.downsample,
        denoise_time=data.denoise_time,
        first_saccade_only=data.first_saccade_only,
        stabilize=data.stabilize,
    )


def filters_of(framing: Framing) -> list[str]:
    """Return the options that keep events out of frames, as a message names them."""
    options = [] if framing.crop is None else [f"data.crop = {list(framing.crop)}"]
    if framing.denoise_time:
        options.append(f"data.denoise_time = {framing.denoise_time} (0: no denoising)")
    return options


def blank_text(framing: Framing) -> str:
    """Say that a recording has frames without events, and why."""
    options = filters_of(framing)
    why = f", since {' and '.join(options)} {'leaves' if len(options) == 1 else 'leave'} no events" if options else ""
    return f"blank frames only{why}"


def require_fitting_dataset(data: Data, dataset: Dataset) -> None:
    """Raise UserError if the data section asks for what recordings of this dataset do not have."""
    if data.crop is not None and dataset.complete is None:
        require_crop_on_sensor(data, dataset)
    if dataset.has_saccades:
        return
    for name in ("first_saccade_only", "stabilize"):
        if getattr(data, name):
            raise UserError(
                f"data.{name} = true is for recordings with the saccades of N-MNIST, which those of data.name = "
                f"{dataset.name} do not have; leave it out"
            )


def require_crop_on_sensor(data: Data, dataset: Dataset) -> None:
    """Raise UserError if data.crop is not a region of the dataset's sensor, which must be known."""
    if data.crop is None:
        return
    left, top, width, height = data.crop
    sensor_width, sensor_height, _ = dataset.sensor_size
    if min(width, height) < 1 or left + width > sensor_width or top + height > sensor_height:
        raise UserError(
            f"data.crop = {list(data.crop)}: x, y, width and height give no region of the sensor of {sensor_width} x "
            f"{sensor_height} pixels"
        )
