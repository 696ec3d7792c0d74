"""The shell wrappers: any directory, any characters, environment or container, signals."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import small_job
from tests.small_job import REPOSITORY

FAKE_SINGULARITY = """#!/usr/bin/env bash
# Notes the command line, one argument a line, then runs the command where the container would.
printf '%s\\n' "$@" >"$NOTES"
while [[ $1 != *.sif ]]; do
  [[ $1 != --pwd ]] || cd "$2"
  shift
done
shift
exec "$@"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with blanks and quotes in its name, with recordings, a config and a prepared cache."""
    folder = tmp_path_factory.mktemp("it's a folder; $(no) trap")
    small_job.write_config(folder)
    wrapper(folder, "prepare_data.sh", "small.yaml")
    return folder


def environment(folder, **more):
    """This interpreter's folder comes first on PATH: it is the active environment."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**small_job.environment(folder), "PATH": path, **more}


def wrapper(folder, script, *arguments, expect=0, cwd=None, **variables):
    result = subprocess.run(
        [REPOSITORY / script, *arguments],
        cwd=cwd or folder,
        env=environment(folder, **variables),
        capture_output=True,
        text=True,
    )
    assert result.returncode == expect, result.stdout + result.stderr
    return result.stdout + result.stderr


SINGLE = [pytest.param(stream, marks=pytest.mark.slow) for stream in ("<&-", ">&-", "2>&-")]


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", *SINGLE])
def test_a_command_whose_streams_are_closed_does_its_work(folder, closed):
    command = f'exec "$0" small.yaml --shard 1/2 {closed}'
    script = str(REPOSITORY / "prepare_data.sh")
    assert subprocess.run(["bash", "-c", command, script], cwd=folder, env=environment(folder)).returncode == 0


def test_train_sh_trains_from_any_directory(folder):
    output = wrapper(folder, "train.sh", str(folder / "small.yaml"), "any", cwd="/")
    assert "test, final model:" in output


@pytest.mark.slow
def test_a_job_s_record_holds_the_command_as_it_was_typed(folder):
    words = [str(folder / "small.yaml"), "typed", "--override", "train.epochs=1", "--debug"]
    wrapper(folder, "train.sh", *words, cwd="/")
    (start,) = json.loads((folder / "project/logs/typed/runs.json").read_text())
    assert start["command"] == [str(REPOSITORY / "train.sh"), *words]


@pytest.mark.slow
def test_a_config_of_the_repository_is_found_from_elsewhere(folder):
    output = wrapper(folder, "train.sh", "configs/nmnist_mlp.yaml", "job", cwd="/", expect=2)
    assert "no frame cache of NMNIST" in output


@pytest.mark.parametrize("script", ["train.sh", "prepare_data.sh", "job.sh sweep"])
def test_a_config_may_come_from_a_pipe(folder, script):
    words = f"{REPOSITORY / script} <(echo 'trian: 1') {'job' if script == 'train.sh' else ''}"
    result = subprocess.run(["bash", "-c", words], cwd=folder, env=environment(folder), capture_output=True, text=True)
    assert result.returncode == 2
    assert re.search(r"ERROR +/dev/fd/\d+: unknown key trian", result.stderr)


def test_a_config_from_a_pipe_is_refused_in_one_line_where_a_job_reads_it_later(folder):
    command = ["bash", "-c", f"{REPOSITORY}/helper_scripts/slurm_train.sh <(echo) job"]
    result = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "the job reads it later, so it must be a file" in result.stderr


@pytest.mark.slow
def test_check_and_sync_reports_the_cache(folder):
    shutil.rmtree(folder / "scratch" / "data")
    assert "missing" in wrapper(folder, "check_and_sync_data.sh")
    assert "missing" not in wrapper(folder, "check_and_sync_data.sh", "--fast")


@pytest.mark.parametrize("value", ["a b", "$(touch trap)", "'; touch trap; '", "a\nb", "*"])
def test_an_argument_reaches_python_as_it_is(folder, value):
    output = wrapper(folder, "train.sh", "small.yaml", "job", "--override", f'base.wandb="{value}"', expect=2)
    assert repr(value) in output
    assert not (folder / "trap").exists()


@pytest.mark.parametrize("arguments", [[], ["small.yaml"], ["--resume", "job"], ["small.yaml", "--resume"]])
def test_train_sh_without_config_and_job_id_gives_an_example(folder, arguments):
    (line,) = wrapper(folder, "train.sh", *arguments, expect=2).splitlines()
    assert line.startswith("train.sh: a CONFIG and a JOB_ID come first, such as: ./train.sh ")


def test_prepare_data_sh_without_config_gives_an_example(folder):
    (line,) = wrapper(folder, "prepare_data.sh", expect=2).splitlines()
    assert line.startswith("prepare_data.sh: a CONFIG comes first, such as: ./prepare_data.sh ")


@pytest.mark.slow
def test_a_signal_to_the_wrapper_reaches_python(folder):
    process = subprocess.Popen(
        [REPOSITORY / "train.sh", "small.yaml", "signalled", "--override", "train.epochs=100000 train.log_interval=1"],
        cwd=folder,
        env=environment(folder),
        text=True,
        stderr=subprocess.PIPE,
    )
    for line in process.stderr:
        if re.search(r"epoch +1/", line):
            break
    process.send_signal(signal.SIGTERM)
    output = process.stderr.read()
    assert process.wait(timeout=60) == 75, output
    assert list((folder / "scratch/checkpoints/signalled").glob("step_*"))


