"""prepare_data.py: what it warns of."""

from argparse import Namespace

import pytest

import prepare_data
from src.command_line import StopSignals
from src.frame_cache import prepare


@pytest.fixture
def warnings(tmp_path, monkeypatch, caplog):
    """What a preparation with these overrides, which prepares nothing, warns of."""
    monkeypatch.setattr(prepare, "prepare", lambda *arguments: None)
    (tmp_path / "a.yaml").write_text("train: {device: cpu}")

    def warnings(overrides):
        prepare_data.run(
            Namespace(config=tmp_path / "a.yaml", override=[overrides], shard=None, preview=False, inspect=False),
            StopSignals(),
        )
        return caplog.messages

    return warnings


def test_an_override_that_a_preparation_does_not_read_is_named(warnings):
    assert warnings("train.epochs=99 data.overlap=500") == [
        "--override: train.epochs is not used, since a preparation reads only data"
    ]


def test_an_override_that_a_preparation_reads_is_not_named(warnings):
    assert warnings("data.overlap=500") == []
