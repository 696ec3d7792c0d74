"""Loggers: what they are given can be read back, once, after any number of resumes; none ends a run."""

import json
import logging
import random
import resource
import struct
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from src.command_line import UserError
from src.config import Config
from src.helpers import LOG
from src.training.loggers import Loggers, require_packages, row_entry
from tests.configs import changed
from tests.processes import wait_until

pytest.importorskip("tensorboard")
pytest.importorskip("wandb")

BLOCK = 32768  # bytes of a block in LevelDB's log format, in which W&B keeps a run


@pytest.fixture
def warnings(caplog, monkeypatch):
    monkeypatch.setattr(LOG, "propagate", True)
    caplog.set_level(logging.WARNING, LOG.name)
    return caplog


def asking_for(tensorboard=False, wandb="disabled"):
    config = changed(Config(), {"train.tensorboard": tensorboard, "base.wandb": wandb})
    require_packages(config)
    return config


def tensorboard_values(folder):
    """(step, value) by tag, as TensorBoard shows them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def wandb_runs(folder):
    """Return each offline run of the folder: its id, and its history, values by step."""
    # The package writes and ends a run in a process of its own.
    paths = wait_until(
        lambda: sorted((folder / "wandb").glob("offline-run-*/run-*.wandb")),
        situation=lambda: sorted((folder / "wandb").rglob("*")),
    )
    return [wandb_run(path) for path in paths]


def wandb_run(path):
    from wandb.proto.wandb_internal_pb2 import Record

    def all_records():
        records = [Record.FromString(content) for content in leveldb_records(path.read_bytes())]
        return records if any(record.HasField("exit") for record in records) else []

    records = wait_until(all_records)
    history = {}
    for record in records:
        if record.HasField("history"):
            values = {item.key or ".".join(item.nested_key): item.value_json for item in record.history.item}
            step = int(values.pop("_step"))
            assert step not in history
            history[step] = {key: json.loads(value) for key, value in values.items() if not key.startswith("_")}
    return next(record.run.run_id for record in records if record.HasField("run")), history


def leveldb_records(content):
    at, record = 7, b""
    while at + 7 <= len(content):
        if (left := BLOCK - at % BLOCK) < 7:
            at += left
            continue
        _, size, kind = struct.unpack_from("<IHB", content, at)
        record += content[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # a whole record, or the last part of one
            yield record
            record = b""


def test_tensorboard_shows_what_was_logged(tmp_path):
    with Loggers(asking_for(tensorboard=True), tmp_path) as loggers:
        loggers.start([(5, {"running/loss": 2.0})], resume=False)
        loggers.log(10, {"running/loss": 1.5, "val/frame_accuracy": 0.25})
    assert tensorboard_values(tmp_path) == {"running/loss": [(5, 2.0), (10, 1.5)], "val/frame_accuracy": [(10, 0.25)]}


def test_an_offline_run_holds_what_was_logged(tmp_path):
    with Loggers(asking_for(wandb="offline"), tmp_path) as loggers:
        loggers.start([(5, {"running/loss": 2.0})], resume=False)
        loggers.log(10, {"running/loss": 1.5})
        loggers.log(10, {"val/frame_accuracy": 0.25})
    [(_, history)] = wandb_runs(tmp_path)
    assert history == {5: {"running/loss": 2.0}, 10: {"running/loss": 1.5, "val/frame_accuracy": 0.25}}


def test_what_a_killed_process_logged_after_its_checkpoint_is_replaced(tmp_path):
    config = asking_for(tensorboard=True, wandb="offline")
    killed = Loggers(config, tmp_path)
    killed.start([(5, {"a": 2.0})], resume=False)
    killed.log(10, {"a": 1.0})  # known to the checkpoint
    killed.log(15, {"a": 9.0})  # lost
    for logger in killed._active:
        logger.close(failed=True)
    [(first_id, _)] = wandb_runs(tmp_path)
    with Loggers(config, tmp_path) as loggers:
        loggers.start([(5, {"a": 2.0}), (10, {"a": 1.0})], resume=True)
        loggers.log(20, {"a": 0.5})
    assert tensorboard_values(tmp_path) == {"a": [(5, 2.0), (10, 1.0), (20, 0.5)]}
    assert wandb_runs(tmp_path) == [(first_id, {5: {"a": 2.0}, 10: {"a": 1.0}, 20: {"a": 0.5}})]


def test_a_job_begun_again_is_another_run(tmp_path):
    ids = set()
    for _ in range(2):
        with Loggers(asking_for(wandb="offline"), tmp_path) as loggers:
            loggers.start([], resume=False)
        ids.add((tmp_path / "wandb_run_id").read_text())
    assert len(ids) == 2


def test_loggers_draw_from_no_global_generator(tmp_path):
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    with Loggers(asking_for(tensorboard=True, wandb="offline"), tmp_path) as loggers:
        loggers.start([(1, {"a": 1.0})], resume=False)
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before


def test_a_disk_that_fills_up_is_a_warning(tmp_path, warnings, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda _: None)  # the package's thread prints its end
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Loggers(asking_for(tensorboard=True), tmp_path) as loggers:
        loggers.start([(1, {"a": 1.0})], resume=False)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
            for step in range(2, 2000):
                loggers.log(step, {"a": 1.0})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [record.getMessage()[:19] for record in warnings.records] == ["TensorBoard failed,"]


def test_a_logger_that_cannot_begin_is_a_warning(tmp_path, warnings):
    (tmp_path / "tensorboard").write_text("in the way")
    with Loggers(asking_for(tensorboard=True), tmp_path) as loggers:
        loggers.start([(1, {"a": 1.0})], resume=False)
        loggers.log(2, {"a": 1.0})
    assert len(warnings.records) == 1


@pytest.mark.parametrize(
    ("options", "module", "text"),
    [
        ({"tensorboard": True}, "torch.utils.tensorboard", "train.tensorboard asks for TensorBoard"),
        ({"wandb": "online"}, "wandb", "base.wandb asks for Weights & Biases"),
    ],
)
@pytest.mark.parametrize("error", [ImportError, TypeError, AttributeError, SyntaxError, OSError])
def test_a_logger_whose_package_cannot_be_imported_is_refused(options, module, text, error, monkeypatch):
    def broken(name, *_):
        if name == module:
            raise error("Descriptors cannot\nbe created directly")

    monkeypatch.setattr(sys, "meta_path", [SimpleNamespace(find_spec=broken), *sys.meta_path])
    monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(UserError) as told:
        asking_for(**options)
    assert str(told.value).startswith(f"{text}, but its package cannot be imported (")
    assert "Descriptors cannot be created directly): install it with " in str(told.value)


def test_nothing_is_written_where_no_logger_is_asked_for(tmp_path):
    with Loggers(asking_for(), tmp_path) as loggers:
        loggers.start([(1, {"a": 1.0})], resume=False)
    assert list(tmp_path.iterdir()) == []


def test_a_row_of_metrics_is_its_numbers_by_split():
    row = {"step": 7, "epoch": 1, "split": "val", "loss": 0.5, "learning_rate": 0.1}
    assert row_entry(row) == (7, {"val/loss": 0.5})
    assert row_entry({**row, "split": "train"}) == (7, {"train/loss": 0.5, "train/learning_rate": 0.1})
