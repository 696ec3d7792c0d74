"""main.py: what it hands on to several processes."""

import os
import sys

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
