"""FOLDER: which recordings lie in a folder, of which class, split and group; and one clear line for what is wrong."""

import os
from pathlib import Path

import pytest

from src.command_line import UserError
from src.events.datasets.dataset import OwnRecordings
from src.events.datasets.folder import find_recordings, of_options
from src.events.datasets.listing import natural_order
from src.events.formats import aedat4
from tests.events.datasets.own_folder import EVENTS, write


def found(folder, **options):
    """(path under the folder, label, is for val, is for test) of each recording."""
    recordings = find_recordings(folder, OwnRecordings(**options))
    return [(str(Path(r.path).relative_to(folder)), r.label, r.is_val, r.is_test) for r in recordings]


def completed(folder, sensor_size=(34, 34), **options):
    dataset = of_options(OwnRecordings(folder=str(folder), sensor_size=sensor_size, **options))
    return dataset.complete(folder)[0]


def table(folder, text, *names):
    """Write labels.csv, and recordings beside it."""
    write(folder, *names)
    (folder / "labels.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


# Layouts


def test_a_folder_per_class_is_a_dataset_in_natural_order(tmp_path):
    write(tmp_path, "class 10/a.bin", "class 10/b.bin", "class 2/b.bin", "class 2/c 10.bin", "class 2/c 9.bin")
    assert completed(tmp_path).classes == ("class 2", "class 10")
    names = [name for name, *_ in found(tmp_path)]
    assert names == ["class 2/b.bin", "class 2/c 9.bin", "class 2/c 10.bin", "class 10/a.bin", "class 10/b.bin"]


def test_a_misspelt_folder_of_a_split_is_named(tmp_path):
    write(tmp_path, "train/a/1.bin", "train/b/2.bin", "Tets/a/3.bin")
    with pytest.raises(UserError, match="holds train, and 'Tets', which is no split: name it train, val or test"):
        found(tmp_path)


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "VALID", "Testing")])
def test_folders_of_splits_hold_folders_of_classes(tmp_path, names):
    train, val, test = names
    write(tmp_path, f"{train}/a/1.bin", f"{val}/a/2.bin", f"{test}/b/3.bin")
    splits = {Path(name).name: (is_val, is_test) for name, _, is_val, is_test in found(tmp_path)}
    assert splits == {"1.bin": (False, False), "2.bin": (True, False), "3.bin": (False, True)}
    assert completed(tmp_path).own_test_split


def test_a_class_may_be_named_like_a_split_beside_others(tmp_path):
    write(tmp_path, "test/1.bin", "test/2.bin", "car/3.bin", "car/4.bin")
    assert completed(tmp_path).classes == ("car", "test")


def test_a_table_names_files_labels_splits_and_times(tmp_path):
    text = "file,label,split,start_s,end_s\nx.bin,wave,train,0,1.5\nx.bin,clap,train,1.5,2\ny.bin,clap,test,,\n"
    folder = table(tmp_path, text, "x.bin", "y.bin")
    recordings = find_recordings(folder, OwnRecordings())
    assert [(Path(r.path).name, r.label, r.begin, r.end, r.is_test) for r in recordings] == [
        ("x.bin", 1, 0, 1_500_000, False),
        ("x.bin", 0, 1_500_000, 2_000_000, False),
        ("y.bin", 0, None, None, True),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "\ufefffile;label\r\na.bin;x\r\nb.bin;y\r\n",
        "Path\tClass\tnote\na.bin\tx\t-\n\nb.bin\ty\t-\n",
        'label,file\n"x","a.bin"\ny,b.bin',
    ],
    ids=["byte order mark and Windows line ends", "tabs and other names", "quotes"],
)
def test_a_table_is_read_as_programs_write_it(tmp_path, text):
    assert [name for name, *_ in found(table(tmp_path, text, "a.bin", "b.bin"))] == ["a.bin", "b.bin"]


@pytest.mark.parametrize("name", ["with blank", "ünïcode", "it's", 'double " quote', "line\nbreak", "semi;colon"])
def test_a_name_may_have_any_characters(tmp_path, name):
    write(tmp_path, f"{name}/{name}.bin", f"{name}/2.bin", "other/1.bin", "other/2.bin")
    assert name in completed(tmp_path).classes


def test_what_systems_put_beside_recordings_is_left_out(tmp_path):
    write(tmp_path, "a/1.bin", "a/2.bin", "b/1.bin", "b/2.bin", "a/._1.bin", "__MACOSX/1.bin", ".git/x")
    assert len(found(tmp_path)) == 4


