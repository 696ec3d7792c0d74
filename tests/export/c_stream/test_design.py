"""StreamDesign: which options cannot be streamed, and what a model says of them."""

import pytest
import torch

from src.config import Config
from src.export.c_stream.design import StreamDesign, design_of
from src.export.exported import ExportedModel
from src.model import create_model
from src.options import with_option


def designed(sensor_size=(34, 34, 2), shape=(2, 34, 34), **data):
    config = with_option(Config(), "data.name", "NMNIST")
    config = with_option(config, "model.difflogic.num_neurons", 3000)
    for name, value in data.items():
        config = with_option(config, f"data.{name}", value)
    torch.manual_seed(0)
    model = create_model(config.model, shape, 10).eval()
    return design_of(ExportedModel(model, config, tuple("0123456789"), 1, "net", sensor_size))


CANNOT = [
    ({"frame_mode": "n_time_bins", "n_time_bins": 3, "overlap": 0}, "train with data.frame_mode=event_count or time_w"),
    ({"frame_mode": "n_event_bins", "n_event_bins": 3, "overlap": 0}, "n_event_bins needs all of a recording's events"),
    ({"stabilize": True}, "train with data.stabilize=false"),
    ({"first_saccade_only": True}, "train with data.first_saccade_only=false"),
    ({"denoise_time": 2**29 + 1}, "data.denoise_time = 536870913 is too long for timestamps of 32 bits"),
    ({"frame_mode": "time_window", "time_window": 2**30, "overlap": 0}, "train with at most 536870912"),
    ({"events_per_frame": 2_000_000, "overlap": 1_999_999}, "would keep 2,000,000 frames open at a time"),
    ({"shape": (2, 6, 6)}, "are not of the shape"),
]


@pytest.mark.parametrize(("options", "message"), CANNOT)
def test_what_cannot_be_streamed_is_told_with_what_to_use(options, message):
    assert message in designed(**options)


def test_a_design_holds_what_the_model_was_trained_with():
    design = designed(stack=2, shape=(4, 34, 34))
    assert isinstance(design, StreamDesign)
    assert (design.sensor_size, design.stack, design.step, design.open_frames) == ((34, 34, 2), 2, 500, 3)


def test_the_size_of_the_sensor_is_that_of_the_model_file():
    design = designed((34, 40, 2), shape=(2, 40, 34), name="FOLDER", folder="here")
    assert design.sensor_size == (34, 40, 2)


def test_each_of_several_frames_begins_a_word():
    design = designed(stack=2, shape=(4, 34, 34))
    assert design.frame_words == 73
    assert design.input_places[[0, 2311, 2312, -1]].tolist() == [0, 2311, 73 * 32, 73 * 32 + 2311]
