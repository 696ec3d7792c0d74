"""To add a dataset, file format, model type, export target or logger is a new file, and a line in the registry."""

import argparse
import dataclasses
import json

import numpy as np
import pytest

from src.cli import export
from src.command_line import StopSignals
from src.config import Config
from src.evaluation.inference import load_circuit
from src.events import read_recording
from src.events.formats.errors import ForeignRecordingError
from src.frame_cache.prepare import prepare
from src.jobs.files import read_metrics, read_result
from src.jobs.folders import Job
from src.model import create_model
from src.registry import DATASETS, EXPORT_TARGETS, FILE_FORMATS, LOGGERS, MODEL_TYPES
from src.train import train
from tests.evaluation.test_inference import save
from tests.toys.dataset import write_recordings
from tests.toys.model import Toy

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


@pytest.fixture
def toy_config(storages, toy_dataset):
    """The config of a run on the prepared toy dataset."""
    write_recordings(storages / "toy")
    (storages / "toy.yaml").write_text(CONFIG.format(root=storages))
    config = Config.from_yaml(storages / "toy.yaml")
    prepare(config, StopSignals())
    return config


def trained_accuracy(config):
    train(config, "toy", StopSignals(), resume=False, restart=False, debug=False)
    result = read_result(Job("toy"))
    assert result is not None
    return result["test"]["frame_accuracy"]


def test_an_added_dataset_is_prepared_and_trained_on(toy_config):
    assert trained_accuracy(toy_config) == 1


def test_an_added_model_type_is_trained(toy_config, monkeypatch):
    monkeypatch.setitem(MODEL_TYPES.entries, "toy", "tests.toys.model:Toy")
    options = dataclasses.replace(toy_config.model, model_type="toy")
    assert isinstance(create_model(options, (2, 6, 8), 2), Toy)
    assert trained_accuracy(dataclasses.replace(toy_config, model=options)) == 1


def test_an_added_export_target_is_a_choice_of_the_export_command(tmp_path, monkeypatch):
    monkeypatch.setitem(EXPORT_TARGETS.entries, "toy", "tests.toys.export_target:export")
    model = save(tmp_path / "gates.safetensors")
    parser = argparse.ArgumentParser()
    export.add_arguments(parser)
    export.run(parser.parse_args([str(model), "--to", "toy"]), StopSignals())
    counts = load_circuit(model).simplified().gate_counts()
    expected = [f"{count} {kind}" for kind, count in counts.items()]
    assert (tmp_path / "export" / "gates.txt").read_text().splitlines() == expected


def test_an_added_logger_gets_the_numbers_of_a_run(toy_config, monkeypatch):
    monkeypatch.setitem(LOGGERS.entries, "toy", "tests.toys.logger:ToyLogger")
    train(toy_config, "toy", StopSignals(), resume=False, restart=False, debug=False)
    logs = Job("toy").logs
    logged = [json.loads(line) for line in (logs / "toy.jsonl").read_text().splitlines()]
    rows = [row for row in read_metrics(logs / "metrics.csv") if row["split"] == "val"]
    assert [(step, values["val/loss"]) for step, values in logged if "val/loss" in values] == [
        (row["step"], row["loss"]) for row in rows
    ]
