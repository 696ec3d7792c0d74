"""job.sh predict on the recordings of a job: files, bad files, pipes, signals."""

import contextlib
import csv
import io
import json
import logging
import os
import re
import signal
import socket
import subprocess
import threading
import time
from functools import partial
from unittest import mock

import numpy as np
import pytest

from src.cli import predict as command
from src.command_line import StopSignals, UserError, read_command_line
from src.events import read_recording
from src.events.formats import aedat2, aedat4, event_stream, evt3, nmnist_bin
from tests import small_job

DIGITS = "recordings/NMNIST/Test"


@pytest.fixture(scope="module")
def folder(prepared):
    """A folder with recordings and a trained job `logic`."""
    small_job.run(prepared, "main.py", "small.yaml", "--job_id=logic")
    return prepared


@pytest.fixture
def predict(folder, monkeypatch, capfd, caplog):
    """A function that runs the command in this process, in the folder, and returns its output and its messages."""
    for name in ("project", "scratch"):
        monkeypatch.setenv(f"{name.upper()}_STORAGE_DIR", str(folder / name))
    monkeypatch.chdir(folder)
    caplog.set_level("INFO", "difflogic_tonic")

    def run(*words, expect=0, given=b""):
        read, write = os.pipe()
        writing = threading.Thread(target=write_all, args=(write, given))
        writing.start()
        arguments = read_command_line("job.sh predict", None, command.add_arguments, words)
        caplog.clear()
        with os.fdopen(read) as stream, mock.patch("sys.stdin", stream):
            try:
                code = command.run(arguments, StopSignals())
            except UserError as error:
                code = 2
                logging.getLogger("difflogic_tonic").error("%s", error)
        writing.join()
        messages = "".join(f"{record.levelname} {record.getMessage()}\n" for record in caplog.records)
        assert code == expect, messages
        return capfd.readouterr().out, messages

    return run


def write_all(descriptor, content):
    with contextlib.suppress(BrokenPipeError), os.fdopen(descriptor, "wb") as file:
        file.write(content)


def predict_apart(folder, *words, expect=0, given=b""):
    """Output and messages of the command, started as a user does."""
    result = subprocess.run(
        small_job.command("src/cli", "predict", *words),
        cwd=folder,
        env=small_job.environment(folder),
        input=given,
        capture_output=True,
    )
    assert result.returncode == expect, result.stderr.decode()
    return result.stdout.decode(), result.stderr.decode()


def lines_of(path):
    events = read_recording(path)
    columns = zip(events.t, events.x, events.y, events.p, strict=True)
    return "".join(f"{t} {x} {y} {p}\n" for t, x, y, p in columns).encode()


