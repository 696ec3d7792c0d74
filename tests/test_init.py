"""What holds for all of src as soon as any of it is imported."""

import os
import subprocess
import sys

import pytest

from tests.small_job import REPOSITORY


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None")],
)
def test_threads_wait_briefly_for_each_other_unless_the_user_says_how(given, expected):
    others = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    command = [sys.executable, "-c", "import src, os; print(os.environ.get('GOMP_SPINCOUNT'))"]
    assert subprocess.check_output(command, env={**others, **given}, cwd=REPOSITORY, text=True).strip() == expected
