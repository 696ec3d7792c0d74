"""status: where jobs are, from any files."""

import json
import os
import shutil
import struct
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src import checkpoint
from src.evaluation.metrics import write_metrics
from src.io_funcs import file_lock, is_locked, write_atomic, write_json
from src.jobs.find import find_jobs
from src.jobs.folders import Job
from src.reports import status
from tests.small_job import REPOSITORY

ROWS = [
    {"step": 5, "epoch": 1, "split": "train", "frame_accuracy": 0.1},
    {"step": 5, "epoch": 1, "split": "val", "frame_accuracy": 0.75},
    {"step": 10, "epoch": 2, "split": "val", "frame_accuracy": 0.5},
]


@pytest.fixture(autouse=True)
def _storages(storages):
    """All tests have storages of their own."""


def save(folder, step, epoch=2, rows=ROWS):
    state = {
        "config": {"train": {"epochs": 4}},
        "progress": {"step": step, "epoch": epoch, "rows": rows},
        "model": {"weights": torch.randn(50, 16)},
    }
    return checkpoint.save_checkpoint(folder, step, state)


@pytest.fixture
def job():
    """A job that was stopped in its third epoch: a checkpoint on scratch, the metrics of two epochs."""
    job = Job("a_job")
    save(job.checkpoints, 12)
    write_metrics(job.logs / "metrics.csv", ROWS)
    return job


def test_a_stopped_job_is_where_its_newest_checkpoint_is(job):
    save(job.checkpoints, 14)
    save(job.checkpoint_copies, 13)
    found = status.job_status("a_job")
    assert (found.state, found.step, found.epoch, found.epochs) == ("stopped", 14, 2, 4)
    assert (found.last_accuracy, found.best_accuracy) == (0.5, 0.75)


def test_where_scratch_was_wiped_the_copy_on_project_storage_counts(job):
    save(job.checkpoint_copies, 11)
    shutil.rmtree(job.checkpoints)
    assert status.job_status("a_job").step == 11


def test_where_only_logs_are_metrics_and_config_tell(job):
    shutil.rmtree(job.checkpoints)
    write_atomic(job.logs / "config.yaml", "train: {epochs: 7}\n")
    found = status.job_status("a_job")
    assert (found.step, found.epoch, found.epochs, found.best_accuracy) == (10, 2, 7, 0.75)
    assert found.checkpoint_age is None


def test_the_age_is_that_of_the_last_checkpoint(job, monkeypatch):
    os.utime(job.checkpoints / "step_0000000012.safetensors", (0, 400))
    monkeypatch.setattr(status, "time", SimpleNamespace(time=lambda: 4000))
    assert status.job_status("a_job").checkpoint_age == 3600
    assert "1 h 00 min ago" in status.status_table([])


def test_a_job_with_a_result_is_done(job):
    write_json(job.logs / "result.json", {"epochs": 2, "steps": 12})
    assert status.job_status("a_job").state == "done"


def test_a_job_that_went_on_after_its_result_is_not_done(job):
    write_json(job.logs / "result.json", {"epochs": 2, "steps": 10})
    assert status.job_status("a_job").state == "stopped"


HOLD = """
import fcntl, sys, time
kind = fcntl.LOCK_SH if sys.argv[2] == "shared" else fcntl.LOCK_EX
file = open(sys.argv[1], "ab" if kind == fcntl.LOCK_EX else "rb")
fcntl.flock(file, kind)
print("locked", flush=True)
time.sleep(float(sys.argv[3]))
"""