def start_stream(folder, *words):
    return subprocess.Popen(
        small_job.command("src/cli", "predict", "logic", *words),
        cwd=folder,
        env=small_job.environment(folder),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.slow
def test_the_accuracy_is_that_of_evaluate(folder):
    out, _ = predict_apart(folder, "logic", DIGITS, "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    evaluation = json.loads((folder / "project/logs/logic/evaluation_test.json").read_text())
    wrong = {entry["file"] for entry in evaluation["recordings"]["misclassified"]}
    assert len(rows) == evaluation["recordings"]["count"] == 30
    assert {row["file"].partition("NMNIST/")[2] for row in rows if row["file"].split("/")[-2] != row["class"]} == wrong


def test_a_model_s_file_stands_for_its_job(predict):
    words = (f"{DIGITS}/3", "--json", "--frames")
    of_job = predict("logic", *words)[0]
    assert predict("project/models/logic/best.safetensors", *words)[0] == of_job
    assert predict("--model", "project/models/logic/best.safetensors", *words)[0] == of_job


def test_bad_files_are_named_and_the_others_predicted(folder, predict):
    (folder / "damaged.bin").write_bytes(b"abc")
    out, err = predict("logic", "none.bin", "damaged.bin", f"{DIGITS}/3/00000.bin", expect=2)
    assert out.splitlines()[2].split()[0] == f"{DIGITS}/3/00000.bin"
    assert "ERROR none.bin: cannot be read: No such file or directory" in err
    assert "ERROR damaged.bin: its length, 3 bytes" in err
    assert err.endswith("2 of 3 recordings could not be classified\n")


def test_a_file_of_a_folder_that_is_no_recording_is_passed_over(folder, predict):
    (folder / "mixed").mkdir()
    (folder / "mixed/README.md").write_text("About these recordings")
    (folder / "mixed/a.bin").write_bytes((folder / DIGITS / "3/00000.bin").read_bytes())
    out, err = predict("logic", "mixed")
    assert "mixed/a.bin" in out
    assert "WARNING mixed/README.md: passed over: unknown format" in err
    predict("logic", "mixed/README.md", expect=2)


@pytest.mark.slow
def test_a_stream_has_the_frames_of_the_file(folder, predict):
    path = f"{DIGITS}/7/00001.bin"
    of_file = [json.loads(line) for line in predict("logic", path, "--frames", "--json")[0].splitlines()]
    out, err = predict("logic", "--stream", "--json", given=lines_of(folder / path))
    assert [{"file": path, **json.loads(line)} for line in out.splitlines()] == of_file
    assert re.search(rf"{len(of_file)} frames: class \d, \d+\.\d %", err)


@pytest.mark.parametrize(
    "encode",
    [
        nmnist_bin.encode,
        partial(evt3.encode, sensor=(34, 34)),
        partial(event_stream.encode, sensor_size=(34, 34)),
        partial(aedat4.encode, sensor_size=(34, 34)),
    ],
    ids=["N-MNIST", "EVT 3.0", "Event Stream", "AEDAT 4"],
)
def test_a_recording_in_a_pipe_has_the_frames_of_its_file(folder, predict, encode):
    content = encode(read_recording(folder / DIGITS / "7/00001.bin"))
    (folder / "piped.bin").write_bytes(content)
    of_file = [json.loads(line) for line in predict("logic", "piped.bin", "--frames", "--json")[0].splitlines()]
    out, _ = predict("logic", "--stream", "--json", given=content)
    assert [{"file": "piped.bin", **json.loads(line)} for line in out.splitlines()] == of_file


@pytest.mark.slow
def test_datagrams_have_the_frames_of_the_file(folder, predict):
    faery = pytest.importorskip("faery")
    path = f"{DIGITS}/7/00001.bin"
    of_file = [json.loads(line) for line in predict("logic", path, "--frames", "--json")[0].splitlines()]
    process = start_stream(folder, "--stream", "udp://127.0.0.1:0", "--json")
    ready = process.stderr.readline().decode()
    port = int(re.search(r"waiting for events at udp://127.0.0.1:(\d+)/", ready)[1])
    events = read_recording(path)
    array = np.empty(len(events), faery.EVENTS_DTYPE)
    array["t"], array["x"], array["y"], array["on"] = events.t, events.x, events.y, events.p
    faery.events_stream_from_array(array, (34, 34)).to_udp(("127.0.0.1", port))
    frames = [json.loads(process.stdout.readline()) for _ in of_file]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert out == b""
    assert process.returncode == 0
    assert [{"file": path, **frame} for frame in frames] == of_file
    assert f"{len(events)} events, {len(frames)} frames: class " in err.decode()


def test_a_port_that_is_taken_is_one_line(predict):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        url = f"udp://127.0.0.1:{other.getsockname()[1]}"
        _, err = predict("logic", "--stream", url, expect=2)
    assert f"ERROR {url}/t64_x16_y16_on8: cannot receive there: Address already in use\n" in err


@pytest.mark.slow
def test_a_recording_as_standard_input_says_what_was_left_out(folder):
    path = folder / "cut.aedat"
    path.write_bytes(aedat2.encode(read_recording(folder / DIGITS / "7/00001.bin"))[:-3])
    with path.open("rb") as file:
        result = subprocess.run(
            small_job.command("src/cli", "predict", "logic", "--stream"),
            cwd=folder,
            env=small_job.environment(folder),
            stdin=file,
            capture_output=True,
            text=True,
        )
    assert result.returncode == 0
    assert "standard input: cut short: 5 bytes at its end were not read" in result.stderr
    assert result.stdout.splitlines()[2].split()[0] == "0"


def test_a_class_is_printed_as_soon_as_its_frame_is_full(folder):
    lines = lines_of(folder / DIGITS / "7/00001.bin").splitlines(keepends=True)
    process = start_stream(folder, "--stream", "--csv")
    process.stdin.write(b"".join(lines[:100]))
    process.stdin.flush()
    assert process.stdout.readline().startswith(b"frame,begin_us,end_us,class,label,score_0")
    assert process.stdout.readline().startswith(b"0,")
    process.stdin.write(b"".join(lines[100:150]))
    process.stdin.flush()
    assert process.stdout.readline().startswith(b"1,")
    process.communicate()
    assert process.returncode == 0


def test_the_header_of_a_stream_does_not_wait_for_events(predict):
    out, _ = predict("logic", "--stream", "--csv", expect=2)
    assert out.startswith("frame,begin_us,end_us,class,label,score_0")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("source", [[], ["udp://127.0.0.1:0"]])
def test_a_signal_ends_a_stream_that_waits(folder, source, number):
    process = start_stream(folder, "--stream", *source)
    process.stdout.readline()  # the header: signals are handled by now
    process.send_signal(number)
    began = time.monotonic()
    assert process.wait(timeout=60) == 0
    assert time.monotonic() - began < 30
    assert b"ended by a signal" in process.stderr.read()


@pytest.mark.slow
def test_a_reader_that_has_read_enough_is_no_failure(folder):
    process = start_stream(folder, "--stream")
    process.stdout.readline()
    process.stdout.close()
    lines = lines_of(folder / DIGITS / "7/00001.bin")
    process.stdin.write(lines)
    process.stdin.flush()  # and stays open
    assert process.wait(timeout=60) == 0
    assert b"Error" not in process.stderr.read()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (b"1 2 3 0\n1 2 3\n", "standard input: line 2: '1 2 3': give t x y p"),
        (b"", "standard input: it holds no events"),
        (b"1 99 3 0\n" * 5, "standard input: 5 of its 5 events lie outside the sensor (34 x 34 pixels)"),
        (b"#!AER-DAT4.0\r\n", "standard input: an offset, 14, points outside of the data"),
    ],
)
def test_what_a_stream_cannot_take_is_one_line(predict, given, message):
    _, err = predict("logic", "--stream", given=given, expect=2)
    assert message in err
