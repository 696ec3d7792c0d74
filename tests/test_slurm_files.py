"""Lists of jobs are read by the rules of a shell, files of resources as flat YAML; a message names a mistake's line."""

import ast
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helper_scripts.slurm_files import main, read_items, split_words
from tests.small_job import REPOSITORY


@pytest.fixture
def file(tmp_path):
    """A function that writes a file and returns its path."""

    def write(content):
        path = tmp_path / "a file"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\n"))))
def test_words_that_were_quoted_for_a_shell_are_read_as_they_were(words):
    assert split_words(shlex.join(words)) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (r'"a \" \\ \q \$x \`y"', [r'a " \ \q $x `y']),
        (r"it\'s \\ \ ", ["it's", "\\", " "]),
        (r"""a"b"'c'\d ''""", ["abcd", ""]),
        (r"'a\b'", [r"a\b"]),
        ("a # don't", ["a"]),
        ("a#b '#' \\# #", ["a#b", "#", "#"]),
    ],
)
def test_quotes_backslashes_and_comments_mean_what_they_mean_in_a_shell(text, words):
    assert split_words(text) == words
    in_a_shell = subprocess.check_output(["bash", "-c", f"printf '%s\\0' {text}\n"], text=True, env={"x": "", "y": ""})
    assert in_a_shell.split("\0")[:-1] == words


def test_nothing_is_expanded_or_run():
    text = "$(touch trap) `touch trap` $HOME * ; ~ >x"
    assert split_words(text) == text.split()


def test_a_list_has_a_job_per_line_and_comments_and_blank_lines(file):
    path = file("# jobs\n\na.yaml a --resume # why\r\n  'b.yaml'\tb x#y\n \t\nc.yaml c")
    assert " ".join(read_items("list", path)) == "3 3 a.yaml a --resume 4 3 b.yaml b x#y 6 2 c.yaml c"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("mem: 16G", "16G"),
        ("mem:", ""),
        ("mem: # none", ""),
        ("mem: 1-00:00:00 # a day", "1-00:00:00"),
        ("mem: a#b", "a#b"),
        ("mem: 'a # b' # c", "a # b"),
        ('mem: "it\'s"', "it's"),
        ("mem: ''", ""),
        ("mem:\t  two words \t", "two words"),
    ],
)
def test_the_value_of_a_resource_is_text(file, line, value):
    assert read_items("resources", file(f"# resources\n{line}")) == ["2", "2", "mem", value]


def test_a_byte_order_mark_and_windows_line_ends_are_not_part_of_the_text(file):
    assert read_items("list", file("\ufeffa.yaml a\r\nb.yaml b\r\n")) == [
        "1",
        "2",
        "a.yaml",
        "a",
        "2",
        "2",
        "b.yaml",
        "b",
    ]
    assert read_items("resources", file("\ufefftime: 5\r\n")) == ["1", "2", "time", "5"]


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        ("list", "a.yaml a\na.yaml", "line 2: a line is CONFIG JOB_ID"),
        ("list", "a.yaml a 'b", "line 1: a quote is not closed"),
        ("list", 'a.yaml a "b', "line 1: a quote is not closed"),
        ("list", "a.yaml a \\", "line 1: a quote is not closed"),
        ("list", "a.yaml a\nb.yaml b\nc.yaml 'a'", "line 3: job id a stands in line 1 already"),
        ("list", "a.yaml a".encode("utf-16"), "not a text in UTF-8"),
        ("resources", "time: 5\ntime: 6", "line 2: time stands in line 1 already"),
        *(
            ("resources", f"\n{line}", f"line 2: cannot read '{line}'; a line is 'name: value'")
            for line in ("time 5", "time:5", "  mem: 1G", "- mem", "mem: {a: 1}", "mem: [1]", "a b: c", ": 1", "mem: |")
        ),
        ("resources", 'mem: "1G', "line 1: cannot read 'mem: \"1G'"),
        ("resources", 'mem: "1G" x', "line 1: cannot read"),
    ],
)
def test_a_mistake_is_one_line_that_names_its_place(monkeypatch, capsys, file, kind, content, message):
    path = file(content)
    monkeypatch.setattr(sys, "argv", ["slurm_files.py", kind, path])
    assert main() == 2
    output, errors = capsys.readouterr()
    assert (output, errors.count("\n")) == ("", 1)
    assert errors.startswith(f"{path}, ")
    assert message in errors


def test_bytes_that_are_no_utf_8_come_through(file):
    command = [sys.executable, REPOSITORY / "helper_scripts/slurm_files.py", "list", file(b"\xe4.yaml a")]
    assert subprocess.check_output(command, env={"LC_ALL": "C"}) == b"1\x002\x00\xe4.yaml\x00a\x00"


def test_the_python_of_a_login_node_may_be_as_old_as_3_6():
    ast.parse((Path(REPOSITORY) / "helper_scripts/slurm_files.py").read_text(), feature_version=(3, 6))
