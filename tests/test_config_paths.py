"""What a command needs of the disk, as the wrappers learn it from its config."""

from pathlib import Path

import pytest

from helper_scripts.config_paths import needed_paths
from src.helpers import UserError
from tests.small_job import REPOSITORY


@pytest.fixture
def needed(tmp_path):
    """The paths that a script needs for a data section."""

    def paths(script, section, *overrides):
        config = tmp_path / "config.yaml"
        config.write_text(f"data: {section}")
        return [(mode, str(path)) for mode, path in needed_paths(script, str(config), list(overrides))]

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


def test_a_mistake_in_the_config_is_the_user_s(needed):
    with pytest.raises(UserError, match=r"did you mean data\.data_root"):
        needed("main.py", "{data_rot: x}")


def test_a_sweep_needs_its_base_config_and_what_each_of_its_configs_needs(tmp_path):
    base, sweep = tmp_path / "base.yaml", tmp_path / "sweep.yaml"
    sweep.write_text(f"config: {base}\ngrid: {{data.data_root: [/mine, /yours], train.epochs: [1, 2]}}\nseeds: 2")
    assert list(needed_paths("sweep.py", str(sweep), [])) == [("ro", base), ("again", Path())]
    base.write_text("data: {name: NMNIST}")
    assert list(needed_paths("sweep.py", str(sweep), [])) == [
        ("ro", base),
        ("rw", Path("/mine")),
        ("rw", Path("/yours")),
    ]
