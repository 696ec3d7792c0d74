"""Models and circuits by file and by job; what is no model is refused in one line."""

import numpy as np
import pytest
import torch

from src import checkpoint
from src.command_line import UserError
from src.config import Config, DiffLogicOptions, MLPOptions, Model
from src.evaluation.inference import find_model, load_circuit, load_model
from src.model import create_model

SHAPE = (2, 8, 8)


def small_model(model_type="difflogic", seed=0):
    gates = DiffLogicOptions(num_neurons=100, num_layers=2, implementation="triton")  # as where it was trained
    config = Config(model=Model(model_type, gates, mlp=MLPOptions(hidden_size=5)))
    torch.manual_seed(seed)
    model = create_model(config.model, SHAPE, 5)
    described = {"config": config.to_dict(), "class_names": list("abcde"), "input_shape": list(SHAPE), "step": 7}
    described |= {"sensor_size": [8, 8, 2], "temperature": 0.5, "frames": "", "debug": None}
    return model, described


def save(path, model_type="difflogic", seed=0, **changed):
    model, described = small_model(model_type, seed)
    checkpoint.save_model(path, model, {**described, **changed})
    return path


def save_step(folder, step, seed=0):
    model, described = small_model(seed=seed)
    return checkpoint.save_checkpoint(folder, step, {**described, "step": step, "model": model.state_dict()})


@pytest.mark.parametrize("model_type", ["difflogic", "cnn", "mlp"])
def test_a_model_comes_back_from_its_file(tmp_path, model_type):
    path = save(tmp_path / "any name.safetensors", model_type)
    model, described = load_model(path)
    assert not model.training
    assert described == small_model(model_type)[1]
    for name, value in small_model(model_type)[0].state_dict().items():
        assert torch.equal(model.state_dict()[name], value)


def test_a_model_comes_back_from_a_checkpoint(tmp_path):
    model, described = load_model(save_step(tmp_path, 12, seed=3))
    assert described["step"] == 12
    assert torch.equal(model.state_dict()["layers.0.weights"], small_model(seed=3)[0].state_dict()["layers.0.weights"])


def test_a_file_of_an_older_version_does_not_say_the_sensor_s_size(tmp_path):
    model, described = small_model()
    del described["sensor_size"]
    checkpoint.save_model(tmp_path / "a.safetensors", model, described)
    assert load_model(tmp_path / "a.safetensors")[1]["sensor_size"] is None


def test_a_job_is_its_best_model_else_the_final_one_else_the_newest_checkpoint(storages):
    models, scratch = storages / "project/models/a", storages / "scratch/checkpoints/a"
    expected = [save_step(models / "checkpoints", 3)]
    assert find_model("a") == expected[-1]
    expected.append(save_step(scratch, 5))
    assert find_model("a") == expected[-1]
    for name in ("final", "best"):
        expected.append(save(models / f"{name}.safetensors"))
        assert find_model("a") == expected[-1]
    assert load_model("a")[1]["step"] == 7


def test_a_circuit_counts_as_its_model_does(tmp_path):
    path = save(tmp_path / "a.safetensors")
    circuit, (model, _) = load_circuit(path), load_model(path)
    frames = np.random.default_rng(0).integers(0, 256, (50, 16)).astype(np.uint8)
    with torch.no_grad():
        scores = model.forward_packed(torch.from_numpy(frames)).numpy()
    assert np.array_equal(circuit(frames).astype(np.float32) / np.float32(circuit.tau), scores)


def test_loading_draws_no_random_number(tmp_path):
    path = save(tmp_path / "a.safetensors")
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    load_model(path)
    assert torch.rand(1) == expected


@pytest.mark.parametrize("model_type", ["cnn", "mlp"])
def test_a_model_without_gates_is_no_circuit(model_type):
    with pytest.raises(UserError, match="is no circuit of gates, as models of model_type difflogic are"):
        small_model(model_type)[0].circuit()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nobody", "there is no job nobody"),
        ("../a", "there is no such file"),
        ("a b", "job id 'a b' is not allowed"),
        ("", "job id '' is not allowed"),
        ("none.safetensors", "there is no such file"),
        ("/tmp/", "it is not a file"),
    ],
)
def test_what_is_not_there_is_said(storages, name, message):
    with pytest.raises(UserError, match=message):
        load_model(name)


def refused(path, message):
    with pytest.raises(UserError, match=message) as error:
        load_model(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"text", bytes(1000), b"\x08" + bytes(7) + b"not json"])
def test_what_is_no_model_is_refused(tmp_path, content):
    (tmp_path / "a.safetensors").write_bytes(content)
    refused(tmp_path / "a.safetensors", "cannot read the model")


def test_a_file_that_is_not_named_as_a_model_is_said_to_be_none(tmp_path):
    (tmp_path / "job.yaml").write_text("data:\n  name: NMNIST\n")
    refused(tmp_path / "job.yaml", r"job.yaml: it holds no model; give a model's .safetensors file, a circuit's")


@pytest.mark.parametrize("size", [4, 300, -1])
def test_a_truncated_model_is_refused(tmp_path, size):
    path = save(tmp_path / "a.safetensors")
    path.write_bytes(path.read_bytes()[:size])
    refused(path, "cannot read the model")


def test_an_altered_checkpoint_is_refused(tmp_path):
    path = save_step(tmp_path, 1)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    refused(path, "its checksum is wrong")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"config": None}, "its header has no config"),
        ({"class_names": []}, "its header has no class_names"),
        ({"input_shape": [2, 8]}, "its header has no input_shape"),
        ({"input_shape": [2, 8, -8]}, "its header has no input_shape"),
        ({"sensor_size": [8, 8]}, "its header has no sensor_size"),
        ({"temperature": 0}, "its header has no temperature"),
        ({"frames": None}, "its header has no frames"),
        ({"debug": 20}, "its header has no debug"),
        ({"config": {"modle": {}}}, "did you mean model"),
        ({"class_names": ["a", "b"]}, "the weights do not fit|multiple"),
        ({"input_shape": [1, 8, 8]}, "the weights do not fit"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(tmp_path, changed, message):
    config = small_model()[1]["config"]
    if changed.get("config"):
        changed = {"config": {**config, **changed["config"]}}
    path = save(tmp_path / "a.safetensors", "mlp", **changed)
    refused(path, message)
