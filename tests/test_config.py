"""Configs: defaults, overrides, errors that say everything at once."""

import dataclasses
import functools
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src import registry
from src.command_line import UserError
from src.config import Config, Data, overlap_of
from src.events.datasets import DATASETS, get_dataset
from src.options import differing_keys, with_option
from src.options.yaml_text import parse_yaml
from tests.configs import changed
from tests.small_job import REPOSITORY


@pytest.fixture
def load(tmp_path):
    def load(text, *overrides):
        path = tmp_path / "config.yaml"
        path.write_text(text) if isinstance(text, str) else path.write_bytes(text)
        return Config.from_yaml(path, overrides)

    return load


def error_of(load, text, *overrides):
    with pytest.raises(UserError) as error:
        load(text, *overrides)
    return str(error.value)


def options(section, prefix=""):
    for option in dataclasses.fields(section):
        value = getattr(section, option.name)
        if dataclasses.is_dataclass(value):
            yield from options(value, f"{prefix}{option.name}.")
        else:
            yield prefix + option.name, option


def value_of(config, key):
    return functools.reduce(getattr, key.split("."), config)


CHOICES = [(key, choice) for key, option in options(Config()) for choice in option.metadata.get("choices", ())]

CONFIGS = sorted({*REPOSITORY.glob("configs/*.yaml")} - {*REPOSITORY.glob("configs/sweep_*.yaml")})


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_a_shipped_config_loads(path):
    Config.from_yaml(path)


TRAINING = [path for path in CONFIGS if "prepare" not in path.name and path.name != "my_recordings.yaml"]  # the user's


@pytest.mark.parametrize("path", TRAINING, ids=lambda path: path.name)
def test_a_shipped_config_begins_with_what_to_expect(path):
    beginning = path.read_text().partition("\ndata:")[0]
    assert all(line.startswith("#") for line in beginning.splitlines())
    assert re.search(r"\d %|accuracy not measured", beginning)
    assert re.search(r"(second|minute|hour)s?\b", beginning)


def test_what_a_file_does_not_give_has_its_default(load):
    config = load("train: {epochs: 3}")
    assert config.train.epochs == 3
    assert config.train.learning_rate == Config().train.learning_rate


def test_a_resolved_config_loads_to_an_equal_one(load):
    config = load("base: {job_id: 'x: #1'}\ntrain: {learning_rate: 1e-3}", "model.cnn.conv1_channels=7")
    assert load(config.to_yaml()) == config


@pytest.mark.slow
@given(st.floats(min_value=1e-300, max_value=1e3, exclude_min=True))
def test_every_float_survives_the_resolved_config(tmp_path_factory, value):
    config = with_option(Config(), "train.learning_rate", value)
    path = tmp_path_factory.mktemp("c") / "c.yaml"
    path.write_text(config.to_yaml())
    assert Config.from_yaml(path).train.learning_rate == value


KERNELS = "model.difflogic.convolution.kernels"


@pytest.mark.parametrize(("text", "value"), [("[16,64]", (16, 64)), ("[8]", (8,)), ("8", (8,))])
def test_a_list_of_whole_numbers_may_be_a_single_one(load, text, value):
    assert (
        load(f"model: {{difflogic: {{convolution: {{kernels: {text}}}}}}}").model.difflogic.convolution.kernels == value
    )
    config = load("train:", f"{KERNELS}={text}")
    assert config.model.difflogic.convolution.kernels == value
    assert load(config.to_yaml()) == config


@pytest.mark.parametrize("text", ["[]", "[3,x]", "[1.5]", "3,4", "[[3]]", "[true]", "null", "[3,"])
def test_what_is_no_list_of_whole_numbers_is_an_error(load, text):
    assert f"{KERNELS} = " in (error := error_of(load, "train:", f"{KERNELS}={text}"))
    assert "expected whole numbers in brackets: [32,128]" in error


def test_each_entry_of_a_list_has_the_limits_of_the_option(load):
    assert f"{KERNELS} = [8, 0]: must be >= 1" in error_of(load, "train:", f"{KERNELS}=[8,0]")


