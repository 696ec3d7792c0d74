"""Recordings that test an export which takes events: those of the model's test split if they are there, else random."""

from collections.abc import Iterator

import numpy as np

from src.command_line import UserError
from src.config import Config
from src.events.events import Events
from src.events.formats.errors import CorruptRecordingError
from src.events.frames import keep_inside
from src.export.example_frames import HOW_TO_PREPARE
from src.frame_cache.cache import cache_parameters, damages, find_caches, read_manifest, read_split, source_fingerprint
from src.frame_cache.framing_options import dataset_of
from src.frame_cache.recording_windows import windows_of
from src.io_funcs import from_repository, project_root, scratch_root

MOST_EVENTS = 1 << 20  # of a recording; longer ones are left out
RANDOM_EVENTS = 3000  # of a pseudo-random recording, on average


def example_recordings(config: Config, sensor_size: tuple[int, int, int], most: int) -> tuple[list[Events], str]:
    """Return the events of at most `most` recordings, without those outside the sensor, and of which kind they are.

    Those of the test split are spread evenly over it, so that every class is among them.
    """
    found = list(_of_test_split(config, sensor_size, most))
    if found:
        return found, f"recordings of the test split of {config.data.name}"
    return [_random(seed, sensor_size) for seed in range(most)], f"pseudo-random recordings {HOW_TO_PREPARE}"


def _of_test_split(config: Config, sensor_size: tuple[int, int, int], most: int) -> Iterator[Events]:
    dataset = dataset_of(config.data)
    parameters = cache_parameters(config.data, dataset)
    root = from_repository(config.data.data_root) / dataset.folder
    try:
        if dataset.complete is not None:
            dataset, recordings = dataset.complete(root)
        else:
            recordings = dataset.find_recordings(root)
    except (UserError, OSError):  # they are not on this machine
        return
    fingerprint = source_fingerprint(recordings, root)
    for folder in [path for storage in (scratch_root(), project_root()) for path in find_caches(storage, parameters)]:
        manifest = read_manifest(folder)
        if (
            manifest is None
            or manifest["sources"]["fingerprint"] != fingerprint
            or damages(folder, manifest, fast=True)
        ):
            continue
        numbers = np.unique(read_split(folder, "test").recordings)
        if len(numbers) == 0:
            continue
        for place in np.linspace(0, len(numbers) - 1, min(most, len(numbers))).round().astype(np.int64):
            try:
                first, *more = windows_of(recordings[numbers[place]], dataset, MOST_EVENTS)
                if not more:
                    yield keep_inside(first, sensor_size)
            except (CorruptRecordingError, OSError):  # a preparation has told of it
                continue
        return


def _random(seed: int, sensor_size: tuple[int, int, int]) -> Events:
    """Return events in short runs of neighbours, of which denoising keeps a part."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 2 * RANDOM_EVENTS))
    width, height, polarities = sensor_size
    x, y = (np.cumsum(rng.integers(-1, 2, n)) + rng.integers(0, size) for size in (width, height))
    return Events(
        (x % width).astype(np.uint16),
        (y % height).astype(np.uint16),
        np.cumsum(rng.integers(0, 200, n)),
        rng.integers(0, polarities, n).astype(np.uint8),
    )
