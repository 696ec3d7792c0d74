"""Frames that test an exported model: those of its test split if a storage has it, else pseudo-random ones."""

import math

import numpy as np
from numpy.typing import NDArray

from src.config import Config
from src.data import read_samples, stacked
from src.frame_cache.cache import cache_parameters, damages, find_caches, read_manifest, read_split
from src.frame_cache.framing_options import dataset_of
from src.io_funcs import project_root, scratch_root

HOW_TO_PREPARE = "(./prepare_data.sh makes real ones from the model's config)"


def example_frames(config: Config, frame_shape: tuple[int, int, int], most: int) -> tuple[NDArray[np.uint8], str]:
    """Return at most `most` packed frames as a model takes them, and what they are, for people.

    They are uint8 [N, ceil(P*H*W/8)], or [N, P*H*W] of counts, stacked as `config.data.stack` says. Frames of the test
    split are spread evenly over it, so that every class is among them.
    """
    num_bits = math.prod(frame_shape)
    parameters = cache_parameters(config.data, dataset_of(config.data))
    for folder in [path for root in (scratch_root(), project_root()) for path in find_caches(root, parameters)]:
        manifest = read_manifest(folder)
        if manifest is None or damages(folder, manifest, fast=True):
            continue
        channels, height, width = manifest["frame_shape"]
        split = stacked(read_split(folder, "test"), config.data.stack, manifest)
        if len(split) and (split.stack * channels, height, width) == frame_shape:
            chosen = np.linspace(0, len(split) - 1, min(most, len(split))).round().astype(np.int64)
            name = f"{folder.parent.name}/{folder.name}"
            return read_samples(split, chosen).numpy(), f"{len(chosen)} frames of the test split of {name}"
    rng = np.random.default_rng(0)
    density = rng.uniform(0, 1, (most, 1))  # share of ones: networks see sparse frames and full ones differently
    bits = rng.random((most, num_bits)) < density
    if config.data.frame_dtype == "counts":
        counts = bits * np.minimum(rng.geometric(0.4, bits.shape), 255)
        return counts.astype(np.uint8), f"{most} pseudo-random frames {HOW_TO_PREPARE}"
    return np.packbits(bits, axis=1, bitorder="little"), f"{most} pseudo-random frames {HOW_TO_PREPARE}"