def test_a_link_in_a_loop_is_left_out(tmp_path):
    write(tmp_path, "a/1.bin", "a/2.bin", "b/1.bin", "b/2.bin")
    (tmp_path / "a" / "loop").symlink_to("loop")
    (tmp_path / "b" / "up").symlink_to(tmp_path)
    assert len(found(tmp_path)) == 4


def test_a_folder_named_like_a_recording_is_none(tmp_path):
    write(tmp_path, "a/1.bin", "a/2.bin", "b/1.bin", "b/2.bin", "a/3.bin/inside")
    assert len(found(tmp_path)) == 4


def test_names_with_digits_of_other_scripts_are_sorted():
    assert sorted(["x٣", "x²", "x10", "x9"], key=natural_order)[:2] == ["x9", "x10"]


# Groups


def test_a_group_is_found_in_the_path(tmp_path):
    write(tmp_path, "a/anna_1.bin", "a/anna_2.bin", "b/otto_1.bin")
    recordings = find_recordings(tmp_path, OwnRecordings(group_by="([a-z]+)_"))
    assert [r.group for r in recordings] == ["anna", "anna", "otto"]


def test_parts_of_a_file_are_one_group(tmp_path):
    folder = table(tmp_path, "file,label,start_us,end_us\nx.bin,a,0,1\nx.bin,b,1,2\n", "x.bin")
    assert len({r.group for r in find_recordings(folder, OwnRecordings())}) == 1


def test_a_group_of_one_part_is_that_of_its_whole_file(tmp_path):
    text = "file,label,group,start_us,end_us\nx.bin,a,,0,1\nx.bin,b,anna,1,2\n"
    recordings = find_recordings(table(tmp_path, text, "x.bin"), OwnRecordings())
    assert [r.group for r in recordings] == ["anna", "anna"]


def test_parts_of_one_file_in_two_groups_are_refused_unless_a_pattern_groups_files(tmp_path):
    text = "file,label,group,start_us,end_us\nx.bin,a,anna,0,1\nx.bin,b,otto,1,2\n"
    folder = table(tmp_path, text, "x.bin")
    with pytest.raises(UserError, match=r"line 3: parts of '.*x\.bin' are in groups 'anna' and 'otto'; .* one group$"):
        find_recordings(folder, OwnRecordings())
    assert {r.group for r in find_recordings(folder, OwnRecordings(group_by="x"))} == {"x"}


def test_parts_of_a_single_file_are_refused_with_what_is_needed(tmp_path):
    folder = table(tmp_path, "file,label,start_us,end_us\nx.bin,a,0,1\nx.bin,b,1,2\n", "x.bin")
    with pytest.raises(
        UserError, match=r"parts of one file, '.*x\.bin', .*; add other files, or cut this one into several"
    ):
        completed(folder)


def test_a_table_s_groups_count(tmp_path):
    folder = table(tmp_path, "file,label,group\nx.bin,a,p1\ny.bin,b,p1\n", "x.bin", "y.bin")
    assert [r.group for r in find_recordings(folder, OwnRecordings())] == ["p1", "p1"]


# The sensor


def test_the_sensor_is_that_of_the_headers(tmp_path):
    write(tmp_path, "a/1", "a/2", "b/3", "b/4", content=aedat4.encode(EVENTS, (346, 260)))
    assert completed(tmp_path, None).sensor_size == (346, 260, 2)


@pytest.mark.parametrize("given", [None, (346, 260)])
def test_files_of_two_sensors_are_named(tmp_path, given):
    write(tmp_path, "a/1", "a/2", content=aedat4.encode(EVENTS, (346, 260)))
    write(tmp_path, "b/3", "b/4", content=aedat4.encode(EVENTS, (640, 480)))
    with pytest.raises(UserError, match=r"1' is of a sensor of 346 x 260 pixels, '.*3' of 640 x 480;"):
        completed(tmp_path, given)


def test_another_sensor_than_the_option_says_is_named(tmp_path):
    write(tmp_path, "a/1", "a/2", "b/3", "b/4", content=aedat4.encode(EVENTS, (346, 260)))
    with pytest.raises(
        UserError,
        match=r"^data\.sensor_size = \[640, 480\]: '.*1' is of a sensor of 346 x 260 pixels; leave the option out",
    ):
        completed(tmp_path, (640, 480))


