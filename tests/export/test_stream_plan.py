"""StreamPlan: which options cannot be streamed, and what a model says of them."""

import pytest
import torch

from src.command_line import UserError
from src.config import Config
from src.export.exported import ExportedModel
from src.export.stream_plan import plan_of
from src.model import create_model
from src.options import with_option


def planned(sensor_size=(34, 34, 2), shape=(2, 34, 34), **data):
    config = with_option(Config(), "data.name", "NMNIST")
    config = with_option(config, "model.difflogic.num_neurons", 3000)
    for name, value in data.items():
        config = with_option(config, f"data.{name}", value)
    torch.manual_seed(0)
    model = create_model(config.model, shape, 10).eval()
    return plan_of(ExportedModel(model, config, tuple("0123456789"), 1, "net", sensor_size))


CANNOT = [
    ({"frame_mode": "n_time_bins", "n_time_bins": 3, "overlap": 0}, "train with data.frame_mode=time_window"),
    ({"frame_mode": "n_event_bins", "n_event_bins": 3, "overlap": 0}, "train with data.frame_mode=event_count"),
    ({"stabilize": True}, "data.stabilize = true: such frames need all events of a recording, or their place in it"),
    ({"stabilize": True}, "so no stream of events gives them; train with data.stabilize=false"),
    ({"first_saccade_only": True}, "train with data.first_saccade_only=false"),
    ({"denoise_time": 2**29 + 1}, "data.denoise_time = 536870913 is too long for timestamps of 32 bits"),
    ({"frame_mode": "time_window", "time_window": 2**30, "overlap": 0}, "train with at most 536870912"),
    ({"events_per_frame": 2_000_000, "overlap": 1_999_999}, "would keep 2,000,000 frames open at a time"),
    ({"shape": (2, 6, 6)}, "are not of the shape"),
]


@pytest.mark.parametrize(("options", "message"), CANNOT)
def test_what_cannot_be_streamed_is_told_with_what_to_use(options, message):
    with pytest.raises(UserError) as error:
        planned(**options)
    assert message in str(error.value)


def test_a_plan_holds_what_the_model_was_trained_with():
    plan = planned(stack=2, shape=(4, 34, 34))
    assert (plan.sensor_size, plan.stack, plan.step, plan.num_open) == ((34, 34, 2), 2, 500, 3)


def test_the_size_of_the_sensor_is_that_of_the_model_file():
    plan = planned((34, 40, 2), shape=(2, 40, 34), name="FOLDER", folder="here")
    assert plan.sensor_size == (34, 40, 2)
