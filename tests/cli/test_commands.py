"""job.sh and the commands of src/cli: which there are, their help, and names that are none."""

import importlib
import os
import shutil
import subprocess
import sys
from argparse import ArgumentParser

import pytest

import check_and_sync_data
from src.cli import export
from src.command_line import read_command_line
from tests.small_job import REPOSITORY

COMMANDS = sorted(path.stem for path in (REPOSITORY / "src/cli").glob("[a-z]*.py"))
DEBIAN = "/usr/bin:/bin"


def job(*words, path=DEBIAN, cwd="/", expect=0):
    environment = {**os.environ, "PATH": path, "SINGULARITY_CONTAINER": ""}
    result = subprocess.run([REPOSITORY / "job.sh", *words], cwd=cwd, env=environment, capture_output=True, text=True)
    assert result.returncode == expect, result.stdout + result.stderr
    return result.stdout + result.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_a_line_for_the_overview_arguments_and_a_function(name):
    command = importlib.import_module(f"src.cli.{name}")
    summary = command.__doc__.splitlines()[0]
    assert summary.endswith(".")
    assert len(summary) < 110
    command.add_arguments(ArgumentParser())
    assert callable(command.run)


def test_help_lists_every_command_with_the_first_line_of_its_docstring():
    usage, _, lines = job("--help").partition("Commands:\n")
    assert usage.startswith("Usage: job.sh COMMAND [ARGUMENT]...\n")
    expected = [[name, importlib.import_module(f"src.cli.{name}").__doc__.splitlines()[0]] for name in COMMANDS]
    assert [line.split(maxsplit=1) for line in lines.splitlines()] == expected


@pytest.mark.parametrize("words", [[], ["--debug"]])
def test_without_a_command_a_line_names_the_commands(words):
    (line,) = job(*words, expect=2).splitlines()
    assert line.endswith(f"a command comes first, one of: {', '.join(COMMANDS)} (see job.sh --help)")


@pytest.mark.parametrize(
    ("name", "words", "takes"),
    [
        ("report", ["a", "b"], "one JOB_ID"),
        ("export", ["a", "b", "--to", "c"], "one JOB"),
        ("sweep", ["a.yaml", "b.yaml"], "one SWEEP.yaml"),
    ],
)
def test_a_word_too_many_is_refused_with_what_the_command_takes(capsys, name, words, takes):
    command = importlib.import_module(f"src.cli.{name}")
    with pytest.raises(SystemExit):
        read_command_line(f"job.sh {name}", command.__doc__, command.add_arguments, words)
    refused = f"job.sh {name}: error: unrecognized arguments: {words[1]}; it takes {takes} (see --help)\n"
    assert capsys.readouterr().err == refused


def test_a_word_for_a_command_that_takes_options_only_is_refused_with_that(capsys):
    with pytest.raises(SystemExit):
        read_command_line("check", None, check_and_sync_data.add_arguments, ["NMNIST"])
    assert capsys.readouterr().err.endswith("unrecognized arguments: NMNIST; it takes options only (see --help)\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_on_a_command_needs_no_packages(name):
    result = subprocess.run(
        [sys.executable, "-I", "-S", REPOSITORY / "src/cli", name, "--help"], capture_output=True, text=True
    )
    assert result.stdout.startswith(f"usage: job.sh {name} "), result.stderr


def test_help_on_a_command_without_python_is_its_first_line(tmp_path):
    for tool in ("bash", "basename", "dirname", "readlink", "sed", "sort"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    first = importlib.import_module("src.cli.status").__doc__.splitlines()[0]
    assert job("status", "-h", path=str(tmp_path)) == f"{first}\nPython 3.11 or newer shows the options.\n"


@pytest.mark.parametrize(("name", "near"), [("reprot", "; did you mean report?"), ("xyz", ""), ("../evil", "")])
def test_a_command_that_there_is_not_is_refused_with_the_nearest_name(name, near):
    assert job(name, "--help", expect=2) == f"job.sh: {name}: there is no such command{near} (see job.sh --help)\n"


def test_a_folder_of_the_user_named_src_is_not_taken_for_the_code(tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "__init__.py").write_text("raise SystemExit('wrong code')")
    assert "usage: job.sh report" in job("report", "--help", cwd=tmp_path)


def test_choices_of_an_export_ignore_case():
    words = ["job", "--to", "Verilog", "--estimate", "XILINX"]
    arguments = read_command_line("job.sh export", None, export.add_arguments, words)
    assert (arguments.to, arguments.estimate) == ("verilog", "xilinx")