def test_a_loaded_config_is_frozen(load):
    config = load("train: {epochs: 3}")
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.train.epochs = 4
    assert with_option(config, "train.epochs", 4).train.epochs == 4
    assert config.train.epochs == 3


def test_a_config_s_dict_is_what_json_and_yaml_give_back():
    tree = Config().to_dict()
    assert json.loads(json.dumps(tree)) == parse_yaml(Config().to_yaml()) == tree


@pytest.mark.parametrize("text", ["1e-2", "1E-2", ".01", "0.01", "'0.01'"])
def test_a_float_may_be_written_in_any_way(load, text):
    assert load(f"train: {{learning_rate: {text}}}").train.learning_rate == 0.01
    assert load("train:", f"train.learning_rate={text.strip(chr(39))}").train.learning_rate == 0.01


def test_a_whole_number_may_be_written_with_an_exponent(load):
    epochs = load("train: {epochs: 1e2}").train.epochs
    assert epochs == 100
    assert isinstance(epochs, int)


def test_a_section_without_content_keeps_its_defaults(load):
    assert load("train:\nmodel:\n") == Config()


def test_one_override_text_may_hold_several(load):
    config = load("base:", "train.epochs=10 train.learning_rate=0.001", "model.model_type=cnn")
    assert (config.train.epochs, config.train.learning_rate, config.model.model_type) == (10, 0.001, "cnn")


def test_a_list_in_an_override_may_have_spaces(load):
    config = load("base:", "model.difflogic.convolution.kernels=[16, 32] train.epochs=3")
    assert (config.model.difflogic.convolution.kernels, config.train.epochs) == ((16, 32), 3)


def test_a_list_in_an_override_that_does_not_end_is_told_in_one_line(load):
    text = error_of(load, "base:", "model.difflogic.convolution.kernels=[16, 32 train.epochs=3")
    assert "model.difflogic.convolution.kernels" in text
    assert text.count("--override") == 1


def test_overrides_are_typed_by_their_option(load):
    config = load("base:", "base.job_id=007 data.reset_cache=true data.data_root='a b'")
    assert (config.base.job_id, config.data.reset_cache, config.data.data_root) == ("007", True, "a b")


def test_the_last_override_of_a_key_counts(load):
    assert load("base:", "train.epochs=1", "train.epochs=2 train.epochs=3").train.epochs == 3


@pytest.mark.parametrize(
    "text",
    [
        r"data.group_by=(user\d+)_\w",
        r"data.group_by='(user\d+)_\w'",
        r'data.group_by="(user\d+)_\w"',
        r'"data.group_by=(user\d+)_\w"',
    ],
)
def test_backslashes_of_an_override_stay(load, text):
    assert load("base:", text).data.group_by == r"(user\d+)_\w"


def test_a_backslash_takes_the_meaning_of_a_blank_or_quote_away(load):
    assert load("base:", r"data.data_root=/my\ folder\'s").data.data_root == "/my folder's"


def test_null_unsets_an_optional_option(load):
    assert load("base: {job_id: a}", "base.job_id=null").base.job_id is None


def test_all_errors_of_file_and_overrides_are_told_at_once(load):
    message = error_of(load, "train: {epochs: -1, device: 7}\nmodle: {}", "data.overlap=x", "nonsense")
    assert len(message.splitlines()) == 5
    for part in ("train.epochs", "train.device", "modle", "data.overlap", "nonsense"):
        assert part in message


