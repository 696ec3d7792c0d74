"""ONNX files, run by onnxruntime: the scores of the PyTorch model."""

import json
import sys

import numpy as np
import pytest
import torch

from src.command_line import UserError
from src.config import CNNOptions, ConvolutionOptions, DiffLogicOptions, MLPOptions, Model
from src.evaluation.inference import load_model
from src.export.onnx import to_onnx
from src.model import create_model
from tests.small_job import REPOSITORY

onnxruntime = pytest.importorskip("onnxruntime")
SHAPE = (2, 13, 10)
CLASS_NAMES = ["é", "b", "c", "d", "e"]


def small_model(model_type, levels=0, readout="sum"):
    convolutional = model_type == "convolutional"
    gates = DiffLogicOptions(
        architecture="convolutional" if convolutional else "dense",
        convolution=ConvolutionOptions(kernels=(6, 4), pooling=(2, 1)),
        thermometer_levels=levels,
        readout=readout,
        num_neurons=300,
        num_layers=3,
        tau=3.7,
    )
    cnn = CNNOptions(conv1_channels=4, conv2_channels=5, fc_hidden_size=6)
    mlp = MLPOptions(hidden_size=7, num_hidden_layers=3)
    options = Model("difflogic" if convolutional else model_type, gates, cnn, mlp)
    torch.manual_seed(0)
    model = create_model(options, SHAPE, 5, "counts" if levels else "binary").eval()
    if convolutional or readout == "votes":  # gates of all kinds, not only those that it begins with
        for weights in model.parameters():
            torch.nn.init.normal_(weights)
    return model


def scores_of(content, frames):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(["scores"], {"frames": frames})[0], session


@pytest.mark.parametrize("batch", [1, 3, 70])
@pytest.mark.parametrize("model_type", ["difflogic", "convolutional", "cnn", "mlp"])
def test_onnx_scores_as_the_model_does(model_type, batch):
    model = small_model(model_type)
    frames = np.random.default_rng(0).integers(0, 2, (batch, *SHAPE)).astype(np.float32)
    found, session = scores_of(to_onnx(model, "net", CLASS_NAMES), frames)
    with torch.no_grad():
        expected = model(torch.from_numpy(frames)).numpy()
    assert found.shape == (batch, 5)
    if model_type in ("difflogic", "convolutional"):
        assert np.array_equal(found, expected)
    else:
        assert np.abs(found - expected).max() < 1e-5
    assert json.loads(session.get_modelmeta().custom_metadata_map["class_names"]) == CLASS_NAMES


def test_onnx_encodes_counts_as_the_model_does():
    model = small_model("difflogic", levels=2)
    frames = np.random.default_rng(0).integers(0, 4, (70, *SHAPE)).astype(np.float32)
    found, _ = scores_of(to_onnx(model, "net", CLASS_NAMES), frames)
    with torch.no_grad():
        assert np.array_equal(found, model(torch.from_numpy(frames)).numpy())


@pytest.mark.parametrize("model_type", ["difflogic", "convolutional"])
def test_onnx_counts_votes_as_the_model_does(model_type):
    model = small_model(model_type, readout="votes")
    frames = np.random.default_rng(0).integers(0, 2, (70, *SHAPE)).astype(np.float32)
    found, _ = scores_of(to_onnx(model, "net", CLASS_NAMES), frames)
    with torch.no_grad():
        assert np.array_equal(found, model(torch.from_numpy(frames)).numpy())


@pytest.mark.parametrize("model_type", ["difflogic", "convolutional", "cnn", "mlp"])
def test_a_missing_onnx_is_said(model_type, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match=r"ONNX, but its package cannot be imported .*: install it with .*pip install"):
        to_onnx(small_model(model_type), "net", CLASS_NAMES)


def test_a_circuit_has_no_onnx_with_or_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    model, _ = load_model(REPOSITORY / "examples" / "demo.json")
    with pytest.raises(UserError, match="a circuit has no layers to write as ONNX; export the job"):
        to_onnx(model, "net", CLASS_NAMES)


def test_a_network_that_is_too_large_for_onnx_is_said(monkeypatch):
    monkeypatch.setattr("src.models.onnx_graph.MOST_BYTES", 1000)
    with pytest.raises(UserError, match="too large for ONNX, whose files hold 2 GiB"):
        to_onnx(small_model("difflogic"), "net", CLASS_NAMES)
