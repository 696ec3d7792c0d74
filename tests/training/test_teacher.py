"""A teacher's scores are learned beside the labels; a resumed run has the same teacher."""

import dataclasses
import os
import shutil

import pytest
import torch

from src.checkpoint import list_checkpoints
from src.command_line import StopSignals, UserError
from src.config import Config
from src.data import open_cache
from src.evaluation.inference import load_model
from src.io_funcs import REPOSITORY
from src.options import with_option
from src.reports.outcome import outcome
from src.train import train
from src.training.teacher import load_teacher
from tests import small_job

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with few recordings, their config and cache, and a trained CNN, job `teacher`."""
    folder = tmp_path_factory.mktemp("jobs")
    with small_job.prepared_here(folder):
        run(folder, "teacher", "model.model_type=cnn train.epochs=1")
        yield folder


def config_of(folder, options=""):
    return Config.from_yaml(folder / "small.yaml", [options] if options else [])


def run(folder, job_id, options, resume=False):
    train(config_of(folder, f"train.report=false {options}"), job_id, StopSignals(), resume, False, False)


def teacher_of(folder, name, **changes):
    config = config_of(folder)
    config = with_option(config, "train.teacher.model", str(name))
    cache = dataclasses.replace(open_cache(config, lambda: None), **changes)
    return load_teacher(config, cache, CPU)


def test_a_teacher_scores_as_the_saved_model_does_and_learns_nothing(folder):
    teacher = teacher_of(folder, "teacher")
    packed = torch.randint(0, 256, (4, 289), dtype=torch.uint8)
    scores = teacher.scores(packed)
    assert torch.equal(scores, load_model("teacher")[0].forward_packed(packed))
    assert not scores.requires_grad


def test_a_circuit_is_no_teacher(folder):
    circuit = folder / "circuit.json"
    circuit.touch()
    with pytest.raises(UserError, match=r"circuit\.json: it is a circuit, which has no layers on a training's device"):
        teacher_of(folder, circuit)


def test_there_is_no_teacher_unless_one_is_named(folder):
    config = config_of(folder)
    assert load_teacher(config, open_cache(config, lambda: None), CPU) is None


def test_only_a_model_that_takes_the_frames_can_teach(folder):
    with pytest.raises(UserError, match=r"teacher.model = teacher: .*takes binary frames.* has counts frames"):
        teacher_of(folder, "teacher", frame_dtype="counts")
    with pytest.raises(UserError, match=r"train.teacher.model = nobody: there is no job nobody"):
        teacher_of(folder, "nobody")
    config = config_of(folder, "train.teacher.model=teacher")
    cache = open_cache(config, lambda: None)
    config = with_option(config, "data.name", "DEMO")
    with pytest.raises(UserError, match=r"teacher.model = teacher: it was trained on NMNIST, not on DEMO"):
        load_teacher(config, cache, CPU)


def test_a_run_with_a_teacher_that_is_killed_and_resumed_equals_an_uninterrupted_one(folder):
    options = "train.teacher.model=teacher train.epochs=2"
    run(folder, "whole", options)
    run(folder, "resumed", f"{options} train.checkpoint_interval_minutes=0")
    newest = list_checkpoints(folder / "scratch/checkpoints/resumed")[0]
    for path in list_checkpoints(folder / "scratch/checkpoints/resumed", folder / "project/checkpoints/resumed"):
        if path.name == newest.name:
            path.unlink()
    moved = folder / "moved.safetensors"
    shutil.copy(folder / "project/models/teacher/best.safetensors", moved)
    run(folder, "resumed", f"train.epochs=2 train.teacher.model={moved}", resume=True)  # it may be elsewhere now
    assert outcome(folder, "resumed") == outcome(folder, "whole")


@pytest.mark.slow
@pytest.mark.parametrize(("then", "now"), [("teacher", "another"), ("teacher", "null"), ("null", "teacher")])
def test_a_run_is_not_resumed_with_another_teacher(folder, then, now):
    if not (folder / "project/models/another").exists():
        run(folder, "another", "model.model_type=mlp train.epochs=1")
    run(folder, f"{then}_{now}", f"train.epochs=1 train.teacher.model={then}")
    with pytest.raises(UserError, match="is not the model that it was"):
        run(folder, f"{then}_{now}", f"train.epochs=2 train.teacher.model={now}", resume=True)


def test_a_teachers_relative_path_starts_at_the_repository(folder, monkeypatch):
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    relative = os.path.relpath(folder / "project/models/teacher/best.safetensors", REPOSITORY)
    assert teacher_of(folder, relative).digest == teacher_of(folder, "teacher").digest


@pytest.mark.slow
def test_a_teacher_changes_what_is_learned(folder):
    for name, options in {"alone": "", "taught": "train.teacher.model=teacher"}.items():
        run(folder, name, f"train.epochs=1 {options}")
    assert outcome(folder, "alone")[0] != outcome(folder, "taught")[0]