def test_files_without_a_sensor_in_their_header_need_the_option(tmp_path):
    write(tmp_path, "a/1.bin", "a/2.bin", "b/3.bin", "b/4.bin")
    assert completed(tmp_path, (40, 30)).sensor_size == (40, 30, 2)
    with pytest.raises(UserError, match=r"^data\.sensor_size = null: .* give \[width, height\]$"):
        completed(tmp_path, None)


# What is wrong


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a/1.bin", "a/2.bin"), "one class only, 'a'"),
        (("a/1.bin", "b/1.bin", "b/2.bin"), "class 'a' has one recording only, '.*1.bin'"),
    ],
)
def test_too_few_recordings_are_refused(tmp_path, names, message):
    with pytest.raises(UserError, match=message):
        completed(write(tmp_path, *names))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "",
            "no column 'file' or 'path' or 'filename'; its first line must name the columns, such as 'file,label'",
        ),
        (
            "file,labels\nx.bin,a\n",
            "no column 'label' or 'class'; its first line must name .*, such as 'file,label', but is 'file,labels'",
        ),
        ("file,label\nz.bin,a\n", "line 2: 'z.bin': there is no such file"),
        ("file,label\nx.bim,a\n", "did you mean 'x.bin'"),
        ("file,label\nX.BIN,a\n", "did you mean 'x.bin'"),
        ("file,label\nx,a\n", "did you mean 'x.bin'"),
        ("file,label\nx2.bin,a\n", "there is no such file$"),
        ("file,label\nfolder,a\n", "'folder': it is a folder, not a file"),
        ("file,label\na\\x.bin,a\n", "there is no such file; write / between folders"),
        (f"file,label\n{'x' * 5000},a\n", "line 2: 'x{100}': File name too long"),
        ("file,label\n", "it names no recordings"),
        ("file,file,label\nx.bin,y.bin,a\n", "it has 2 columns 'file'; keep one of them"),
        ("file,label\nx.bin,a\n./x.bin,b\n", "shares events of '.*x.bin' with line 3; one row for each event"),
        ("file,label\nx.bin,\n", "line 2: it names no label"),
        ("file,label\n,a\n", "line 2: it names no file"),
        ("file,label,split\nx.bin,a,trian\n", "split 'trian': give train, val or test"),
        ("file,label,start\nx.bin,a,0\n", "column 'start' has no unit; name it start_us or start_s"),
        ("file,label,start_us\nx.bin,a,0\n", "not both start_us and end_us"),
        ("file,label,start_us,end_us\nx.bin,a,9,8\n", "line 2: it ends before it begins"),
        ("file,label,start_us,end_us\nx.bin,a,0.5,8\n", "start_us = '0.5': give whole microseconds, such as"),
        ("file,label,start_s,end_s\nx.bin,a,.,8\n", "start_s = '.': give seconds, such as 1.5"),
        ("file,label,start_s,end_s\nx.bin,a,soon,8\n", "start_s = 'soon': give seconds, such as 1.5"),
        ("file;label;start_s;end_s\nx.bin;a;0,5;8\n", "start_s = '0,5': give seconds, such as 1.5"),
        (
            "file,label,start_us,end_us\nx.bin,a,0,9\nx.bin,b,8,12\n",
            "line 2: it shares events of '.*x.bin' with line 3; one row for each event",
        ),
        ("file,label,start_us,end_us,start_s,end_s\nx.bin,a,0,9,0,1\n", "both microseconds and seconds"),
        ("file,label\nx.bin,a\nx.bin,b\n", "shares events of '.*x.bin' with line 3; one row for each event"),
        (b"file,label\nx.bin,\xff\n", "not a UTF-8 text file"),
        (b"file,label\n\0", "not a text file"),
        ("file,label,split,group\nx.bin,a,train,g\ny.bin,b,test,g\n", "group 'g' is in train .* and in test"),
    ],
)
def test_what_is_wrong_in_a_table_is_one_line(tmp_path, text, message):
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=message) as caught:
        find_recordings(table(tmp_path, text, "x.bin", "y.bin"), OwnRecordings())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("(", "no regular expression"), ("x+_", "finds no group in 'a/1.bin'"), ("x*", "finds no group")],
)
def test_a_pattern_of_groups_that_does_not_fit_is_refused(tmp_path, pattern, message):
    with pytest.raises(UserError, match=message):
        found(write(tmp_path, "a/1.bin"), group_by=pattern)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (os.mkfifo, "a named pipe, not a file"),
        (os.mkdir, "a folder, not a file"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
        (lambda path: path.symlink_to("nowhere"), "No such file or directory"),
        (lambda path: path.symlink_to("/dev/zero"), "a device, not a file"),
    ],
)
def test_what_is_no_table_is_named_and_not_waited_for(tmp_path, make, message):
    make(tmp_path / "labels.csv")
    with pytest.raises(UserError, match=f"labels.csv: cannot be read: .*{message}"):
        found(tmp_path)


