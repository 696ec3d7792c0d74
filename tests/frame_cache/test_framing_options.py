"""What the data section asks of a dataset."""

import pytest

from src.command_line import UserError
from src.config import Data
from src.events.datasets import get_dataset
from src.frame_cache.framing_options import require_fitting_dataset


@pytest.mark.parametrize("option", ["first_saccade_only", "stabilize"])
def test_saccades_are_asked_for_only_where_recordings_have_them(option):
    data = Data(**{option: True})
    require_fitting_dataset(data, get_dataset("NMNIST"))
    with pytest.raises(UserError, match=f"data.{option} = true is for .* those of data.name = DEMO do not have"):
        require_fitting_dataset(data, get_dataset("DEMO"))
