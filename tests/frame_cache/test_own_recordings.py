"""The user's own recordings: a mistake in a folder is one line, whoever reads it, and nothing is written."""

import os
import signal
import socket
from pathlib import Path

import numpy as np
import pytest

from src.command_line import Stopped, StopSignals, UserError
from src.config import Config, Data
from src.events import Events
from src.events.formats import aedat4, evt3, nmnist_bin
from src.frame_cache.inspect import inspect
from src.frame_cache.prepare import prepare, prepare_shard

N = np.arange(200)
EVENTS = Events((N % 30).astype(np.uint16), (N % 20).astype(np.uint16), 1000 * N, (N % 2).astype(np.uint8))
RECORDING = nmnist_bin.encode(EVENTS)
AVI = b"RIFF\0\0\0\0AVI LIST"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def put(folder, *names, content=RECORDING):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def two_classes(folder, number=4, content=RECORDING, suffix=".bin"):
    put(folder, *(f"{name}/{i}{suffix}" for name in "ab" for i in range(number)), content=content)


def table(*lines):
    def build(folder):
        two_classes(folder)
        (folder / "labels.csv").write_text("\n".join(lines))

    return build


def instead(make):
    """Have `make` put something that is no file in the place of each recording."""

    def build(folder):
        for name in "ab":
            (folder / name).mkdir()
            for number in range(3):
                make(folder / name / f"{number}.bin")

    return build


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as made:
        descriptor = os.open(path.parent, os.O_RDONLY)  # a socket's path has 107 characters at most
        made.bind(f"/proc/self/fd/{descriptor}/{path.name}")
        os.close(descriptor)


def two_sensors(folder):
    put(folder, "a/1", "a/2", content=aedat4.encode(EVENTS, (346, 260)))
    put(folder, "b/1", "b/2", content=aedat4.encode(EVENTS, (640, 480)))


CLASSES = "Make a folder per class and put its recordings into it"
WRONG_FOLDERS = {
    "empty": (lambda folder: None, CLASSES),
    "missing": (Path.rmdir, "there is no folder"),
    "a file": (lambda folder: (folder.rmdir(), folder.write_bytes(RECORDING)), "mine is a file; name the folder that"),
    "a link to itself": (lambda folder: (folder.rmdir(), folder.symlink_to(folder)), "Too many levels of symbolic"),
    "no classes": (lambda folder: put(folder, "1.bin", "2.bin"), "/mine, but 2 files lie directly in /"),
    "empty classes": (lambda folder: [(folder / name).mkdir() for name in "ab"], CLASSES),
    "folders in classes": (
        lambda folder: put(folder, "a/x/1.bin", "b/x/1.bin"),
        "files must lie directly in the folder of their class, not in folders there such as a/x;",
    ),
    "folders in classes of splits": (
        lambda folder: put(folder, "Train/a/x/y/1.bin", "test/b/x/1.bin"),
        "not in folders there such as test/b/x; move them up, or list them in a labels.csv",
    ),
    "one class": (lambda folder: put(folder, "a/1.bin", "a/2.bin"), "one class only, 'a'"),
    "one recording": (lambda folder: put(folder, "a/1.bin", "b/1.bin", "b/2.bin"), "class 'a' has one recording only"),
    "a class for the test only": (
        lambda folder: put(folder, "train/a/1.bin", "train/b/1.bin", "test/a/2.bin", "test/c/3.bin"),
        "class 'c' has no recording in train",
    ),
    "a test only": (lambda folder: two_classes(folder / "test"), "holds test, but no folder train; put"),
    "a validation only": (lambda folder: two_classes(folder / "val"), "holds val, but no folder train; put"),
    "a table of validation only": (
        table("file,label,split", *(f"{name}/{i}.bin,{name},val" for name in "ab" for i in range(4))),
        "class 'a' has no recording in train",
    ),
    "folders": (instead(Path.mkdir), "not in folders there such as a/0.bin"),
    "pipes": (instead(os.mkfifo), CLASSES),
    "sockets": (instead(make_socket), CLASSES),
    "links to themselves": (instead(lambda path: path.symlink_to(path.name)), "only links that lead nowhere: 6"),
    "links to nowhere": (instead(lambda path: path.symlink_to("nowhere")), "only links that lead nowhere: 6"),
    "two sensors": (two_sensors, "1' is of a sensor of 346 x 260 pixels"),
    "no bytes": (lambda folder: two_classes(folder, content=b""), "none of 8 recordings can be read, the first: "),
    "pointers": (lambda folder: two_classes(folder, content=POINTER), "`git lfs pull` downloads the recording"),
    "films": (lambda folder: two_classes(folder, content=AVI, suffix=".avi"), "0.avi': unknown format"),
    "a missing file": (table("file,label", "a/1.bin,x", "a/9.bin,y"), "line 3: 'a/9.bin': there is no such file"),
    "an unknown split": (table("file,label,split", "a/1.bin,x,trian"), "line 2: split 'trian'"),
    "a class that is tested only": (
        table("file,label,split", "a/1.bin,x,train", "a/2.bin,y,test", "a/3.bin,x,test"),
        "class 'y' has no recording in train",
    ),
    "reversed times": (table("file,label,start_s,end_s", "a/1.bin,x,2,1"), "line 2: it ends before it begins"),
    "a line twice": (
        table("file,label", "a/1.bin,x", "a/1.bin,x"),
        "/a/1.bin' with line 3; one row for each event",
    ),
    "a file per class": (
        table("file,label,start_s,end_s", *(f"{it}/0.bin,{it},{n},{n + 1}" for it in "ab" for n in range(3))),
        "6 recordings are parts of 2 files, and parts of one file stay in one split; add other files",
    ),
    "a table without lines": (table("file,label"), "labels.csv: it names no recordings"),
    "an empty table": (table(""), "labels.csv: it has no column 'file'"),
}
WRONG_OPTIONS = [
    ({"group_by": "("}, "data.group_by = '(': no regular expression"),
    ({"group_by": "person"}, "data.group_by = 'person' finds no group in 'a/0.bin'"),
    ({"group_by": "(person)?"}, "data.group_by = '(person)?' finds no group in 'a/0.bin'"),
    ({"group_by": "bin"}, "no recording is left for the test: 8 recordings are in 1 group"),
    ({"group_by": "^(a|b)"}, "no recording is left for the test: 8 recordings are in 2 groups"),
    ({"sensor_size": None}, "data.sensor_size = null: the recordings do not say how large"),
    ({"crop": (20, 0, 20, 20)}, "data.crop = [20, 0, 20, 20]: x, y, width and height give no region"),
    ({"crop": (0, 0, 0, 5)}, "data.crop = [0, 0, 0, 5]: x, y, width and height give no region"),
]


