"""What a job leaves, and what main.py refuses."""

import csv
import json
import shutil

import pytest
from safetensors import safe_open

from src.config import Config
from tests import small_job


@pytest.fixture(scope="module")
def jobs(prepared):
    """A folder with recordings, their config, their cache, and a finished job `first`."""
    (prepared / "output").write_text(small_job.run(prepared, "main.py", "small.yaml", "--job_id=first"))
    return prepared


def main(folder, *arguments, expect=0):
    return small_job.run(folder, "main.py", "small.yaml", *arguments, expect=expect)


def test_the_test_accuracies_are_printed(jobs):
    accuracy = json.loads((jobs / "project/logs/first/result.json").read_text())["test"]["vote_accuracy"]
    (line,) = [line for line in (jobs / "output").read_text().splitlines() if "test, final model:" in line]
    assert f", by vote {100 * accuracy:6.2f} %, gap" in line


def test_result_json_holds_fractions_discretised_and_relaxed(jobs):
    result = json.loads((jobs / "project/logs/first/result.json").read_text())
    for split in ("test", "best_test"):
        for name in ("frame_accuracy", "recording_accuracy"):
            assert 0.5 < result[split][name] <= 1  # chance is 0.1
            assert 0.5 < result[split][f"relaxed_{name}"] <= 1
        assert 0.5 < result[split]["vote_accuracy"] <= 1  # the discretised network's alone


def test_metrics_csv_has_a_row_an_evaluation(jobs):
    with (jobs / "project/logs/first/metrics.csv").open() as file:
        rows = [(row["epoch"], row["split"]) for row in csv.DictReader(file)]
    assert rows == [("1", "train"), ("1", "val"), ("2", "train"), ("2", "val"), ("2", "test")]


def test_the_resolved_config_loads_again(jobs):
    config = Config.from_yaml(jobs / "project/logs/first/config.yaml")
    assert config.base.job_id == "first"
    assert config.model.difflogic.num_neurons == 1500


@pytest.mark.parametrize("name", ["final", "best"])
def test_a_model_file_is_whole_and_says_what_it_is(jobs, name):
    with safe_open(jobs / f"project/models/first/{name}.safetensors", "pt") as file:
        header = {key: json.loads(value) for key, value in file.metadata().items()}
        assert set(file.keys()) == {f"layers.{i}.{tensor}" for i in range(2) for tensor in ("weights", "indices")}
    assert header["class_names"] == list("0123456789")
    assert header["input_shape"] == [2, 34, 34]
    assert header["sensor_size"] == [34, 34, 2]
    assert header["config"]["model"]["model_type"] == "difflogic"
    assert header["step"] > 0


def test_an_existing_job_is_not_overwritten(jobs):
    output = main(jobs, "--job_id=first", expect=2)
    assert "--resume continues it, --restart begins it again" in output
    assert "Traceback" not in output


def test_a_job_that_has_only_a_best_model_or_metrics_is_not_overwritten(jobs):
    main(jobs, "--job_id=killed")
    for path in jobs.glob("*/checkpoints/killed/*"):
        path.unlink()
    for name in ("checkpoints", "final.safetensors"):
        path = jobs / "project/models/killed" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert "--restart begins it again" in main(jobs, "--job_id=killed", expect=2)
    (jobs / "project/models/killed/best.safetensors").unlink()
    assert "--restart begins it again" in main(jobs, "--job_id=killed", expect=2)


def test_a_loss_that_is_no_number_ends_the_run_before_a_checkpoint_is_saved(jobs):
    options = "model.model_type=mlp train.learning_rate=1000 train.dtype=float16 train.epochs=20"
    output = main(jobs, "--job_id=nan", "--override", options, expect=1)
    assert "lower train.learning_rate" in output
    assert not list(jobs.glob("*/**/nan/**/step_*"))


def test_restart_begins_again_and_gives_the_same(jobs):
    main(jobs, "--job_id=again")
    before = (jobs / "project/models/again/final.safetensors").read_bytes()
    evaluation = jobs / "project/logs/again/evaluation_val.json"
    evaluation.write_text("of the model that is replaced")
    main(jobs, "--job_id=again", "--restart")
    assert (jobs / "project/models/again/final.safetensors").read_bytes() == before
    assert not evaluation.exists()


def test_another_seed_gives_another_model(jobs):
    main(jobs, "--job_id=seed1", "--override", "base.seed=1")
    first, other = ((jobs / f"project/models/{job}/final.safetensors").read_bytes() for job in ("first", "seed1"))
    assert first != other


def test_resume_without_checkpoints_starts_fresh_and_says_so(jobs):
    assert "no checkpoint yet: starting fresh" in main(jobs, "--job_id=fresh", "--resume")


@pytest.mark.slow
def test_a_done_job_without_checkpoints_is_not_begun_again_by_resume(jobs):
    main(jobs, "--job_id=bare", "--override", "train.epochs=1")
    for folder in ("scratch/checkpoints/bare", "project/models/bare/checkpoints"):
        shutil.rmtree(jobs / folder)
    left = [jobs / "project/models/bare/final.safetensors", *(jobs / "project/logs/bare").iterdir()]
    before = [path.read_bytes() for path in left]
    output = main(jobs, "--job_id=bare", "--resume", "--override", "train.epochs=2", expect=2)
    assert "job bare is done and has no checkpoint any more to go on from: --restart begins it again" in output
    assert [path.read_bytes() for path in left] == before


