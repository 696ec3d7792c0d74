"""Exit codes, signals, and words for people."""

import errno
import io
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tqdm import tqdm

from src.command_line import (
    EXIT_PREEMPTED,
    STOP_SIGNALS,
    CommandLine,
    RunError,
    StopSignals,
    UserError,
    ignore_stop_signals,
    print_result,
    run_command,
    secure_streams,
    stop_signals_blocked,
)
from src.helpers import (
    LAUNCHER,
    LOG,
    first_of,
    format_duration,
    format_size,
    format_table,
    how_to_install,
    log_to_file,
    seed_everything,
    set_up_logging,
)
from src.io_funcs import REPOSITORY


@pytest.fixture(autouse=True)
def _handlers():
    """Leave signals and logging as they were."""
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    yield
    for number, handler in zip(STOP_SIGNALS, before, strict=True):
        signal.signal(number, handler)
    LOG.handlers.clear()
    LOG.propagate = True


def raises(error):
    def command(stop):
        raise error

    return command


def test_a_command_s_exit_code_is_its_own():
    assert run_command(lambda stop: 0, debug=False) == 0
    assert run_command(lambda stop: 1, debug=False) == 1


def test_a_user_s_error_is_a_line_and_exit_code_2(capsys):
    assert run_command(raises(UserError("train.epochs is wrong")), debug=False) == 2
    captured = capsys.readouterr().err
    assert captured.count("\n") == 1
    assert captured.endswith("ERROR   train.epochs is wrong\n")


def test_a_run_that_cannot_go_on_is_a_line_and_exit_code_1(capsys):
    assert run_command(raises(RunError("the disk is full")), debug=False) == 1
    captured = capsys.readouterr().err
    assert captured.count("\n") == 1
    assert captured.endswith("ERROR   the disk is full\n")


def test_any_other_error_is_a_line_and_exit_code_1(capsys):
    assert run_command(raises(RuntimeError("odd")), debug=False) == 1
    captured = capsys.readouterr().err
    assert "RuntimeError: odd (run with --debug for the traceback)" in captured
    assert "Traceback" not in captured


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/a"), 2, "/a: Permission denied"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x" * 5000), 2, "x" * 300 + "…: File name too long"),
        (OSError(errno.EIO, "Input/output error", "/a"), 1, "/a: Input/output error"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), 2, "change to another one"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_line_that_names_it(capsys, error, code, line):
    assert run_command(raises(error), debug=False) == code
    captured = capsys.readouterr().err
    assert captured.count("\n") == 1
    assert captured.endswith(f"{line}\n")


def test_two_dashes_as_an_option_s_value_are_refused(capsys):
    parser = CommandLine("p", None)
    parser.add_argument("--job_id")
    with pytest.raises(SystemExit):
        parser.parse_args(["--job_id=--"])
    assert "argument --job_id: expected one argument" in capsys.readouterr().err
    assert parser.parse_args([]).job_id is None


@pytest.mark.parametrize("text", ["train.epochs", "train.epochs="])
def test_a_blank_within_an_override_is_refused_with_how_to_write_it(capsys, text):
    parser = CommandLine("p", None)
    parser.add_argument("--override", action="append")
    with pytest.raises(SystemExit):
        parser.parse_args(["--override", text, "3"])
    assert 'no blank between key and value: --override "train.epochs=VALUE"' in capsys.readouterr().err


@pytest.mark.parametrize("debug", [False, True])
def test_each_of_several_mistakes_is_an_error_in_the_log(capsys, debug):
    run_command(raises(UserError("first\nsecond")), debug)
    first, second, *traceback = capsys.readouterr().err.splitlines()
    assert first.endswith("ERROR   first")
    assert second.endswith("ERROR   second")
    assert bool(traceback) == debug


@pytest.mark.parametrize("error", [UserError("a"), RunError("b"), RuntimeError("c")])
def test_debug_shows_the_traceback(capsys, error):
    run_command(raises(error), debug=True)
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 75), (signal.SIGUSR1, 75), (signal.SIGHUP, 75), (signal.SIGINT, 130)]
)
def test_a_signal_is_only_noted_until_it_is_asked_for(number, code):
    reached = []

    def command(stop):
        os.kill(os.getpid(), number)
        reached.append("after the signal")
        stop.check()
        reached.append("after the check")
        return 0

    assert run_command(command, debug=False) == code
    assert reached == ["after the signal"]


def test_a_second_signal_changes_nothing():
    stop = StopSignals().install()
    os.kill(os.getpid(), signal.SIGUSR1)
    os.kill(os.getpid(), signal.SIGINT)
    assert stop.received == signal.SIGUSR1
    assert stop.exit_code == 75


