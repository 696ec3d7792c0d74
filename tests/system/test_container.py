"""The wrappers in a container: bubblewrap shows the command only what they bind, so a forgotten bind fails here."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from src.reports.outcome import outcome
from tests import small_job
from tests.small_job import REPOSITORY

FAKE_SINGULARITY = REPOSITORY / "tests" / "system" / "fake_singularity"

BWRAP_WORKS = shutil.which("bwrap") and not subprocess.run(["bwrap", "--ro-bind", "/", "/", "true"]).returncode
pytestmark = pytest.mark.skipif(not BWRAP_WORKS, reason="needs bubblewrap (Debian's package bubblewrap) and its rights")

# Runs PROBE as a wrapper would run an entry point, on the config $2.
WRAPPER = """
set -euo pipefail
source "$repository/helper_scripts/launch.sh"
config=$(absolute_config "$1")
run_python "$(readlink -f "$PROJECT_STORAGE_DIR")/${script:-main.py}" "$config"
"""
# Says what a command sees in the container.
PROBE = """
import json, os, sys
from pathlib import Path

def writable(path):
    try:
        if path.is_file():
            path.open("a").close()
        else:
            (path / ".probe").touch()
            (path / ".probe").unlink()
        return True
    except OSError as error:
        return error.strerror

paths = [Path(path) for path in json.loads(os.environ["PROBED"])]
seen = {str(path): writable(path) if path.exists() else None for path in paths}
print(json.dumps({"seen": seen, "cwd": os.getcwd(), "environment": dict(os.environ), "path": sys.path}))
"""
READ_ONLY = "Read-only file system"


class Home:
    """A user's folder: recordings, a config, both storages, and an image on the project's."""

    def __init__(self, folder, repository=REPOSITORY):
        self.folder = folder
        self.repository = repository
        self.project = folder / "project"
        self.image = self.project / "singularity" / "image.sif"
        self.image.parent.mkdir(parents=True)
        self.image.write_bytes(os.urandom(100_000))
        self.config = folder / "small.yaml"
        self.config.write_text(small_job.CONFIG.format(data_root=folder / "recordings"))
        (folder / "recordings").mkdir()

    def environment(self, **variables):
        return {
            **small_job.environment(self.folder),
            "SINGULARITY_CONTAINER": str(self.image),
            "SINGULARITY_NAME": "",  # as outside of a container, should the tests run in one
            "DIFFLOGIC_COPY_CONTAINER": "1",
            "PATH": f"{FAKE_SINGULARITY}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            **variables,
        }

    def start(self, script, *arguments, **variables):
        return subprocess.Popen(
            [self.repository / script, *arguments],
            cwd=self.folder,
            env=self.environment(**variables),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, script, *arguments, expect=0, **variables):
        process = self.start(script, *arguments, **variables)
        output, _ = process.communicate(timeout=600)
        assert process.returncode == expect, output
        return output

    def probe(self, *paths, config=None, script="main.py", **variables):
        """What a command on the config sees: {path: writable, or why not, or None if it is not there}, and more."""
        environment = self.environment(repository=str(self.repository), script=script, **variables)
        environment["PROBED"] = json.dumps([str(path) for path in paths])
        project = Path(environment["PROJECT_STORAGE_DIR"])
        project.mkdir(exist_ok=True)
        (project / script).write_text(PROBE)
        command = ["bash", "-c", WRAPPER, "wrapper", str(config or self.config)]
        result = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return Home(tmp_path_factory.mktemp("it's a folder; $(no) trap"))


@pytest.fixture(scope="module")
def probed(home):
    """What a command sees of a home whose storages and recordings lie outside of the code."""
    (home.folder / "private").mkdir()
    mine = {"PYTHONPATH": str(home.folder / "private"), "NUMBA_CACHE_DIR": "/elsewhere"}
    folders = [home.project, home.folder / "scratch", home.folder / "recordings", home.folder / "private"]
    return home.probe(REPOSITORY, REPOSITORY / "src", REPOSITORY / "main.py", home.config, *folders, **mine)


def test_the_code_is_read_only(probed):
    assert {probed["seen"][str(REPOSITORY / part)] for part in ("", "src", "main.py")} == {READ_ONLY}


def test_both_storages_and_the_data_root_are_writable(home, probed):
    folders = [home.project, home.folder / "scratch", home.folder / "recordings"]
    assert [probed["seen"][str(folder)] for folder in folders] == [True] * 3


def test_a_config_outside_of_the_code_is_there_and_read_only(home, probed):
    assert probed["seen"][str(home.config)] == READ_ONLY


def test_nothing_else_is_there(home, probed):
    assert probed["seen"][str(home.folder / "private")] is None


def test_the_command_starts_in_the_repository(probed):
    assert probed["cwd"] == str(REPOSITORY)


def test_the_user_s_own_packages_stay_outside(home, probed):
    assert probed["environment"]["PYTHONNOUSERSITE"] == "1"
    assert not any("private" in folder or ".local" in folder for folder in probed["path"])


def test_kernels_are_kept_on_scratch(home, probed):
    cache = home.folder / "scratch" / "cache"
    assert probed["environment"]["NUMBA_CACHE_DIR"] == str(cache / "numba")
    assert probed["environment"]["TRITON_CACHE_DIR"] == str(cache / "triton")


def test_the_image_is_run_from_its_copy_on_scratch(home, probed):
    assert probed["environment"]["SINGULARITY_CONTAINER"] == str(home.folder / "scratch" / "singularity" / "image.sif")


def test_an_image_reached_by_a_link_is_copied_too(home, tmp_path):
    (tmp_path / "my.sif").symlink_to(home.image)
    seen = home.probe(SINGULARITY_CONTAINER=str(tmp_path / "my.sif"))
    assert seen["environment"]["SINGULARITY_CONTAINER"] == str(home.folder / "scratch" / "singularity" / "image.sif")


def test_storages_and_data_within_the_repository_are_writable_and_the_code_is_not(tmp_path):
    repository = tmp_path / "repository"
    for part in ("src", "helper_scripts"):
        shutil.copytree(REPOSITORY / part, repository / part)
    home = Home(tmp_path / "home", repository)
    (repository / "own.yaml").write_text("data: {name: DEMO, data_root: data, prepare_if_missing: own.yaml}\n")
    storages = {"PROJECT_STORAGE_DIR": str(repository / "project_storage"), "SCRATCH_STORAGE_DIR": ""}
    parts = ["project_storage", "scratch", "data", "", "src", "own.yaml"]
    seen = home.probe(*(repository / part for part in parts), config="own.yaml", **storages)["seen"]
    assert list(seen.values()) == [True, True, True, READ_ONLY, READ_ONLY, READ_ONLY]


def test_a_repository_within_project_storage_is_read_only(tmp_path):
    repository = tmp_path / "project" / "repository"
    home = Home(tmp_path, repository)
    for part in ("src", "helper_scripts"):
        shutil.copytree(REPOSITORY / part, repository / part)
    assert list(home.probe(home.project, repository)["seen"].values()) == [True, READ_ONLY]


def test_links_to_storages_data_and_configs_lead_there(tmp_path):
    home = Home(tmp_path / "home")
    for name in ("project", "recordings", "small.yaml"):
        (tmp_path / name).symlink_to(home.folder / name)
    config = tmp_path / "linked.yaml"
    config.write_text(f"data: {{data_root: '{tmp_path}/recordings', prepare_if_missing: {tmp_path}/small.yaml}}\n")
    (tmp_path / "config.yaml").symlink_to(config)
    paths = [tmp_path / "recordings", tmp_path / "config.yaml", tmp_path / "small.yaml"]
    seen = home.probe(*paths, config=tmp_path / "config.yaml", PROJECT_STORAGE_DIR=str(tmp_path / "project"))
    assert list(seen["seen"].values()) == [True, READ_ONLY, READ_ONLY]
    assert seen["environment"]["PROJECT_STORAGE_DIR"] == str(home.project)


def test_a_folder_of_archives_that_the_preparation_takes_is_there_and_read_only(home, tmp_path):
    archives = tmp_path / "archives "
    archives.mkdir()
    (tmp_path / "prepare.yaml").write_text(f'data: {{url: "{archives}"}}')
    (tmp_path / "train.yaml").write_text(f"data: {{prepare_if_missing: {tmp_path}/prepare.yaml}}")
    seen = home.probe(archives, tmp_path / "prepare.yaml", config=tmp_path / "train.yaml")["seen"]
    assert list(seen.values()) == [READ_ONLY, READ_ONLY]


def test_a_dataset_s_folder_that_is_a_link_leads_to_the_recordings(home, tmp_path):
    for part in ("big disk/Train", "root"):
        (tmp_path / part).mkdir(parents=True)
    (tmp_path / "root" / "NMNIST").symlink_to(tmp_path / "big disk")
    (tmp_path / "root" / "test.zip").symlink_to(tmp_path / "nowhere.zip")
    (tmp_path / "train.yaml").write_text(f'data: {{data_root: "{tmp_path}/root"}}')
    seen = home.probe(tmp_path / "root" / "NMNIST" / "Train", config=tmp_path / "train.yaml")["seen"]
    assert list(seen.values()) == [True]


def test_a_teacher_that_lies_elsewhere_is_there_and_read_only(home, tmp_path):
    teacher = tmp_path / "teacher.safetensors"
    teacher.touch()
    (tmp_path / "train.yaml").write_text(f"train: {{teacher: {{model: {teacher}}}}}")
    assert home.probe(teacher, config=tmp_path / "train.yaml", script="main.py")["seen"] == {str(teacher): READ_ONLY}


@pytest.mark.parametrize("scratch", [{}, {"SCRATCH_STORAGE_DIR": "/proc/no/such"}], ids=["scratch", "no scratch"])
def test_a_config_that_comes_from_a_pipe_is_there(home, scratch):
    command = ["bash", "-c", WRAPPER, "wrapper", "/dev/stdin"]
    code = "import sys; print(open(sys.argv[1]).read())"
    (home.project / "main.py").write_text(code)
    environment = home.environment(repository=str(REPOSITORY), **scratch)
    output = subprocess.check_output(command, input="data: {name: DEMO}", env=environment, cwd="/", text=True)
    assert output == "data: {name: DEMO}\n\n"


def test_a_data_root_that_is_not_there_is_not_made_to_train(home):
    nowhere = home.folder / "typo"
    config = home.folder / "typo.yaml"
    config.write_text(f'data: {{data_root: "{nowhere}"}}')
    assert home.probe(nowhere, config=config)["seen"] == {str(nowhere): None}
    assert not nowhere.exists()


@pytest.mark.parametrize("name", ["a:b", "a,b", "a\\b", "a\nb"])
def test_a_path_that_a_bind_cannot_express_is_refused(home, name):
    odd = home.folder / name
    for variables in ({"SCRATCH_STORAGE_DIR": str(odd)}, {"PROJECT_STORAGE_DIR": str(odd)}):
        output = home.run("check_and_sync_data.sh", expect=2, **variables)
        assert f"{odd}: a container cannot bind a path with" in output
        odd.rmdir()


def test_a_data_root_that_a_bind_cannot_express_is_refused(home):
    odd = home.folder / "x:y"
    odd.mkdir()
    output = home.run("train.sh", "small.yaml", "job", "--override", f'data.data_root="{odd}"', expect=2)
    assert f"{odd}: a container cannot bind a path with ':'" in output


@pytest.mark.parametrize("variable", ["PROJECT_STORAGE_DIR", "SCRATCH_STORAGE_DIR"])
def test_a_storage_that_cannot_be_made_is_named(home, variable):
    output = home.run("prepare_data.sh", "small.yaml", expect=2, **{variable: "/proc/no/such"})
    assert re.search(rf"{variable} = /proc/no/such: .*(cannot be made|cannot write)", output)


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        ("none.yaml", [], "none.yaml: cannot read the config"),
        ("small.yaml", ["--override", "train.epoch=1"], "did you mean train.epochs?"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(home, config, options, message):
    output = home.run("train.sh", config, "job", *options, expect=2)
    assert message in output
    assert len(output.strip().splitlines()) == 1


@pytest.mark.parametrize("there", [True, False])
def test_the_container_gets_the_gpu_where_there_is_one(home, tmp_path, there):
    (tmp_path / "singularity").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "singularity").chmod(0o755)
    device = ["--ro-bind", "/dev/null", "/dev/nvidiactl"] if there else []
    words = subprocess.check_output(
        ["bwrap", "--bind", "/", "/", "--dev", "/dev", *device, REPOSITORY / "check_and_sync_data.sh"],
        env=home.environment(PATH=f"{tmp_path}:/usr/bin:/bin"),
        text=True,
    ).split()
    assert ("--nv" in words) == there


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A home with a cache, prepared in the container."""
    home = Home(tmp_path_factory.mktemp("it's a folder; $(no) trap"))
    small_job.write_recordings(home.folder / "recordings")
    assert "prepared" in home.run("prepare_data.sh", "small.yaml")
    return home


