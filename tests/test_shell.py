"""What launch.sh does before there is Python: bash's version, usage, paths, the user's settings, set-up of .venv."""

import os
import pty
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from src.command_line import UserError
from src.io_funcs import expand_path
from tests.small_job import REPOSITORY

SCRIPTS = sorted(
    path.relative_to(REPOSITORY)
    for pattern in ("*.sh", "helper_scripts/s*_*.sh", "singularity/*.sh")
    for path in REPOSITORY.glob(pattern)
    if "# Usage:" in path.read_text() and path.name != "job.sh"  # tests/cli is about its help
)
LOCKS = ("requirements.lock", "requirements-extras.lock", "requirements-test.lock")
# Has too few packages, and makes environments whose Python says what it is asked to run, and by whom.
FAKE_PYTHON = """#!/bin/bash
case "$*" in
  "-c import sys"*) exit 0 ;;
  "-m venv --clear "*)
    mkdir -p "$4/bin" && rm -f "$4"/*.lock && cp "$(dirname "$0")/venv_python" "$4/bin/python" ;;
  *) exit 1 ;;
esac
"""
FAKE_VENV_PYTHON = """#!/bin/bash
case "$*" in
  "-m pip install "*)
    echo "pip: $*"
    env | grep ^PIP_ | sort
    [[ ! $KILLED ]] || kill -9 $PPID
    [[ ! $STOPPED ]] || { kill -"$STOPPED" $PPID; exit 1; } # as pip ends after Ctrl-C
    exit ${STATUS_OF_PIP:-0} ;;
  *--import) [[ ! $BROKEN ]] || { echo "lacking: torch cannot be imported" >&2; exit 1; } ;;
  *check_environment.py | *"check_environment.py test") ;;
  *) echo "ran $1"; env ;;
esac
"""


@pytest.fixture
def clone(tmp_path):
    """A repository of scripts alone, and programs that stand in for Python, first on PATH."""
    folder = tmp_path / "clone"
    folder.mkdir()
    for name in ("helper_scripts", "src/cli"):
        shutil.copytree(REPOSITORY / name, folder / name)
    for name in ("job.sh", "test.sh", *LOCKS):
        shutil.copy(REPOSITORY / name, folder)
    for name, text in {"python3": FAKE_PYTHON, "venv_python": FAKE_VENV_PYTHON}.items():
        path = tmp_path / "tools" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    return folder