def test_a_rule_is_not_told_of_the_default_of_a_misspelt_option(load):
    message = error_of(load, "data: {event_per_frame: 5000, overlap: 2500}")
    assert message.endswith("unknown key data.event_per_frame; did you mean data.events_per_frame?")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modle: {}", "unknown key modle; did you mean model?"),
        ("train: {epoch: 1}", "unknown key train.epoch; did you mean train.epochs?"),
        ("model: {cnn: {conv1: 1}}", "unknown key model.cnn.conv1; did you mean model.cnn.conv1_channels?"),
        ("train: {dataloader: {batchsize: 1}}", "did you mean train.dataloader.batch_size?"),
        ("train: {zzz: 1}", "known here: epochs, learning_rate"),
        ("1: 2", "unknown key 1"),
        ("train: 3", "train is a section"),
        ("train: {epochs: 1.5}", "train.epochs = 1.5: expected a whole number"),
        ("train: {epochs: true}", "expected a whole number"),
        ("train: {epochs: [1]}", "expected a whole number"),
        ("train: {epochs: 0}", "train.epochs = 0: must be >= 1 and <= 1000000"),
        ("train: {epochs: 99999999999}", "must be >= 1 and <= 1000000"),
        ("train: {epochs: null}", "expected a whole number"),
        ("train: {learning_rate: .nan}", "expected a finite number"),
        ("train: {learning_rate: .inf}", "expected a finite number"),
        ("train: {learning_rate: 1e999}", "expected a finite number"),
        ("train: {learning_rate: 0}", "must be > 0"),
        ("train: {learning_rate: fast}", "train.learning_rate = 'fast': expected a finite number"),
        ("train: {save_model: 1}", "expected true or false"),
        ("train: {dtype: float31}", "allowed: float32, bfloat16, float16; did you mean float32?"),
        ("base: {wandb: off}", "base.wandb = 'off': allowed: disabled, offline, online"),
        ("data: {name: 5}", "data.name = 5: allowed: NMNIST, CIFAR10DVS, "),
        ("base: {wandb_project: 5}", "expected text"),
        ('data: {data_root: "a\\0b"}', "without NUL"),
        ("data: {val_split: 1}", "must be >= 0.0 and < 1.0"),
        ("data: {overlap: 1500}", "data.overlap = 1500 must be smaller than data.events_per_frame = 1500"),
        ("train: {epochs: 1}\ntrain: {epochs: 2}", "line 2: not valid YAML: key 'train' stands twice"),
        ("train: {epochs: 1, epochs: 2}", "key 'epochs' stands twice"),
        ("train: {epochs: 1", "not valid YAML"),
        ("a: !!python/object:os.system {}", "not valid YAML"),
        ("- a\n- b", "expected the sections base, data, train, model at the top, got a list"),
        ("just text", "got a str"),
        ("", "the config is empty"),
        ("# nothing", "the config is empty"),
        ("train:\n\tepochs: 1", "line 2: not valid YAML"),
        (b"\xff\xfet\x00r\x00", "not a UTF-8 text file"),
        (bytes(range(256)), "not a UTF-8 text file"),
    ],
)
def test_a_mistake_in_a_file_is_told_with_file_key_and_value(load, text, message):
    told = error_of(load, text)
    assert message in told
    assert "config.yaml" in told


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epochs", "expected key=value"),
        ("=3", "expected key=value"),
        ("", "expected key=value"),
        ("train.epochs=", "train.epochs = null: expected a whole number"),
        ("train.epochs=ten", "train.epochs = 'ten': expected a whole number"),
        ("train=3", "train is a section; override one of its keys"),
        ("train.dataloader=3", "train.dataloader is a section"),
        ("trian.epochs=3", "unknown key trian; did you mean train?"),
        ("frame_mode=time_window", "unknown key frame_mode; did you mean data.frame_mode?"),
        ("model.tau=3", "unknown key model.tau; did you mean model.difflogic.tau?"),
        ("seed=3", "unknown key seed; did you mean base.seed or data.seed?"),
        ("train.epochs.more=3", "unknown key train.epochs"),
        ("train.lr=3", "unknown key train.lr"),
        ("train.epochs='3", "No closing quotation"),
        ("train.epochs = 3", "--override 'train.epochs = 3': leave out the spaces around ="),
        ("train.epochs =3", "leave out the spaces around ="),
        ("train.epochs= 3", "leave out the spaces around ="),
        ("train.epochs=[1", "train.epochs = '[1': expected a whole number"),
        ("train={epochs: 3}", "train is a section; override one of its keys"),
        ("train={epochs: 3, dataloader: {batch_size: 4}}", "train is a section; override one of its keys"),
        ("train.epochs 3", "--override 'train.epochs 3': write train.epochs=3"),
        ("train.epochs: 3", "--override 'train.epochs: 3': write train.epochs=3"),
        ("data.data_root my data", "write 'data.data_root=my data'"),
        ("base.job_id=my long job", "--override 'long job': expected key=value, such as train.epochs=10; quote"),
        ("train.epoch 3", "--override 'train.epoch 3': expected key=value"),
    ],
)
def test_a_mistake_in_an_override_is_told_once(load, override, message):
    told = error_of(load, "base:", override)
    assert message in told
    assert "\n" not in told


