"""Killed at random moments, on full and vanishing disks, and twice at once: nothing is lost."""

import contextlib
import os
import random
import shutil
import signal
import subprocess

import pytest

from src.checkpoint import list_checkpoints
from src.reports.outcome import outcome
from tests import small_job
from tests.processes import handles_sigterm, has_loaded, wait_until
from tests.small_disk import small_disk

LONG = "train.epochs=12 train.checkpoint_interval_minutes=0"
EVERY_BATCH = "train.checkpoint_interval_minutes=0 train.project_checkpoint_interval_minutes=0 train.epochs=6"
LEAST_SECONDS, MOST_SECONDS = 0.5, 5.0  # from start to kill; the imports take about two


def train(folder, job_id, options, *flags, expect=0):
    return small_job.run(
        folder, "main.py", "small.yaml", f"--job_id={job_id}", *flags, "--override", options, expect=expect
    )


def start(folder, job_id, options):
    return small_job.fork(folder, "main.py", "small.yaml", f"--job_id={job_id}", "--override", options)


def kill_until_done(folder, job_id, options, rng, most_kills):
    """Kill and resume a job until it ends by itself, or after `most_kills` kills; return the number of kills."""
    words = ("main.py", "small.yaml", f"--job_id={job_id}", "--resume", "--override", options)
    for kills in range(most_kills):
        process = small_job.start(folder, *words)
        try:
            output, _ = process.communicate(timeout=rng.uniform(LEAST_SECONDS, MOST_SECONDS))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        else:
            assert process.returncode == 0, output
            return kills
    small_job.run(folder, *words)
    return most_kills


@contextlib.contextmanager
def paused(process):
    """Keep a job from going on meanwhile: what happens to it then does not depend on how fast it is."""
    process.send_signal(signal.SIGSTOP)
    yield
    process.send_signal(signal.SIGCONT)


@pytest.mark.slow
@pytest.mark.parametrize(("model_type", "workers"), [("difflogic", 0), ("cnn", 2), ("mlp", 0)])
def test_killed_at_random_moments_a_run_ends_as_if_it_had_not_been(prepared, model_type, workers):
    options = f"{EVERY_BATCH} model.model_type={model_type} train.dataloader.num_workers={workers}"
    train(prepared, f"whole_{model_type}", options)
    rng, kills, run = random.Random(model_type), 0, 0
    while kills < 4:
        job_id = f"killed_{model_type}_{run}"
        kills += kill_until_done(prepared, job_id, options, rng, most_kills=4)
        assert outcome(prepared, job_id) == outcome(prepared, f"whole_{model_type}")
        run += 1


@pytest.mark.slow
def test_a_wiped_scratch_does_not_stop_a_run(prepared):
    job = start(prepared, "wiped", LONG)
    checkpoints = prepared / "scratch" / "checkpoints" / "wiped"
    wait_until(lambda: list_checkpoints(checkpoints), process=job)
    with paused(job):
        shutil.rmtree(prepared / "scratch")
    output, _ = job.communicate(timeout=120)
    assert job.returncode == 0, output
    assert list_checkpoints(checkpoints)
    train(prepared, "not_wiped", LONG)
    assert outcome(prepared, "wiped") == outcome(prepared, "not_wiped")


@pytest.mark.slow
def test_where_scratch_is_gone_a_run_resumes_from_project_storage(prepared):
    job = start(prepared, "moved", LONG + " train.project_checkpoint_interval_minutes=0")
    wait_until(lambda: list_checkpoints(prepared / "project" / "models" / "moved" / "checkpoints"), process=job)
    job.send_signal(signal.SIGKILL)
    job.communicate()
    shutil.rmtree(prepared / "scratch")
    output = train(prepared, "moved", LONG, "--resume")
    assert "project/models/moved/checkpoints/step_" in output
    train(prepared, "stayed", LONG)
    assert outcome(prepared, "moved") == outcome(prepared, "stayed")


@pytest.mark.slow
def test_a_second_process_on_a_job_is_refused_and_the_first_goes_on(prepared):
    job = start(prepared, "twice", LONG)
    wait_until(lambda: list_checkpoints(prepared / "scratch" / "checkpoints" / "twice"), process=job)
    with paused(job):
        for flag in ("--resume", "--restart"):
            assert "job twice is running already" in train(prepared, "twice", LONG, flag, expect=2)
    output, _ = job.communicate(timeout=120)
    assert job.returncode == 0, output


@pytest.mark.slow
def test_two_preparations_of_one_cache_at_once_both_succeed(prepared):
    options = ["--override", "data.overlap=7"]
    both = [small_job.start(prepared, "prepare_data.py", "small.yaml", *options) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert sum("prepared " in output for output in outputs) == 1


@pytest.mark.slow
def test_a_second_signal_does_not_spoil_the_checkpoint(prepared):
    job = start(prepared, "signals", LONG)
    wait_until(lambda: list_checkpoints(prepared / "scratch" / "checkpoints" / "signals"), process=job)
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGTERM):
        job.send_signal(number)
    output, _ = job.communicate(timeout=60)
    assert job.returncode == 75, output
    train(prepared, "signals", LONG, "--resume")
    train(prepared, "no_signals", LONG)
    assert outcome(prepared, "signals") == outcome(prepared, "no_signals")


