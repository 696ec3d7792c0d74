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
        ["mypy", "src", *ENTRY_POINTS, "helper_scripts", "singularity", "benchmarks"],
        ["shellcheck", "-x", *map(str, SCRIPTS)],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_linter_is_clean(command):
    tool = Path(sys.executable).parent / command[0]
    result = subprocess.run([tool, *command[1:]], cwd=REPOSITORY, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("path", sorted(REPOSITORY.glob("src/**/*.py")), ids=lambda path: path.name)
def test_a_module_imports_only_from_its_floor_or_below(path):
    floors = {
        "helpers": 1,
        "io_funcs": 1,
        "config": 1,
        "kernel_cache": 1,
        "yaml_text": 1,
        "events": 2,
        "logic": 2,
        "cache": 2,
        "job": 2,
        "job_files": 2,
        "train": 4,
    }

    def floor(module):
        return floors.get(module.split(".")[1] if "." in module else "", 3)

    own = "src." + path.relative_to(REPOSITORY / "src").with_suffix("").as_posix().replace("/", ".")
    for line in path.read_text().splitlines():
        words = line.split()
        if line.startswith("from src") and words[1] != "src":
            assert floor(words[1]) <= floor(own), line
        elif line.startswith("from src import"):
            for name in words[3:]:
                assert floor(f"src.{name.strip(',')}") <= floor(own), line