def test_an_override_after_one_that_is_not_understood_is_read(load):
    assert "train.dtype = 'tpu'" in error_of(load, "base:", "train.epochs 3 train.dtype=tpu")


def test_an_overlap_may_be_a_fraction_and_whole_ones_stay_whole(load):
    for text, overlap in (("0.25", 0.25), ("'1e-1'", 0.1), ("0.0", 0), ("null", None)):
        value = load(f"data: {{frame_mode: n_time_bins, n_time_bins: 4, overlap: {text}}}").data.overlap
        assert value == overlap
        assert type(value) is type(overlap)


def test_an_overlap_that_is_not_given_is_1000_events_and_nothing_else():
    assert overlap_of(Data()) == 1000
    assert overlap_of(Data(frame_mode="time_window", time_window=50_000)) == 0
    assert overlap_of(Data(overlap=3)) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frame_mode: events", "allowed: event_count, time_window, n_time_bins, n_event_bins"),
        ("frame_mode: time_window", "data.frame_mode = time_window needs data.time_window, microseconds"),
        ("frame_mode: n_time_bins", "data.frame_mode = n_time_bins needs data.n_time_bins, frames per recording"),
        (
            "{frame_mode: time_window, time_window: 9, overlap: 9}",
            "overlap = 9 must be smaller than data.time_window",
        ),
        ("{frame_mode: time_window, time_window: 9, overlap: 0.5}", "data.overlap = 0.5 must be whole: with"),
        ("overlap: 10.5", "data.overlap = 10.5 must be whole: with data.frame_mode = event_count it counts events"),
        ("{frame_mode: n_event_bins, n_event_bins: 8, overlap: 1}", "data.overlap = 1 must be less than 1: with"),
        ("overlap: -1", "data.overlap = -1: must be >= 0"),
        ("downsample: 2", "data.downsample = 2: must be > 0.0 and <= 1.0"),
        ("downsample: 0", "data.downsample = 0: must be > 0.0"),
    ],
)
def test_framing_options_that_do_not_fit_are_told_with_key_and_value(load, text, message):
    told = error_of(load, f"data:\n  {text}")
    assert message in told
    assert told.count("\n") == 0


def test_options_that_do_not_fit_each_other_are_told_of_file_and_overrides(load):
    text = "train: {warmup_epochs: 2}"
    assert "config.yaml with --override: train.warmup_epochs = 2" in error_of(load, text, "train.epochs=2")
    assert "config.yaml: train.warmup_epochs = 2" in error_of(load, "train: {epochs: 2, warmup_epochs: 2}")


def test_a_size_of_a_frame_mode_that_is_not_in_use_is_told(load, caplog):
    with caplog.at_level("WARNING", logger="difflogic_tonic"):
        load("data: {time_window: 50000}")
    assert "data.time_window is not used, since data.frame_mode = event_count" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{epochs: 3, warmup_epochs: 3}", "train.warmup_epochs = 3.0 must be less than train.epochs = 3"),
        ("{min_learning_rate: 0.1}", "min_learning_rate = 0.1 must not be above train.learning_rate = 0.01"),
        ("{scheduler: cosinus}", "did you mean cosine?"),
        ("{label_smoothing: 1}", "train.label_smoothing = 1: must be >= 0.0 and < 1.0"),
        ("{best_metric: accuracy}", "allowed: frame_accuracy, recording_accuracy, loss"),
        ("{early_stopping_patience: 0}", "train.early_stopping_patience = 0: must be >= 1"),
        ("{clip_gradient_norm: 0}", "train.clip_gradient_norm = 0: must be > 0.0"),
        ("{accumulate_batches: 0}", "train.accumulate_batches = 0: must be >= 1"),
        ("{ema_decay: 1}", "train.ema_decay = 1: must be >= 0.0 and < 1.0"),
        ("{weight_decay: -1}", "train.weight_decay = -1: must be >= 0.0"),
    ],
)
def test_training_options_that_do_not_fit_are_told_with_key_and_value(load, text, message):
    told = error_of(load, f"train: {text}")
    assert message in told
    assert told.count("\n") == 0