def shell(*command, cwd="/", expect=0, **variables):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    result = subprocess.run(
        command,
        cwd=cwd,
        env={**environment, "SINGULARITY_CONTAINER": "", **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert result.returncode == expect, result.stdout + result.stderr
    return result.stdout + result.stderr


def status(clone, expect=0, **variables):
    path = f"{clone.parent / 'tools'}:/usr/bin:/bin"
    return shell(clone / "job.sh", "status", expect=expect, **{"PATH": path, **variables})


@pytest.mark.parametrize("script", SCRIPTS, ids=str)
def test_help_names_the_purpose_options_in_groups_and_two_examples(script):
    name = str(script) if script.parts[0] == "singularity" else script.name
    for words in (["--help"], ["config.yaml", "job", "-h"]):
        text = shell(REPOSITORY / script, *words, PATH="/usr/bin:/bin")
        usage, _, examples = text.lower().partition("\nexamples:\n")
        assert usage.startswith(f"usage: {name} ".lower())
        assert re.search(r"^[a-z].*\.$", usage, re.MULTILINE)
        assert "--debug" not in usage or usage.count("\n\n") >= 4  # groups
        assert len([line for line in examples.splitlines() if name in line]) >= 2


@pytest.mark.parametrize("name", ["train.sh", "prepare_data.sh", "check_and_sync_data.sh"])
def test_help_without_a_python_is_the_wrapper_s_first_lines(tmp_path, name):
    for tool in ("bash", "basename", "dirname", "readlink", "sed"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    assert shell(REPOSITORY / name, "--help", PATH=str(tmp_path)).startswith(f"Usage: {name} ")


@pytest.mark.parametrize(
    ("major", "minor", "enough"), [(3, 2, 0), (4, 2, 0), (4, 3, 0), (4, 4, 1), (4, 10, 1), (5, 0, 1), (10, 0, 1)]
)
def test_bash_is_new_enough_from_4_4_on(major, minor, enough):
    code = f'source "$repository/helper_scripts/launch.sh"; enough_bash {major} {minor} && exit 1 || exit 0'
    shell("bash", "-c", code, expect=enough, repository=str(REPOSITORY))


def test_an_older_bash_is_told_in_one_line_before_anything_else(clone):
    launch = clone / "helper_scripts" / "launch.sh"
    launch.write_text(launch.read_text().replace('"${BASH_VERSINFO[0]}"', "3"))
    (line,) = status(clone, expect=2).splitlines()
    assert line.startswith("job.sh: bash 4.4 or newer is needed, this is ")


def test_a_batch_script_in_an_older_bash_says_so_in_its_log(tmp_path):
    script = tmp_path / "slurm_job.sh"
    script.write_text((REPOSITORY / "helper_scripts/slurm_job.sh").read_text().replace("${BASH_VERSINFO[0]}", "3"))
    (line,) = shell("bash", script, expect=2).splitlines()
    assert line.startswith("slurm_job.sh: bash 4.4 or newer is needed, this is ")


PATHS = [
    "~",
    "~/p s",
    "$HOME/ps",
    "${HOME}/p",
    "a$1b${x",
    "$NOPE/x",
    "${EMPTY}x",
    "~bob/x",
    "${A-B}/x",
    "$HOME$ODD/~",
    "a~",
]


@pytest.mark.parametrize("program", ["bash", "zsh"])
@pytest.mark.parametrize("path", PATHS)
def test_a_shell_expands_a_path_as_python_does(program, path, monkeypatch):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    monkeypatch.setenv("ODD", "a*b $HOME")
    monkeypatch.setenv("EMPTY", "")
    code = 'source "$1/helper_scripts/project_variables.sh" || exit; printf %s "$SCRATCH_STORAGE_DIR"'
    try:
        expected, code_of_exit = expand_path(path, "SCRATCH_STORAGE_DIR"), 0
    except UserError as error:
        expected, code_of_exit = f"{error}\n", 2
    words = [program, "-c", code, program, str(REPOSITORY)]
    assert shell(*words, expect=code_of_exit, SCRATCH_STORAGE_DIR=path) == expected


def test_python_gets_storages_expanded_and_no_folder_is_named_after_a_tilde(clone):
    output = status(clone, PROJECT_STORAGE_DIR="~/ps", SCRATCH_STORAGE_DIR="$HOME/s", HOME=str(clone))
    assert f"\nPROJECT_STORAGE_DIR={clone}/ps\n" in output
    assert f"\nSCRATCH_STORAGE_DIR={clone}/s\n" in output
    assert not (clone / "~").exists()


SET_ASIDE = {
    "PYTHONHOME": "/nowhere",
    "PYTHONOPTIMIZE": "2",
    "PYTHONSAFEPATH": "1",
    "PYTHONSTARTUP": "/nowhere",
    "PYTHONWARNINGS": "error",
    "PYTHONINSPECT": "1",
    "PYTHONIOENCODING": "ascii",
    "NUMBA_DISABLE_JIT": "1",
    "NUMBA_DEBUG": "1",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "MATPLOTLIBRC": "/nowhere",
    "GIT_DIR": "/nowhere",
    "RSYNC_OLD_ARGS": "1",
    "TQDM_MININTERVAL": "x",
    "BASH_ENV": "/nowhere",
    "CDPATH": "/:/tmp",
    "GLOBIGNORE": "*",
    "POSIXLY_CORRECT": "1",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1",
    "PIP_TARGET": "/nowhere",
    "PIP_REQUIREMENT": "/nowhere",
    "APPTAINERENV_PYTHONOPTIMIZE": "2",
}
COUNTS = {
    "CUDA_VISIBLE_DEVICES": "1",
    "OMP_NUM_THREADS": "3",
    "NUMBA_NUM_THREADS": "3",
    "NUMBA_CACHE_DIR": "/cache",
    "PIP_INDEX_URL": "https://mirror/simple",
    "PYTHONUNBUFFERED": "1",
    "TMPDIR": "/tmp",
    "LC_ALL": "C",
    "NO_COLOR": "1",
}


def test_the_user_s_settings_count_only_where_they_say_where_to_run_and_what_to_use(clone):
    lines = status(clone, **SET_ASIDE, **COUNTS).splitlines()
    began = lines[lines.index(f"ran {clone}/src/cli") :]
    there = dict(line.split("=", 1) for line in began[1:] if "=" in line)
    assert not there.keys() & SET_ASIDE.keys()
    assert COUNTS.items() <= there.items()
    assert there["PYTHONUTF8"] == "1"


def test_a_command_runs_under_settings_that_would_break_it(tmp_path):
    hostile = {**SET_ASIDE, "LC_ALL": "C", "TMPDIR": "/nowhere", "IFS": "/", "SHELLOPTS": "noclobber:noglob:posix"}
    hostile |= {"BASH_FUNC_sed%%": "() { exit 9; }", "PROJECT_STORAGE_DIR": str(tmp_path)}
    output = shell(REPOSITORY / "job.sh", "status", SCRATCH_STORAGE_DIR=str(tmp_path), cwd="/", **hostile)
    assert output == f"no jobs under {tmp_path} or {tmp_path}\n"


@pytest.mark.parametrize("value", ["0", "-1", "abc", "1.5"])
def test_a_number_of_threads_that_is_none_is_told_in_one_line(clone, value):
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        output = status(clone, expect=2, **{name: value})
        assert output == f"job.sh: {name} = {value}: give a whole number from 1 to 9999, or unset it\n"


def test_set_up_says_its_size_and_is_done_once(clone):
    first = status(clone)
    assert "GB on disk" in first
    assert "PIP_USER=0" in first
    assert status(clone).startswith(f"ran {clone}/src/cli")


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_shows_pip_s_progress_and_a_log_does_not(clone, terminal):
    ours, theirs = pty.openpty() if terminal else os.pipe()
    environment = {**os.environ, "PATH": f"{clone.parent / 'tools'}:/usr/bin:/bin", "SINGULARITY_CONTAINER": ""}
    subprocess.run([clone / "job.sh", "status"], env=environment, stdout=subprocess.DEVNULL, stderr=theirs, check=True)
    os.close(theirs)
    said = os.read(ours, 10_000).decode()
    os.close(ours)
    assert "pip: -m pip install" in said
    assert ("--quiet" in said) != terminal


@pytest.mark.parametrize(
    ("variables", "code", "message"),
    [
        ({"STATUS_OF_PIP": "1"}, 1, "installing requirements.lock into .venv failed, see pip's message above"),
        ({"BROKEN": "1"}, 1, "the packages in .venv cannot be used, see above; the same command installs them again"),
        ({"KILLED": "1"}, -signal.SIGKILL, "Setting up"),
        ({"STOPPED": "INT"}, 130, "set-up was stopped; the same command begins it again"),
        ({"STOPPED": "TERM"}, 143, "set-up was stopped; the same command begins it again"),
    ],
)
def test_a_set_up_that_failed_is_not_taken_for_whole_and_the_next_begins_again(clone, variables, code, message):
    assert message in status(clone, expect=code, **variables)
    assert not (clone / ".venv" / "requirements.lock").exists()
    assert "Setting up" in status(clone)


def run_tests(clone, expect=0, **variables):
    """Run test.sh in the clone; return what it and the stand-ins say."""
    environment = {"PATH": f"{clone.parent / 'tools'}:/usr/bin:/bin", "HOME": str(clone), **variables}
    result = subprocess.run([clone / "test.sh"], env=environment, capture_output=True, text=True)
    assert result.returncode == expect, result
    return result.stdout + result.stderr


def test_the_tests_complete_the_environment_of_a_run_and_do_not_make_it_again(clone):
    assert "-r " + str(clone / "requirements.lock") in status(clone)
    (clone / ".venv" / "kept").touch()
    output = run_tests(clone)
    assert "Completing" in output
    assert "-r " + str(clone / "requirements-test.lock") in output
    assert (clone / ".venv" / "kept").exists()
    assert all((clone / ".venv" / lock).read_bytes() == (clone / lock).read_bytes() for lock in LOCKS)
    assert "Completing" not in run_tests(clone)


@pytest.mark.parametrize("variables", [{"STATUS_OF_PIP": "1"}, {"BROKEN": "1"}])
def test_a_completion_that_failed_leaves_the_environment_of_the_run(clone, variables):
    status(clone)
    run_tests(clone, expect=1, **variables)
    assert [lock for lock in LOCKS if (clone / ".venv" / lock).exists()] == ["requirements.lock"]
    assert "Setting up" not in status(clone)
    assert "Completing" in run_tests(clone)


def test_tests_alone_set_up_everything_at_once(clone):
    output = run_tests(clone)
    assert "Setting up" in output
    assert "once: 3 GB on disk" in output
    assert status(clone).startswith(f"ran {clone}/src/cli")


def test_a_venv_whose_python_is_gone_is_set_up_again(clone):
    status(clone)
    (clone / ".venv" / "bin" / "python").unlink()
    assert "Setting up" in status(clone)


def test_too_little_space_for_an_environment_is_told_before_it_is_made(clone):
    df = clone.parent / "tools" / "df"
    df.write_text("#!/bin/sh\nprintf 'Filesystem\\nx 9 9 1048576 9%% /\\n'\n")
    df.chmod(0o755)
    assert "has 1 GB free, and .venv takes 2 GB" in status(clone, expect=2)
    assert not (clone / ".venv").exists()


def test_a_clone_made_with_autocrlf_has_no_carriage_returns(tmp_path):
    command = [
        "git",
        "-c",
        "core.autocrlf=true",
        "clone",
        "-q",
        "--depth=1",
        f"file://{REPOSITORY}",
        tmp_path / "clone",
    ]
    subprocess.run(command, check=True)
    files = subprocess.check_output(["git", "-C", tmp_path / "clone", "ls-files", "-z", "--eol"], text=True).split("\0")
    assert not [line for line in files if "w/crlf" in line or "w/mixed" in line]
    assert "usage: train.sh" in shell(tmp_path / "clone" / "train.sh", "--help").lower()
    assert (Path(tmp_path) / "clone" / ".gitattributes").exists()
