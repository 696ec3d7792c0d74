"""Whatever the user gives wrong: exit code 2, one clear line, no traceback, nothing written or lost."""

import os
import re
import shutil

import pytest

from src.frame_cache.cache import FORMAT_VERSION
from src.io_funcs import REPOSITORY
from tests import small_job

MAIN = ("main.py", "small.yaml", "--job_id=bad")
PREPARE = ("prepare_data.py", "small.yaml")


@pytest.fixture(scope="module")
def prepared(prepared):
    """A prepared folder with a finished job `done`."""
    small_job.run(prepared, "main.py", "small.yaml", "--job_id=done", "--override", "train.epochs=1")
    return prepared


def files(folder):
    return {
        path.relative_to(folder): path.read_bytes() if path.is_file() else None
        for root in ("project", "scratch")
        for path in (folder / root).rglob("*")
    }


def refused(folder, *words, message):
    """Run it; it must be refused in one line and leave everything as it was."""
    before = files(folder)
    output = small_job.run(folder, *words, expect=2)
    errors = [line for line in output.splitlines() if "ERROR" in line]
    assert len(errors) == 1, output
    assert message in errors[0], output
    assert "Traceback" not in output
    assert files(folder) == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the config is empty"),
        (b"# only a comment", "the config is empty"),
        (b"- a\n- b\n", "got a list"),
        (b"text", "got a str"),
        (b"train: {epochs: 1", "not valid YAML"),
        (b"train:\n\tepochs: 1", "not valid YAML"),
        (b"train: {epochs: 1}\ntrain: {epochs: 2}", "stands twice"),
        (b"train: {epochs: 1, epochs: 1}", "stands twice"),
        ("train: {epochs: 1}".encode("utf-16"), "not a UTF-8 text file"),
        (bytes(range(256)), "not a UTF-8 text file"),
        (b"\0\0\0", "not valid YAML"),
        (b"a: !!python/object/apply:os.system [true]", "not valid YAML"),
        (b"a: &a [*a]", "an anchor that contains itself"),
        (b"? [1, 2]\n: 3", "not valid YAML"),
        (b"modle: {}", "did you mean model?"),
        (b"train: {epoch: 1}", "did you mean train.epochs?"),
        (b"train: {dataloader: {batchsize: 1}}", "did you mean train.dataloader.batch_size?"),
        (b"train: []", "train is a section"),
    ],
)
@pytest.mark.parametrize("script", ["main.py", "prepare_data.py"])
def test_a_broken_config(prepared, script, content, message):
    (prepared / "broken.yaml").write_bytes(content)
    refused(prepared, script, "broken.yaml", message=message)


NUMBERS = {
    "data.events_per_frame": ("0", "-1", "1.5", "nan", "1e99", "many"),
    "data.overlap": ("-1", "100", "inf"),
    "data.denoise_time": ("-1", "0.5"),
    "data.num_threads": ("-1", "99999"),
    "data.val_split": ("1", "-0.1", "nan"),
    "data.seed": ("-1", "1e99"),
    "base.seed": ("-1", "x"),
    "train.epochs": ("0", "-3", "1e99", "true", "[1]"),
    "train.learning_rate": ("0", "-1", "nan", "inf", "1e9", "fast"),
    "train.log_interval": ("0",),
    "train.checkpoint_interval_minutes": ("-1", "nan"),
    "train.dataloader.batch_size": ("0", "1e99"),
    "train.dataloader.num_workers": ("-1",),
    "train.dataloader.prefetch_factor": ("0",),
    "model.difflogic.num_neurons": ("0", "-10"),
    "model.difflogic.num_layers": ("-1",),
    "model.difflogic.tau": ("0", "nan"),
    "model.difflogic.grad_factor": ("0", "-1"),
    "model.cnn.conv1_channels": ("0",),
    "model.mlp.hidden_size": ("0",),
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in NUMBERS.items() for value in values])
def test_an_impossible_number(prepared, key, value):
    refused(prepared, *MAIN, "--override", f"{key}={value}", message=key)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epochs", "expected key=value"),
        ("=1", "expected key=value"),
        ("train=1", "train is a section"),
        ("trian.epochs=1", "did you mean train?"),
        ("train.epoch=1", "did you mean train.epochs?"),
        ("train.epochs='1", "No closing quotation"),
        ("train.dtype=float8", "allowed: float32, bfloat16, float16"),
        ("model.model_type=transformer", "allowed: difflogic, cnn, mlp"),
        ("model.difflogic.connections=dense", "allowed: random, unique"),
        ("train.device=tpu", "allowed: cuda, cuda:N or cpu"),
        ("train.device=cuda:-1", "allowed: cuda, cuda:N or cpu"),
        ("data.name=../../etc", "allowed: NMNIST, CIFAR10DVS, "),
        ("data.name=NMNISTT", "did you mean NMNIST?"),
        ("model.difflogic.num_neurons=1501", "must be a multiple of the 10 classes"),
        ("model.difflogic.num_layers=0 model.difflogic.readout=votes", "needs no dense layer"),
        ("model.difflogic.num_neurons=1000", "cannot use all of 2312 inputs"),
        ("model.difflogic.connections=unique model.difflogic.num_neurons=3000000", "unique"),
        ("model.difflogic.implementation=triton", "runs on CUDA"),
        ("data.events_per_frame=99", "prepare it with ./prepare_data.sh"),
        ("data.prepare_if_missing=none.yaml data.overlap=1", "cannot read the config"),
    ],
)
def test_an_impossible_override(prepared, override, message):
    refused(prepared, *MAIN, "--override", override, message=message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split=val"], "--split val: only with --evaluate"),
        (["--evaluate", "--split=all"], "--split all: there is no such split; allowed: train, val, test"),
        (["--evaluate", "--job_id=none"], "there is no job none"),
        (["--evaluate", "--nproc=2"], "--nproc and --nodes are for training, not for --evaluate"),
        (["--nproc=0"], "--nproc 0: must be at least 1"),
        (["--nodes=2"], "--endpoint: several machines need HOST:PORT of machine 0"),
        (["--nodes=2", "--endpoint=here"], "--endpoint here: several machines need HOST:PORT of machine 0"),
    ],
)
def test_arguments_that_cannot_be_or_do_not_go_together(prepared, arguments, message):
    refused(prepared, *MAIN, *arguments, message=message)


