"""The container's definition, its check of the packages, and the script that builds it."""

import fcntl
import os
import re
import shlex
import subprocess
import sys
import tomllib

import pytest
from spython.main.parse.parsers import get_parser

from singularity.check_image import locked_requirements, module_names, name_and_version, problems
from tests.small_job import REPOSITORY

DEFINITION = REPOSITORY / "singularity" / "difflogic.def"
LOCK = REPOSITORY / "requirements-extras.lock"


@pytest.fixture(scope="module")
def stages():
    """The definition's stages by name, as spython reads them."""
    return get_parser("singularity")(str(DEFINITION)).recipe


def pip_requirements(stage):
    """What a stage's `pip install` lines name, with `-r FILE` replaced by the lines of the host's file behind it."""
    from_host = {target: source for source, target in map(str.split, stage.files)}
    packages = []
    for line in stage.install:
        words = shlex.split(line, comments=True)
        if words[1:4] == ["-m", "pip", "install"]:
            while "-r" in words:
                at = words.index("-r")
                packages += locked_requirements(REPOSITORY / from_host[words[at + 1]])
                del words[at : at + 2]
            packages += [name_and_version(word) for word in words if "==" in word]
    return packages


def test_the_stages_are_the_devel_and_the_runtime_image_of_one_release(stages):
    assert list(stages) == ["devel", "runtime"]
    assert stages["devel"].fromHeader.removesuffix("-devel") == stages["runtime"].fromHeader.removesuffix("-runtime")
    assert re.fullmatch(r"pytorch/pytorch:[\d.]+-cuda12\.\d+-cudnn\d+-runtime", stages["runtime"].fromHeader)


def test_the_image_is_of_the_torch_that_the_lock_pins(stages):
    assert f"pytorch:{dict(locked_requirements(LOCK))['torch']}-cuda" in stages["runtime"].fromHeader


def test_the_packages_are_those_of_the_lock_and_difflogic(stages):
    assert pip_requirements(stages["runtime"]) == [*locked_requirements(LOCK), ("difflogic", "0.1.0")]


def test_difflogic_is_compiled_in_the_devel_stage_for_every_capability_and_brought_over(stages):
    install = stages["devel"].install
    assert 'export TORCH_CUDA_ARCH_LIST="6.1;7.0;7.5;8.0;8.6;8.9;9.0"' in install
    assert [line for line in install if "pip wheel" in line and "--wheel-dir /opt/wheels" in line]
    assert stages["runtime"].layer_files == {"devel": ["/opt/wheels /opt/wheels"]}
    assert not [line for line in stages["runtime"].install if "nvcc" in line or "ARCH_LIST" in line]


def test_the_labels_name_the_project_its_version_and_its_base(stages):
    labels = dict(line.split(maxsplit=1) for line in stages["runtime"].labels)
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert labels["org.opencontainers.image.version"] == project["version"]
    assert labels["org.opencontainers.image.licenses"] == project["license"]
    assert labels["org.opencontainers.image.base.name"] == stages["runtime"].fromHeader


def test_help_names_the_versions_and_capabilities(stages):
    text = DEFINITION.read_text().split("%help")[1]
    torch = dict(locked_requirements(LOCK))["torch"]
    assert f"PyTorch {torch} with CUDA {re.search('cuda([0-9.]+)', stages['runtime'].fromHeader)[1]}" in text
    capabilities = re.search('ARCH_LIST="(.*)"', "\n".join(stages["devel"].install))[1].split(";")
    assert re.findall(r"\d+\.\d+", text.split("capabilities")[1].split("\n")[0]) == capabilities


def test_the_test_checks_every_package_and_stops_at_the_first_failure(stages):
    script = DEFINITION.read_text().split("\n%test\n")[1].split("\n%")[0]
    lines = [line.strip() for line in script.splitlines()]
    assert lines[0] == "set -e"
    assert any(
        "check_image.py /opt/difflogic-tonic/requirements-extras.lock difflogic==0.1.0" in line for line in lines
    )
    targets = [line.split()[1] for line in stages["runtime"].files]
    names = ["check_image.py", "requirements.lock", "requirements-extras.lock"]
    assert {f"/opt/difflogic-tonic/{name}" for name in names} == set(targets)


def test_every_file_that_the_definition_brings_is_there(stages):
    assert all((REPOSITORY / line.split()[0]).is_file() for line in stages["runtime"].files)


def test_the_user_s_own_packages_do_not_hide_the_image_s(stages):
    assert "PYTHONNOUSERSITE=1" in stages["runtime"].environ


@pytest.mark.slow
def test_this_environment_passes_the_check_of_the_image():
    command = [sys.executable, REPOSITORY / "singularity" / "check_image.py", LOCK]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
    assert f"{len(locked_requirements(LOCK))} packages are there" in result.stdout


def install(folder, name, version, code):
    """An installed distribution of one module."""
    information = folder / f"{name}-{version}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (information / "RECORD").write_text(f"{name}.py,,\n{information.name}/METADATA,,\n")
    (folder / f"{name}.py").write_text(code)


