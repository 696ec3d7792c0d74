"""A sweep's file becomes configurations and jobs; every mistake is reported before anything runs."""

import math
import os

import pytest

from src.command_line import UserError
from src.config import Config
from src.jobs.folders import SWEEP_FILE
from src.options import with_option
from src.sweeps.specification import base_config, keep_file, load_sweep
from tests.small_job import REPOSITORY

BASE = """
train: {epochs: 3}
model: {difflogic: {tau: 10}}
"""


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Loads a sweep of this text on top of a small base config."""
    monkeypatch.setenv("PROJECT_STORAGE_DIR", str(tmp_path / "project"))
    (tmp_path / "base.yaml").write_text(BASE)

    def load_text(text, config=None):
        path = tmp_path / "rates.yaml"
        path.write_text(f"config: {config or tmp_path / 'base.yaml'}\n{text}")
        return load_sweep(path)

    return load_text


def settings(sweep):
    return [configuration.settings for configuration in sweep.configurations]


def job_ids(sweep):
    return [job.job_id for job in sweep.jobs]


def test_a_grid_is_every_combination_with_every_seed(load):
    sweep = load("grid: {train.learning_rate: [1e-2, 0.02], model.difflogic.tau: [5]}\nseeds: [3, 1]")
    assert job_ids(sweep) == [
        "rates_learning_rate-0.01_tau-5_s3",
        "rates_learning_rate-0.02_tau-5_s3",
        "rates_learning_rate-0.01_tau-5_s1",
        "rates_learning_rate-0.02_tau-5_s1",
    ]
    assert [(job.config.train.learning_rate, job.config.base.seed) for job in sweep.jobs[1:3]] == [(0.02, 3), (0.01, 1)]
    assert all(job.config.train.epochs == 3 for job in sweep.jobs)


def test_seeds_with_leading_zeros_are_decimal(load):
    assert [job.config.base.seed for job in load("seeds: [010, 08]").jobs] == [10, 8]


def test_a_sweep_s_name_that_is_chosen_ignores_case(load):
    sweep = load("metric: Test.Frame_Accuracy\nmodel: FINAL\ngrid: {data.name: [demo], model.model_type: [CNN]}")
    assert (sweep.metric, sweep.model) == ("test.frame_accuracy", "final")
    assert job_ids(sweep) == ["rates_name-DEMO_model_type-cnn_s0"]


def test_a_sweep_with_a_byte_order_mark_and_windows_line_ends_is_read(load, tmp_path):
    (tmp_path / "windows.yaml").write_bytes(f"\ufeffconfig: {tmp_path / 'base.yaml'}\r\nseeds: 2\r\n".encode())
    assert len(load_sweep(tmp_path / "windows.yaml").jobs) == 2


def test_a_sweep_from_a_pipe_is_read_once_and_needs_a_name(tmp_path, load):
    load("")  # writes the base config
    for text, problem in ((f"config: {tmp_path / 'base.yaml'}\nname: piped", None), ("config: x", "needs one")):
        reader, writer = os.pipe()
        os.write(writer, text.encode())
        os.close(writer)
        if problem:
            with pytest.raises(UserError, match=problem):
                load_sweep(f"/dev/fd/{reader}")
        else:
            keep_file(sweep := load_sweep(f"/dev/fd/{reader}"))
            assert (sweep.folder / SWEEP_FILE).read_text() == text
        os.close(reader)


def test_the_base_config_s_path_is_expanded(load, tmp_path, monkeypatch):
    monkeypatch.setenv("BASES", str(tmp_path))
    assert load("seeds: 2", "$BASES/base.yaml").base == tmp_path / "base.yaml"
    with pytest.raises(UserError, match=r"rates.yaml: config = ~nobody/x.yaml: only ~ and ~/ stand for"):
        load("seeds: 2", "~nobody/x.yaml")


def test_a_sweep_of_more_jobs_than_anyone_runs_is_refused_before_they_are_made(load):
    values = ", ".join(f"1e-{number}" for number in range(1, 11))
    grid = "\n".join(f"  train.{key}: [{values}]" for key in ("learning_rate", "weight_decay", "ema_decay"))
    more = "\n".join(f"  model.difflogic.{key}: [{values}]" for key in ("tau", "grad_factor", "temperature"))
    with pytest.raises(UserError, match=r"rates.yaml: grid: 1,000,000 combinations; at most 100,000"):
        load(f"grid:\n{grid}\n{more}")
    with pytest.raises(UserError, match=r"rates.yaml: 1,000,000 jobs: .*; at most 100,000"):
        load(f"seeds: 1000\ngrid:\n{grid}")


def test_a_base_config_that_only_one_job_could_read_is_refused(load, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UserError, match=r"rates.yaml: config = .*fifo: every job reads it, so it must be a file"):
        load("seeds: 2", tmp_path / "fifo")


def test_a_job_s_override_gives_main_py_the_job_s_config(load, tmp_path):
    text = """