@pytest.mark.timeout(900)  # many programs, each of which starts a Python
@pytest.mark.slow
def test_a_signal_to_the_wrapper_saves_a_checkpoint_that_resumes_to_the_same_bits(prepared):
    many = ["--override", "train.epochs=20"]
    prepared.run("train.sh", "small.yaml", "whole", *many)
    stopped = prepared.start("train.sh", "small.yaml", "stopped", *many)
    for line in stopped.stdout:
        if re.search(r"epoch +1/", line):
            break
    stopped.send_signal(signal.SIGUSR1)
    output, _ = stopped.communicate(timeout=60)
    assert stopped.returncode == 75, output
    assert list((prepared.folder / "scratch/checkpoints/stopped").glob("step_*"))
    prepared.run("train.sh", "small.yaml", "stopped", "--resume", *many)
    assert outcome(prepared.folder, "stopped") == outcome(prepared.folder, "whole")


@pytest.fixture(scope="module")
def trained(prepared):
    """The same home with the job `done`."""
    prepared.run("train.sh", "small.yaml", "done", "--override", "train.epochs=1")
    return prepared


@pytest.mark.slow
def test_training_goes_on_in_the_container_without_a_scratch_that_can_be_made(trained):
    output = trained.run("train.sh", "small.yaml", "slow", SCRATCH_STORAGE_DIR=str(trained.config / "scratch"))
    assert "reading the frame cache from project storage" in output
    assert (trained.project / "models/slow/final.safetensors").exists()