def test_an_option_of_another_scheduler_is_told(load, caplog):
    with caplog.at_level("WARNING", logger="difflogic_tonic"):
        load("train: {step_epochs: 5, scheduler: cosine}")
    assert "train.step_epochs is not used, since train.scheduler = cosine" in caplog.text


def test_convolutions_of_a_dense_network_are_told(load, caplog):
    with caplog.at_level("WARNING", logger="difflogic_tonic"):
        load("model: {difflogic: {convolution: {kernels: [8]}, architecture: convolutional}}")
        assert not caplog.text
        load("model: {difflogic: {convolution: {kernels: [8]}}}")
    assert "model.difflogic.convolution.kernels is not used, since model.difflogic.architecture = dense" in caplog.text


@pytest.mark.parametrize(
    ("key", "value"),
    [("data.name", "nMnist"), ("train.device", "CPU"), *((key, choice.swapcase()) for key, choice in CHOICES)],
)
def test_a_name_that_is_chosen_ignores_case_and_has_one_spelling(load, key, value):
    text = functools.reduce(lambda inner, name: f"{{{name}: {inner}}}", reversed(key.split(".")), value)
    needed = ["data.time_window=9000", "data.n_time_bins=9", "data.n_event_bins=9", "data.overlap=0"]
    of_file, of_override = load(text, *needed), load("base:", *needed, f"{key}={value}")
    assert of_file == of_override
    assert str(value_of(of_file, key)) in (value.lower(), value.upper())
    assert value_of(Config.from_dict(of_file.to_dict(), "a model"), key) == value_of(of_file, key)


def test_a_model_that_was_saved_with_another_spelling_has_the_one_spelling():
    saved = Config().to_dict()
    saved["data"]["name"], saved["model"]["model_type"] = "nmnist", "DiffLogic"
    assert Config.from_dict(saved, "a model") == Config()


def test_every_dataset_is_found_by_the_spelling_that_configs_store(load):
    for name in DATASETS:
        assert get_dataset(load(f"data: {{name: {name.lower()}}}").data.name) is DATASETS.load(name)


@pytest.mark.parametrize(
    ("registry", "key"),
    [
        (registry.DATASETS, "data.name"),
        (registry.MODEL_TYPES, "model.model_type"),
        (registry.PARAMETRISATIONS, "model.difflogic.parametrisation"),
        (registry.CONNECTIONS, "model.difflogic.connections"),
        (registry.BACKENDS, "model.difflogic.implementation"),
    ],
)
def test_a_name_that_is_added_to_a_registry_is_a_choice_at_once(load, monkeypatch, registry, key):
    assert "allowed: " in error_of(load, "base:", f"{key}=toy")
    monkeypatch.setitem(registry.entries, "Toy", "tests.toys:TOY")
    assert value_of(load("base:", f"{key}=toy"), key) == "Toy"


def test_a_choice_is_never_null(load):
    assert "train.scheduler = null: allowed: constant" in error_of(load, "train: {scheduler: null}")


def test_null_and_the_value_that_it_stands_for_mean_the_same(load):
    assert load("data: {overlap: null}").meaning() == load("data: {overlap: 1000}").meaning()
    sharper = "model: {difflogic: {temperature: 2, final_temperature: 2}}"
    assert load(sharper).meaning() == load("model: {difflogic: {temperature: 2}}").meaning()
    assert load("data: {overlap: null}").meaning() != load("data: {overlap: 500}").meaning()


def test_a_whole_number_with_leading_zeros_is_decimal(load):
    assert load("base: {seed: 010}").base.seed == 10
    assert load("base:", "base.seed=010").base.seed == 10


@pytest.mark.parametrize("value", ["1:30", "2024-13-45", "2024-01-01", "9" * 5000, "0x" + "f" * 5000])
def test_what_only_older_yaml_takes_for_a_number_is_told_with_key_and_value(load, value):
    for told in (error_of(load, f"train: {{epochs: {value}}}"), error_of(load, "base:", f"train.epochs={value}")):
        assert f"train.epochs = '{value[:70]}" in told
        assert told.endswith(": expected a whole number")
        assert len(told) < 300


