"""The linters are clean."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.small_job import REPOSITORY

SCRIPTS = sorted(
    [
        path
        for pattern in ("*.sh", "helper_scripts/*.sh", "singularity/*.sh", ".ci/run")
        for path in REPOSITORY.glob(pattern)
    ]
)
ENTRY_POINTS = sorted(path.name for path in REPOSITORY.glob("*.py"))


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        pytest.param(
            ["mypy", "src", *ENTRY_POINTS, "helper_scripts", "singularity", "benchmarks", "examples"],
            marks=pytest.mark.slow,
        ),
        pytest.param(["shellcheck", "-x", *map(str, SCRIPTS)], marks=pytest.mark.slow),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_linter_is_clean(command):
    tool = Path(sys.executable).parent / command[0]
    result = subprocess.run([tool, *command[1:]], cwd=REPOSITORY, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
