"""Augmented frames: what may happen to them, how often, and that it depends on seed, epoch and position alone."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.command_line import UserError
from src.config import Augmentation, Config, Data, Train
from src.training.augmentation import augment, require_fitting_augmentation
from src.training.augmentation_kernels import augment_by_numba, augment_by_torch, draw
from tests.logic.conftest import compiled_for_gpu, interpreted_copy

SHAPE = (2, 5, 7)  # 70 bits: the last byte of a packed frame is not full


def random_frames(number, frame_dtype="binary", shape=SHAPE, density=0.5):
    """uint8 [number, P, H, W], and packed."""
    rng = np.random.default_rng(0)
    most = 1 if frame_dtype == "binary" else 20
    frames = rng.integers(1, most, (number, *shape), np.uint8, endpoint=True) * (rng.random((number, *shape)) < density)
    return frames, pack(frames, frame_dtype)


def pack(frames, frame_dtype="binary"):
    flat = frames.reshape(len(frames), -1)
    return torch.from_numpy(flat if frame_dtype == "counts" else np.packbits(flat, axis=1, bitorder="little"))


def unpack(packed, frame_dtype="binary", shape=SHAPE):
    flat = packed.numpy()
    if frame_dtype == "binary":
        flat = np.unpackbits(flat, axis=1, bitorder="little")
        assert not flat[:, np.prod(shape) :].any()  # what pads the last byte stays empty
    return flat[:, : np.prod(shape)].reshape(-1, *shape)


def moved(frames, dx, dy):
    """The frames [N, P, H, W], moved to the right and down."""
    height, width = frames.shape[2:]
    wide = np.pad(frames, ((0, 0), (0, 0), (height, height), (width, width)))
    return wide[:, :, height - dy : 2 * height - dy, width - dx : 2 * width - dx]


def test_without_options_the_batch_itself_comes_back():
    packed = random_frames(3)[1]
    assert augment(packed, SHAPE, "binary", Augmentation(), 0, 0, 0) is packed


@pytest.mark.parametrize("frame_dtype", ["binary", "counts"])
def test_shifted_frames_are_moved_alike_in_all_channels_and_every_place_is_as_likely(frame_dtype):
    frames, packed = random_frames(5000, frame_dtype)
    augmented = unpack(augment(packed, SHAPE, frame_dtype, Augmentation(shift=2), 1, 0, 0), frame_dtype)
    places = [(dx, dy) for dx in range(-2, 3) for dy in range(-2, 3)]
    fits = np.array([(moved(frames, dx, dy) == augmented).all((1, 2, 3)) for dx, dy in places])
    assert (fits.sum(0) == 1).all()
    found = fits.sum(1)
    assert abs(found - 200).max() < 5 * np.sqrt(200)


@pytest.mark.parametrize("frame_dtype", ["binary", "counts"])
def test_every_other_frame_is_mirrored(frame_dtype):
    frames, packed = random_frames(1000, frame_dtype)
    augmented = unpack(augment(packed, SHAPE, frame_dtype, Augmentation(flip=True), 1, 0, 0), frame_dtype)
    same = (augmented == frames).all((1, 2, 3))
    assert (augmented[~same] == frames[~same, :, :, ::-1]).all()
    assert 420 < same.sum() < 580


@pytest.mark.parametrize("frame_dtype", ["binary", "counts"])
def test_dropped_events_are_a_share_of_each_frame_that_is_uniform_up_to_the_asked_for(frame_dtype):
    frames, packed = random_frames(2000, frame_dtype, (2, 20, 20), density=1)
    options = Augmentation(event_drop=0.6)
    augmented = unpack(augment(packed, (2, 20, 20), frame_dtype, options, 1, 0, 0), frame_dtype, (2, 20, 20))
    assert (augmented <= frames).all()
    shares = np.sort(1 - augmented.sum((1, 2, 3)) / frames.sum((1, 2, 3)))
    assert abs(shares - np.linspace(0, 0.6, 2000)).max() < 0.04
    pixels = 1 - augmented.sum(0) / frames.sum(0)
    assert abs(pixels - 0.3).max() < 0.08  # none is dropped more often than others


def augmented_by(frames, matrix, flip=False, dx=0, dy=0):
    """The frames [N, P, H, W], with each pixel taken from where the matrix says; by PyTorch, as on a GPU, likewise."""
    packed, shape = pack(frames), frames.shape[1:]
    draws = draw(Augmentation(), 0, 0, 0, len(frames))
    draws[:, 1], draws[:, 2], draws[:, 3], draws[:, 5:] = dx, dy, flip, np.round(65536 * np.array(matrix)).ravel()
    found = torch.zeros_like(packed)
    augment_by_numba(packed.numpy(), *shape, False, draws, found.numpy())
    assert torch.equal(found, augment_by_torch(packed, shape, False, draws))
    return unpack(found, shape=shape)


def test_a_quarter_turn_moves_pixels_about_the_middle():
    for side in (6, 7):
        frames = random_frames(4, shape=(2, side, side))[0]
        turned = augmented_by(frames, [[0, -1], [1, 0]])
        assert (turned == np.rot90(frames, axes=(2, 3))).all()
        assert (
            augmented_by(frames, [[0, -1], [1, 0]], flip=True) == np.rot90(frames[:, :, :, ::-1], axes=(2, 3))
        ).all()
        assert (augmented_by(frames, [[0, -1], [1, 0]], dx=1, dy=-2) == moved(turned, 1, -2)).all()


def test_twice_as_large_a_frame_shows_each_pixel_of_its_middle_four_times():
    frames = random_frames(4, shape=(2, 4, 8))[0]
    large = frames.repeat(2, axis=2).repeat(2, axis=3)
    assert (augmented_by(frames, [[0.5, 0], [0, 0.5]]) == large[:, :, 2:6, 4:12]).all()


def test_a_sheared_frame_moves_each_row_against_the_next():
    frames = random_frames(4, shape=(2, 5, 7))[0]
    sheared = augmented_by(frames, [[1, 1], [0, 1]])
    for row in range(5):
        assert (sheared[:, :, row] == moved(frames, 2 - row, 0)[:, :, row]).all()


def test_turns_sizes_and_slants_are_uniform_within_what_the_options_say():
    options = Augmentation(rotation=90, scale=1.0, shear=0.5)
    xx, xy, yx, yy = draw(options, 1, 2, 0, 5000)[:, 5:].T / 65536
    angle = np.arctan2(yx, xx)
    uniform = {
        "turn": angle / (np.pi / 2),
        "width": np.log2(np.hypot(xx, yx)),
        "height": np.log2(np.cos(angle) * yy - np.sin(angle) * xy),
        "slant": (np.cos(angle) * xy + np.sin(angle) * yy) / 0.5,
    }
    for name, values in uniform.items():
        assert abs(np.sort(values) - np.linspace(-1, 1, 5000)).max() < 0.06, name
    assert abs(np.corrcoef(list(uniform.values())) - np.eye(4)).max() < 0.06


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
    frame_dtype=st.sampled_from(["binary", "counts"]),
    shift=st.integers(0, 10),
    flip=st.booleans(),
    event_drop=st.sampled_from([0.0, 0.3, 1.0]),
    affine=st.sampled_from([(0.0, 0.0, 0.0), (15.0, 0.2, 0.3), (180.0, 3.0, 3.0)]),
    seed=st.integers(0, 2**63 - 1),
    epoch=st.integers(0, 10**6),
    first=st.integers(0, 10**9),
    cut=st.integers(0, 6),
)
def test_other_devices_and_parts_of_a_batch_give_the_same_frames(
    shape, frame_dtype, shift, flip, event_drop, affine, seed, epoch, first, cut
):
    packed = random_frames(6, frame_dtype, shape)[1]
    options = Augmentation(shift, flip, event_drop, *affine)
    whole = augment(packed, shape, frame_dtype, options, seed, epoch, first)
    draws = draw(options, seed, epoch, first, 6)
    assert torch.equal(whole, augment_by_torch(packed, shape, frame_dtype == "counts", draws))
    part = augment(packed[cut:], shape, frame_dtype, options, seed, epoch, first + cut)
    assert torch.equal(part, whole[cut:])


@pytest.fixture(scope="module")
def interpreted():
    """The kernel for CPU tensors."""
    pytest.importorskip("triton", reason="the kernel needs triton, which is there for Linux only")
    return interpreted_copy("src.training.augmentation_triton")


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [Augmentation(shift=2, rotation=30, flip=True), Augmentation(event_drop=0.9, scale=0.5)]
)
@pytest.mark.parametrize("shape", [(2, 5, 7), (1, 9, 8), (3, 13, 11)])
@pytest.mark.parametrize("frame_dtype", ["binary", "counts"])
def test_the_kernel_for_gpus_gives_the_same_frames(interpreted, monkeypatch, options, shape, frame_dtype):
    monkeypatch.setattr(interpreted, "PIXELS", 32)  # several programs a frame
    packed = random_frames(5, frame_dtype, shape)[1]
    draws = torch.from_numpy(draw(options, 1, 2, 3, 5))
    found = interpreted.augment_by_triton(packed, shape, frame_dtype == "counts", draws)
    assert torch.equal(found, augment(packed, shape, frame_dtype, options, 1, 2, 3))


@pytest.mark.slow
@pytest.mark.parametrize("pixels_per_byte", [1, 8])
def test_the_kernel_compiles_for_gpus(pixels_per_byte):
    from src.training import augmentation_triton as kernels

    constants = {"pixels_per_byte": pixels_per_byte, "block": kernels.PIXELS // pixels_per_byte}
    types = {"packed": "*u8", "augmented": "*u8", "draws": "*i64"}
    assert compiled_for_gpu(kernels._augment_kernel, types, constants, 90, kernels.WARPS)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("frame_dtype", ["binary", "counts"])
def test_a_gpu_gives_the_frames_of_the_cpu(frame_dtype):
    packed = random_frames(50, frame_dtype)[1]
    options = Augmentation(shift=2, flip=True, event_drop=0.5, rotation=30, scale=0.5, shear=0.5)
    found = augment(packed.cuda(), SHAPE, frame_dtype, options, 1, 2, 3)
    assert torch.equal(found.cpu(), augment(packed, SHAPE, frame_dtype, options, 1, 2, 3))


@pytest.mark.parametrize(("seed", "epoch", "first"), [(4, 5, 6), (3, 6, 6), (3, 5, 7)])
def test_another_seed_epoch_or_position_gives_other_frames(seed, epoch, first):
    packed = random_frames(100)[1]
    options = Augmentation(shift=3, event_drop=0.5)
    before = augment(packed, SHAPE, "binary", options, 3, 5, 6)
    assert (augment(packed, SHAPE, "binary", options, seed, epoch, first) != before).any(1).sum() > 90


def test_a_batch_is_not_changed_in_place():
    frames, packed = random_frames(10)
    augment(packed, SHAPE, "binary", Augmentation(shift=3, event_drop=0.5), 0, 0, 0)
    assert (unpack(packed) == frames).all()


def config(name="NMNIST", downsample=1.0, **options):
    return Config(data=Data(name=name, downsample=downsample), train=Train(augmentation=Augmentation(**options)))


def test_mirrored_digits_are_refused_and_mirrored_photographs_are_not():
    require_fitting_augmentation(config("CIFAR10DVS", flip=True), (2, 128, 128))
    with pytest.raises(UserError, match=r"flip = true: a mirrored recording of NMNIST .* use .*flip=false"):
        require_fitting_augmentation(config(flip=True), (2, 34, 34))


def test_a_shift_out_of_sight_is_refused():
    require_fitting_augmentation(config(shift=33), (2, 34, 34))
    with pytest.raises(UserError, match=r"shift = 17 moves whole frames of 17 x 17 pixels out of sight; at most 16"):
        require_fitting_augmentation(config(shift=17, downsample=0.5), (2, 17, 17))