def test_a_long_value_or_key_is_cut_in_messages(load):
    long = ", ".join(map(str, range(10_000)))
    for text in (f"train: {{epochs: [{long}]}}", f"train: [{long}]", f"train: {{{'x' * 10_000}: 1}}"):
        assert len(error_of(load, text)) < 1000
    assert len(error_of(load, "base:", "x" * 10_000)) < 1000


@pytest.mark.parametrize(("text", "value"), [("yes", True), ("On", True), ("NO", False), ("off", False)])
def test_true_and_false_have_the_words_of_older_yaml_too(load, text, value):
    assert load(f"data: {{reset_cache: {text}}}").data.reset_cache is value
    assert load("base:", f"data.reset_cache={text}").data.reset_cache is value


def test_a_date_is_text_where_text_is_asked_for(load):
    assert load("base: {job_id: 2024-01-01}").base.job_id == "2024-01-01"


def test_a_byte_order_mark_and_windows_line_ends_are_read(load):
    assert load(b"\xef\xbb\xbftrain:\r\n  epochs: 3\r\n") == load("train: {epochs: 3}")


PATHS = ["data.data_root", "data.folder", "data.url", "data.prepare_if_missing", "train.teacher.model"]


def test_every_option_that_is_a_path_is_known_as_one():
    assert sorted(key for key, option in options(Config()) if option.metadata.get("path")) == sorted(PATHS)


@pytest.mark.parametrize("key", PATHS)
@pytest.mark.parametrize(
    ("value", "problem"),
    [("$NOT_SET/x", "the environment variable NOT_SET is not set"), ("~nobody/x", "only ~ and ~/ stand for")],
)
def test_a_path_that_cannot_be_expanded_is_told_with_key_and_value(load, monkeypatch, key, value, problem):
    monkeypatch.delenv("NOT_SET", raising=False)
    assert f"{key} = {value}: {problem}" in error_of(load, "base:", f"{key}={value}")


def test_a_path_is_stored_as_it_is_written_so_that_it_means_the_same_elsewhere(load, monkeypatch):
    monkeypatch.setenv("PLACE", "/somewhere")
    assert load("data: {data_root: $PLACE/data}").data.data_root == "$PLACE/data"
    monkeypatch.delenv("PLACE")
    assert Config.from_dict({"data": {"data_root": "$PLACE/data"}}, "a model").data.data_root == "$PLACE/data"


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(UserError, match=r"qqqqqq: cannot read the config: No such file or directory$"):
        Config.from_yaml(tmp_path / "qqqqqq")


def test_of_a_missing_file_the_nearest_name_is_told(tmp_path):
    (tmp_path / "nmnist_mlp.yaml").touch()
    with pytest.raises(UserError, match=r"nmnist.yaml: .*; did you mean nmnist_mlp.yaml\?$"):
        Config.from_yaml(tmp_path / "nmnist.yaml")


def test_waiting_for_a_pipe_that_nobody_writes_to_ends_at_a_signal(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    code = (
        "from src.config import Config; from src.command_line import StopSignals; import sys; StopSignals().install()\n"
    )
    code += "print(1, flush=True); Config.from_yaml(sys.argv[1])"
    command = [sys.executable, "-c", code, tmp_path / "fifo"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        for _ in range(100):
            process.terminate()
            if process.poll() is not None:
                break
            time.sleep(0.1)
        process.kill()
    assert process.returncode == -signal.SIGTERM


def test_a_folder_is_no_config(tmp_path):
    with pytest.raises(UserError, match=re.escape(f"{tmp_path}: cannot read the config: Is a directory")):
        Config.from_yaml(tmp_path)


def test_differing_keys_are_named_with_both_values():
    old, new = Config(), changed(Config(), {"train.dataloader.batch_size": 7, "base.seed": 3})
    assert differing_keys(old.to_dict(), new.to_dict()) == [
        ("base.seed", 0, 3),
        ("train.dataloader.batch_size", 128, 7),
    ]
