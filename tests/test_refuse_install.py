"""The project is not installed as a package, whoever asks."""

import subprocess
import sys

import pytest

from helper_scripts.refuse_install import MESSAGE
from tests.small_job import REPOSITORY


@pytest.mark.slow
@pytest.mark.parametrize("words", ["install .", "install -e .", "install .[test]", "wheel ."])
def test_pip_says_in_one_line_how_the_project_is_used(words, tmp_path):
    place = ["--wheel-dir" if words == "wheel ." else "--target", str(tmp_path / "packages")]
    command = [sys.executable, "-m", "pip", *words.split(), "--no-deps", "--no-index", *place]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert result.returncode == 1
    assert MESSAGE in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert not list(tmp_path.rglob("*.*"))