def hold(path, kind, seconds):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    words = [sys.executable, "-c", HOLD, path, kind, str(seconds)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "locked\n"
    return process


def test_a_job_whose_lock_is_held_runs(job):
    process = hold(job.lock, "exclusive", 60)
    assert status.job_status("a_job").state == "running"
    process.kill()
    process.communicate()
    assert status.job_status("a_job").state == "stopped"


def test_a_job_that_is_just_starting_is_shown():
    process = hold(Job("new").lock, "exclusive", 60)
    row = status.status_table([]).splitlines()[-1]
    assert row.split() == ["new", "running", "-", "-/-", "-", "-", "-"]
    process.kill()
    process.communicate()
    assert "no jobs under" in status.status_table([])  # the lock file that it left is no job


def test_a_job_that_starts_while_status_looks_is_not_refused(job):
    process = hold(job.lock, "shared", 0.2)  # as long a look as there ever is
    with file_lock(job.lock):
        pass
    process.communicate()


def test_looking_does_not_make_the_lock_file(tmp_path):
    assert not is_locked(tmp_path / "lock")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_newest_checkpoint_is_passed_over(job):
    save(job.checkpoints, 13).write_bytes(b"damaged")
    assert status.job_status("a_job").step == 12


def test_only_the_header_is_read(job):
    path = job.checkpoints / "step_0000000012.safetensors"
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    path.write_bytes(content[: 8 + size])  # no tensors
    assert status.job_status("a_job").step == 12


def header(value):
    text = json.dumps(value).encode()
    return struct.pack("<Q", len(text)) + text


def foreign():
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["progress", "config", "train", "epochs", "step", "rows"]), inner)
        ),
        max_leaves=8,
    )
    metadata = values.map(lambda value: header({"__metadata__": {"values": json.dumps(value)}}))
    texts = st.sampled_from(["step,epoch,split,frame_accuracy\n1,x,val,\n", "train: [", "{", "[" * 50, "- &a [*a]"])
    return st.one_of(
        st.binary(max_size=40),
        values.map(lambda value: json.dumps(value).encode()),
        values.map(header),
        metadata,
        texts.map(str.encode),
        st.just(struct.pack("<Q", 2**63)),
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(foreign(), min_size=4, max_size=4))
def test_files_of_any_content_never_break_it(contents):
    job = Job("strange")
    names = ("metrics.csv", "config.yaml", "result.json")
    paths = [job.checkpoints / "step_0000000001.safetensors", *(job.logs / name for name in names)]
    for path, content in zip(paths, contents, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert "strange" in status.status_table([])


def test_a_file_that_nests_deeply_does_not_break_it(job):
    for name in ("config.yaml", "result.json"):
        (job.logs / name).write_text("[" * 3000)
    (job.checkpoints / "step_0000000013.safetensors").write_bytes(struct.pack("<Q", 3000) + b"[" * 3000)
    assert status.job_status("a_job").step == 12


def test_folders_pipes_and_strange_names_never_break_it(job):
    for name in ("step_0000000099.safetensors", "step_x"):
        (job.checkpoints / name).mkdir()
    os.mkfifo(job.checkpoints / "step_0000000098.safetensors")
    (job.logs / "result.json").mkdir()
    for name in ("a b", "new\nline", ".hidden", "\udcff"):
        (job.logs.parent / name).mkdir()
    assert find_jobs() == ["a_job"]
    assert status.job_status("a_job").step == 12


@pytest.mark.parametrize("name", [".old", "-old", "_old"])
def test_a_job_with_a_name_that_was_once_allowed_is_shown_with_what_to_do(job, name):
    save(Job(name).checkpoints, 3)
    shown = status.status_table([]).splitlines()
    assert shown[2].split()[:3] == [name, "stopped", "3"]
    assert shown[-1].startswith(f"{name}: to use it again, rename its folders")


def test_a_folder_of_checkpoints_that_is_closed_does_not_break_it(job, monkeypatch):
    def closed(*folders):
        raise PermissionError(folders)

    monkeypatch.setattr(status, "list_checkpoints", closed)
    assert status.job_status("a_job").step == 10


def test_jobs_can_be_named(job):
    save(Job("other").checkpoints, 3)
    assert len(status.status_table([]).splitlines()) == 4
    assert len(status.status_table(["other"]).splitlines()) == 3


def run(*words):
    return subprocess.run([REPOSITORY / "job.sh", "status", *words], capture_output=True, text=True, env=active())


def active():
    return {**os.environ, "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}  # noqa: PTH120


def test_the_command_prints_the_table_and_refuses_an_unknown_job_in_one_line(job):
    shown = run()
    assert shown.returncode == 0
    assert shown.stdout.splitlines()[-1].split()[:5] == ["a_job", "stopped", "12", "2/4", "50.00%"]
    refused = run("b")
    assert (refused.returncode, refused.stdout, len(refused.stderr.splitlines())) == (2, "", 1)
    assert "usage: job.sh status" in run("--help").stdout


def test_the_command_does_not_import_torch():
    code = "import sys; import src.cli.status, src.reports.status; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0