def test_a_link_to_a_file_of_another_line_is_the_same_recording(tmp_path):
    folder = table(tmp_path, "file,label,start_us,end_us\nx.bin,a,0,9\nlink,b,8,12\n", "x.bin")
    (folder / "link").symlink_to("x.bin")
    with pytest.raises(UserError, match=r"line 2: it shares events of '.*x.bin' with line 3; one row for each event"):
        found(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_listed_is_named(tmp_path):
    write(tmp_path, "a/1.bin")
    (tmp_path / "a").chmod(0)
    with pytest.raises(UserError, match="cannot list this folder"):
        found(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_recording_that_cannot_be_read_is_named(tmp_path):
    write(tmp_path, "a/1.bin", "a/2.bin", "b/1.bin", "b/2.bin")
    (tmp_path / "b" / "2.bin").chmod(0)
    with pytest.raises(UserError, match=r"b/2\.bin': cannot be read: Permission denied"):
        completed(tmp_path)


def test_a_dataset_without_a_folder_is_refused():
    with pytest.raises(UserError, match=r"data\.folder = null: data\.name = FOLDER needs the folder"):
        of_options(OwnRecordings())


def test_a_folder_beside_train_and_test_is_refused(tmp_path):
    write(tmp_path, "train/a/1.bin", "train/b/1.bin", "test/a/2.bin", "test/b/2.bin", "calibration/c/1.bin")
    with pytest.raises(UserError, match="holds train and test, which are splits, and 'calibration', which is none"):
        completed(tmp_path)


def test_a_table_whose_name_has_capitals_is_refused(tmp_path):
    write(tmp_path, "a/1.bin", "b/1.bin")
    (tmp_path / "Labels.CSV").write_text("file,label\n")
    with pytest.raises(UserError, match=r"Labels\.CSV: name it labels\.csv, in small letters"):
        completed(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label,start_s,end_s\nx.bin,a,0,5,0,9\n", "line 2: it has 6 cells, but the first line names 4 columns"),
        ("file,label,start_ms,end_ms\nx.bin,a,0,5\n", "column 'end_ms': times are in columns start_us and end_us"),
    ],
)
def test_cells_and_times_that_would_be_passed_over_are_refused(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        found(table(tmp_path, text, "x.bin"))


def test_classes_that_differ_in_case_only_are_told(tmp_path, caplog):
    completed(write(tmp_path, "Wave/1.bin", "Wave/2.bin", "wave/1.bin", "wave/2.bin"))
    assert "classes 'Wave' and 'wave' differ in case only, and count as two" in caplog.text


def test_groups_of_a_table_that_another_option_replaces_are_told(tmp_path, caplog):
    rows = "".join(f"{name}/{number}.bin,{name},g{number}\n" for name in "ab" for number in range(3))
    names = [f"{name}/{number}.bin" for name in "ab" for number in range(3)]
    completed(table(tmp_path, f"file,label,group\n{rows}", *names), group_by="[0-9]")
    assert "the groups of labels.csv do not count, since data.group_by = [0-9] finds others" in caplog.text


def test_rows_without_a_group_beside_others_are_told(tmp_path, caplog):
    names = [f"{number}.bin" for number in range(4)]
    completed(table(tmp_path, "file,label,group\n0.bin,a,x\n1.bin,b,\n2.bin,a,y\n3.bin,b,\n", *names))
    assert f"labels.csv names no group for 2 files: each of them is one, such as '{tmp_path}/1.bin'" in caplog.text


def test_seconds_may_begin_with_their_point(tmp_path):
    table(tmp_path, "file,label,start_s,end_s\nx.bin,a,.25,.5\n", "x.bin")
    (recording,) = find_recordings(tmp_path, OwnRecordings())
    assert (recording.begin, recording.end) == (250_000, 500_000)
