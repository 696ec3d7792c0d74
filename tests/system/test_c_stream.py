"""NAME_stream on real recordings: C gives the bits, counts and classes of a preparation and its evaluation."""

import dataclasses
import itertools
import shutil

import numpy as np
import pytest
import torch

from src.bits import unpack_bits
from src.command_line import StopSignals
from src.config import Config
from src.data import read_samples, stacked
from src.evaluation.evaluate import evaluate
from src.evaluation.metrics import recordings_by_vote
from src.events import Events
from src.export.c_stream.design import design_of
from src.export.exported import ExportedModel
from src.frame_cache.cache import read_manifest, read_split
from src.frame_cache.framing_options import dataset_of
from src.frame_cache.prepare import prepare
from src.io_funcs import from_repository
from src.model import create_model
from src.options import with_option
from tests.export.c_stream.streams import (
    BEGIN,
    COMMAND,
    SANITIZED,
    assert_same,
    commands,
    expected,
    program,
    streamed,
    whole,
)
from tests.export.exports import COMPILERS
from tests.recordings import real_recordings
from tests.small_job import REPOSITORY

pytestmark = pytest.mark.slow

REAL = real_recordings()
CONFIGS = {"demo": "configs/demo_difflogic.yaml", "nmnist": "configs/nmnist_difflogic.yaml"}
WINDOWS = {"data.frame_mode": "time_window", "data.time_window": 30_000, "data.overlap": 10_000}
COUNTS = {"data.frame_dtype": "counts", "model.difflogic.thermometer_levels": 3}
CASES = {
    "events that frames share": {},
    "no denoising": {"data.denoise_time": 0},
    "windows of time": {**WINDOWS, "data.drop_incomplete": False},
    "counts": COUNTS,
    "a smaller region, merged": {
        "data.downsample": 0.5,
        "data.polarities": "merged",
        "data.crop": [3, 2, 29, 30],
    },
    "two frames together": {"data.stack": 2},
    "all of it": {
        **WINDOWS,
        **COUNTS,
        "data.stack": 2,
        "data.downsample": 0.6,
        "data.crop": [0, 4, 34, 30],
        "data.overlap": 25_000,
    },
}
TRAPS = ("-fsanitize=undefined", "-fsanitize-trap=undefined")  # which needs no library of clang's
BUILDS = [*itertools.product(COMPILERS, [("-O2",), ("-O0",)]), ("gcc", SANITIZED), ("clang", TRAPS)]


@pytest.fixture(scope="module", params=CONFIGS)
def recordings(request, tmp_path_factory):
    """A config of a dataset whose recordings are here."""
    if request.param == "nmnist" and not REAL:
        pytest.skip("no N-MNIST recordings")
    root = REAL[0].parents[3] if request.param == "nmnist" else tmp_path_factory.mktemp("demo")
    config = Config.from_yaml(REPOSITORY / CONFIGS[request.param])
    return with_option(config, "data.data_root", str(root))


def prepared(config):
    """The design of a network with random gates, its model, the test split, and the events of its recordings."""
    folder = prepare(config, StopSignals())
    manifest = read_manifest(folder)
    split = stacked(read_split(folder, "test"), config.data.stack, manifest)
    channels, height, width = manifest["frame_shape"]
    torch.manual_seed(0)
    shape, classes = (config.data.stack * channels, height, width), tuple(map(str, range(10)))
    model = create_model(config.model, shape, len(classes), config.data.frame_dtype).eval()
    model.fit_inputs(lambda most: np.array(split.frames[:most]))
    dataset = dataset_of(config.data)
    design = design_of(ExportedModel(model, config, classes, 1, "net", dataset.sensor_size))
    files = dataset.find_recordings(from_repository(config.data.data_root) / dataset.folder)
    return design, model, split, [dataset.read(files[number].path) for number in np.unique(split.recordings)]


@pytest.mark.parametrize("case", CASES)
def test_every_frame_and_recording_of_a_test_split_is_that_of_evaluation(recordings, case, storages, tmp_path):
    config = recordings
    neurons = {"model.difflogic.num_neurons": 5000, "model.difflogic.num_layers": 2}
    for name, value in {**neurons, **CASES[case]}.items():
        config = with_option(config, name, value)
    design, model, split, events = prepared(config)
    evaluated = evaluate(model, split, config.train, torch.device("cpu"), lambda: None)
    votes = recordings_by_vote(evaluated.counts, split.labels, split.recordings)
    inputs = model.circuit_inputs(read_samples(split, np.arange(len(split))))
    bits = unpack_bits(inputs, design.circuit.num_inputs).numpy() > 0
    for compiler, flags in BUILDS if config.data.name == "NMNIST" else BUILDS[:1] + BUILDS[-1:]:
        if shutil.which(compiler):
            found = streamed(program(tmp_path / "c", design, compiler, flags), design, *map(whole, events))
            assert np.array_equal(np.concatenate([each.bits for each in found]), bits)
            assert np.array_equal(np.concatenate([each.counts for each in found]), evaluated.counts.numpy())
            assert np.concatenate([each.labels for each in found]).tolist() == evaluated.counts.argmax(1).tolist()
            assert [each.label for each in found] == votes["predicted"].tolist()
            assert [len(each.labels) for each in found] == np.unique(split.recordings, return_counts=True)[1].tolist()


@pytest.mark.parametrize("case", ["events that frames share", "all of it"])
def test_recordings_may_wrap_be_short_or_break_off(recordings, case, storages, tmp_path):
    config = recordings
    for name, value in {"model.difflogic.num_neurons": 5000, **CASES[case]}.items():
        config = with_option(config, name, value)
    design, _, _, events = prepared(config)
    runner = program(tmp_path / "c", design, flags=SANITIZED)
    begin = np.zeros(1, COMMAND)
    begin["kind"] = BEGIN
    parts, wanted = [], []
    for each, other in itertools.islice(itertools.pairwise(events), 40):
        middle = each.t[len(each) // 2]
        wrapping = dataclasses.replace(each, t=each.t + 2**32 - middle)
        short = Events(each.x[:150], each.y[:150], each.t[:150], each.p[:150])
        parts += [whole(wrapping), begin, commands(other)[: len(other) // 2], whole(short)]
        wanted += [wrapping, short]
    for found, recording in zip(streamed(runner, design, *parts), wanted, strict=True):
        assert_same(found, expected(design, recording))
