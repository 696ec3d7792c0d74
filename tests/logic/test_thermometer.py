"""Counts as thermometer-encoded bits: their order, their thresholds, and how these are chosen and learned."""

import numpy as np
import pytest
import torch

from src.bits import unpack_bits
from src.logic.thermometer import Thermometer


def counts_of(*shape):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 6, shape, np.uint8))


@pytest.mark.parametrize("learnable", [False, True])
def test_a_bit_says_whether_the_count_is_above_its_threshold_and_channels_stay_together(learnable):
    counts = counts_of(7, 2, 3, 5)
    thermometer = Thermometer(3, channels=2, learnable=learnable).eval()
    bits = thermometer(counts.flatten(1).T).T.reshape(7, 2, 3, 3, 5)
    for level in range(3):
        assert torch.equal(bits[:, :, level], (counts > level).float())


def test_packed_bits_are_those_of_the_forward_pass():
    counts = counts_of(7, 30)
    thermometer = Thermometer(3, channels=2).eval()
    assert torch.equal(unpack_bits(thermometer.encode(counts), 90).float(), thermometer(counts.T).T)


def test_learned_thresholds_are_between_counts_and_get_a_gradient():
    thermometer = Thermometer(2, channels=1, learnable=True)
    bits = thermometer(torch.tensor([[0], [1], [2]], dtype=torch.uint8))
    assert ((bits > 0.5) == torch.tensor([[0], [1], [1], [0], [0], [1]])).all()
    assert (abs(bits - 0.5) > 0.3).all()
    bits.sum().backward()
    assert (thermometer.thresholds.grad < 0).all()  # a lower threshold, a higher bit


def test_fixed_thresholds_are_state_and_no_parameter():
    thermometer = Thermometer(2, channels=1)
    assert not list(thermometer.parameters())
    assert list(thermometer.state_dict()) == ["thresholds"]


def test_few_events_a_pixel_give_the_smallest_thresholds():
    thermometer = Thermometer(4, channels=1)
    thermometer.fit(np.array([0] * 900 + [1] * 90 + [2] * 10, np.uint8))
    assert thermometer.whole_thresholds() == (0, 1, 2, 3)


def test_many_events_a_pixel_give_thresholds_that_divide_the_pixels_equally():
    thermometer = Thermometer(5, channels=1)
    thermometer.fit(np.array([0] * 900 + list(range(1, 101)), np.uint8))
    assert thermometer.whole_thresholds() == (0, 20, 40, 60, 80)


def test_thresholds_are_distinct_up_to_the_most_there_can_be():
    thermometer = Thermometer(255, channels=1)
    thermometer.fit(np.full(10, 255, np.uint8))
    assert thermometer.whole_thresholds() == tuple(range(255))


def test_without_any_event_the_thresholds_are_the_smallest():
    thermometer = Thermometer(3, channels=1, learnable=True)
    thermometer.fit(np.zeros(10, np.uint8))
    assert thermometer.thresholds.tolist() == [0.5, 1.5, 2.5]