def test_the_check_names_what_is_missing_other_or_broken(tmp_path, monkeypatch):
    install(tmp_path, "soundpackage", "1.0+cu126", "")
    install(tmp_path, "oldpackage", "1.0", "")
    install(tmp_path, "brokenpackage", "1.0", "import nothing_of_this_name")
    monkeypatch.syspath_prepend(tmp_path)
    names = ["soundpackage==1.0", "oldpackage==2.0", "brokenpackage==1.0", "nopackage==1.0"]
    assert problems([name_and_version(name) for name in names]) == [
        "oldpackage==2.0 is locked, 1.0 is installed",
        "brokenpackage: import brokenpackage: ModuleNotFoundError: No module named 'nothing_of_this_name'",
        "nopackage==1.0 is not installed",
    ]


def test_the_modules_of_a_package_are_found_whatever_its_name():
    from importlib.metadata import distribution

    assert module_names(distribution("scikit-learn")) == ["sklearn"]
    assert "yaml" in module_names(distribution("PyYAML"))
    assert module_names(distribution("types-PyYAML")) == []


# The build script, with a runtime that does what the environment says, and a disk as free as the test wants it.

FAKE_RUNTIME = """#!/usr/bin/env bash
printf '%s ' "$@" >>"$NOTES"; echo "in $PWD" >>"$NOTES"
if [[ $1 == build ]]; then
  for target; do [[ $target != *.tmp ]] || break; done
  echo "new image" >"$target"
  exit "${BUILD_STATUS:-0}"
fi
exit "${TEST_STATUS:-0}"
"""
FAKE_DF = """#!/bin/sh
echo Avail
echo "${FREE_GB:-100}"
"""


@pytest.fixture
def build(tmp_path):
    """Runs build.sh; returns its output."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in {"apptainer": FAKE_RUNTIME, "df": FAKE_DF}.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)

    def run(*arguments, expect=0, path=f"{tools}:/usr/bin:/bin", **variables):
        result = subprocess.run(
            [REPOSITORY / "singularity" / "build.sh", *arguments],
            cwd=tmp_path,
            env={
                **os.environ,
                "PATH": path,
                "PROJECT_STORAGE_DIR": str(tmp_path / "it's $(my) project"),
                "NOTES": str(tmp_path / "notes"),
                **variables,
            },
            capture_output=True,
            text=True,
        )
        assert result.returncode == expect, result.stdout + result.stderr
        return result.stdout + result.stderr

    run.folder = tmp_path / "it's $(my) project" / "singularity"
    run.image = run.folder / "difflogic.sif"
    run.notes = tmp_path / "notes"
    return run


def visible(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


@pytest.mark.parametrize("option", [[], ["--fakeroot"], ["--remote"]])
def test_build_tests_the_image_and_puts_it_on_project_storage(build, option):
    assert "export SINGULARITY_CONTAINER=" in build(*option)
    assert build.image.read_text() == "new image\n"
    assert visible(build.folder) == ["difflogic.sif"]
    built, tested = build.notes.read_text().splitlines()
    assert built.startswith(" ".join(["build", *option, "--notest", str(build.folder)]))
    assert built.endswith(f"singularity/difflogic.def in {REPOSITORY}")
    assert tested.startswith("test ")


@pytest.mark.parametrize(
    ("variables", "reason"),
    [({"BUILD_STATUS": "1"}, "the build failed"), ({"TEST_STATUS": "3"}, "the new image fails its test")],
)
def test_a_failed_build_leaves_the_old_image(build, variables, reason):
    build.folder.mkdir(parents=True)
    build.image.write_text("old image")
    assert reason in build(expect=1, **variables)
    assert build.image.read_text() == "old image"
    assert visible(build.folder) == ["difflogic.sif"]


def test_leftovers_of_killed_builds_are_removed(build):
    build.folder.mkdir(parents=True)
    (build.folder / ".difflogic.sif.12345.tmp").touch()
    build()
    assert visible(build.folder) == ["difflogic.sif"]


def test_a_second_build_at_the_same_time_is_refused(build):
    build.folder.mkdir(parents=True)
    with (build.folder / ".difflogic.sif.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another build" in build(expect=2)
    build()


def test_too_little_space_is_told_before_the_build(build):
    assert re.search(r"has 7 GB free, and the build needs 8 GB; set PROJECT_STORAGE_DIR", build(FREE_GB="7", expect=2))
    assert re.search(r"has 39 GB free, and the build needs 40 GB; set APPTAINER_TMPDIR", build(FREE_GB="39", expect=2))
    build("--remote", FREE_GB="39")


def test_a_missing_runtime_is_one_line(build):
    output = build(expect=2, path="/usr/bin:/bin")
    assert output == "build.sh: neither apptainer nor singularity is on PATH; one of them builds the image\n"


@pytest.mark.parametrize("arguments", [["--sandbox"], ["--fakeroot", "--remote"]])
def test_other_options_are_refused_in_one_line(build, arguments):
    output = build(*arguments, expect=2)
    assert output == f"build.sh: {' '.join(arguments)}: give nothing, --fakeroot or --remote (see build.sh --help)\n"
