"""Several processes are started, get each signal, and end together; the exit code is that of what ended them."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap

import pytest

from src.command_line import RunError, Stopped, StopSignals, UserError, stop_signals_blocked
from src.config import DataLoader, Train
from src.distributed import launch
from src.distributed.launch import Nodes, require_divisible
from src.helpers import LAUNCHER, LISTENER
from tests.small_job import REPOSITORY

BEGIN = """
import json, os, signal, sys, time
rank = int(os.environ["RANK"])
"""
LAUNCH = """
import sys
from src.command_line import StopSignals
from src.distributed.launch import Nodes, launch
from src.helpers import set_up_logging
set_up_logging()
sys.exit(launch([sys.argv[1]], int(sys.argv[2]), Nodes(), StopSignals().install()))
"""


@pytest.fixture
def program(tmp_path):
    """Write a program that each process runs, given what it does after it knows its `rank`."""

    def write(code):
        path = tmp_path / "program.py"
        path.write_text(BEGIN + textwrap.dedent(code))
        return path

    return write


def start(path, processes, *before):
    """Start a launcher of several processes, whose output is text."""
    command = [*before, sys.executable, "-c", LAUNCH, str(path), str(processes)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=REPOSITORY, text=True, stdout=pipe, stderr=pipe)


def run(path, processes):
    """Run a launcher to its end; return its exit code, standard output and errors."""
    launcher = start(path, processes)
    output, errors = launcher.communicate(timeout=60)
    return launcher.returncode, output, errors


def test_each_process_knows_its_place_and_who_started_it(program):
    path = program(r"sys.stdout.write(json.dumps({**os.environ, 'parent': os.getppid()}) + '\n')")
    code, output, errors = run(path, 2)
    assert (code, errors) == (0, "")
    first, second = sorted(map(json.loads, output.splitlines()), key=lambda variables: variables["RANK"])
    for rank, variables in enumerate((first, second)):
        assert (variables["RANK"], variables["LOCAL_RANK"]) == (str(rank), str(rank))
        assert (variables["WORLD_SIZE"], variables["LOCAL_WORLD_SIZE"]) == ("2", "2")
        assert variables[LAUNCHER] == str(variables["parent"])
    assert first["MASTER_PORT"] == second["MASTER_PORT"]
    assert LISTENER in first
    assert LISTENER not in second


def test_rank_0_takes_connections_from_a_port_that_was_open_before_any_process_began(program):
    path = program(f"""
        import socket
        if rank == 0:
            listener = socket.socket(fileno=int(os.environ["{LISTENER}"]))
            print(listener.accept()[0].recv(9).decode())
        else:
            place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
            socket.create_connection(place).sendall(b"here")
        """)
    assert run(path, 2) == (0, "here\n", "")


def test_cores_are_shared_unless_the_user_says_how_many_threads_each_has(monkeypatch):
    monkeypatch.setattr(launch, "available_cores", lambda: 9)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("NUMBA_NUM_THREADS", "7")
    variables = launch._default_variables(2)
    assert (variables["OMP_NUM_THREADS"], variables["NUMBA_NUM_THREADS"]) == ("4", "7")
    assert launch._default_variables(20)["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize(
    ("ends", "code"),
    [("0, 0", 0), ("0, 1", 1), ("2, 1", 2), ("1, 2", 2), ("75, 75", 75), ("130, 130", 130), ("75, 1", 1)],
)
def test_a_mistake_of_the_user_s_comes_first_then_a_failure_then_a_stop(program, ends, code):
    path = program(f"sys.exit(({ends})[rank])")  # SIGTERM is blocked, as in all that begin
    assert run(path, 2) == (code, "", "")


def test_a_process_that_is_killed_is_named_and_ends_the_others(program):
    path = program("""
        if rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        signal.sigwait([signal.SIGTERM])
        sys.exit(75)
        """)
    code, _, errors = run(path, 3)
    assert code == 1
    (line,) = errors.splitlines()
    assert "process 2 of 3 was killed by SIGKILL, and the others have ended: run again with --resume" in line


def test_a_process_that_does_not_end_when_another_has_failed_is_killed(program, monkeypatch):
    monkeypatch.setattr(launch, "GRACE_SECONDS", 0.5)
    path = program("sys.exit(3) if rank == 0 else time.sleep(1000)")  # SIGTERM is blocked, as in all that begin
    with stop_signals_blocked():
        running = launch._start([str(path)], 2, Nodes())
    running[0].wait()
    launch._end(running)
    assert [process.returncode for process in running] == [3, -signal.SIGKILL]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
def test_every_signal_reaches_every_process_each_time_and_none_comes_too_early(program, number):
    path = program("""
        STOP = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP]
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) >= set(STOP)
        os.write(1, b"ready\\n")
        for _ in range(3):
            os.write(1, b"%d\\n" % signal.sigwait(STOP))
        sys.exit(75)
        """)
    launcher = start(path, 2)
    assert [launcher.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
    for _ in range(3):
        launcher.send_signal(number)
        lines = [launcher.stdout.readline() for _ in range(2)]
        assert lines == [f"{int(number)}\n"] * 2
    _, errors = launcher.communicate(timeout=60)
    assert (launcher.returncode, errors) == (75, "")


def test_nohup_s_hangup_stays_ignored(program):
    path = program("""
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        os.kill(os.getppid(), signal.SIGHUP)
        print("here")
        """)
    launcher = start(path, 1, "nohup")
    output, _ = launcher.communicate(timeout=60)
    assert (launcher.returncode, output) == (0, "here\n")


def test_a_signal_that_came_before_starts_nothing(program):
    stop = StopSignals()
    stop.note(signal.SIGTERM)
    with pytest.raises(Stopped):
        launch.launch([str(program("print('begun')"))], 2, Nodes(), stop)


def test_a_port_of_the_endpoint_that_is_taken_is_an_error_before_anything_begins():
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RunError, match=f"cannot listen on port {port}: .*in use"):
            launch.launch([], 1, Nodes(2, 0, f"localhost:{port}"), StopSignals())


def test_starting_processes_needs_no_pytorch():
    code = "import sys, main, src.distributed.launch; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, env=os.environ, check=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Train(device="cpu", dataloader=DataLoader(batch_size=3)), "batch_size = 3 is less than the 4 processes"),
        (Train(device="cuda:1"), "each process takes a GPU of its own; give cuda, or cpu"),
    ],
)
def test_options_that_do_not_suit_four_processes_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        require_divisible(options, 4)


def test_options_that_suit_the_processes_are_taken():
    require_divisible(Train(device="cuda"), 4)
    require_divisible(Train(device="cpu", dataloader=DataLoader(batch_size=4)), 4)
