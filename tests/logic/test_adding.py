"""A parametrisation, a connection scheme or a backend is added by one file and one line, and then trains."""

import pytest
import torch

from src.config import Config
from src.logic import LogicLayer
from src.model import create_model
from src.registry import BACKENDS, CONNECTIONS, PARAMETRISATIONS
from tests.toys.backend import BACKEND

SHAPE = (2, 6, 5)  # bits of a frame: 60


CONFIG = "model: {difflogic: {num_neurons: 40, num_layers: 2, tau: 2, convolution: {kernels: [4, 8]}}}"


def trained(folder, overrides):
    """A small model of a config after some steps, and its losses."""
    (folder / "toy.yaml").write_text(CONFIG)
    model_options = Config.from_yaml(folder / "toy.yaml", overrides=[overrides]).model
    torch.manual_seed(0)
    model = create_model(model_options, SHAPE, 2)
    packed = torch.randint(0, 256, (64, 8), dtype=torch.uint8)
    labels = (packed[:, 0] & 1).long()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    losses = []
    for _ in range(30):
        loss = torch.nn.functional.cross_entropy(model.forward_packed(packed), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model, losses


@pytest.mark.parametrize("implementation", ["torch", "numba"])
@pytest.mark.parametrize("architecture", ["dense", "convolutional"])
def test_a_parametrisation_of_one_s_own_trains(tmp_path, monkeypatch, implementation, architecture):
    monkeypatch.setitem(PARAMETRISATIONS.entries, "toy", "tests.toys.parametrisation:BufferOrInverter")
    options = {"parametrisation": "toy", "implementation": implementation, "architecture": architecture}
    model, losses = trained(tmp_path, " ".join(f"model.difflogic.{key}={value}" for key, value in options.items()))
    assert losses[-1] < losses[0]
    for layer in model.logic_layers():
        assert layer.weights.shape[1] == 1
        assert set(layer.discretised_gates().tolist()) <= {3, 12}


def test_a_connection_scheme_of_one_s_own_trains(tmp_path, monkeypatch):
    monkeypatch.setitem(CONNECTIONS.entries, "toy", "tests.toys.connection_scheme:Neighbours")
    model, losses = trained(tmp_path, "model.difflogic.connections=toy")
    assert losses[-1] < losses[0]
    assert model.logic_layers()[0].indices[:, :3].tolist() == [[0, 1, 2], [1, 2, 3]]
    assert LogicLayer(4, 3, connections="toy").indices.tolist() == [[0, 1, 2], [1, 2, 3]]


def test_a_backend_of_one_s_own_trains(tmp_path, monkeypatch):
    monkeypatch.setitem(BACKENDS.entries, "toy", "tests.toys.backend:BACKEND")
    _, losses = trained(tmp_path, "model.difflogic.implementation=toy")
    assert losses[-1] < losses[0]
    assert BACKEND.computed == 60
