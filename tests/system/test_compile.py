"""job.sh compile: a job that comes after it compiles nothing, and it leaves nothing but kernels."""

import pytest

from tests import small_job

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(prepared):
    return prepared


def kernels(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.kernel")}


def run_in_a_new_process(folder, *words):
    output, _ = (process := small_job.start(folder, *words)).communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def test_a_job_that_comes_after_it_compiles_nothing(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    before = sorted((folder / "project").rglob("*"))
    output = run_in_a_new_process(folder, "src/cli", "compile", "small.yaml")
    assert "small.yaml: 0 kernels" not in output
    assert f"they are in {tmp_path}" in output
    made = kernels(tmp_path)
    assert made
    assert sorted((folder / "project").rglob("*")) == before

    job = run_in_a_new_process(folder, "main.py", "small.yaml", "--job_id=after")
    assert "compiling kernels" not in job
    assert kernels(tmp_path) == made
    assert "small.yaml: 0 kernels compiled" in run_in_a_new_process(folder, "src/cli", "compile", "small.yaml")


@pytest.mark.parametrize(
    "override",
    [
        "data.frame_mode=time_window data.time_window=20000 data.overlap=0 data.stack=3 model.model_type=cnn",
        "data.frame_mode=n_event_bins data.n_event_bins=4 data.overlap=0 data.frame_dtype=counts model.model_type=cnn",
        "data.name=CIFAR10DVS data.downsample=0.25 data.crop=[8,8,100,100]",
        "data.name=NCALTECH101 model.model_type=mlp",
    ],
)
def test_any_framing_and_dataset_is_compiled_without_its_recordings(folder, override):
    assert "kernels compiled" in small_job.run(folder, "src/cli", "compile", "small.yaml", "--override", override)


def test_own_recordings_that_are_missing_are_one_line(folder):
    output = small_job.run(
        folder, "src/cli", "compile", "small.yaml", "--override", "data.name=FOLDER data.folder=nowhere", expect=2
    )
    assert len(output.splitlines()) == 1
    assert "nowhere" in output


def test_a_config_that_is_missing_is_one_line(folder):
    output = small_job.run(folder, "src/cli", "compile", "none.yaml", expect=2)
    assert len(output.splitlines()) == 1
    assert "none.yaml" in output