@pytest.mark.slow
def test_report_compare_and_status_run_in_the_container(trained):
    trained.run("job.sh", "report", "done")
    assert (trained.project / "logs/done/report.html").exists()
    trained.run("job.sh", "compare", "done")
    assert list((trained.project / "logs").glob("compare_*.png"))
    assert "done" in trained.run("job.sh", "status")


@pytest.mark.slow
def test_a_sweep_whose_base_and_teacher_lie_elsewhere_runs_in_the_container(trained, tmp_path):
    model = tmp_path / "teacher.safetensors"
    shutil.copy(trained.project / "models/done/final.safetensors", model)
    base = tmp_path / "base.yaml"
    shutil.copy(trained.config, base)
    overrides = f"{{train.epochs: 1, train.teacher.model: '{model}'}}"
    (trained.folder / "sweep.yaml").write_text(f"config: {base}\nname: s\nseeds: 1\noverrides: {overrides}\n")
    trained.run("job.sh", "sweep", "sweep.yaml")
    assert (trained.project / "logs/s/sweep.csv").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        (["../elsewhere/m.safetensors"], "../elsewhere/export/done.json"),
        (["../elsewhere/m.safetensors", "--out", "../o u t/x"], "../o u t/x/done.json"),
        (["done", "--out=here"], "here/done.json"),
        (["done"], "project/models/done/export/done.json"),
    ],
)
def test_an_export_reads_and_writes_where_its_paths_lead_from_the_user_s_folder(trained, arguments, file):
    elsewhere = trained.folder.parent / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    shutil.copy(trained.project / "models/done/final.safetensors", elsewhere / "m.safetensors")
    trained.run("job.sh", "export", arguments[0], "--to", "json", *arguments[1:])
    assert (trained.folder / file).exists()