overrides: {base.wandb_project: "a 'b' $c", train.report: false, data.time_window: null}
grid: {train.learning_rate: [1e-5], train.dataloader.shuffle_train: [true, false]}
"""
    for job in load(text).jobs:
        config = Config.from_yaml(tmp_path / "base.yaml", [job.override])
        config = with_option(config, "base.job_id", job.job_id)
        assert config == job.config
        assert config.base.wandb_project == "a 'b' $c"


def test_a_grid_that_grows_keeps_the_job_ids_that_were_there(load):
    few = load("grid: {train.learning_rate: [0.02]}")
    many = load("grid: {train.learning_rate: [0.01, 0.02, 0.03]}\nseeds: 2")
    assert set(job_ids(few)) < set(job_ids(many))


def test_a_number_of_seeds_counts_from_0(load):
    assert job_ids(load("seeds: 3")) == ["rates_s0", "rates_s1", "rates_s2"]


def test_variants_are_named_configurations_and_may_change_overrides(load):
    sweep = load("overrides: {train.epochs: 5}\nvariants: {plain: , long: {train.epochs: 9}}")
    assert job_ids(sweep) == ["rates_plain_s0", "rates_long_s0"]
    assert [configuration.value("train.epochs") for configuration in sweep.configurations] == [5, 9]


def test_variants_and_a_grid_multiply(load):
    sweep = load("variants: {plain: {}, deep: {model.difflogic.num_layers: 8}}\ngrid: {model.difflogic.tau: [5, 20]}")
    assert [configuration.label for configuration in sweep.configurations] == [
        "plain_tau-5",
        "plain_tau-20",
        "deep_tau-5",
        "deep_tau-20",
    ]


def test_job_ids_are_names_of_folders_whatever_the_values(load):
    sweep = load(f"grid: {{data.data_root: [a/b, a-b, {'x' * 200}]}}")
    assert len(set(job_ids(sweep))) == 3
    assert all(len(job_id) <= 128 and "/" not in job_id for job_id in job_ids(sweep))


def test_options_whose_last_names_are_equal_are_told_apart_in_job_ids(load):
    (job,) = load("grid: {data.seed: [1], train.epochs: [2], base.wandb: [disabled]}").jobs
    assert job.job_id == "rates_seed-1_epochs-2_wandb-disabled_s0"
    (job,) = load("grid: {data.name: [DEMO], model.cnn.conv1_channels: [2], model.mlp.hidden_size: [3]}").jobs
    assert job.job_id == "rates_name-DEMO_conv1_channels-2_hidden_size-3_s0"


RANDOM = """
random:
  train.learning_rate: {low: 1e-4, high: 1e-1, log: true}
  model.difflogic.num_layers: {low: 2, high: 5}
  model.difflogic.connections: {choices: [random, unique]}
