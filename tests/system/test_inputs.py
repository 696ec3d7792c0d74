"""Other inputs than a binary frame with two polarities: from training to an exported circuit."""

import re
import shutil
import subprocess

import pytest

from src.evaluation.inference import load_model
from src.reports.outcome import outcome
from tests import small_job

SMALL = "model.difflogic.num_neurons=1800 train.augmentation.shift=1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with recordings and their config."""
    folder = tmp_path_factory.mktemp("jobs")
    small_job.write_config(folder)
    return folder


@pytest.mark.slow
def test_a_logic_gate_network_of_stacked_frames_with_merged_polarities_becomes_a_circuit(folder):
    options = ["--override", f"data.polarities=merged data.stack=3 {SMALL}"]
    small_job.run(folder, "prepare_data.py", "small.yaml", *options)
    small_job.run(folder, "main.py", "small.yaml", "--job_id=stacked", *options)
    options = ["--override", "data.polarities=merged"]  # how many frames the model takes, it knows itself
    output = small_job.run(folder, "main.py", "small.yaml", "--job_id=stacked", "--evaluate", *options)
    assert "not taken: data.stack = 1 (the job's is 3)" in output
    small_job.run(folder, "src/cli", "export", "stacked", "--to", "c", "--out", "c")
    assert "Channel 1: frame -1, polarity 0." in (folder / "c/stacked.h").read_text()
    self_test(folder / "c", "stacked")


@pytest.mark.slow
def test_a_logic_gate_network_of_counts_learns_its_thresholds_and_becomes_a_circuit(folder):
    thermometer = "model.difflogic.thermometer_levels=3 model.difflogic.thermometer=learnable"
    decay = "train.weight_decay=0.01"  # for the gates alone: thresholds have optimizer options of their own
    options = ["--override", f"data.polarities=merged data.frame_dtype=counts {thermometer} {decay} {SMALL}"]
    small_job.run(folder, "prepare_data.py", "small.yaml", *options)
    small_job.run(folder, "main.py", "small.yaml", "--job_id=counts", *options)
    thresholds = load_model(folder / "project/models/counts/final.safetensors")[0].thermometer.thresholds
    assert (thresholds % 1 != 0.5).all()  # where they began
    small_job.run(folder, "main.py", "small.yaml", "--job_id=resumed", *options, "--override", "train.epochs=1")
    small_job.run(folder, "main.py", "small.yaml", "--job_id=resumed", *options, "--resume")
    assert outcome(folder, "resumed") == outcome(folder, "counts")
    small_job.run(folder, "main.py", "small.yaml", "--job_id=counts", "--evaluate", *options)
    small_job.run(folder, "src/cli", "export", "counts", "--to", "c", "--out", "c")
    assert re.search(r"Channel 2: frame 0, polarity 0, count > \d\.", (folder / "c/counts.h").read_text())
    self_test(folder / "c", "counts")


def self_test(folder, name):
    """Compile an export, and have it classify the frames that came with it."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    subprocess.run(["gcc", f"{name}.c", f"{name}_selftest.c"], cwd=folder, check=True)
    assert subprocess.check_output("./a.out", cwd=folder, text=True).startswith(f"{name}: 100 of 100")
