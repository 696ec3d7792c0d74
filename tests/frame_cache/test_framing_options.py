"""What the data section asks of a dataset."""

import pytest

from src.command_line import UserError
from src.config import Data
from src.events.datasets import get_dataset
from src.frame_cache.framing_options import dataset_of, require_fitting_dataset


@pytest.mark.parametrize("option", ["first_saccade_only", "stabilize"])
def test_saccades_are_asked_for_only_where_recordings_have_them(option):
    data = Data(**{option: True})
    require_fitting_dataset(data, get_dataset("NMNIST"))
    with pytest.raises(UserError, match=f"data.{option} = true is for .* those of data.name = DEMO do not have"):
        require_fitting_dataset(data, get_dataset("DEMO"))


@pytest.mark.parametrize("crop", [(0, 0, 35, 10), (30, 0, 5, 10), (0, 20, 5, 15), (0, 0, 0, 5)])
def test_a_crop_beyond_the_sensor_is_refused(crop):
    with pytest.raises(UserError, match=r"data\.crop = .* give no region of the sensor of 34 x 34 pixels"):
        require_fitting_dataset(Data(crop=crop), get_dataset("NMNIST"))


@pytest.mark.parametrize("option", ["folder", "sensor_size", "group_by", "evt3_clock"])
def test_an_option_of_own_recordings_is_refused_for_a_dataset_that_is_known(option):
    value = {"sensor_size": (34, 34), "evt3_clock": "metavision"}.get(option, "x")
    with pytest.raises(UserError, match=rf"data\.{option} is for your own recordings, and data\.name = NMNIST is not"):
        dataset_of(Data(**{option: value}))
