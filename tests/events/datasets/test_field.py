"""The datasets of the field: tonic's layout, its events, its labels and its archives; and whose recordings they are."""

from pathlib import Path

import numpy as np
import pytest
from tonic import datasets as tonics

from src.command_line import UserError
from src.events import Events
from src.events.datasets import get_dataset
from src.events.datasets.asldvs import ASLDVS
from src.events.datasets.dvsgesture import DVSGESTURE
from src.events.datasets.ncaltech101 import NCALTECH101
from src.events.datasets.ncars import NCARS
from src.events.formats import nmnist_bin
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError
from tests.events.datasets import stand_ins
from tests.recordings import same, sample

TONICS = {
    "DVSGESTURE": tonics.DVSGesture,
    "NCALTECH101": tonics.NCALTECH101,
    "ASLDVS": tonics.ASLDVS,
    "POKERDVS": tonics.POKERDVS,
}
HAS_SPLITS = ("DVSGESTURE", "POKERDVS")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data_root that holds two recordings of each class of each dataset, and of each split."""
    folder = tmp_path_factory.mktemp("data")
    for name in stand_ins.NAMES:
        stand_ins.write(name, folder, per_class=2, events=60)
    return folder


def found(name, root):
    dataset = get_dataset(name)
    return dataset.find_recordings(root / dataset.folder)


@pytest.mark.parametrize("name", TONICS)
def test_tonic_reads_the_same_recordings_events_and_labels(root, name, monkeypatch):
    monkeypatch.setattr(TONICS[name], "_check_exists", lambda self: True)  # it wants thousands of files
    dataset = get_dataset(name)
    for is_test in (False, True) if name in HAS_SPLITS else (False,):
        options = {"train": not is_test} if name in HAS_SPLITS else {}
        theirs = TONICS[name](str(root), **options)
        ours = [it for it in found(name, root) if it.is_test == is_test]
        assert len(ours) == len(theirs) == 2 * len(dataset.classes)
        expected = sorted(digest(tonic_name(name, target), Events.from_structured(it)) for it, target in theirs)
        assert sorted(digest(dataset.classes[it.label], dataset.read(it.path)) for it in ours) == expected


def tonic_name(name, target):
    """The name in our list of what tonic calls a class: a number, or for N-Caltech101 its name."""
    if name == "ASLDVS":
        return tonics.ASLDVS.classes[target]
    return target if name == "NCALTECH101" else get_dataset(name).classes[target]


def digest(name, events):
    return name, *(getattr(events, column).ravel().tobytes() for column in "xytp")


@pytest.mark.parametrize("name", TONICS)
def test_archives_sensor_and_folder_are_tonic_s(name):
    theirs, ours = TONICS[name], get_dataset(name)
    assert ours.folder == theirs.__name__
    if theirs.sensor_size is not None:
        assert ours.sensor_size == theirs.sensor_size
    pairs = (
        {(theirs.train_filename, theirs.train_md5), (theirs.test_filename, theirs.test_md5)}
        if name in HAS_SPLITS
        else {(theirs.filename, theirs.file_md5)}
    )
    assert {(archive.file_name, archive.md5) for archive in ours.archives} == pairs


def test_class_names_are_in_tonic_s_order():
    simple = [
        name.lower().replace(" cw", " clockwise").replace(" ccw", " counterclockwise")
        for name in tonics.DVSGesture.classes
    ]
    assert list(DVSGESTURE.classes) == simple
    assert [name[:2] for name in get_dataset("POKERDVS").classes] == tonics.POKERDVS.classes
    assert list(NCALTECH101.classes) == sorted(NCALTECH101.classes)
    assert set(ASLDVS.classes) == set(tonics.ASLDVS.classes) - set("jz")


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [("DVSGESTURE", 1077, 264), ("NCARS", 15_422, 8_607), ("POKERDVS", 48, 20), ("ASLDVS", 24 * 4200, 0)],
)
def test_the_whole_dataset_has_its_published_size(name, train, test):
    assert get_dataset(name).full_size == train + test


@pytest.mark.parametrize("name", stand_ins.NAMES)
def test_recordings_lie_on_the_sensor_and_in_a_sorted_order(root, name):
    dataset = get_dataset(name)
    recordings = found(name, root)
    keys = [
        (it.is_test, it.label if name != "DVSGESTURE" else 0, it.path.rpartition("/")[0], it.label) for it in recordings
    ]
    assert keys == sorted(keys)
    assert {it.is_test for it in recordings} == ({False, True} if dataset.own_test_split else {False})
    width, height, _ = dataset.sensor_size
    for recording in recordings[::7]:
        events = dataset.read(recording.path)
        assert max(events.x) < width
        assert max(events.y) < height
        assert set(events.p) <= {0, 1}


# DVS128 Gesture


def test_a_person_s_gestures_are_a_group(root):
    groups = {(it.group, it.is_test) for it in found("DVSGESTURE", root)}
    assert groups == {("user01", False), ("user02", False), ("user24", True), ("user25", True)}


@pytest.mark.slow
def test_ibm_s_layout_gives_the_samples_of_its_tables(tmp_path):
    folder = stand_ins.write_original_gestures(tmp_path, {"user01": False, "user24": True}, events=50)
    recordings = DVSGESTURE.find_recordings(folder)
    assert [it.label for it in recordings[:12]] == [0, 1, 2, 3, 4, 5, 6, 7, 7, 8, 9, 10]
    assert [(it.group, it.is_test) for it in recordings[::12]] == [("user01", False), ("user24", True)]
    assert (recordings[1].begin, recordings[1].end) == (82_000_000, 82_900_000)
    events = DVSGESTURE.read(recordings[0].path)
    assert len(events) == 12 * 50
    assert events.t[0] >= 80_000_000


def test_trials_that_are_not_there_are_left_out(tmp_path):
    folder = stand_ins.write_original_gestures(tmp_path, {"user01": False, "user24": True}, events=50)
    (folder / "DvsGesture/user01_led.aedat").unlink()
    assert {it.group for it in DVSGESTURE.find_recordings(folder)} == {"user24"}


def test_both_layouts_in_one_folder_are_refused(tmp_path):
    stand_ins.write("DVSGESTURE", tmp_path, per_class=1, events=10)
    folder = stand_ins.write_original_gestures(tmp_path, {"user01": False}, events=10)
    with pytest.raises(UserError, match=r"twice: 12 recordings in DvsGesture, .* and 22 in ibmGestureTrain"):
        DVSGESTURE.find_recordings(folder)


@pytest.mark.parametrize("row", ["12,1,2", "0,1,2", "1,5,5", "1,2", "1,a,3", "1,-4,3"])
def test_a_damaged_line_of_a_table_is_named(tmp_path, row):
    folder = stand_ins.write_original_gestures(tmp_path, {"user01": False}, events=10)
    (folder / "DvsGesture/user01_led_labels.csv").write_text(f"class,startTime_usec,endTime_usec\n1,0,5\n{row}\n")
    with pytest.raises(UserError, match=f"user01_led_labels.csv, line 3: '{row}' is no class"):
        DVSGESTURE.find_recordings(folder)


def test_a_missing_table_is_named(tmp_path):
    folder = stand_ins.write_original_gestures(tmp_path, {"user01": False}, events=10)
    (folder / "DvsGesture/user01_led_labels.csv").unlink()
    with pytest.raises(UserError, match=r"user01_led_labels.csv: cannot be read: No such file or directory"):
        DVSGESTURE.find_recordings(folder)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.uint32])
def test_milliseconds_are_tonic_s_in_any_type_of_numbers(tmp_path, dtype, monkeypatch):
    monkeypatch.setattr(tonics.DVSGesture, "_check_exists", lambda self: True)
    path = tmp_path / "DVSGesture/ibmGestureTrain/user01_led/3.npy"
    path.parent.mkdir(parents=True)
    rows = np.array([[5, 6, 1, 123_456.789], [7, 8, 0, 187_389.051]]).astype(dtype)
    np.save(path, rows)
    ((theirs, _),) = tonics.DVSGesture(str(tmp_path))
    assert same(DVSGESTURE.read(path), Events.from_structured(theirs))


# The others


@pytest.mark.parametrize(
    ("dataset", "name", "num_events"), [(NCALTECH101, "faces_easy_0001.bin", 67_445), (NCARS, "ncars.dat", 2_009)]
)
def test_a_real_recording_lies_on_the_sensor(dataset, name, num_events):
    if not (path := sample(name)).exists():
        pytest.skip("no samples of other formats here")
    events = dataset.read(path)
    assert len(events) == num_events
    assert max(events.x) < dataset.sensor_size[0]
    assert max(events.y) < dataset.sensor_size[1]


def test_a_picture_of_n_caltech101_begins_in_the_corner(tmp_path):
    events = Events(
        *(np.array(it, dtype) for it, dtype in (([7, 5], "u2"), ([9, 30], "u2"), ([0, 1], "i8"), ([1, 0], "u1")))
    )
    (tmp_path / "1.bin").write_bytes(nmnist_bin.encode(events))
    moved = NCALTECH101.read(tmp_path / "1.bin")
    assert moved.x.tolist() == [2, 0]
    assert moved.y.tolist() == [0, 21]


@pytest.mark.parametrize("place", ["{}", "n-cars_{}", "n-cars_{0}/{0}"])
@pytest.mark.parametrize("above", ["", "Prophesee_Dataset_n_cars/"])
def test_n_cars_is_found_however_its_archives_were_unpacked(tmp_path, place, above):
    for split in ("train", "test"):
        for name in ("cars", "background"):
            path = tmp_path / f"{above}{place.format(split)}/{name}/obj_000001_td.dat"
            path.parent.mkdir(parents=True)
            path.touch()
    assert [(it.label, it.is_test) for it in NCARS.find_recordings(tmp_path)] == [
        (0, False),
        (1, False),
        (0, True),
        (1, True),
    ]


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ({"ts": [1], "x": [1], "y": [1]}, ForeignRecordingError, "no column 'pol'"),
        ({"ts": [1, 2], "x": [1], "y": [1], "pol": [1]}, CorruptRecordingError, "equally many events"),
        ({"ts": [], "x": [], "y": [], "pol": []}, CorruptRecordingError, "no events"),
        ({"ts": ["a"], "x": [1], "y": [1], "pol": [1]}, CorruptRecordingError, "not numbers"),
        ({"ts": [1] * 9, "x": [1] * 9, "y": [180] * 9, "pol": [1] * 9}, ForeignRecordingError, "9 of its 9 events"),
    ],
)
def test_what_is_wrong_in_a_file_of_asl_dvs_is_named(tmp_path, columns, error, message):
    import scipy.io

    scipy.io.savemat(tmp_path / "a.mat", {name: np.array(column) for name, column in columns.items()})
    with pytest.raises(error, match=message):
        ASLDVS.read(tmp_path / "a.mat")


@pytest.mark.parametrize("name", stand_ins.NAMES)
def test_any_damage_to_a_recording_gives_events_or_one_clear_error(root, tmp_path, name):
    dataset = get_dataset(name)
    source = Path(found(name, root)[0].path)
    content = source.read_bytes()
    path = tmp_path / source.name
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(150):
        damaged = bytearray(content[: rng.integers(len(content) + 1)] if rng.random() < 0.3 else content)
        for _ in range(rng.integers(1, 4)):
            if damaged:
                damaged[rng.integers(min(len(damaged), 300))] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            assert len(dataset.read(path)) <= len(content)
        except CorruptRecordingError as error:
            errors.append(str(error))
    assert not [message for message in errors if "\n" in message]
