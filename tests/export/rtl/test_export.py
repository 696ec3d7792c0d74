"""The folder of streaming hardware: which files it has, and what they say."""

import re
from dataclasses import replace

import pytest
import torch

from src.command_line import UserError
from src.config import Config
from src.export import synthesis
from src.export.devices import FAMILIES
from src.export.exported import ExportedModel
from src.export.rtl.export import export
from src.export.rtl.lists import MOST_COLUMNS
from src.export.synthesis import synthesize
from src.helpers import LOG
from src.model import create_model
from src.options import with_option
from tests.export.exports import need

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


def test_lines_are_short_and_every_name_is_declared():
    files = export(exported_model()).files
    for name, content in files.items():
        if name.endswith(".v"):
            assert max(map(len, content.splitlines())) <= MOST_COLUMNS, name
            assert "`default_nettype none\n" in content
            assert content.endswith("endmodule\n`default_nettype wire\n")


def test_what_is_placed_is_in_the_folder_with_the_commands_that_place_it():
    exported = export(exported_model())
    design = exported.design("ice40")
    assert design.top == "net_pins"
    assert all(exported.files[f"net_rtl/{name}"] == text for name, text in design.files.items())
    page = exported.files["net_rtl/README.md"]
    assert f'yosys -p "read_verilog {" ".join(design.files)}; synth_ice40 -top net_pins; ' in page
    assert "--hx1k --package tq144" in page


@pytest.mark.parametrize(
    ("options", "cycles"),
    [
        ({}, 4 * 15),  # denoising takes four cycles per event
        ({"denoise_time": 0}, 15),
        ({"frame_mode": "time_window", "time_window": 300}, None),  # as many as there are windows
    ],
)
def test_frames_per_second_follow_from_the_events_between_two(options, cycles):
    design = export(exported_model(**options)).design("ice40")
    assert design.cycles_per_frame == cycles
    assert "stages" in design.what


@pytest.mark.parametrize(
    ("options", "limit"),
    [
        ({}, "No pixel may be silent for more than 35 minutes"),
        ({"frame_mode": "time_window", "time_window": 300}, "A pause of more than 35 minutes"),
        ({"frame_mode": "time_window", "time_window": 300_005}, " seconds are added up"),
        ({"denoise_time": 0}, "`event_t` is ignored"),
    ],
)
def test_the_page_says_the_limits(options, limit):
    page = export(exported_model(**options)).files["net_rtl/README.md"]
    limits = page.split("## Limits")[1].split("## ")[0]
    assert limit in limits
    assert "FIFO" in limits
    assert "event_last" in limits


@pytest.mark.parametrize("most_frames", [100, 400])
def test_a_bench_has_about_as_many_frames_as_are_asked_for(most_frames):
    what = export(replace(exported_model(events_per_frame=300, overlap=0), most_frames=most_frames)).what
    number = int(re.search(r"to be tested with (\d+) frames of \d+ pseudo-random recordings", what)[1])
    assert 0.7 * most_frames <= number <= 1.3 * most_frames


def test_hardware_of_one_class_is_refused():
    with pytest.raises(UserError, match="net has one class, so hardware has nothing to find"):
        export(exported_model(classes=1))


@pytest.mark.slow
@pytest.mark.parametrize("family", ["ice40", "ecp5", "xilinx"])
def test_a_large_network_is_synthesised_apart_and_takes_as_much(family, monkeypatch, caplog):
    need("yosys")
    monkeypatch.setattr(LOG, "propagate", True)
    design = export(exported_model()).design(family)
    family_without_nextpnr = replace(FAMILIES[family], place_and_route="")
    monkeypatch.setitem(FAMILIES, family, family_without_nextpnr)
    whole = synthesize(design, family)
    monkeypatch.setitem(FAMILIES, family, replace(family_without_nextpnr, place_and_route="yosys"))
    monkeypatch.setattr(synthesis, "MOST_WHOLE", 0)
    apart = synthesize(design, family)
    assert apart.luts == pytest.approx(whole.luts, rel=0.05)
    assert apart.registers == pytest.approx(whole.registers, rel=0.02)
    assert apart.block_rams == whole.block_rams
    assert "net_pins is too large to be placed and routed" in caplog.text