@pytest.mark.parametrize("job_id", ["", ".", "..", "../x", "a/b", "a b", "a;b", "$(a)", "a\nb", "é", "x" * 200])
def test_a_job_id_that_could_leave_its_folder(prepared, job_id):
    refused(prepared, "main.py", "small.yaml", f"--job_id={job_id}", message="job id")


def test_a_missing_config(prepared):
    refused(prepared, "main.py", "none.yaml", "--job_id=bad", message="none.yaml: cannot read the config")


def test_a_folder_as_config(prepared):
    refused(prepared, "main.py", ".", "--job_id=bad", message="Is a directory")


def not_understood(folder, *words, message):
    """Run it; its arguments must be refused in one line, before there is a log."""
    before = files(folder)
    (line,) = small_job.run(folder, *words, expect=2).splitlines()
    assert message in line
    assert files(folder) == before


@pytest.mark.parametrize("words", [(), ("small.yaml", "--nonsense"), ("small.yaml", "--resume", "--restart")])
def test_impossible_arguments(prepared, words):
    not_understood(prepared, "main.py", *words, message="train.sh: error: ")


def test_overrides_without_quotes(prepared):
    words = ("small.yaml", "--job_id=bad", "--override", "train.epochs=1", "train.learning_rate=1")
    message = (
        'unrecognized arguments: train.learning_rate=1; all overrides stand in one pair of quotes: --override "KEY'
    )
    not_understood(prepared, "main.py", *words, message=message)


def test_a_list_without_quotes(prepared):
    words = ("small.yaml", "--job_id=bad", "--override", "model.difflogic.convolution.kernels=[16,", "32]")
    not_understood(prepared, "main.py", *words, message="unrecognized arguments: 32]; all overrides stand in one pair")


@pytest.mark.parametrize("word", ["--overide", "--overide=train.epochs=3"])
def test_a_mistyped_option_is_named(prepared, word):
    words = ("small.yaml", "--job_id=bad", word, "train.epochs=1")
    not_understood(prepared, "main.py", *words, message="did you mean --override?")


def test_a_sweeps_file_to_train_and_a_config_to_sweep(prepared):
    sweep = str(REPOSITORY / "configs/sweep_example.yaml")
    for script in ("main.py", "prepare_data.py"):
        refused(prepared, script, sweep, message=f"{sweep}: this is the file of a sweep, which names a config")
    refused(prepared, "src/cli", "sweep", "small.yaml", message="small.yaml: this is a config, not the file of a sweep")


def test_half_of_an_option_s_name(prepared):
    not_understood(prepared, "check_and_sync_data.py", "--prun", message="unrecognized arguments: --prun")


def test_an_existing_job(prepared):
    refused(prepared, "main.py", "small.yaml", "--job_id=done", message="--resume continues it")


