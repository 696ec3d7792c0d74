"""The test split of a dataset as prepare_data.sh and --evaluate have it: what C and hardware are compared with."""

from dataclasses import dataclass

import numpy as np
import torch

from src.command_line import StopSignals
from src.data import read_samples, stacked
from src.evaluation.evaluate import evaluate
from src.evaluation.metrics import recordings_by_vote
from src.events import Events
from src.export.exported import ExportedModel
from src.frame_cache.cache import read_manifest, read_split
from src.frame_cache.framing_options import dataset_of
from src.frame_cache.prepare import prepare
from src.io_funcs import from_repository
from src.model import create_model


@dataclass(frozen=True, eq=False)
class PreparedSplit:
    """A network with random gates, and what it makes of every recording of a test split.

    Attributes:
        exported: the network.
        events: of each recording.
        num_frames: of each recording.
        samples: packed, uint8 [F, bytes]: what the circuit reads of each frame.
        counts: int32 [F, classes].
        classes: of each recording, by vote.
        labels: of each recording, the true class.
        vote_accuracy: as result.json has it.
    """

    exported: ExportedModel
    events: list[Events]
    num_frames: list[int]
    samples: np.ndarray
    counts: np.ndarray
    classes: list[int]
    labels: list[int]
    vote_accuracy: float


def prepared_split(config):
    """Prepare a dataset and evaluate a network on its test split."""
    folder = prepare(config, StopSignals())
    manifest = read_manifest(folder)
    split = stacked(read_split(folder, "test"), config.data.stack, manifest)
    channels, height, width = manifest["frame_shape"]
    torch.manual_seed(0)
    shape, classes = (config.data.stack * channels, height, width), tuple(map(str, range(10)))
    model = create_model(config.model, shape, len(classes), config.data.frame_dtype).eval()
    model.fit_inputs(lambda most: np.array(split.frames[:most]))
    model.has_relaxed_form = False  # which is evaluated as well otherwise, but is no circuit
    evaluation = evaluate(model, split, config.train, torch.device("cpu"), lambda: None)
    dataset = dataset_of(config.data)
    files = dataset.find_recordings(from_repository(config.data.data_root) / dataset.folder)
    numbers, num_frames = np.unique(split.recordings, return_counts=True)
    votes = recordings_by_vote(evaluation.counts, split.labels, split.recordings)
    return PreparedSplit(
        ExportedModel(model, config, classes, 1, "net", dataset.sensor_size),
        [dataset.read(files[number].path) for number in numbers],
        num_frames.tolist(),
        model.circuit_inputs(read_samples(split, np.arange(len(split)))).numpy(),
        evaluation.counts.numpy(),
        votes["predicted"].tolist(),
        votes["labels"].tolist(),
        evaluation.accuracies()["vote_accuracy"],
    )