"""


def test_random_values_lie_in_their_ranges_and_are_whole_where_the_option_is(load):
    drawn = settings(load(f"{RANDOM}trials: 100"))
    assert len(drawn) == 100
    rates = [one["train.learning_rate"] for one in drawn]
    assert all(1e-4 <= rate <= 1e-1 for rate in rates)
    assert 30 < sum(rate < math.sqrt(1e-4 * 1e-1) for rate in rates) < 70  # by their logarithm
    assert {one["model.difflogic.num_layers"] for one in drawn} == {2, 3, 4, 5}
    assert {one["model.difflogic.connections"] for one in drawn} == {"random", "unique"}


def test_more_trials_begin_with_the_same_draws_and_another_seed_gives_others(load):
    few, many = settings(load(f"{RANDOM}trials: 5")), settings(load(f"{RANDOM}trials: 9"))
    assert many[:5] == few
    assert settings(load(f"{RANDOM}trials: 5\nseed: 1")) != few


def test_trials_are_different_from_each_other(load):
    drawn = settings(load("random: {model.difflogic.num_layers: {low: 1, high: 4}}\ntrials: 4"))
    assert sorted(one["model.difflogic.num_layers"] for one in drawn) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grit: {}", "unknown key grit; did you mean grid?"),
        (
            "grid: {train.learning_rat: [1]}",
            "unknown key train.learning_rat; did you mean train.learning_rate",
        ),
        ("grid: {train.learning_rate: [0.1, -1]}", "rates.yaml: train.learning_rate = -1: must be > 0.0"),
        ("grid: {train.learning_rate: 0.1}", "grid.train.learning_rate = 0.1: expected a list of values"),
        ("grid: {train.learning_rate: []}", "grid.train.learning_rate = []: expected a list of values"),
        ("grid: {train.learning_rate: [0.01, 1e-2]}", "configuration learning_rate-0.01 stands twice"),
        ("grid: {train: [{epochs: 1}]}", "train is a section; override one of its keys"),
        ("grid: [1]", "grid = [1]: expected a mapping"),
        ("grid: {base.seed: [1, 2]}", "grid.base.seed: the sweep sets it itself, see seeds"),
        (
            "grid: {train.epochs: [1]}\noverrides: {train.epochs: 2}",
            "train.epochs stands in overrides and is varied",
        ),
        (
            "grid: {train.epochs: [1]}\nvariants: {a: {train.epochs: 2}}",
            "train.epochs stands in variants.a and is varied",
        ),
        ("grid: {train.epochs: [1]}\nrandom: {model.mlp.hidden_size: {choices: [1]}}", "exclude each other"),
        ("seeds: 0", "seeds = 0: expected how many"),
        ("seeds: [1, 1]", "seeds = [1, 1]: expected how many"),
        ("seeds: [0.5]", "seeds = [0.5]: expected how many"),
        ("name: a/b", "name 'a/b' is not allowed"),
        (f"name: {'x' * 127}", "job id 'xxx"),
        ("variants: {a b: {}}", "variants: the name 'a b' is not allowed"),
        ("variants: {a: 3}", "variants.a = 3: expected a mapping"),
        ("metric: test.accuracy", "metric = 'test.accuracy': allowed: val.frame_accuracy"),
        ("overrides: {data.val_split: 0}", "metric = val.frame_accuracy needs data.val_split > 0"),
        ("overrides: {train.save_model: false}", "model = best needs train.save_model = true"),
        ("random: {train.learning_rate: 1}", "expected {low: 0.001, high: 0.1, log: true}"),
        ("random: {train.learning_rate: {lo: 1}}", "unknown key random.train.learning_rate.lo; did you mean"),
        ("random: {train.learning_rate: {low: 1}}", "random.train.learning_rate: give low and high, or choices"),
        ("random: {train.learning_rate: {low: 2, high: 1}}", "low = 2 must be less than high = 1"),
        ("random: {train.learning_rate: {low: 0, high: 1, log: true}}", "low = 0 must be greater than 0"),
        ("random: {train.epochs: {low: 1.2, high: 1.8}}", "there is no whole number from 1.2 to 1.8"),
        ("random: {train.learning_rate: {choices: 3}}", "choices = 3: expected a list of values"),
        ("random: {train.learning_rate: {choices: [1], low: 2}}", "give choices, or low and high"),
        ("random: {train.epoch: {choices: [1]}}", "did you mean train.epochs"),
        ("random: {train.epochs: {low: 1, high: 3}}", "trials = 10: the ranges have hardly more than 3 different"),
    ],
)
def test_a_mistake_is_told_with_the_file_and_what_to_do(load, text, message):
    with pytest.raises(UserError) as error:
        load(text)
    assert message in str(error.value)
    assert "rates.yaml" in str(error.value)


def test_every_mistake_is_told_once_and_in_one_go(load):
    with pytest.raises(UserError) as error:
        load("variants: {a: {train.epoch: 1}, b: {train.epoch: 1}}\ngrid: {train.dtype: [int8], base.wandb: [on, off]}")
    lines = str(error.value).split("\n")
    assert len(lines) == len(set(lines)) == 4
    assert [next(word for word in ("train.epoch;", "train.dtype", "base.wandb") if word in line) for line in lines] == [
        "train.epoch;",
        "train.dtype",
        "base.wandb",
        "base.wandb",
    ]


def test_a_base_config_that_is_missing_or_wrong_is_named(load, tmp_path):
    with pytest.raises(UserError, match=r"no\.yaml: cannot read the config"):
        load("seeds: 2", config=tmp_path / "no.yaml")
    with pytest.raises(UserError, match="which config is to be varied"):
        load("seeds: 2", config="''")


def test_a_relative_base_config_starts_at_the_repository():
    assert base_config(REPOSITORY / "configs/sweep_example.yaml") == REPOSITORY / "configs/nmnist_difflogic.yaml"


def test_the_example_is_what_it_says():
    sweep = load_sweep(REPOSITORY / "configs/sweep_example.yaml")
    assert (len(sweep.configurations), len(sweep.jobs)) == (9, 27)
    assert "rate_and_tau_learning_rate-0.01_tau-10_s0" in job_ids(sweep)


def test_a_sweep_that_takes_the_name_of_another_one_is_told(load, caplog):
    keep_file(load("seeds: 1"))
    keep_file(sweep := load("seeds: 1"))
    assert caplog.text == ""
    keep_file(load("seeds: 2"))
    assert "sweep rates has run with another file" in caplog.text
    assert (sweep.folder / SWEEP_FILE).read_text().endswith("seeds: 2")
