"""The picture of a cache: there after every preparation, whatever the frames are, and never in the way."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from src.command_line import StopSignals
from src.config import Config
from src.events.datasets.nmnist import NMNIST
from src.frame_cache import cache, preview
from src.frame_cache.prepare import prepare
from src.frame_cache.preview import preview_path, write_preview
from src.io_funcs import project_root
from src.options import with_option
from tests import small_job

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def config(storages):
    return Config.from_yaml(small_job.write_config(storages))


def make_cache(folder, shape, num_frames, num_classes=10, with_counts=False, class_names=None):
    """A cache of random frames [P, H, W], `num_frames` of them in each split, two a recording."""
    rng = np.random.default_rng(0)
    size = int(np.prod(shape))
    frame_bytes = size if with_counts else -(-size // 8)
    entries = {}
    for split in cache.SPLITS:
        recordings = np.arange((num_frames + 1) // 2)
        counts = np.minimum(2, num_frames - 2 * recordings)
        frames = rng.integers(0, 3 if with_counts else 256, (num_frames, frame_bytes), dtype=np.uint8)
        entries[split] = cache.write_split(
            folder / f"{split}.safetensors",
            frame_bytes,
            recordings % num_classes,
            recordings,
            counts,
            [frames.tobytes()],
        )
    manifest = {
        "format_version": cache.FORMAT_VERSION,
        "class_names": class_names or [f"class {label}" for label in range(num_classes)],
        "frame_shape": list(shape),
        "frame_dtype": "counts" if with_counts else "binary",
        "splits": entries,
    }
    cache.write_manifest(folder, manifest)
    return folder


def test_a_preparation_leaves_a_picture_in_the_logs(config):
    folder = prepare(config, StopSignals())
    path = preview_path(folder, NMNIST)
    assert path == project_root() / "logs" / f"preview_NMNIST_{folder.name}.png"
    assert path.read_bytes().startswith(PNG)


def test_a_cache_that_is_there_is_drawn_again_only_if_asked(config):
    folder = prepare(config, StopSignals())
    preview_path(folder, NMNIST).unlink()
    prepare(config, StopSignals())
    assert not preview_path(folder, NMNIST).exists()
    prepare(config, StopSignals(), preview=True)
    assert preview_path(folder, NMNIST).exists()


@pytest.mark.parametrize(
    ("shape", "num_frames", "num_classes", "counts"),
    [
        ((1, 5, 40), 30, 2, False),  # one polarity, a wide sensor
        ((2, 128, 128), 40, 10, True),  # counts
        ((1, 34, 34), 9, 3, True),
        ((2, 3, 3), 1, 4, False),  # classes without frames
        ((2, 34, 34), 0, 10, False),  # empty splits
        ((2, 8, 8), 60, 101, False),  # more classes than a page holds
    ],
)
def test_any_cache_can_be_drawn(tmp_path, caplog, shape, num_frames, num_classes, counts):
    folder = make_cache(tmp_path / "made", shape, num_frames, num_classes, counts)
    path = write_preview(folder, NMNIST)
    assert path is not None, caplog.text
    assert path.read_bytes().startswith(PNG)


@pytest.mark.filterwarnings("error")
def test_any_class_name_can_be_drawn(tmp_path, caplog):
    names = [
        "日本語" * 9,
        "not UTF-8 \udcff",
        "line\nbreak",
        "$x_1^$ <b>",
        "\x1b[31m",
        "\u202eright to left",
        "a" * 255,
    ]
    folder = make_cache(tmp_path / "made", (2, 8, 8), 40, len(names), class_names=names)
    assert write_preview(folder, NMNIST), caplog.text


def test_a_character_that_no_font_has_stands_as_its_code_point():
    assert preview._escaped("a\x1b日", {"\x1b", "日"}) == r"a\x1b\u65e5"


def test_the_chosen_frames_are_of_their_class_and_from_different_recordings():
    labels = np.repeat([0, 1], [60, 90])
    split = cache.Split(np.empty((150, 1), np.uint8), labels, np.arange(150) // 3)
    chosen = preview._choose_frames(split, 1)
    assert (labels[chosen] == 1).all()
    assert len(set(split.recordings[chosen])) == preview.FRAMES_PER_CLASS


def test_the_legend_of_frames_per_recording_lies_above_the_bars():
    figure = Figure()
    axes = figure.add_subplot()
    one = cache.Split(np.empty((30, 1), np.uint8), np.zeros(30, int), np.arange(30) // 3)
    preview._draw_frames_a_recording(axes, dict.fromkeys(cache.SPLITS, one))
    FigureCanvasAgg(figure).draw()
    assert axes.get_legend().get_window_extent().y0 >= axes.get_window_extent().y1


def test_of_few_recordings_several_frames_are_chosen():
    split = cache.Split(np.empty((40, 1), np.uint8), np.zeros(40, int), np.arange(40) // 20)
    chosen = preview._choose_frames(split, 0)
    assert len(chosen) == len(set(chosen)) == preview.FRAMES_PER_CLASS
    assert set(split.recordings[chosen]) == {0, 1}


def test_an_unreadable_recording_is_passed_over(tmp_path, caplog):
    folder = make_cache(tmp_path / "made", (2, 34, 34), 4)
    small_job.write_recordings(tmp_path, train=1, test=1)
    recordings = NMNIST.find_recordings(tmp_path / "NMNIST")
    Path(recordings[0].path).write_bytes(b"123")
    Path(recordings[1].path).unlink()
    assert write_preview(folder, NMNIST, recordings), caplog.text


def test_a_failure_to_draw_is_a_warning_and_the_cache_is_there(config, caplog):
    path = preview_path(prepare(config, StopSignals()), NMNIST)
    path.unlink()
    path.mkdir()
    config = with_option(config, "data.reset_cache", True)
    with caplog.at_level("WARNING", logger="difflogic_tonic"):
        folder = prepare(config, StopSignals())
    assert cache.read_manifest(folder)
    assert f"cannot draw the preview {path}" in caplog.text
    assert not list(project_root().glob("logs/.*.tmp"))


def test_a_damaged_cache_is_a_warning(tmp_path, caplog):
    assert write_preview(tmp_path, dataclasses.replace(NMNIST, name="OTHER")) is None
    assert "holds no valid cache" in caplog.text


def test_matplotlib_is_imported_only_to_draw():
    code = "import sys, src.frame_cache.preview; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=small_job.REPOSITORY).returncode == 0