@pytest.fixture
def folder(storages):
    (storages / "mine").mkdir()
    return storages / "mine"


def config(folder, **options):
    given = {"sensor_size": (34, 34), "events_per_frame": 20, "overlap": 0, "num_threads": 1, **options}
    return Config(data=Data(name="FOLDER", folder=str(folder), **given))


def inspected(folder):
    shown = []
    inspect(config(folder), shown.append)
    return shown[0]


def written(folder):
    """What lies in the storages and the folder: files, locks and folders."""
    return sorted(folder.parent.rglob("*"))


def refused(folder, message, **options):
    """Have both commands refuse it in one line and leave everything as it was."""
    before = written(folder)
    for command in (lambda it: prepare(it, StopSignals()), lambda it: inspect(it, str)):
        with pytest.raises(UserError) as caught:
            command(config(folder, **options))
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
        assert written(folder) == before


@pytest.mark.parametrize("case", WRONG_FOLDERS)
def test_a_folder_that_cannot_be_a_dataset_is_refused(folder, case):
    build, message = WRONG_FOLDERS[case]
    build(folder)
    refused(folder, message, **({"sensor_size": None} if case == "two sensors" else {}))
    assert not (folder.parent / "project").exists()


@pytest.mark.parametrize(("options", "message"), WRONG_OPTIONS)
def test_an_option_that_does_not_fit_the_folder_is_refused(folder, options, message):
    two_classes(folder)
    refused(folder, message, **options)
    assert not (folder.parent / "project").exists()


def test_a_sensor_that_is_too_small_is_refused(folder):
    two_classes(folder)
    refused(folder, "another sensor's, or damaged. Correct data.sensor_size = [10, 10]", sensor_size=(10, 10))


def test_an_unknown_format_is_refused_with_the_option_of_the_folder_and_each_file_once(folder, caplog):
    two_classes(folder, content=aedat4.encode(EVENTS, (34, 34)), suffix=".raw")
    put(folder, *(f"a/film {i}.raw" for i in range(3)), content=AVI)
    with pytest.raises(UserError, match=r"3 are of an unknown format, .* recordings by data\.folder$") as caught:
        prepare(config(folder), StopSignals())
    assert [(caplog.text + str(caught.value)).count(f"film {i}.raw") for i in range(3)] == [1, 1, 1]


