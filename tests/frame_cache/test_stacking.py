"""Stacked samples: each frame with those before it in its recording."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.config import DataLoader
from src.data import _resident, load_batches, read_samples, stacked
from src.frame_cache.cache import Split
from src.frame_cache.stacking import frame_numbers


def split_of(frames_a_recording, frame_shape, frame_dtype, stack):
    """A split with random frames, and the frames [F, P, H, W]."""
    rng = np.random.default_rng(0)
    number = sum(frames_a_recording)
    frames = rng.integers(0, 2 if frame_dtype == "binary" else 256, (number, *frame_shape), np.uint8)
    flat = frames.reshape(number, -1)
    recordings = np.repeat(np.arange(len(frames_a_recording)) * 3 + 1, frames_a_recording)
    packed = np.packbits(flat, axis=1, bitorder="little") if frame_dtype == "binary" else flat
    split = Split(packed, recordings % 10, recordings)
    return stacked(split, stack, {"frame_shape": frame_shape, "frame_dtype": frame_dtype}), frames


def stacked_by_hand(frames, recordings, stack):
    samples = np.zeros((len(frames), stack, *frames.shape[1:]), np.uint8)
    for f in range(len(frames)):
        for back in range(stack):
            if f - back >= 0 and recordings[f - back] == recordings[f]:
                samples[f, stack - 1 - back] = frames[f - back]
    return samples.reshape(len(frames), -1)


@settings(max_examples=30, deadline=None)
@given(
    frames_a_recording=st.lists(st.integers(1, 5), min_size=1, max_size=5),
    frame_shape=st.tuples(st.integers(1, 2), st.integers(1, 4), st.integers(1, 4)),
    frame_dtype=st.sampled_from(["binary", "counts"]),
    stack=st.integers(1, 6),
    on_device=st.booleans(),
)
def test_batches_hold_each_frame_after_those_before_it_in_its_recording(
    frames_a_recording, frame_shape, frame_dtype, stack, on_device
):
    split, frames = split_of(frames_a_recording, frame_shape, frame_dtype, stack)
    samples = stacked_by_hand(frames, split.recordings, stack)
    expected = np.packbits(samples, axis=1, bitorder="little") if frame_dtype == "binary" else samples
    order = np.random.default_rng(1).permutation(len(split))
    cpu = torch.device("cpu")
    placed = _resident(split, cpu) if on_device else split
    batches = list(load_batches(placed, order, DataLoader(batch_size=3), cpu))
    assert (torch.cat([packed for packed, _ in batches]).numpy() == expected[order]).all()
    assert (torch.cat([labels for _, labels in batches]).numpy() == split.labels[order]).all()
    assert (read_samples(split, order).numpy() == expected[order]).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("on_device", [True, False])
@pytest.mark.parametrize("frame_shape", [(2, 4, 4), (1, 3, 5)])
def test_a_gpu_gets_the_same_batches(frame_shape, on_device):
    split, _ = split_of([4, 1, 7], frame_shape, "binary", 3)
    gpu, order = torch.device("cuda"), np.arange(len(split))
    batches = load_batches(_resident(split, gpu) if on_device else split, order, DataLoader(batch_size=5), gpu)
    assert torch.equal(torch.cat([packed for packed, _ in batches]).cpu(), read_samples(split, order))


def test_where_a_recording_has_no_earlier_frame_there_is_none():
    split, _ = split_of([2, 3], (1, 2, 2), "binary", 3)
    assert frame_numbers(split, np.arange(5)).tolist() == [[-1, -1, 0], [-1, 0, 1], [-1, -1, 2], [-1, 2, 3], [2, 3, 4]]


def test_without_stacking_a_sample_is_its_frame():
    split, _ = split_of([2, 3], (1, 2, 2), "binary", 1)
    assert frame_numbers(split, np.array([4, 0])).tolist() == [[4], [0]]
