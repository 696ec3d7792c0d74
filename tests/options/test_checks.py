"""Options that are set and have no effect, for whatever reason."""

import pytest

from src.config import Config, load_config
from src.options import find, options_of, plain, with_option
from src.options.checks import all_needs, reason_unused, unused_lines
from tests.small_job import REPOSITORY

CONFIGS = sorted({*REPOSITORY.glob("configs/*.yaml")} - {*REPOSITORY.glob("configs/sweep_*.yaml")})
NEEDS = [(key, need) for key, _, _ in options_of(Config()) for need in all_needs(Config(), key)]


def unmet(need):
    """Return a value of the option that is needed which is not enough."""
    field = find(Config(), need.key)[1]
    values = [*(field.metadata.get("choices") or ()), 0, None, "cpu"]
    return next(value for value in values if not need.is_met(value))


@pytest.mark.parametrize(("key", "need"), NEEDS, ids=lambda value: value if isinstance(value, str) else value.key)
def test_an_option_without_what_it_needs_is_named_with_the_reason(key, need):
    config, value = with_option(Config(), need.key, unmet(need)), unmet(need)
    reason = reason_unused(config, key)
    assert reason is not None
    assert unused_lines(config, [key], "a.yaml") == [f"a.yaml: {key} is not used, since {reason}"]
    if reason_unused(config, need.key) is None and len(all_needs(config, key)) == 1:
        assert reason == f"{need.key} = {plain(value)}"


@pytest.fixture
def unused(tmp_path):
    def unused(overrides, text="base:"):
        (tmp_path / "config.yaml").write_text(text)
        lines = load_config(tmp_path / "config.yaml", [overrides] if overrides else [])[1]
        return [line.replace(str(tmp_path / "config.yaml"), "config.yaml") for line in lines]

    return unused


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ("model.model_type=cnn model.difflogic.tau=3", "model.difflogic.tau is not used, since model.model_type = cnn"),
        (
            "model.difflogic.candidates=16",
            "model.difflogic.candidates is not used, since model.difflogic.connections = random",
        ),
        (
            "model.difflogic.local_size=4",
            "model.difflogic.local_size is not used, since model.difflogic.connections = random",
        ),
        ("train.teacher.weight=0.5", "train.teacher.weight is not used, since train.teacher.model = null"),
        ("train.teacher.temperature=3", "train.teacher.temperature is not used, since train.teacher.model = null"),
        (
            "model.difflogic.thermometer=learnable",
            "model.difflogic.thermometer is not used, since model.difflogic.thermometer_levels = 0",
        ),
        ("train.min_learning_rate=0.001", "train.min_learning_rate is not used, since train.scheduler = constant"),
        (
            "data.frame_mode=n_time_bins data.n_time_bins=4 data.overlap=0 data.drop_incomplete=false",
            "data.drop_incomplete is not used, since data.frame_mode = n_time_bins",
        ),
        (
            "train.dataloader.placement=device train.dataloader.num_workers=2 train.dataloader.prefetch_factor=3",
            "train.dataloader.num_workers and train.dataloader.prefetch_factor are not used, since "
            "train.dataloader.placement = device",
        ),
        ("base.wandb_project=mine", "base.wandb_project is not used, since base.wandb = disabled"),
    ],
)
def test_an_option_that_is_set_in_vain_is_named_in_a_line(unused, overrides, line):
    assert unused(overrides) == [f"--override: {line}"]


def test_overrides_in_vain_are_named_apart_from_the_file_s_options_and_before_them(unused):
    text = "{train: {step_epochs: 3, step_factor: 0.2}, model: {mlp: {hidden_size: 8}}}"
    assert unused("train.step_factor=0.5", text) == [
        "--override: train.step_factor is not used, since train.scheduler = constant",
        "config.yaml: train.step_epochs is not used, since train.scheduler = constant",
        "config.yaml: model.mlp.hidden_size is not used, since model.model_type = difflogic",
    ]


def test_what_is_set_to_its_default_is_set_too_and_what_is_not_set_is_not_named(unused):
    assert unused("train.step_epochs=10") == [
        "--override: train.step_epochs is not used, since train.scheduler = constant"
    ]
    assert unused("train.scheduler=cosine", "train: {step_factor: 0.1}") == [
        "config.yaml: train.step_factor is not used, since train.scheduler = cosine"
    ]
    assert unused("train.scheduler=step") == []


def test_a_job_s_whole_config_names_only_what_is_not_the_default(unused):
    assert unused("", Config().to_yaml()) == []
    changed = with_option(Config(), "train.step_epochs", 3)
    assert unused("", changed.to_yaml()) == [
        "config.yaml: train.step_epochs is not used, since train.scheduler = constant"
    ]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_no_option_of_a_shipped_config_is_set_in_vain(path):
    assert load_config(path)[1] == []