def test_resume_under_another_config_is_refused_with_the_keys(jobs):
    output = main(jobs, "--job_id=first", "--resume", "--override", "train.learning_rate=0.5 base.seed=4", expect=2)
    assert "train.learning_rate was 0.05, is 0.5" in output
    assert "base.seed was 0, is 4" in output


def test_debug_shortens_epochs_to_20_batches(jobs):
    options = ["--job_id=debug", "--debug", "--override", "train.epochs=1 train.dataloader.batch_size=4"]
    output = main(jobs, *options)
    assert "20 batches of 4 frames per epoch" not in output  # the epoch's own length is said …
    result = json.loads((jobs / "project/logs/debug/result.json").read_text())
    assert result["steps"] == 20  # … and cut


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_trains(jobs, dtype):
    main(jobs, f"--job_id={dtype}", "--override", f"train.dtype={dtype} train.epochs=3")
    result = json.loads((jobs / f"project/logs/{dtype}/result.json").read_text())
    assert result["test"]["frame_accuracy"] > 0.5


def test_cuda_without_cuda_falls_back_to_the_cpu_with_a_warning(jobs):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    output = main(jobs, "--job_id=cuda", "--override", "train.device=cuda")
    assert "no CUDA device is available: taking the CPU" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--job_id=../x"], "job id '../x' is not allowed"),
        (["--job_id=a", "--override", "train.device=tpu"], "train.device = 'tpu': allowed: cuda, cuda:N or cpu"),
        (["--job_id=a", "--override", "data.name=MNIST"], "did you mean NMNIST?"),
        (["--job_id=a", "--override", "data.overlap=10"], "prepare it with ./prepare_data.sh"),
        (["--job_id=a", "--override", "model.difflogic.num_neurons=1501"], "must be a multiple of the 10 classes"),
        (["--job_id=a", "--override", "train.epoch=5"], "did you mean train.epochs?"),
        (["--job_id=a", "--override", "data.prepare_if_missing=no.yaml data.overlap=3"], "cannot read the config"),
    ],
)
def test_what_the_user_gave_wrong_is_one_line_and_exit_code_2(jobs, arguments, message):
    output = main(jobs, *arguments, expect=2)
    assert message in output
    assert "Traceback" not in output
    assert not (jobs / "project/logs/a").exists()


def test_a_traceback_is_shown_with_debug(jobs):
    assert "Traceback" in main(jobs, "--job_id=a", "--debug", "--override", "train.device=tpu", expect=2)


def test_a_missing_cache_is_prepared_where_the_config_says_how(jobs):
    (jobs / "prepare.yaml").write_text((jobs / "small.yaml").read_text().replace("overlap: 50", "overlap: 20"))
    overrides = f"data.overlap=20 data.prepare_if_missing={jobs / 'prepare.yaml'}"
    assert "preparing it with" in main(jobs, "--job_id=prepares", "--override", overrides)


def test_a_preparation_of_another_cache_is_refused(jobs):
    overrides = f"data.overlap=21 data.prepare_if_missing={jobs / 'small.yaml'}"
    output = main(jobs, "--job_id=a", "--override", overrides, expect=2)
    assert "data.overlap = 50 there, 21 here" in output


@pytest.mark.slow
@pytest.mark.parametrize("model_type", ["cnn", "mlp"])
def test_count_frames_of_time_windows_are_prepared_and_learnt(jobs, model_type):
    frames = "frame_mode: time_window\n  time_window: 100000\n  overlap: 0\n  frame_dtype: counts"
    (jobs / "counts.yaml").write_text((jobs / "small.yaml").read_text().replace("overlap: 50", frames))
    overrides = f"model.model_type={model_type} train.learning_rate=0.01 train.epochs=4"
    overrides += f" data.prepare_if_missing={jobs / 'counts.yaml'}"
    small_job.run(jobs, "main.py", "counts.yaml", "--job_id", f"counts_{model_type}", "--override", overrides)
    result = json.loads((jobs / f"project/logs/counts_{model_type}/result.json").read_text())
    assert result["test"]["frame_accuracy"] > 0.5


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.frame_dtype=counts", "data.frame_dtype = counts: model.model_type = difflogic takes bits"),
        (
            "model.difflogic.fan_in=6 model.difflogic.parametrisation=softmax",
            "model.difflogic.fan_in = 6: parametrisation 'softmax' has gates of two inputs only",
        ),
        ("model.difflogic.num_layers=0", "model.difflogic.num_layers = 0: only"),
        ("model.difflogic.members=2", "model.difflogic.members = 2: only"),
    ],
)
def test_logic_options_that_cannot_be_are_refused_before_anything_is_prepared(jobs, override, message):
    overrides = f"{override} data.prepare_if_missing={jobs / 'small.yaml'}"
    output = main(jobs, "--job_id=a", "--override", overrides, expect=2)
    assert message in output
    assert "preparing" not in output
