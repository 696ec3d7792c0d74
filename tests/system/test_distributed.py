"""Several processes on one job: a single process's results, exact resume, and an end of all whichever of them dies.

Two processes give the weights of one that takes a batch's two shares in turn, bit for bit. One that takes the whole
batch at once gives them up to rounding, since it sums over the batch in another order. TOLERANCE bounds what that
becomes in this job's steps of Adam, which divides small gradients by small ones.
"""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from src.checkpoint import load_model_state
from src.helpers import LAUNCHER
from src.reports.outcome import outcome
from tests import small_job
from tests.processes import MOST_SECONDS, handles_sigterm, has_loaded, wait_until
from tests.system.test_resume import wait_for_step

TOLERANCE = 1e-3  # for weights, whose learning rate is 0.05 for some 200 steps
WAITS = """
import time
from src.command_line import StopSignals
from src.config import Train
from src.distributed import group
group.NOTICE_SECONDS = 3
with group.joined(Train(device="cpu"), StopSignals()):
    print("joined", flush=True)
    time.sleep(1000)
"""
LONG = "train.epochs=6 train.checkpoint_interval_minutes=0"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def uninterrupted(prepared):
    """The outcome of a job of two processes."""
    train(prepared, "uninterrupted", LONG, "--nproc=2")
    return outcome(prepared, "uninterrupted")


def train(folder, job_id, options, *flags, expect=0):
    words = [f"--job_id={job_id}", *flags, "--override", options]
    return small_job.run(folder, "main.py", "small.yaml", *words, expect=expect)


def start(folder, job_id, options, *flags):
    return small_job.start(folder, "main.py", "small.yaml", f"--job_id={job_id}", *flags, "--override", options)


