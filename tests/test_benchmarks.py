"""`python -m benchmarks` runs scripts that exist, and tells which numbers have moved."""

import subprocess
import sys

from tests.small_job import REPOSITORY

OLD = """\
$ python benchmarks/some.py
Some machine, 2 cores

4 layers, float32
                 step ms  of copy  quartiles
---------------  -------  -------  ---------
ours, auto          4.10     62 %    4.0-4.2
theirs, fastest   1,040.50    3 %    1,000-1,090

8 layers
what   seconds
-----  -------
ready        3
"""


def compare(tmp_path, new):
    for name, text in (("before", OLD), ("now", new)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "some_cpu.txt").write_text(text)
    return benchmarks("--compare", tmp_path / "before", "--results", tmp_path / "now").splitlines()


def benchmarks(*words, expect=0):
    command = [sys.executable, "-m", "benchmarks", *map(str, words)]
    done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == expect, done.stdout
    return done.stdout


def test_numbers_that_moved_by_more_than_a_tenth_are_told_with_their_row_and_column(tmp_path):
    new = OLD.replace("4.10     62 %", "3.20     65 %").replace("ready        3", "ready       12")
    assert compare(tmp_path, new) == [
        "some_cpu.txt: 2 numbers differ by more than 10 %",
        "  ours, auto: step ms 4.1 -> 3.2 (-22 %)",
        "  ready: seconds 3 -> 12 (+300 %)",
    ]


def test_equal_outputs_have_not_moved(tmp_path):
    assert compare(tmp_path, OLD) == ["some_cpu.txt: no numbers differ by more than 10 %"]


def test_rows_that_only_one_output_has_are_left_out(tmp_path):
    assert compare(tmp_path, OLD.replace("ours, auto", "new, auto ").replace("ready", "other"))[1:] == []


def test_an_unknown_benchmark_is_refused_with_the_names_of_all():
    assert "nothing: no such benchmark; there are c_stream, circuit, " in benchmarks("nothing", expect=2)
