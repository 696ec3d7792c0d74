"""Temperature by the epoch, and evaluations without sampling."""

import pytest
import torch

from src.logic import LogicLayer
from src.logic.parametrisation import GateOptions
from src.logic.temperature import gate_temperature, set_temperature, soft_gates, temperature_of_epoch


def test_temperature_goes_from_the_first_epoch_s_to_the_last_one_s_by_equal_factors():
    temperatures = [temperature_of_epoch(4.0, 0.25, epoch, 5) for epoch in range(5)]
    assert temperatures == pytest.approx([4.0, 2.0, 1.0, 0.5, 0.25])
    assert temperature_of_epoch(4.0, 0.25, 0, 1) == 4.0
    assert [temperature_of_epoch(0.3, 0.3, epoch, 7) for epoch in range(7)] == [0.3] * 7


def layers(**options):
    torch.manual_seed(0)
    return torch.nn.Sequential(*(LogicLayer(20, 20, gates=GateOptions(**options)) for _ in range(2)), torch.nn.ReLU())


def test_set_temperature_reaches_every_layer_of_gates():
    model = layers()
    assert gate_temperature(model) == gate_temperature(torch.nn.ReLU()) == 1.0
    set_temperature(model, 0.5)
    assert gate_temperature(model) == 0.5
    assert [layer.gates for layer in model[:2]] == [GateOptions(temperature=0.5)] * 2
    assert torch.equal(model(torch.ones(1, 20)), layers(temperature=0.5)(torch.ones(1, 20)))


@pytest.mark.parametrize("sampling", ["hard", "gumbel_soft", "gumbel_hard"])
def test_soft_gates_are_relaxed_and_without_noise_until_they_are_left(sampling):
    model, soft = layers(forward_sampling=sampling), layers()
    x, before = torch.rand(3, 20), torch.get_rng_state()
    with soft_gates(model):
        assert torch.equal(model(x), soft(x))
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(model(x), soft(x))
    with pytest.raises(KeyError), soft_gates(model):
        raise KeyError
    assert model[0].gates.forward_sampling == sampling
