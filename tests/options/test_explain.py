"""Options in words: `--explain`, and the page docs/configuration.md."""

import subprocess
import sys

import pytest

from helper_scripts.configuration_page import GUIDES, PAGE, page
from src.command_line import UserError
from src.config import Config
from src.options import options_of
from src.options.explain import explain
from src.options.yaml_text import parse_yaml
from tests import small_job


def test_all_options_are_explained_as_a_config_of_the_defaults():
    assert parse_yaml(explain(Config())) == Config().to_dict()


def test_a_section_or_an_option_is_explained_by_itself():
    assert parse_yaml(explain(Config(), "model.cnn")) == {"model": {"cnn": Config().to_dict()["model"]["cnn"]}}
    assert explain(Config(), "train.warmup_epochs").splitlines() == [
        "train:",
        "  # Length of a linear rise to the learning rate, with any scheduler; may be a part of an epoch.",
        "  # Number of epochs, at least 0, below train.epochs.",
        "  warmup_epochs: 0.0",
    ]


def test_an_unknown_key_is_told_with_the_nearest_name():
    with pytest.raises(UserError, match=r"unknown key train.epoch; did you mean train.epochs\?"):
        explain(Config(), "train.epoch")


def test_main_explains_without_a_config(tmp_path):
    output = small_job.run(tmp_path, "main.py", "--explain", "train.step_factor")
    assert "step_factor: 0.1" in output
    assert "did you mean model?" in small_job.run(tmp_path, "main.py", "--explain", "modle", expect=2)


def test_main_explains_several_options(tmp_path):
    output = small_job.run(tmp_path, "main.py", "--explain", "train.step_factor", "train.epochs")
    assert "step_factor: 0.1" in output
    assert "epochs: 40" in output


def test_the_wrapper_explains_without_a_config_and_a_job_id():
    command = ["./train.sh", "--explain", "model.mlp"]
    result = subprocess.run(command, cwd=small_job.REPOSITORY, capture_output=True, text=True, check=True)
    assert parse_yaml(result.stdout) == {"model": {"mlp": Config().to_dict()["model"]["mlp"]}}


def test_explaining_imports_neither_pytorch_nor_numba():
    code = "import sys, main\ntry: main.read_arguments(['--explain'])\n"
    code += "except SystemExit: sys.exit(bool({'torch', 'numba'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], cwd=small_job.REPOSITORY, stdout=subprocess.DEVNULL, check=True)


@pytest.mark.parametrize(("key", "field"), [(key, field) for key, field, _ in options_of(Config())])
def test_every_option_has_a_phrase_of_help(key, field):
    text = field.metadata["help_text"]
    assert text
    assert not text.endswith(".")


def test_the_page_of_options_is_up_to_date():
    assert PAGE.read_text() == page(), "run python -m helper_scripts.configuration_page"


def test_every_section_with_options_has_a_page_that_teaches_it():
    assert {key.rpartition(".")[0] for key, _, _ in options_of(Config())} == set(GUIDES)


def test_a_row_has_default_type_unit_limits_and_help():
    assert "| `batch_size` | 128 | whole number | frames | at least 1, at most 10,000,000 | Size of a batch" in page()
    assert "| `device` | cuda | text | | | " in page()
    assert "| `time_window` | null | whole number or null | microseconds | at least 1" in page()
    assert "Write logs/&lt;job_id>/report.html" in page()
    assert "| `dtype` | float32 | name | | float32, bfloat16, float16 | " in page()
