"""Mixed frames: which rectangles are another frame's, whose share is how large, and that all depends on positions."""

import numpy as np
import pytest
import torch

from src.data import train_order
from src.mixing import draw_rectangles, mix, others_order
from tests.test_augmentation import SHAPE, pack, random_frames, unpack


def mixed_frames(frame_dtype, probability=0.7, number=300):
    """Frames, the others, and what `mix` makes of them: [N, P, H, W] each, and the shares."""
    frames, others = random_frames(2 * number, frame_dtype)[0].reshape(2, number, *SHAPE)
    packed, own = mix(pack(frames, frame_dtype), pack(others, frame_dtype), SHAPE, frame_dtype, probability, 1, 2, 3)
    return frames, others, unpack(packed, frame_dtype), own.numpy()


@pytest.mark.parametrize("frame_dtype", ["binary", "counts"])
def test_a_rectangle_of_all_channels_is_the_other_frames_and_the_rest_the_frames_own(frame_dtype):
    frames, others, mixed, own = mixed_frames(frame_dtype)
    rectangles = draw_rectangles(*SHAPE[1:], 0.7, 1, 2, 3, len(frames)).tolist()
    for number, (top, bottom, left, right) in enumerate(rectangles):
        expected = frames[number].copy()
        expected[:, top:bottom, left:right] = others[number][:, top:bottom, left:right]
        assert (mixed[number] == expected).all()
        assert own[number] == pytest.approx(1 - (bottom - top) * (right - left) / (SHAPE[1] * SHAPE[2]))


def test_rectangles_have_areas_uniform_up_to_the_frames_with_its_proportions_and_their_middle_anywhere():
    height, width, number = 40, 100, 20_000
    top, bottom, left, right = draw_rectangles(height, width, 1.0, 0, 0, 0, number).numpy().T
    rng = np.random.default_rng(0)
    side, y, x = np.sqrt(rng.random(number)), *rng.random((2, number))
    for low, high, middle, length in ((top, bottom, y, height), (left, right, x, width)):
        expected_low = np.maximum(middle - side / 2, 0) * length
        expected_high = np.minimum(middle + side / 2, 1) * length
        for found, expected in ((low, expected_low), (high, expected_high), (high - low, expected_high - expected_low)):
            assert abs(np.sort(found) - np.sort(expected)).max() < 0.03 * length + 1
    whole = (top > 0) & (left > 0) & (bottom < height) & (right < width)
    assert abs((right - left) / width - (bottom - top) / height)[whole].max() < 1 / width + 1 / height


def test_frames_are_mixed_as_often_as_the_probability_says():
    own = mixed_frames("binary", 0.0)[3]
    assert (own == 1).all()
    areas = np.diff(draw_rectangles(100, 100, 0.3, 0, 0, 0, 5000).numpy()[:, :2])
    assert (areas > 0).mean() == pytest.approx(0.3, abs=0.03)


def test_the_rectangles_depend_on_seed_epoch_and_position_alone():
    whole = draw_rectangles(34, 34, 0.5, 3, 4, 0, 20)
    assert torch.equal(draw_rectangles(34, 34, 0.5, 3, 4, 13, 7), whole[13:])
    for seed, epoch in ((4, 4), (3, 5)):
        assert not torch.equal(draw_rectangles(34, 34, 0.5, seed, epoch, 0, 20), whole)


def test_the_others_of_an_epoch_are_all_frames_in_an_order_of_their_own():
    others = others_order(100, seed=3, epoch=5)
    assert sorted(others) == list(range(100))
    assert (others == others_order(100, 3, 5)).all()
    for different in (others_order(100, 3, 6), others_order(100, 4, 5), train_order(100, 3, 5, shuffle=True)):
        assert (others != different).any()