def ranks_of(launcher, number=2):
    """Return the ranks' process ids once all have begun."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children")
    found = {}

    def all_have_begun():
        for pid in map(int, children.read_text().split()):
            if rank := re.search(rb"\0RANK=(\d+)", Path(f"/proc/{pid}/environ").read_bytes()):
                found[int(rank[1])] = pid
        return len(found) == number

    wait_until(all_have_begun)
    return found


def end(launcher):
    """Wait for the end of a job that must end soon; return its output."""
    output, _ = launcher.communicate(timeout=MOST_SECONDS)
    return output


def weights(folder, job_id):
    return load_model_state(folder / "project" / "models" / job_id / "final.safetensors")[0]


def assert_equal_to_rounding(folder, job_id, expected):
    for name, tensor in weights(folder, expected).items():
        difference = (weights(folder, job_id)[name].double() - tensor.double()).abs().max()
        assert difference <= (TOLERANCE if tensor.is_floating_point() else 0), name


@pytest.mark.parametrize("model_type", ["difflogic", "votes", "cnn", "mlp"])
def test_two_processes_give_a_single_process_s_weights_to_rounding(prepared, model_type):
    # Without pooling: of values that are equal but for rounding another may win its window, and all goes its own way.
    layers = "kernels=[4,8] model.difflogic.convolution.pooling=[1] model.difflogic.num_layers=0"
    convolutional = f"model.difflogic.architecture=convolutional model.difflogic.convolution.{layers}"
    votes = f"{convolutional} model.difflogic.readout=votes model.difflogic.members=2"
    model = votes if model_type == "votes" else f"model.model_type={model_type}"
    options = f"{model} train.epochs=2 train.dataloader.batch_size=17"  # uneven shares
    train(prepared, f"one_{model_type}", options)
    train(prepared, f"two_{model_type}", options, "--nproc=2")
    assert_equal_to_rounding(prepared, f"two_{model_type}", f"one_{model_type}")
    for one, two in zip(
        outcome(prepared, f"one_{model_type}")[1], outcome(prepared, f"two_{model_type}")[1], strict=True
    ):
        assert (one["step"], one["epoch"], one["split"]) == (two["step"], two["epoch"], two["split"])
        losses = [float(row["relaxed_loss"] or row["loss"]) for row in (one, two)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-3, abs=1e-4)


POOLED = (
    "model.difflogic.architecture=convolutional model.difflogic.convolution.kernels=[8,16] "
    "model.difflogic.convolution.pooling=[2] model.difflogic.num_layers=0 model.difflogic.readout=votes"
)


@pytest.mark.parametrize(
    "options",
    [
        f"{POOLED} model.difflogic.members=2 train.weight_decay=0.01",
        f"{POOLED} model.difflogic.forward_sampling=gumbel_hard train.accumulate_batches=3 train.ema_decay=0.9",
        "model.difflogic.fan_in=6 model.difflogic.parametrisation=light model.difflogic.num_neurons=600 "
        "train.hardware_cost=2",
        "train.dtype=bfloat16 train.clip_gradient_norm=0.1",
        "model.model_type=cnn train.label_smoothing=0.1 train.augmentation.shift=2 train.augmentation.event_drop=0.3",
    ],
    ids=["pooled convolutions", "noise", "truth tables", "dense", "cnn"],
)
def test_two_processes_give_the_bits_of_one_that_takes_both_shares_in_turn(prepared, request, options):
    job_id = request.node.callspec.id.replace(" ", "_")
    options += " train.epochs=2 train.dataloader.batch_size=17"  # uneven shares
    train(prepared, f"two_processes_{job_id}", options, "--nproc=2")
    command = [sys.executable, "-m", "tests.one_process", str(prepared), f"in_turn_{job_id}", "2", options]
    environment = small_job.environment(prepared)
    subprocess.run(command, cwd=small_job.REPOSITORY, env=environment, check=True, timeout=MOST_SECONDS)
    in_turn, two = weights(prepared, f"in_turn_{job_id}"), weights(prepared, f"two_processes_{job_id}")
    assert in_turn.keys() == two.keys()
    assert all(torch.equal(in_turn[name], two[name]) for name in two)


def test_an_evaluation_by_two_processes_is_a_single_process_s_bit_for_bit(prepared):
    train(prepared, "tested", "train.epochs=1")
    expected = outcome(prepared, "tested")
    (prepared / "project/logs/tested/evaluation_test.json").unlink()
    output = train(prepared, "tested", "train.epochs=1", "--resume", "--nproc=2")  # only the test is left to do
    assert "the number of processes was 1 and is 2 now: the run goes on, but not bit for bit" in output
    assert outcome(prepared, "tested") == expected


def test_one_process_writes(prepared):
    output = train(prepared, "once", "train.epochs=2 train.report=true train.tensorboard=true", "--nproc=2")
    logs = prepared / "project" / "logs" / "once"
    lines = [line.split(" ", 1)[1] for line in output.splitlines()]
    assert len(lines) == len(set(lines)), output
    assert len(json.loads((logs / "runs.json").read_text())) == 1
    assert len(list((logs / "tensorboard").iterdir())) == 1
    assert (logs / "report.html").exists()
    assert len((logs / "metrics.csv").read_text().splitlines()) == 1 + 2 * 2 + 1
    assert not list(prepared.rglob(".*.tmp"))


@pytest.mark.parametrize("rank", [0, 1])
def test_whichever_process_is_killed_all_end_and_the_run_resumes_exactly(prepared, uninterrupted, rank):
    rng, job_id = random.Random(rank), f"killed_{rank}"
    for step in (rng.randrange(1, 60), rng.randrange(70, 180)):
        job = start(prepared, job_id, LONG, "--resume", "--nproc=2")
        ranks = ranks_of(job)
        wait_for_step(prepared, job_id, step)
        os.kill(ranks[rank], signal.SIGKILL)
        output = end(job)
        assert job.returncode == 1, output
        assert output.splitlines()[-1].endswith(
            f"process {rank + 1} of 2 was killed by SIGKILL, and the others have ended: run again with --resume to go "
            "on from the newest checkpoint"
        )
        assert "Traceback" not in output
        assert not any(Path(f"/proc/{pid}").exists() for pid in ranks.values())
    train(prepared, job_id, LONG, "--resume", "--nproc=2")
    assert outcome(prepared, job_id) == uninterrupted


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_killed_while_the_run_is_set_up_ends_all(prepared, rank):
    job = start(prepared, f"early_{rank}", LONG, "--nproc=2")
    ranks = ranks_of(job)
    if rank == 1:  # the other is killed as early as can be
        wait_until(lambda: has_loaded(ranks[rank], "libtorch_cpu"))
    os.kill(ranks[rank], signal.SIGKILL)
    output = end(job)
    assert job.returncode == 1, output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("number", "to", "exit_code"),
    [(signal.SIGTERM, "launcher", 75), (signal.SIGINT, "launcher", 130), (signal.SIGUSR1, "rank 1", 75)],
)
def test_a_signal_saves_one_checkpoint_and_ends_all(prepared, number, to, exit_code):
    job_id = number.name
    job = start(prepared, job_id, LONG, "--nproc=2")
    ranks = ranks_of(job)
    wait_for_step(prepared, job_id, 5)
    os.kill(job.pid if to == "launcher" else ranks[1], number)
    output = end(job)
    assert job.returncode == exit_code, output
    assert output.count("stopped by a signal after batch") == output.count(f"received {number.name}") == 1


@pytest.mark.parametrize("moment", ["launcher", "ranks"])
def test_a_signal_is_not_lost_while_processes_begin(prepared, moment):
    job = start(prepared, f"begin_{moment}", LONG, "--nproc=2")
    wait_until(lambda: handles_sigterm(job.pid))
    if moment == "ranks":
        wait_until(lambda: all(handles_sigterm(pid) for pid in ranks_of(job).values()))
    job.send_signal(signal.SIGTERM)
    output = end(job)
    assert job.returncode == 75, output
    assert "Traceback" not in output


def test_processes_whose_launcher_is_killed_save_a_checkpoint_and_end(prepared, uninterrupted):
    job = start(prepared, "orphans", LONG, "--nproc=2")
    ranks = ranks_of(job)
    wait_for_step(prepared, "orphans", 5)
    job.kill()
    assert "stopped by a signal after batch" in end(job)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in ranks.values()))
    train(prepared, "orphans", LONG, "--resume", "--nproc=2")
    assert outcome(prepared, "orphans") == uninterrupted


@pytest.mark.parametrize("imported", [False, True])
def test_processes_whose_launcher_is_killed_while_they_import_end(prepared, imported):
    job = start(prepared, f"unborn_{imported}", LONG, "--nproc=2")
    ranks = ranks_of(job)
    wait_until(lambda: not imported or all(has_loaded(pid, "libtorch_cpu") for pid in ranks.values()))
    job.kill()
    assert "Traceback" not in end(job)  # the pipe is closed by the last of them


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_a_run_resumed_by_another_number_of_processes_goes_on_equal_to_rounding(prepared, uninterrupted, before, after):
    job_id = f"from_{before}_to_{after}"
    job = start(prepared, job_id, LONG, f"--nproc={before}")
    wait_for_step(prepared, job_id, 30)
    job.send_signal(signal.SIGTERM)
    assert "stopped cleanly" in end(job)
    output = train(prepared, job_id, LONG, "--resume", f"--nproc={after}")
    assert f"the number of processes was {before} and is {after} now" in output
    assert_equal_to_rounding(prepared, job_id, "uninterrupted")


def test_three_processes_resume_bit_for_bit(prepared):
    train(prepared, "three", "train.epochs=2", "--nproc=3")
    train(prepared, "three_resumed", "train.epochs=1", "--nproc=3")
    train(prepared, "three_resumed", "train.epochs=2", "--nproc=3", "--resume")
    assert outcome(prepared, "three_resumed") == outcome(prepared, "three")


@pytest.mark.parametrize(
    ("options", "flags", "message"),
    [
        ("train.dataloader.batch_size=1", ["--nproc=2"], "batch_size = 1 is less than the 2 processes"),
        ("train.epochs=1", ["--nproc=0"], "--nproc 0: must be at least 1"),
        ("train.epochs=1", ["--nproc=2", "--nodes=2"], "several machines need HOST:PORT of machine 0"),
        ("train.epochs=1", ["--nproc=2", "--evaluate"], "--nproc and --nodes are for training"),
        ("data.overlap=49", ["--nproc=2"], "no frame cache of NMNIST"),
        ("model.difflogic.num_neurons=1501", ["--nproc=2"], "must be a multiple of the 10 classes"),
    ],
)
def test_a_mistake_is_told_once(prepared, options, flags, message):
    output = train(prepared, "mistaken", options, *flags, expect=2)
    told = [line for line in output.splitlines() if "INFO" not in line and "not used, since" not in line]
    assert len(told) == 1, output
    assert message in told[0]


def test_a_loss_that_is_no_number_ends_all_and_is_told_once(prepared):
    output = train(
        prepared, "nan", "model.model_type=mlp train.learning_rate=1000 train.dtype=float16", "--nproc=2", expect=1
    )
    assert output.count("lower train.learning_rate") == 1, output


def test_a_missing_cache_is_prepared_by_one_process(tmp_path):
    config = small_job.write_config(tmp_path)
    options = f"data.prepare_if_missing={config} train.epochs=1"
    output = train(tmp_path, "first", options, "--nproc=2")
    assert output.count("preparing it with") == output.count("prepared ") == 1


@pytest.mark.parametrize("killed", [0, 1, 2])
def test_a_process_that_waits_for_its_gpu_ends_too_when_another_is_killed(tmp_path, killed):
    place = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free_port()), LAUNCHER: str(os.getpid())}
    variables = {**small_job.environment(tmp_path), **place}
    command, pipe = [sys.executable, "-c", WAITS], subprocess.PIPE
    ranks = []
    for number in range(3):
        own = {"RANK": str(number), "WORLD_SIZE": "3", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
        ranks.append(
            subprocess.Popen(
                command, env=variables | own, cwd=small_job.REPOSITORY, stdout=pipe, stderr=pipe, text=True
            )
        )
    assert [process.stdout.readline() for process in ranks] == ["joined\n"] * 3
    ranks[killed].kill()
    for process in ranks:
        _, errors = process.communicate(timeout=MOST_SECONDS)
        assert process.returncode == (-signal.SIGKILL if process is ranks[killed] else 1), errors
        assert "Traceback" not in errors


def free_port():
    with socket.socket() as some:
        some.bind(("localhost", 0))
        return some.getsockname()[1]


def start_two_machines(folder, job_id):
    """Both are this one."""
    endpoint = f"--endpoint=localhost:{free_port()}"
    return [start(folder, job_id, LONG, "--nodes=2", f"--node_rank={number}", endpoint) for number in range(2)]


def test_a_process_that_is_killed_on_one_machine_ends_those_on_the_other(prepared):
    nodes = start_two_machines(prepared, "node_killed")
    ranks = ranks_of(nodes[1], 1)
    wait_for_step(prepared, "node_killed", 5)
    os.kill(ranks[1], signal.SIGKILL)
    outputs = [end(node) for node in nodes]
    assert [node.returncode for node in nodes] == [1, 1], outputs
    assert "the connection to another process of this job is lost" in outputs[0]
    assert "process 2 of 2 was killed by SIGKILL" in outputs[1]


def test_two_machines_of_one_process_each_give_the_same_bits_as_one_of_two(prepared, uninterrupted):
    nodes = start_two_machines(prepared, "nodes")
    outputs = [node.communicate(timeout=300)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], outputs
    assert "test, final model:" in outputs[0]
    assert outputs[1] == ""
    assert outcome(prepared, "nodes") == uninterrupted


def test_torchrun_itself_can_start_the_processes(prepared, uninterrupted):
    command = small_job.command("main.py", "small.yaml", "--job_id=torchrun", "--override", LONG)
    command[1:1] = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run(command, cwd=prepared, env=small_job.environment(prepared), check=True, timeout=300)
    assert outcome(prepared, "torchrun") == uninterrupted
