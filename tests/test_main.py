"""main.py: what it hands on to several processes, and what it warns of."""

import os
import sys

import pytest

import main
import src.distributed.launch
from src.command_line import StopSignals
from src.config import Config


def test_several_processes_read_a_copy_of_a_config_from_a_pipe(monkeypatch):
    reader, writer = os.pipe()
    os.write(writer, b"train: {epochs: 7, device: cpu}")
    os.close(writer)
    words = ["main.py", f"/dev/fd/{reader}", "--nproc=1", "--job_id=piped", "--override", "train.log_interval=3"]
    monkeypatch.setattr(sys, "argv", words)
    read = []

    def launch(command, processes, nodes, stop):
        arguments = main.read_arguments(command[1:])
        read.append((main.checked_config(arguments)[0], Config.from_yaml(arguments.config)))
        return 0

    monkeypatch.setattr(src.distributed.launch, "launch", launch)
    arguments = main.read_arguments(words[1:])
    assert main._launch(arguments, main.checked_config(arguments)[0], StopSignals()) == 0
    ((config, again),) = read
    assert config == again
    assert (config.train.epochs, config.train.log_interval, config.base.job_id) == (7, 3, "piped")


@pytest.fixture
def unused(tmp_path):
    """The lines of main.py about options of a command line that have no effect."""
    (tmp_path / "a.yaml").write_text("train: {device: cpu}")

    def unused(*words):
        return main.checked_config(main.read_arguments([str(tmp_path / "a.yaml"), "--job_id=a", *words]))[1]

    return unused


def test_an_override_that_an_evaluation_does_not_read_is_named(unused):
    (line,) = unused("--evaluate", "--override", "train.epochs=99 data.overlap=500", "--override", "base.seed=3")
    assert line.startswith("--override: train.epochs and base.seed are not used, since --evaluate takes")


def test_what_an_evaluation_reads_is_not_named(unused):
    reads = "data.overlap=500 train.device=cpu train.dataloader.batch_size=8 base.job_id=a"
    assert unused("--evaluate", "--override", reads) == []


def test_a_training_reads_all_overrides(unused):
    assert unused("--override", "train.epochs=99 base.seed=3") == []
