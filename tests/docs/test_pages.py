"""What README and the pages say is so: options, messages, links, configs; and the site is built."""

import dataclasses
import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import check_and_sync_data
from helper_scripts import check_jobs
from src.command_line import read_command_line
from src.config import Config
from src.options.machine import options_of
from tests.docs.pages import PAGES, THESE_TESTS, blocks, commands
from tests.small_job import REPOSITORY

SUBMITTED = {"helper_scripts/slurm_train.sh": "train.sh", "helper_scripts/slurm_prepare.sh": "prepare_data.sh"}
FILE_ENDINGS = (".sh", ".py", ".log", ".zip")  # of words such as train.sh, which are no options
OPTIONS = {key for key, _, _ in options_of(Config())}
SECTIONS = {key.rpartition(".")[0] for key in OPTIONS}
SOURCES = "".join(
    path.read_text(encoding="utf-8")
    for pattern in ("src/**/*.py", "helper_scripts/*.sh", "*.sh")
    for path in sorted(REPOSITORY.glob(pattern))
)


def test_the_readme_is_short():
    assert len(PAGES["README.md"].splitlines()) <= 150
    assert len(PAGES["README.md"].split()) <= 1200


@pytest.mark.parametrize("name", PAGES)
def test_every_option_that_a_page_names_exists(name):
    named = set(re.findall(r"\b(?:base|data|train|model)\.[a-z_0-9]+(?:\.[a-z_0-9]+)*", code_in(PAGES[name])))
    assert {word for word in named if not word.endswith(FILE_ENDINGS)} <= OPTIONS | SECTIONS


def code_in(text):
    """What stands in code blocks and between backticks."""
    return "\n".join([*re.findall(r"```.*?```", text, re.DOTALL), *re.findall(r"`[^`\n]+`", text)])


@pytest.mark.parametrize("command", [*commands("bash"), *commands("sh")])
def test_a_command_has_a_script_and_arguments_that_it_takes(command, tmp_path, monkeypatch):
    monkeypatch.setenv("PROJECT_STORAGE_DIR", str(tmp_path))
    monkeypatch.chdir(REPOSITORY)
    words = [word for word in shlex.split(command) if not re.match(r"(OMP|NUMBA)_NUM_THREADS=", word)]
    script = words.pop(0)
    if script in ("export", "cc", "iverilog", "make", THESE_TESTS):
        return
    assert os.access(script, os.X_OK)
    if "--explain" in words:
        assert set(words) <= {"--explain"} | OPTIONS
    elif script in ("./train.sh", "./prepare_data.sh"):
        check_jobs.check(Path(script).name, *words)
    elif script == "./job.sh":
        module = importlib.import_module(f"src.cli.{words.pop(0)}")
        read_command_line(script, module.__doc__, module.add_arguments, words)
    elif script == "./check_and_sync_data.sh":
        read_command_line(script, check_and_sync_data.__doc__, check_and_sync_data.add_arguments, words)
    elif script in SUBMITTED:
        words = [word for word in words if not re.match(r"--(time|nodes|gpus|gpus-per-node)=", word)]
        check_jobs.check(SUBMITTED[script], *words)
    else:
        assert Path(script).name.startswith("sync_")


@pytest.mark.parametrize("block", blocks("yaml"))
def test_a_config_of_a_page_is_one(block, tmp_path):
    (tmp_path / "page.yaml").write_text(block)
    config = Config.from_yaml(tmp_path / "page.yaml")
    for section, values in yaml.safe_load(block).items():
        assert dataclasses.asdict(config)[section].keys() >= values.keys()


def headings(text):
    return re.findall(r"^### (.*)$", text, re.MULTILINE)


@pytest.mark.parametrize("message", headings(PAGES["docs/troubleshooting.md"]))
def test_a_message_that_is_explained_exists(message):
    assert re.search(re.escape(message).replace(r"\ ", r"[\s\"f]*\s?"), SOURCES)


def test_twenty_messages_are_explained():
    assert len(headings(PAGES["docs/troubleshooting.md"])) >= 20


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_to_a_file_and_a_heading(name):
    for target in re.findall(r"\]\(([^)]+)\)", PAGES[name]):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        path = (REPOSITORY / name).parent / file if file else REPOSITORY / name
        assert path.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}, target


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    result = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    html = {path.parent.name: path.read_text(encoding="utf-8") for path in tmp_path.glob("site/*/index.html")}
    assert "<math" in html["models"]
    assert "recordings_in_class_folders" in html["extending"]  # of the example that is shown
    assert "int32 [B, classes]" in html["python"]  # of a docstring
