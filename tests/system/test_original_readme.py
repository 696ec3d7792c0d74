"""Whoever knows the project that this one follows finds its config keys, commands, variables and paths here."""

import os
import shlex
import subprocess

import pytest

import main
import prepare_data
from src.command_line import StopSignals, read_command_line
from src.config import Config
from src.frame_cache.prepare import prepare
from src.jobs.folders import Job, list_checkpoints
from src.registry import MODEL_TYPES
from src.train import train
from tests import small_job
from tests.small_job import REPOSITORY

CONFIG = """
base:
  seed: 42
  job_id: "my_experiment"
data:
  name: NMNIST
train:
  epochs: 3
  learning_rate: 1e-2
  device: cuda
  checkpoint_interval_minutes: 10.0
  dataloader:
    batch_size: 64
    num_workers: 6
model:
  model_type: DiffLogic
  difflogic:
    num_neurons: 4000
    num_layers: 4
"""

TRAIN = "./train.sh configs/nmnist_difflogic.yaml my_job_id"
COMMANDS = [
    "./prepare_data.sh configs/prepare_nmnist.yaml",
    "./prepare_data.sh configs/prepare_cifar10dvs.yaml",
    TRAIN,
    f"{TRAIN} --resume",
    f'{TRAIN} --override "train.epochs=10 train.learning_rate=0.001"',
    f"{TRAIN} --debug",
    "./train.sh configs/nmnist_cnn.yaml my_job_id",
    "./train.sh configs/nmnist_mlp.yaml my_job_id",
]
SCRIPTS = [
    "check_and_sync_data.sh",
    "prepare_data.sh",
    "train.sh",
    "helper_scripts/sync_code_to_remote.sh",
    "helper_scripts/sync_container_to_remote.sh",
    "helper_scripts/sync_data_to_remote.sh",
    "helper_scripts/sync_logs_from_remote.sh",
]
FILES = [
    "main.py",
    "prepare_data.py",
    "check_and_sync_data.py",
    "helper_scripts/project_variables.sh",
    *(f"src/{name}.py" for name in ("config", "data", "model", "train", "io_funcs", "helpers")),
]
PREPARATION = "{events_per_frame: 100, overlap: 50, denoise_time: 0, reset_cache: true, data_root: recordings}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with small recordings, the config, and storages that this process has."""
    folder = tmp_path_factory.mktemp("original")
    small_job.write_recordings(folder / "recordings")
    (folder / "config.yaml").write_text(CONFIG)
    preparation = PREPARATION.replace("recordings", str(folder / "recordings"))
    (folder / "prepare.yaml").write_text(f"data: {preparation}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROJECT_STORAGE_DIR", str(folder / "project"))
        patch.setenv("SCRATCH_STORAGE_DIR", str(folder / "scratch"))
        yield folder


def config_of(folder, *overrides):
    data = f"data.events_per_frame=100 data.overlap=50 data.denoise_time=0 data.data_root='{folder / 'recordings'}'"
    return Config.from_yaml(folder / "config.yaml", [data, *overrides])


def test_its_config_says_what_it_says_there(folder):
    config = Config.from_yaml(folder / "config.yaml")
    assert (config.base.seed, config.base.job_id, config.data.name) == (42, "my_experiment", "NMNIST")
    assert (config.train.epochs, config.train.learning_rate, config.train.device) == (3, 0.01, "cuda")
    assert (config.train.dataloader.batch_size, config.train.dataloader.num_workers) == (64, 6)
    assert (config.model.difflogic.num_neurons, config.model.difflogic.num_layers) == (4000, 4)
    assert config.model.model_type in MODEL_TYPES


def test_its_config_trains_and_resumes_and_leaves_all_where_it_says(folder):
    prepare(Config.from_yaml(folder / "prepare.yaml"), StopSignals())
    config = config_of(folder, "train.report=false")
    train(config, config.base.job_id, StopSignals(), resume=False, restart=False, debug=False)
    more = config_of(folder, "train.report=false", "train.epochs=4")
    train(more, more.base.job_id, StopSignals(), resume=True, restart=False, debug=False)
    job = Job("my_experiment")
    assert list_checkpoints(folder / "scratch/checkpoints/my_experiment") == list_checkpoints(job.checkpoints) != []
    assert list((folder / "project/models/my_experiment").glob("*.safetensors"))
    for storage in ("project", "scratch"):
        assert list((folder / storage / "data/NMNIST").glob("*/manifest.json"))


@pytest.mark.parametrize("name", ["DiffLogic", "CNN", "MLP"])
def test_its_models_have_its_names(folder, name):
    assert config_of(folder, f"model.model_type={name}").model.model_type == name.lower()


def test_its_default_interval_of_checkpoints_is_10_minutes():
    assert Config().train.checkpoint_interval_minutes == 10


def test_its_config_of_a_logic_gate_network_has_its_batches():
    assert Config.from_yaml(REPOSITORY / "configs/nmnist_difflogic.yaml").train.dataloader.batch_size == 64


@pytest.mark.parametrize("command", COMMANDS)
def test_its_command_is_one_here(command, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    script, config, *words = shlex.split(command)
    assert os.access(script, os.X_OK)
    if script == "./prepare_data.sh":
        arguments = read_command_line("prepare_data", None, prepare_data.add_arguments, [config, *words])
        Config.from_yaml(arguments.config, arguments.override)
    else:
        job_id, *options = words
        main.checked_config(main.read_arguments([config, f"--job_id={job_id}", *options]))


@pytest.mark.parametrize("script", SCRIPTS)
def test_its_script_is_one_here(script):
    assert os.access(REPOSITORY / script, os.X_OK)


@pytest.mark.parametrize("file", FILES)
def test_its_file_is_one_here(file):
    assert (REPOSITORY / file).is_file()


def test_its_variables_are_set_by_project_variables_sh_and_keep_their_values():
    names = ("PROJECT_STORAGE_DIR", "SCRATCH_STORAGE_DIR", "SINGULARITY_CONTAINER")
    script = f"source '{REPOSITORY}/helper_scripts/project_variables.sh'; printf '%s\\n' " + " ".join(
        f'"${{{name}-not set}}"' for name in names
    )
    others = {name: value for name, value in os.environ.items() if name not in names}
    assert "not set" not in subprocess.check_output(["bash", "-c", script], text=True, env=others)
    given = {name: f"/my/{name}" for name in names}
    output = subprocess.check_output(["bash", "-c", script], text=True, env={**others, **given})
    assert output.splitlines() == list(given.values())