def test_a_signal_to_the_whole_group_with_workers_saves_a_checkpoint(prepared):
    job = subprocess.Popen(
        [
            "bash",
            "-c",
            'exec "$@"',
            "bash",
            *small_job.command("main.py", "small.yaml", "--job_id=group"),
            "--override",
            LONG + " train.dataloader.num_workers=2",
        ],
        cwd=prepared,
        env=small_job.environment(prepared),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    wait_until(lambda: list_checkpoints(prepared / "scratch" / "checkpoints" / "group"), process=job)
    os.killpg(job.pid, signal.SIGTERM)
    output, _ = job.communicate(timeout=60)
    assert job.returncode == 75, output


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["handler", "import", "frame cache", "job"])
def test_a_signal_during_set_up_ends_cleanly(prepared, moment):
    """The moments are when Python handles signals, when it imports PyTorch, and lines of the log."""
    job_id = f"early_{moment.replace(' ', '_')}"
    job = small_job.start(prepared, "main.py", "small.yaml", f"--job_id={job_id}", "--override", LONG)
    if moment == "handler":
        wait_until(lambda: handles_sigterm(job.pid), process=job)
    elif moment == "import":
        wait_until(lambda: has_loaded(job.pid, "libtorch_cpu"), process=job)
    else:
        assert any(f"INFO    {moment}" in line for line in job.stdout)
    job.send_signal(signal.SIGTERM)
    output, _ = job.communicate(timeout=60)
    assert job.returncode == 75, output
    assert "Traceback" not in output
    train(prepared, job_id, "train.epochs=12", "--resume")


@pytest.fixture
def disks():
    """Holds small disks until the end of a test."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def own(prepared_once, tmp_path):
    """A prepared folder of its own, since a file system is mounted over a part of it."""
    small_job.copy_prepared(prepared_once, tmp_path)
    return tmp_path


def leftovers(folder):
    return [path for path in folder.rglob("*") if path.name.endswith(".tmp")]


def test_a_full_scratch_is_a_warning_and_the_older_checkpoint_stays(own, disks):
    checkpoint_kib = 700  # this model's weights and two moments; one checkpoint fits, the next does not
    disks.enter_context(small_disk(own / "scratch" / "checkpoints", f"{int(1.7 * checkpoint_kib)}k"))
    output = train(own, "full", "train.epochs=3 train.checkpoint_interval_minutes=0")
    assert "cannot save a checkpoint on scratch (SCRATCH_STORAGE_DIR): [Errno 28] No space left on device" in output
    assert len(list_checkpoints(own / "scratch" / "checkpoints" / "full")) == 1
    assert not leftovers(own / "scratch")
    assert (own / "project" / "models" / "full" / "final.safetensors").exists()
    train(own, "full", "train.epochs=3", "--resume")


@pytest.mark.slow
def test_a_full_project_storage_fails_the_run_but_keeps_its_checkpoint(own, disks):
    disks.enter_context(small_disk(own / "project" / "models", "100k"))
    output = train(own, "full", "train.epochs=2", expect=1)
    assert "cannot save the final model: [Errno 28] No space left on device" in output
    assert "free space and --resume" in output
    assert not leftovers(own / "project")
    subprocess.run(["mount", "-o", "remount,size=64m", own / "project" / "models"], check=True)
    train(own, "full", "train.epochs=2", "--resume")
    train(own, "fine", "train.epochs=2")
    assert outcome(own, "full")[0]["final"] == outcome(own, "fine")[0]["final"]


@pytest.mark.slow
def test_a_scratch_that_turns_read_only_is_a_warning(own, disks):
    disks.enter_context(small_disk(own / "scratch" / "checkpoints", "64m"))
    job = start(own, "read_only", LONG)
    wait_until(lambda: list_checkpoints(own / "scratch" / "checkpoints" / "read_only"), process=job)
    remount = ["mount", "-o", "remount,ro", own / "scratch" / "checkpoints"]
    # It cannot be remounted in the moments in which it is written to.
    wait_until(lambda: subprocess.run(remount, capture_output=True).returncode == 0, process=job)
    output, _ = job.communicate(timeout=120)
    assert job.returncode == 0, output
    assert "cannot save a checkpoint on scratch" in output
    assert list_checkpoints(own / "scratch" / "checkpoints" / "read_only")


@pytest.mark.slow
def test_two_first_jobs_on_the_demo_at_once_simulate_it_once(tmp_path):
    options = f"data.data_root={tmp_path / 'data'} train.epochs=1"
    config = str(small_job.REPOSITORY / "configs" / "demo_difflogic.yaml")
    jobs = [small_job.start(tmp_path, "main.py", config, f"--job_id=demo{i}", "--override", options) for i in range(2)]
    outputs = [job.communicate(timeout=300)[0] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], outputs
    assert sum("simulating 1797" in output for output in outputs) == 1


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_a_killed_preparation_goes_on_and_gives_the_same_bytes(tmp_path, threads):
    small_job.write_config(tmp_path)
    raw = b"".join(path.read_bytes() for path in sorted((tmp_path / "recordings/NMNIST/Train").glob("*/*.bin")))
    for number in range(40):  # several parts, each of several recordings
        path = tmp_path / "recordings/NMNIST/Train" / str(number % 10) / f"9{number:04d}.bin"
        path.write_bytes(raw * 20)
    words = ("prepare_data.py", "small.yaml", "--override", f"data.num_threads={threads}")
    small_job.run(tmp_path, *words)

    def cache():
        return {path.name: path.read_bytes() for path in tmp_path.glob("scratch/data/NMNIST/events*/*")}

    expected = cache()
    assert len(expected) == 4
    for root in ("scratch", "project"):
        shutil.rmtree(tmp_path / root)
    killed = small_job.start(tmp_path, *words)
    wait_until(lambda: len(list(tmp_path.glob("scratch/data/NMNIST/.*.parts/*.json"))) >= 1, process=killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not cache()
    assert "parts that are there already" in small_job.run(tmp_path, *words)
    assert cache() == expected
