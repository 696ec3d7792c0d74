"""A circuit's file as a model: it gives the scores of the model it came from, and files that do not fit are refused."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.command_line import UserError
from src.config import Config, Data, DiffLogicOptions, Model
from src.evaluation.circuit_model import load_circuit_model
from src.evaluation.classifier import load_classifier
from src.export.circuit_json import export, read_circuit_file, to_json
from src.export.exported import ExportedModel
from src.frame_cache.framing_options import framing_of
from src.model import create_model
from src.models.frame_model import FrameModel
from src.models.onnx_graph import Graph
from tests.export.test_circuit_json import changed
from tests.small_job import REPOSITORY

SENSOR = (7, 6, 2)
DEMO = REPOSITORY / "examples/demo.json"


def small_model(stack: int = 1, levels: int = 0) -> tuple[FrameModel, Config]:
    data = Data(stack=stack, frame_dtype="counts" if levels else "binary")
    options = Model(difflogic=DiffLogicOptions(num_neurons=300, num_layers=2, thermometer_levels=levels))
    torch.manual_seed(0)
    return create_model(options, (stack * 2, 6, 7), 3, data.frame_dtype).eval(), Config(data=data, model=options)


def exported_json(model, config):
    (content,) = export(ExportedModel(model, config, ("a", "b", "c"), 9, "net", SENSOR)).files.values()
    return content.encode()


CONTENT = exported_json(*small_model())


@pytest.mark.parametrize(("stack", "levels"), [(1, 0), (3, 0), (2, 3)])
def test_a_circuit_s_file_has_the_scores_and_counts_of_its_model(tmp_path, stack, levels):
    model, config = small_model(stack, levels)
    (tmp_path / "net.json").write_bytes(exported_json(model, config))
    restored, about = load_circuit_model(tmp_path / "net.json")
    size = model.frame_shape[0] * 42 if levels else -(-model.frame_shape[0] * 42 // 8)
    frames = torch.from_numpy(np.random.default_rng(0).integers(0, 5 if levels else 256, (40, size)).astype(np.uint8))
    with torch.no_grad():
        expected = model.forward_with_counts(frames)
    for found, wanted in zip(restored.forward_with_counts(frames), expected, strict=True):
        assert torch.equal(found, wanted)
    assert torch.equal(restored.forward_packed(frames), expected[0])
    assert (about["step"], about["class_names"], about["sensor_size"]) == (9, ["a", "b", "c"], list(SENSOR))


@pytest.mark.parametrize(("stack", "levels"), [(1, 0), (2, 3)])
def test_a_circuit_s_file_is_exported_to_itself(tmp_path, stack, levels):
    content = exported_json(*small_model(stack, levels))
    (tmp_path / "other.json").write_bytes(content)
    model, about = load_circuit_model(tmp_path / "other.json")
    assert exported_json(model, Config.from_dict(about["config"], "test")) == content


def test_a_circuit_is_not_written_as_onnx(tmp_path):
    (tmp_path / "net.json").write_bytes(CONTENT)
    with pytest.raises(UserError, match=r"a circuit has no layers to write as ONNX; export the job or"):
        load_circuit_model(tmp_path / "net.json")[0].add_to_onnx(Graph())


@pytest.mark.parametrize(
    "change",
    [
        {"sensor_size": [8, 6, 2]},
        {"thresholds": [0]},
        {"data": {**json.loads(CONTENT)["data"], "stack": 2}},
        {"data": {**json.loads(CONTENT)["data"], "downsample": 0.5}},
        {"data": {**json.loads(CONTENT)["data"], "frame_dtype": "counts"}},
    ],
)
def test_frames_that_are_not_what_the_circuit_reads_are_refused(tmp_path, change):
    (tmp_path / "net.json").write_bytes(changed(CONTENT, **change))
    with pytest.raises(UserError, match=r"net\.json: its data section gives .* but its circuit reads \[2, 6, 7\]"):
        load_circuit_model(tmp_path / "net.json")


OPTIONS = json.loads(CONTENT)["data"]
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.lists(st.integers())


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([*OPTIONS, "folder", "crop", "sensor_size"]), VALUES)
def test_any_value_of_an_option_gives_a_classifier_or_lines_that_name_the_file(tmp_path_factory, option, value):
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(changed(CONTENT, data={**OPTIONS, option: value}))
    try:
        load_classifier(path)
    except UserError as error:
        told = str(error)
    else:
        told = ""
    assert not told or str(path) in told or f"data.{option}" in told


def test_the_demo_s_circuit_is_small_and_of_the_demo_s_options():
    file = read_circuit_file(DEMO)
    assert DEMO.stat().st_size < 300_000
    assert file.description.class_names == tuple("0123456789")
    config = Config.from_yaml(REPOSITORY / "configs/demo_ecp5.yaml")
    assert load_classifier(DEMO).framing == framing_of(config.data)
    assert to_json(file) == DEMO.read_text()