def test_fewer_epochs_than_are_done(prepared):
    small_job.run(prepared, "main.py", "small.yaml", "--job_id=two")
    words = ("main.py", "small.yaml", "--job_id=two", "--resume", "--override", "train.epochs=1")
    refused(prepared, *words, message="train.epochs = 1, but 2 epochs are done")


def test_a_checkpoint_of_another_model(prepared):
    words = ("main.py", "small.yaml", "--job_id=done", "--resume", "--override", "model.model_type=mlp")
    refused(prepared, *words, message="model.model_type was 'difflogic', is 'mlp'")


@pytest.fixture
def other(prepared, tmp_path):
    """A copy of the prepared folder to break."""
    for name in ("project", "scratch", "recordings"):
        shutil.copytree(prepared / name, tmp_path / name)
    config = (prepared / "small.yaml").read_text().replace(str(prepared), str(tmp_path))
    (tmp_path / "small.yaml").write_text(config)
    return tmp_path


def cache_files(folder, pattern):
    return sorted(folder.glob(f"*/data/NMNIST/*/{pattern}"))


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip, "does not have the checksum"),
        (lambda path: path.write_bytes(path.read_bytes()[:-5]), "bytes instead of"),
        (lambda path: path.unlink(), "is missing"),
    ],
)
def test_a_cache_damaged_on_both_storages(other, damage, message):
    for path in cache_files(other, "val.safetensors"):
        damage(path)
    output = small_job.run(other, *MAIN, expect=2)
    assert message in output
    assert "Traceback" not in output


def test_a_cache_of_another_format_version(other):
    for path in cache_files(other, "manifest.json"):
        path.write_text(path.read_text().replace(f'"format_version": {FORMAT_VERSION}', '"format_version": 999'))
    refused(other, *MAIN, message="no frame cache of NMNIST")


def test_all_checkpoints_damaged(other):
    for path in other.glob("*/**/step_*"):
        flip(path)
    words = ("--job_id=done", "--resume", "--override", "train.epochs=20")
    output = small_job.run(other, "main.py", "small.yaml", *words, expect=2)
    assert "--restart begins the job again" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("content", "are", "message"),
    [
        (b"", "corrupt", "no events"),
        (b"123", "corrupt", "multiple of 5"),
        (b"\xff" * 500, "of another sensor", "outside the sensor"),
        (b"\x89PNG" * 5, "of another sensor", "outside"),
    ],
)
def test_corrupt_recordings(other, content, are, message):
    for path in sorted((other / "recordings/NMNIST/Train/3").iterdir())[:3]:
        path.write_bytes(content)
    before = files(other)
    output = small_job.run(other, *PREPARE, expect=2)
    assert re.search(
        rf"recordings cannot be used(?: \(\d+ were read\))?, more than 1%.* are {are}, the first: ", output
    )
    assert message in output
    assert "Traceback" not in output
    assert files(other) == before


def test_recordings_in_wrong_folders(other):
    (other / "recordings/NMNIST/Train").rename(other / "recordings/NMNIST/train")
    (other / "recordings/NMNIST/Test").rename(other / "recordings/NMNIST/t10k")
    output = small_job.run(other, *PREPARE, "--override", f"data.url={other / 'nowhere'}", expect=2)
    assert "NMNIST has Train, Test, but t10k, train; correct their names" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.data_root=mistyped", "data.data_root = mistyped: there is no such folder"),
        (
            "data.data_root={folder} data.url=ftp://host/folder",
            "data.url = 'ftp://host/folder': expected an http://host",
        ),
        ("data.data_root={folder} data.url=http://127.0.0.1:9/", "http://127.0.0.1:9/train.zip: Connection refused"),
    ],
)
def test_recordings_that_cannot_be_had(prepared, tmp_path, override, message):
    refused(prepared, *PREPARE, "--override", override.format(folder=tmp_path), message=message)
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_a_folder_is_needed(other):
    shutil.rmtree(other / "project")
    (other / "project").write_text("a file")
    output = small_job.run(other, *MAIN, expect=2)
    assert "cannot write to project storage" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("variable", ["PROJECT_STORAGE_DIR", "SCRATCH_STORAGE_DIR"])
def test_a_storage_that_cannot_be_written_to(prepared, monkeypatch, variable):
    paths = {
        name: str(prepared / name.split("_")[0].lower()) for name in ("PROJECT_STORAGE_DIR", "SCRATCH_STORAGE_DIR")
    }
    paths[variable] = "/proc/nowhere"
    monkeypatch.setattr(small_job, "environment", lambda folder: {**os.environ, **paths})
    refused(prepared, *PREPARE, message=f"{variable} = /proc/nowhere: cannot write there")