@pytest.mark.slow
def test_an_export_of_a_model_that_is_not_there_makes_nothing(trained, tmp_path):
    missing = tmp_path / "typo.safetensors"
    assert f"{missing}: there is no such file" in trained.run("job.sh", "export", missing, "--to", "json", expect=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_compiled_kernels_are_used_again(prepared):
    def kernels():  # one that is compiled again is written again
        return {path: path.stat().st_mtime_ns for path in (prepared.folder / "scratch/cache/numba").rglob("*.kernel")}

    prepared.run("train.sh", "small.yaml", "first")
    before = kernels()
    prepared.run("train.sh", "small.yaml", "second")
    assert before
    assert kernels() == before


@pytest.mark.slow
def test_jobs_that_start_together_share_one_copy_of_the_image(prepared):
    shutil.rmtree(prepared.folder / "scratch" / "singularity")
    jobs = [prepared.start("train.sh", "small.yaml", f"together_{number}") for number in range(3)]
    outputs = [job.communicate(timeout=300)[0] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0, 0], outputs
    assert sum("copying" in output for output in outputs) == 1
    assert (prepared.folder / "scratch/singularity/image.sif").read_bytes() == prepared.image.read_bytes()


@pytest.mark.slow
def test_the_demo_prepares_itself_and_trains_from_a_clone_with_storages_of_its_own(tmp_path):
    """As a new user has it: everything within the clone, whose code stays as it is."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", REPOSITORY, clone], check=True)
    home = Home(tmp_path / "home", clone)
    began = time.time()
    short = ["--override", "train.epochs=2"]
    output = home.run("train.sh", "configs/demo_difflogic.yaml", "demo", *short, **dict.fromkeys(VARIABLES, ""))
    assert "test, final model:" in output
    assert (clone / "project_storage/logs/demo/result.json").exists()
    assert (clone / "data/DEMO/simulation.json").exists()
    written = {path.relative_to(clone).parts[0] for path in clone.rglob("*") if path.stat().st_mtime >= began}
    assert written <= {"project_storage", "scratch", "data"}


VARIABLES = ("PROJECT_STORAGE_DIR", "SCRATCH_STORAGE_DIR")
