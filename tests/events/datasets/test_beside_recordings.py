"""What lies beside the recordings of a folder: it is left out, and named if it may have been meant to count."""

from pathlib import Path

import pytest

from src.events.datasets.dataset import OwnRecordings
from src.events.datasets.folder import of_options
from src.events.formats import aedat4
from tests.events.datasets.own_folder import EVENTS, write


def complete(folder):
    """The recordings' paths under the folder."""
    dataset = of_options(OwnRecordings(folder=str(folder), sensor_size=(34, 34)))
    return [str(Path(recording.path).relative_to(folder)) for recording in dataset.complete(folder)[1]]


@pytest.fixture
def two_classes(tmp_path):
    return write(tmp_path, "a/1.bin", "a/2.bin", "b/1.bin", "b/2.bin")


@pytest.mark.parametrize("place", ["", "train/"])
def test_recordings_beside_the_folders_of_classes_are_left_out_and_named(tmp_path, caplog, place):
    write(tmp_path, *(f"{split}/{name}/{i}.bin" for split in ("train", "test") for name in "ab" for i in range(2)))
    write(tmp_path, *(f"{place}loose {i}.bin" for i in range(5)))
    write(tmp_path, f"{place}notes.txt", content=b"hello")
    complete(tmp_path)
    named = f"they lie in {tmp_path / place}, in no class's folder: loose 0.bin, loose 1.bin, loose 2.bin and 2 more;"
    assert named in caplog.text
    assert "notes" not in caplog.text


def test_files_that_programs_put_beside_recordings_are_left_out_and_named(tmp_path, caplog):
    write(tmp_path, "a/1.bin", "a/2.bin", "b/1.bin", "b/2.bin")
    write(tmp_path, "a/1.bias", "b/1.bias", content=b"\x01\x02")
    assert complete(tmp_path) == ["a/1.bin", "a/2.bin", "b/1.bin", "b/2.bin"]
    assert "no file with the suffix .bias is in a known format; left out: " in caplog.text
    assert " and 1 more" in caplog.text


def test_a_file_in_no_known_format_counts_if_others_of_its_suffix_are_in_one(tmp_path):
    write(tmp_path, "a/1.raw", "a/2.raw", "b/2.raw", content=aedat4.encode(EVENTS, (34, 34)))
    write(tmp_path, "b/3.raw", content=b"\x01\x02")
    assert len(complete(tmp_path)) == 4


@pytest.mark.parametrize("hidden", [".gitkeep", "desktop.ini"])
def test_a_class_without_recordings_is_named(two_classes, caplog, hidden):
    write(two_classes, f"c/{hidden}", content=b"")
    complete(two_classes)
    assert caplog.messages == [f"left out, since nothing lies in them: {two_classes}/c"]


def test_a_split_without_classes_is_named(tmp_path, caplog):
    write(tmp_path, *(f"train/{name}/{i}.bin" for name in "ab" for i in range(2)))
    (tmp_path / "test").mkdir()
    complete(tmp_path)
    assert caplog.messages == [f"left out, since nothing lies in them: {tmp_path}/test"]


@pytest.mark.parametrize("name", ["labels.csv.txt", "labels.tsv", "label.csv", "labels.xlsx"])
@pytest.mark.parametrize("content", [b"file,label", b""])
def test_a_table_of_another_name_is_told(two_classes, caplog, name, content):
    write(two_classes, name, content=content)
    complete(two_classes)
    assert caplog.messages == [f"not read: {two_classes}/{name}; a table of recordings is named labels.csv"]


def test_a_table_of_another_name_is_told_if_there_is_nothing_else(tmp_path, caplog):
    assert complete(write(tmp_path, "labels.tsv", content=b"file\tlabel")) == []
    assert "labels.tsv; a table of recordings is named labels.csv" in caplog.text


def test_what_systems_put_there_is_not_named(two_classes, caplog):
    write(two_classes, "__MACOSX/a/1.bin", ".labels.csv.swp", "a/._1.bin", ".cache/x")
    assert len(complete(two_classes)) == 4
    assert caplog.messages == []