def test_times_at_which_the_files_have_no_events_are_refused(folder):
    table("file,label,start_s,end_s", *(f"{name}/{i}.bin,{name},8,9" for name in "ab" for i in range(4)))(folder)
    refused(folder, "it has no events from 8000000 to 9000000 microseconds; its own timestamps go from")
    with pytest.raises(UserError, match=r"are parts of a file without events there, the first: .* Correct their times"):
        prepare(config(folder), StopSignals())


def test_a_class_of_which_nothing_can_be_read_is_refused(folder):
    outside = nmnist_bin.encode(Events(EVENTS.x + np.uint16(100), EVENTS.y, EVENTS.t, EVENTS.p))
    put(folder, *(f"a/{i}.bin" for i in range(4)))
    put(folder, "b/0.bin", "b/1.bin", content=outside)
    before = written(folder)
    with pytest.raises(UserError, match="class 'b' has no recording left for training"):
        prepare(config(folder), StopSignals())
    assert written(folder) == before


def test_a_preparation_that_is_stopped_before_it_has_made_anything_leaves_nothing(folder):
    two_classes(folder)
    before = written(folder)
    stop = StopSignals()
    stop.note(signal.SIGTERM)
    with pytest.raises(Stopped):
        prepare(config(folder), stop)
    with pytest.raises(Stopped):
        prepare_shard(config(folder), 1, 1, stop)
    assert written(folder) == before


def test_empty_folders_that_were_there_before_a_failure_stay(folder):
    two_classes(folder)
    for name in ("project/data/FOLDER", "scratch"):
        (folder.parent / name).mkdir(parents=True)
    refused(folder, "events lie outside the sensor (10 x 10 pixels)", sensor_size=(10, 10))


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, make_socket])
def test_what_is_no_file_beside_recordings_is_left_out_with_a_warning(folder, caplog, make):
    two_classes(folder)
    make(folder / "a" / "9.bin")
    with caplog.at_level("WARNING", logger="difflogic_tonic"):
        assert inspected(folder).startswith("8 recordings")
    assert f"left out, since only files count as recordings: {folder}/a/9.bin" in caplog.text


def test_two_recordings_per_class_are_enough_for_a_test(folder):
    two_classes(folder, number=2)
    assert inspected(folder).startswith("4 recordings")


def test_a_folder_with_a_line_break_in_its_name_stays_in_one_line(folder):
    refused(folder / "line\nbreak", "there is no folder '")


APART = np.array([5, 20], np.uint16)
ALONE = Events(APART, APART, 10**5 * APART.astype(np.int64), np.ones(2, np.uint8))


@pytest.mark.parametrize("look", [lambda config: inspect(config, str), lambda config: prepare(config, StopSignals())])
def test_a_recording_of_which_denoising_leaves_nothing_is_named(folder, caplog, look):
    two_classes(folder)
    put(folder, "a/9.bin", content=nmnist_bin.encode(ALONE))
    with caplog.at_level("WARNING", logger="difflogic_tonic"):
        look(config(folder))
    assert (
        "1 of 9 recordings have blank frames only, since data.denoise_time = 1200 (0: no denoising) leaves no events: "
        f"{folder}/a/9.bin"
    ) in caplog.text


@pytest.mark.parametrize("look", [lambda config: inspect(config, str), lambda config: prepare(config, StopSignals())])
def test_a_class_that_the_test_loses_to_a_damaged_file_is_named(folder, caplog, look):
    put(folder, "train/a/1.bin", "train/a/2.bin", "train/b/1.bin", "train/b/2.bin", "test/b/3.bin")
    put(folder, "test/a/3.bin", content=b"")
    with caplog.at_level("WARNING", logger="difflogic_tonic"):
        look(config(folder))
    assert "no recording that can be used of class a is in test: the test says nothing about it" in caplog.text


@pytest.mark.parametrize("look", [lambda config: inspect(config, str), lambda config: prepare(config, StopSignals())])
def test_recordings_of_which_nothing_at_all_is_left_are_refused(folder, look):
    two_classes(folder, content=nmnist_bin.encode(ALONE))
    with pytest.raises(
        UserError, match=r"all 8 recordings have blank frames only, since data.denoise_time = 1200 \(0:"
    ):
        look(config(folder))


def test_times_that_go_back_in_files_with_several_clocks_are_told_with_the_option(folder, caplog):
    two_classes(folder, content=evt3.encode(EVENTS, (34, 34)), suffix=".raw")
    with caplog.at_level("WARNING", logger="difflogic_tonic"):
        inspect(config(folder, evt3_clock="metavision"), str)
    assert "EVT 3.0 files that were written for another clock look so: try data.evt3_clock=expelliarmus" in caplog.text
