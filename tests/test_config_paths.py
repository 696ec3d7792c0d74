"""What a command needs of the disk, as the wrappers learn it from its config."""

import dataclasses
from pathlib import Path

import pytest

from helper_scripts.config_paths import needed_paths
from src.command_line import UserError
from src.config import Config
from tests.small_job import REPOSITORY


def options(overrides):
    """The words of a command line for overrides."""
    return [word for override in overrides for word in ("--override", override)]


@pytest.fixture
def needed(tmp_path):
    """The paths that a script needs for a data section."""

    def paths(script, section, *overrides):
        config = tmp_path / "config.yaml"
        config.write_text(f"data: {section}")
        return [(mode, str(path)) for mode, path in needed_paths(script, [str(config), *options(overrides)])]

    return paths


DATA = str(REPOSITORY / "data")


def test_training_writes_to_a_data_root_that_is_there(needed):
    assert needed("main.py", "{}") == [("rw", DATA)]


@pytest.mark.parametrize("name", ["NMNIST", "DEMO"])
def test_the_default_data_root_is_made_to_prepare(needed, name):
    assert needed("prepare_data.py", f"{{name: {name}}}") == [("make", DATA)]


def test_another_data_root_is_made_only_for_recordings_that_are_simulated(needed):
    assert needed("prepare_data.py", "{name: DEMO, data_root: /mine}") == [("make", "/mine")]
    assert needed("prepare_data.py", "{name: NMNIST, data_root: /mine}") == [("rw", "/mine")]


def test_the_data_root_is_that_of_the_overrides(needed):
    assert needed("main.py", "{data_root: /mine}", "data.data_root='/your own'") == [("rw", "/your own")]
    assert needed("main.py", "{}", "train.epochs=1 data.data_root=~/x") == [("rw", str(Path.home() / "x"))]


@pytest.mark.parametrize("url", ["/archives", "file:///archives"])
def test_a_folder_of_archives_is_read_to_prepare_only(needed, url):
    section = f"{{url: '{url}', data_root: /mine}}"
    assert needed("prepare_data.py", section) == [("ro", "/archives"), ("rw", "/mine")]
    assert needed("main.py", section) == [("rw", "/mine")]


def test_archives_on_the_net_need_no_path(needed):
    assert needed("prepare_data.py", "{url: 'https://example.org/x', data_root: /mine}") == [("rw", "/mine")]


def test_the_preparation_s_config_is_read_and_says_where_its_archives_are(needed, tmp_path):
    preparation = tmp_path / "prepare.yaml"
    section = f"{{prepare_if_missing: {preparation}}}"
    assert needed("main.py", section) == [("ro", str(preparation)), ("again", "."), ("rw", DATA)]
    preparation.write_text("data: {url: /archives}")
    assert needed("main.py", section) == [("ro", str(preparation)), ("ro", "/archives"), ("make", DATA)]


def test_a_teacher_that_is_a_file_is_read_to_train(needed):
    for model, path in (("/far/t.safetensors", "/far/t.safetensors"), ("~/t.x", str(Path.home() / "t.x"))):
        assert needed("main.py", "{}", f"train.teacher.model={model}") == [("ro", path), ("rw", DATA)]
        assert needed("prepare_data.py", "{}", f"train.teacher.model={model}") == [("make", DATA)]
    assert needed("main.py", "{}", "train.teacher.model=job_1") == [("rw", DATA)]


def path_options(section, prefix=""):
    """The names of all options that are paths."""
    for option in dataclasses.fields(section):
        value = getattr(section, option.name)
        if dataclasses.is_dataclass(value):
            yield from path_options(value, f"{prefix}{option.name}.")
        elif option.metadata.get("path"):
            yield f"{prefix}{option.name}"


@pytest.mark.parametrize("option", list(path_options(Config())))
def test_every_option_that_is_a_path_is_known_here(needed, option, tmp_path):
    (tmp_path / "there.safetensors").write_text("{}")
    named = tmp_path / "there.safetensors"
    paths = needed("main.py", "{}", f"{option}={named}") + needed("prepare_data.py", "{}", f"{option}={named}")
    assert str(named) in [path for _, path in paths]


@pytest.fixture
def exported(tmp_path, monkeypatch):
    """The paths that an export needs whose user is in tmp_path."""
    monkeypatch.setenv("DIFFLOGIC_FOLDER", str(tmp_path))
    return lambda *words: list(needed_paths("/code/src/cli", ["export", *words, "--to=c"]))


def test_an_export_of_a_job_needs_the_folder_that_it_writes_to(exported, tmp_path):
    assert exported("job") == []
    assert exported("job", "--out", "../out") == [("make", tmp_path / "../out")]
    assert exported("job", "--out=~/x") == [("make", Path.home() / "x")]


def test_an_export_of_a_file_needs_it_and_makes_a_folder_beside_it_once_it_is_there(exported, tmp_path):
    model = tmp_path / "a model.safetensors"
    assert exported(model.name) == [("ro", model), ("again", Path())]
    model.touch()
    assert exported(model.name) == [("ro", model), ("make", tmp_path / "export")]
    assert exported(str(model), "--out", "/out") == [("ro", model), ("make", Path("/out"))]


def test_a_mistake_in_the_config_is_the_user_s(needed):
    with pytest.raises(UserError, match=r"did you mean data\.data_root"):
        needed("main.py", "{data_rot: x}")


def test_a_sweep_needs_its_file_its_base_config_and_what_each_of_its_configs_needs(tmp_path):
    base, sweep = tmp_path / "base.yaml", tmp_path / "sweep.yaml"

    def needed():
        return list(needed_paths("/code/src/cli", ["sweep", str(sweep), "--table"]))

    assert needed() == [("ro", sweep), ("again", Path())]
    sweep.write_text(f"config: {base}\ngrid: {{data.data_root: [/mine, /yours], train.epochs: [1, 2]}}\nseeds: 2")
    assert needed() == [("ro", sweep), ("ro", base), ("again", Path())]
    base.write_text("data: {name: NMNIST}")
    assert needed() == [("ro", sweep), ("ro", base), ("rw", Path("/mine")), ("rw", Path("/yours"))]
