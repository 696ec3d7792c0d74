"""The folder of streaming hardware: which files it has, and what they say."""

import pytest
import torch

from src.command_line import UserError
from src.config import Config
from src.export.exported import ExportedModel
from src.export.rtl.export import export
from src.export.rtl.lists import MOST_COLUMNS
from src.model import create_model
from src.options import with_option

SENSOR = (9, 7, 2)
DATA = {"name": "NMNIST", "data_root": "nowhere", "events_per_frame": 20, "overlap": 5}


def exported_model(classes=3, **data):
    """A small network with random weights, for frames of a small sensor."""
    config = with_option(Config(), "model.difflogic.num_neurons", 300)
    for name, value in {**DATA, **data}.items():
        config = with_option(config, f"data.{name}", value)
    torch.manual_seed(0)
    width, height, polarities = SENSOR
    model = create_model(config.model, (polarities, height, width), classes).eval()
    return ExportedModel(model, config, tuple("abcdefgh"[:classes]), 1, "net", SENSOR, most_frames=10)


def test_lines_are_short():
    files = export(exported_model()).files
    for name, content in files.items():
        if name.endswith(".v"):
            assert max(map(len, content.splitlines())) <= MOST_COLUMNS, name


def test_hardware_of_one_class_is_refused():
    with pytest.raises(UserError, match="net has one class, so hardware has nothing to find"):
        export(exported_model(classes=1))