def test_a_hangup_that_nohup_ignores_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stop = StopSignals().install()
    os.kill(os.getpid(), signal.SIGHUP)
    assert stop.received is None


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_to_a_worker_that_only_starts_does_not_end_it(number):
    context = multiprocessing.get_context("spawn")
    context.Event()  # starts the resource tracker
    worker = context.Process(target=ignore_stop_signals)
    with stop_signals_blocked():
        worker.start()
    os.kill(worker.pid, number)
    worker.join(60)
    assert worker.exitcode == 0


def test_log_lines_go_to_the_file_too_those_from_before_it_was_named_among_them(tmp_path):
    set_up_logging()
    LOG.warning("first")
    log_to_file(tmp_path / "logs" / "a.log")
    LOG.info("second")
    lines = (tmp_path / "logs" / "a.log").read_text().splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == ["WARNING first", "INFO    second"]


def test_a_name_with_line_breaks_or_a_terminal_s_codes_stays_within_its_line(capsys):
    set_up_logging()
    LOG.warning("%s: damaged, %s", Path("a\nb"), "\x1b[31mred")
    assert capsys.readouterr().err.splitlines()[-1].endswith("'a\\nb': damaged, \\x1b[31mred")


def test_a_log_file_that_cannot_be_opened_is_a_warning(tmp_path, capsys):
    (tmp_path / "logs").touch()
    set_up_logging()
    log_to_file(tmp_path / "logs" / "a.log")
    assert "the log is not kept in a file" in capsys.readouterr().err


def broken(kind):
    """A text stream without a buffer whose writes fail."""
    if kind == "full disk":
        return Path("/dev/full").open("w", buffering=1, encoding="utf-8")
    if kind == "closed":
        stream = io.StringIO()
        stream.close()
        return stream
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w", buffering=1, encoding="utf-8")


@pytest.mark.parametrize("kind", ["full disk", "reader gone", "closed"])
def test_streams_that_cannot_be_written_to_end_nothing(monkeypatch, kind):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, broken(kind))

    def command(stop):
        LOG.warning("a line")
        print("another")
        with tqdm(total=2, disable=False) as bar:
            bar.update()
            LOG.warning("above the bar")
        sys.stdout.flush()
        return 0

    assert run_command(command, debug=False) == 0


@pytest.mark.parametrize(("kind", "printed"), [("full disk", False), ("reader gone", True)])
def test_a_result_is_lost_on_a_full_disk_but_not_by_a_reader_who_has_read_enough(monkeypatch, caplog, kind, printed):
    monkeypatch.setattr(sys, "stdout", broken(kind))
    secure_streams()
    assert print_result("a table") == printed
    assert ("cannot write to standard output" in caplog.text) == (not printed)


def test_streams_that_are_closed_become_dev_null_for_child_processes_too():
    code = (
        "import os, subprocess, sys\n"
        "from src.command_line import secure_streams\n"
        "secure_streams()\n"
        "print('out'); print('err', file=sys.stderr)\n"
        "assert [os.path.realpath(f'/proc/self/fd/{n}') for n in range(3)] == ['/dev/null'] * 3\n"
        "subprocess.run([sys.executable, '-c', 'import os; [os.fstat(n) for n in range(3)]'], check=True)\n"
    )
    closed = subprocess.run(["bash", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', sys.executable, code], cwd=REPOSITORY)
    assert closed.returncode == 0


def test_a_process_whose_launcher_is_gone_ends_before_it_imports_anything():
    variables = {**os.environ, "RANK": "0", LAUNCHER: "1"}  # its parent is this process
    ended = subprocess.run([sys.executable, "main.py", "nothing.yaml"], cwd=REPOSITORY, env=variables, timeout=60)
    assert ended.returncode == EXIT_PREEMPTED


def test_seeding_repeats_every_generator():
    import random

    import numpy as np
    import torch

    def draw():
        seed_everything(5)
        return random.random(), np.random.rand(), torch.rand(1).item()

    assert draw() == draw()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (10, "10 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7625, "2 h 07 min")],
)
def test_durations(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (3.5 * 2**30, "3.5 GiB"), (2**50, "1024.0 TiB")]
)
def test_sizes(size, text):
    assert format_size(size) == text


def test_a_table_s_columns_are_aligned():
    assert format_table(["a", "n"], [["long", "1"], ["b", "200"]]).splitlines() == [
        "a       n",
        "----  ---",
        "long    1",
        "b     200",
    ]


def test_an_optional_package_is_installed_from_the_lock_into_the_wrappers_environment(monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(REPOSITORY / ".venv"))
    python, lock = REPOSITORY / ".venv/bin/python", REPOSITORY / "requirements-extras.lock"
    assert how_to_install("onnx") == f"{python} -m pip install -r {lock}"


def test_an_optional_package_is_installed_by_pip_into_any_other_environment(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert how_to_install("onnx") == "pip install --upgrade onnx"


def test_of_many_names_the_first_are_told_and_how_many_more():
    assert first_of(["a", "b"], 2) == "a, b"
    assert first_of(["a"] * 1002, 2) == "a, a and 1,000 more"
