"""A folder of the user's own recordings, from files to a trained network; and one clear line for what is wrong."""

import csv
import json
import os
import re

import numpy as np
import pytest

from src.events import Events
from src.events.formats import nmnist_bin
from tests import small_job

CONFIG = """
data: {{name: FOLDER, folder: "{folder}", sensor_size: [34, 34], events_per_frame: 100, overlap: 0, denoise_time: 0}}
train: {{epochs: 2, device: cpu, learning_rate: 0.05, dataloader: {{batch_size: 16}}}}
model: {{difflogic: {{num_neurons: 1200, num_layers: 2}}}}
"""


def recording(place, seed=0, events=1000):
    """Events in a corner of the sensor: 0, 1, 2 or 3; one per millisecond."""
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 12, (2, events)) + 20 * np.array([[place % 2], [place // 2]])
    return Events(
        x.astype(np.uint16), y.astype(np.uint16), 1000 * np.arange(events), rng.integers(0, 2, events, np.uint8)
    )


@pytest.fixture
def folder(tmp_path):
    """Two classes of ten recordings, in class folders with odd names, and a config."""
    for place, name in enumerate(("left 2", "right's 10")):
        for number in range(10):
            path = tmp_path / "mine" / name / f"{number}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(nmnist_bin.encode(recording(place, number)))
    (tmp_path / "own.yaml").write_text(CONFIG.format(folder=tmp_path / "mine"))
    return tmp_path


def manifest(folder):
    (path,) = (folder / "project/data/FOLDER").glob("*/manifest.json")
    return json.loads(path.read_text())


def test_a_folder_of_two_classes_becomes_a_network_that_tells_them_apart(folder):
    small_job.run(folder, "prepare_data.py", "own.yaml")
    output = small_job.run(folder, "main.py", "own.yaml", "--job_id=own")
    assert manifest(folder)["class_names"] == ["left 2", "right's 10"]
    assert "test, final model:          frames 100.00 %, recordings 100.00 %" in output


@pytest.mark.slow
def test_odd_names_are_no_fault_from_the_preparation_to_the_report_and_a_prediction(tmp_path):
    folder = tmp_path / 'my "own"\n<b>日本'
    classes = ["line\nbreak <i>", os.fsdecode(b"tab\t, \xff's $x^2$ and more than twenty characters")]
    for place, name in enumerate(classes):
        for split, number in (("Train", 8), ("TEST", 2)):
            (folder / split / name).mkdir(parents=True)
            for seed in range(number):
                path = folder / split / name / f'<b>"{seed}"\n日.bin'
                path.write_bytes(nmnist_bin.encode(recording(place, 10 * number + seed)))
    mislabelled = folder / "TEST" / classes[0] / "&amp;'\n.bin"
    mislabelled.write_bytes(nmnist_bin.encode(recording(1)))
    (tmp_path / "own.yaml").write_text(CONFIG.format(folder=json.dumps(str(folder))[1:-1]))
    output = small_job.run(tmp_path, "prepare_data.py", "own.yaml")
    assert "WARNING" not in output
    (preview,) = (tmp_path / "project/logs").glob("preview_*.png")
    assert preview.stat().st_size > 10_000
    output = small_job.run(tmp_path, "main.py", "own.yaml", "--job_id=own")
    assert "recordings  80.00 %" in output
    report = (tmp_path / "project/logs/own/report.html").read_text()
    (caption,) = re.findall("<figcaption>.*?</figcaption>", report, re.DOTALL)
    assert r"line\nbreak &lt;i&gt;</b>, predicted <b>tab\t, \udcff&#39;s" in caption
    assert r"TEST/line\nbreak &lt;i&gt;/&amp;amp;&#39;\n.bin" in caption
    assert "<i>" not in report
    output = small_job.run(tmp_path, "src/cli/__main__.py", "predict", "own", str(folder), "--json")
    predicted = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert [it["class"] for it in predicted if it["file"] == str(mislabelled)] == classes[1:]


@pytest.mark.slow
def test_parts_of_a_file_are_recordings_whose_times_the_cache_names(folder):
    with (folder / "mine/labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "label", "start_s", "end_s", "split"])
        for number in range(10):
            split = "test" if number < 2 else "train"
            for name in ("left 2", "right's 10"):
                writer.writerow([f"{name}/{number}.bin", name, 0, 0.4, split])
                writer.writerow([f"{name}/{number}.bin", name, 0.4, "", split])
    small_job.run(folder, "prepare_data.py", "own.yaml")
    cache = manifest(folder)
    assert [cache["splits"][name]["frames"] for name in ("train", "val", "test")] == [140, 20, 40]
    assert cache["recording_names"][:2] == [
        "left 2/0.bin (0 to 400,000 microseconds)",
        "left 2/0.bin (from 400,000 microseconds)",
    ]


@pytest.mark.slow
def test_another_table_gives_another_cache(folder):
    small_job.run(folder, "prepare_data.py", "own.yaml")
    rows = [f"left 2/{number}.bin,{'a' if number % 2 else 'b'}" for number in range(10)]
    (folder / "mine/labels.csv").write_text("\n".join(["file,label", *rows]))
    output = small_job.run(folder, "main.py", "own.yaml", "--job_id=own", expect=2)
    assert "no frame cache was made from its 10 recordings" in output


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.folder=null", "data.folder = null: data.name = FOLDER needs the folder"),
        ("data.folder=/nowhere", "data.folder = /nowhere: there is no folder /nowhere"),
        ("data.sensor_size=null", "data.sensor_size = null"),
        ("data.sensor_size=[34]", "data.sensor_size = [34]: expected 2 numbers"),
        ("data.crop=[0,0,40,40]", "give no region of the sensor of 34 x 34 pixels"),
        ("data.group_by=(", "no regular expression"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(folder, override, message):
    before = sorted((folder / "mine").rglob("*"))
    output = small_job.run(folder, "prepare_data.py", "own.yaml", "--override", override, expect=2)
    assert message in output
    assert len([line for line in output.splitlines() if "ERROR" in line]) == 1
    assert sorted((folder / "mine").rglob("*")) == before
    assert not (folder / "project/data").exists()


def test_what_there_is_can_be_listed_before(folder):
    output = small_job.run(folder, "prepare_data.py", "own.yaml", "--inspect")
    assert "20 recordings in" in output
    assert not (folder / "project/data").exists()


def test_a_folder_may_begin_with_the_home_folder(folder):
    output = small_job.run(folder, "prepare_data.py", "own.yaml", "--override", "data.folder=~/nowhere", expect=2)
    assert re.search(r"data.folder = ~/nowhere: there is no folder /[^~]*nowhere\n", output)
