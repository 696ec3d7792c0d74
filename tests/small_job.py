"""A small, learnable dataset in N-MNIST's format, its config, its cache, and running the real commands on it."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np

from src.command_line import StopSignals
from src.config import Config
from src.events import Events
from src.events.formats import nmnist_bin
from src.frame_cache.prepare import prepare
from tests.fork_server import THREADS, Command

REPOSITORY = Path(__file__).resolve().parents[1]

CONFIG = """
data:
  name: NMNIST
  data_root: {data_root}
  events_per_frame: 100
  overlap: 50
  denoise_time: 0
  num_threads: 1
  val_split: 0.2
train:
  epochs: 2
  learning_rate: 0.05
  device: cpu
  checkpoint_interval_minutes: 1000
  report: false
  dataloader: {{batch_size: 16}}
model:
  model_type: difflogic
  difflogic: {{num_neurons: 1500, num_layers: 2, tau: 5}}
  cnn: {{conv1_channels: 4, conv2_channels: 4, fc_hidden_size: 16}}
  mlp: {{hidden_size: 32, num_hidden_layers: 1}}
"""


def write_recordings(root: Path, train: int = 12, test: int = 3) -> None:
    """`train` and `test` recordings per class under root/NMNIST: a blob of events whose place is the class."""
    rng = np.random.default_rng(0)
    for split, count in (("Train", train), ("Test", test)):
        for label in range(10):
            folder = root / "NMNIST" / split / str(label)
            folder.mkdir(parents=True)
            for number in range(count):
                n = int(rng.integers(260, 420))
                events = Events(
                    np.clip(rng.normal(5 + 6 * (label % 5), 2, n), 0, 33).astype(np.uint16),
                    np.clip(rng.normal(9 + 16 * (label // 5), 3, n), 0, 33).astype(np.uint16),
                    np.sort(rng.integers(0, 300_000, n)),
                    rng.integers(0, 2, n).astype(np.uint8),
                )
                (folder / f"{number:05d}.bin").write_bytes(nmnist_bin.encode(events))


def write_config(folder: Path) -> Path:
    """Recordings under folder/recordings and a config for them."""
    write_recordings(folder / "recordings")
    path = folder / "small.yaml"
    path.write_text(CONFIG.format(data_root=folder / "recordings"))
    return path


def copy_prepared(source: Path, folder: Path) -> None:
    """Copy recordings, config and cache of a prepared folder to another one, which may exist."""
    for name in ("recordings", "project", "scratch"):
        shutil.copytree(source / name, folder / name)
    (folder / "small.yaml").write_text(CONFIG.format(data_root=folder / "recordings"))


@contextlib.contextmanager
def prepared_here(folder: Path) -> Iterator[None]:
    """Few recordings, their config and their cache, whose storages this process has until the end."""
    write_recordings(folder / "recordings", train=3, test=1)
    (folder / "small.yaml").write_text(CONFIG.format(data_root=folder / "recordings"))
    storages = {f"{name.upper()}_STORAGE_DIR": str(folder / name) for name in ("project", "scratch")}
    with mock.patch.dict(os.environ, storages):
        prepare(Config.from_yaml(folder / "small.yaml"), StopSignals())
        yield


def environment(folder: Path) -> dict[str, str]:
    """The environment of a command whose storages lie in the folder."""
    return {
        **os.environ,
        "PROJECT_STORAGE_DIR": str(folder / "project"),
        "SCRATCH_STORAGE_DIR": str(folder / "scratch"),
        **THREADS,
    }


def command(script: str, *arguments: str) -> list[str]:
    """The command line of `main.py …` or another entry point of the repository."""
    return [sys.executable, str(REPOSITORY / script), *arguments]


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Start an entry point as a user does, in a new interpreter; its output is text."""
    return subprocess.Popen(
        command(*words),
        cwd=folder,
        env=environment(folder),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def fork(folder: Path, *words: str) -> Command:
    """Start an entry point in a process that has imported PyTorch already."""
    return Command(words, folder, environment(folder))


def run(folder: Path, *words: str, expect: int = 0) -> str:
    """Run an entry point to its end; return its output; its exit code must be as expected."""
    process = fork(folder, *words)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == expect, output
    return output