def container(folder):
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "singularity").write_text(FAKE_SINGULARITY)
    (tools / "singularity").chmod(0o755)
    image = folder / "image.sif"
    image.touch()
    return {
        "SINGULARITY_CONTAINER": str(image),
        "SINGULARITY_NAME": "",  # as outside of a container, should the tests run in one
        "NOTES": str(folder / "notes"),
        "PATH": f"{tools}:{Path(sys.executable).parent}:/usr/bin:/bin",
    }


def test_the_container_gets_its_binds_and_runs_the_command(folder):
    wrapper(folder, "prepare_data.sh", "small.yaml", **container(folder))
    words = (folder / "notes").read_text().splitlines()
    bound = {words[i + 1] for i, word in enumerate(words) if word == "--bind"}
    writable = [folder / "project", folder / "scratch", folder / "recordings"]
    readable = [REPOSITORY, folder / "small.yaml"]
    assert words[0] == "exec"
    assert bound == {f"{path}:{path}" for path in writable} | {f"{path}:{path}:ro" for path in readable}
    command = words[words.index(str(folder / "image.sif")) + 1 :]
    assert command[0] == "env"
    assert command[-3:] == ["python3", str(REPOSITORY / "prepare_data.py"), str(folder / "small.yaml")]
    assert ("--nv" in words) == Path("/dev/nvidiactl").exists()


def test_a_command_without_config_gets_code_and_storages_only(folder):
    wrapper(folder, "check_and_sync_data.sh", **container(folder))
    words = (folder / "notes").read_text().splitlines()
    bound = [words[i + 1].split(":")[0] for i, word in enumerate(words) if word == "--bind"]
    assert sorted(bound) == sorted(map(str, [REPOSITORY, folder / "project", folder / "scratch"]))


@pytest.mark.slow
def test_a_sweep_gets_what_its_configs_need(folder, tmp_path):
    (tmp_path / "sweep.yaml").write_text(f'config: "{folder}/small.yaml"')
    wrapper(folder, "job.sh", "sweep", tmp_path / "sweep.yaml", "--table", **container(folder))
    words = (folder / "notes").read_text().splitlines()
    bound = {words[i + 1] for i, word in enumerate(words) if word == "--bind"}
    assert {f"{path}:{path}:ro" for path in (folder / "small.yaml", tmp_path / "sweep.yaml")} <= bound
    assert f"{folder / 'recordings'}:{folder / 'recordings'}" in bound
    assert words[-4:] == [str(REPOSITORY / "src/cli"), "sweep", str(tmp_path / "sweep.yaml"), "--table"]


def test_apptainer_is_taken_where_it_is_there_too(folder):
    variables = container(folder)
    (folder / "notes").unlink(missing_ok=True)
    other = folder / "apptainer"
    other.mkdir(exist_ok=True)
    (other / "apptainer").write_text("#!/bin/sh\nexit 42\n")
    (other / "apptainer").chmod(0o755)
    variables["PATH"] += f":{other}"
    wrapper(folder, "check_and_sync_data.sh", expect=42, **variables)
    assert not (folder / "notes").exists()


def test_a_container_s_exit_code_comes_through(folder):
    wrapper(folder, "train.sh", "none.yaml", "job", expect=2, **container(folder))


def test_a_container_that_is_not_there_is_an_error(folder):
    variables = container(folder) | {"SINGULARITY_CONTAINER": "/nowhere.sif"}
    assert "/nowhere.sif does not exist" in wrapper(folder, "prepare_data.sh", "small.yaml", expect=2, **variables)


def test_a_container_without_a_runtime_is_an_error(folder):
    variables = container(folder) | {"PATH": "/usr/bin:/bin"}
    output = wrapper(folder, "prepare_data.sh", "small.yaml", expect=2, **variables)
    assert "neither apptainer nor singularity" in output


def test_inside_a_container_python_runs_directly(folder):
    variables = container(folder) | {"SINGULARITY_NAME": "image.sif"}
    (folder / "notes").unlink(missing_ok=True)
    wrapper(folder, "prepare_data.sh", "small.yaml", **variables)
    assert not (folder / "notes").exists()


@pytest.mark.slow
def test_a_bare_clone_sets_itself_up_and_trains_the_demo(tmp_path):
    subprocess.run(["git", "clone", "-q", REPOSITORY, tmp_path / "clone"], check=True)
    ours = ("VIRTUAL_ENV", "PYTHONPATH", "PROJECT_STORAGE_DIR", "SCRATCH_STORAGE_DIR")
    bare = {name: value for name, value in os.environ.items() if name not in ours}
    bare["PATH"] = os.pathsep.join(
        part for part in bare["PATH"].split(os.pathsep) if part != str(Path(sys.executable).parent)
    )
    train = [tmp_path / "clone/train.sh", "configs/demo_difflogic.yaml"]
    subprocess.run([*train, "demo"], env=bare, check=True, cwd="/")
    assert (tmp_path / "clone/project_storage/logs/demo/result.json").exists()
    subprocess.run([*train, "again", "--override", "train.epochs=1"], env=bare, check=True, cwd="/")
    assert (tmp_path / "clone/project_storage/logs/again/result.json").exists()
