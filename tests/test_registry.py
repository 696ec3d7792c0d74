"""To add a dataset or a file format is a new file, and a line in the registry."""

import numpy as np
import pytest

from src.command_line import StopSignals
from src.config import Config
from src.events import read_recording
from src.events.formats.errors import ForeignRecordingError
from src.frame_cache.prepare import prepare
from src.jobs.files import read_result
from src.jobs.folders import Job
from src.registry import DATASETS, FILE_FORMATS
from src.train import train
from tests.toys.dataset import write_recordings

CONFIG = """
data: {{name: toy, data_root: {root}, events_per_frame: 50, overlap: 0, denoise_time: 0, num_threads: 1}}
train: {{epochs: 3, learning_rate: 0.05, device: cpu, report: false, dataloader: {{batch_size: 8}}}}
model: {{difflogic: {{num_neurons: 400, num_layers: 2, tau: 5}}}}
"""


@pytest.fixture
def toy_format(monkeypatch):
    monkeypatch.setitem(FILE_FORMATS.entries, "toy events", "tests.toys.file_format:FORMAT")


@pytest.fixture
def toy_dataset(monkeypatch, toy_format):
    monkeypatch.setitem(DATASETS.entries, "TOY", "tests.toys.dataset:TOY")


def test_a_file_in_an_added_format_is_read(tmp_path, toy_format):
    write_recordings(tmp_path)
    events = read_recording(tmp_path / "right" / "0.txt")
    assert len(events) == 200
    assert np.all(events.x >= 4)


def test_without_its_line_a_format_is_unknown(tmp_path):
    write_recordings(tmp_path)
    with pytest.raises(ForeignRecordingError, match="unknown format: it begins with b'toy events"):
        read_recording(tmp_path / "right" / "0.txt")


def test_an_added_dataset_is_prepared_and_trained_on(tmp_path, monkeypatch, toy_dataset):
    for name in ("PROJECT", "SCRATCH"):
        monkeypatch.setenv(f"{name}_STORAGE_DIR", str(tmp_path / name.lower()))
    write_recordings(tmp_path / "toy")
    (tmp_path / "toy.yaml").write_text(CONFIG.format(root=tmp_path))
    config = Config.from_yaml(tmp_path / "toy.yaml")
    prepare(config, StopSignals())
    train(config, "toy", StopSignals(), resume=False, restart=False, debug=False)
    result = read_result(Job("toy"))
    assert result is not None
    assert result["test"]["frame_accuracy"] == 1
