"""CIFAR10-DVS's folders: tonic's layout, one format, the simulated kept apart from the real."""

import pytest
from tonic import datasets

from src.command_line import UserError
from src.events import Events
from src.events.datasets.cifar10dvs import CIFAR10DVS, CLASSES
from src.events.datasets.dataset import UNPACKED
from src.events.download.archives import fetch
from tests.recordings import same


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def test_it_is_described_as_in_tonic():
    assert CIFAR10DVS.sensor_size == datasets.CIFAR10DVS.sensor_size
    assert dict(zip(CIFAR10DVS.classes, range(10), strict=True)) == datasets.CIFAR10DVS.classes
    (archive,) = CIFAR10DVS.archives
    assert (archive.file_name, archive.md5) == (datasets.CIFAR10DVS.filename, datasets.CIFAR10DVS.file_md5)
    assert archive.url.rsplit("/", 1)[1] == datasets.CIFAR10DVS.url.rsplit("/", 1)[1]
    assert archive.unpacks_to == tuple(name.removesuffix(".zip") for name in datasets.CIFAR10DVS.data_filename)


@pytest.mark.parametrize("suffix", [".aedat4", ".aedat"])
def test_recordings_are_found_by_class_in_sorted_order(tmp_path, suffix):
    touch(tmp_path, *(f"{name}{suffix}" for name in ("frog/b", "frog/a", "airplane/c", "other/d")), "frog/notes.txt")
    found = [(r.path.removeprefix(f"{tmp_path}/"), r.label, r.is_test) for r in CIFAR10DVS.find_recordings(tmp_path)]
    assert found == [(f"airplane/c{suffix}", 0, False), (f"frog/a{suffix}", 6, False), (f"frog/b{suffix}", 6, False)]


def test_both_formats_in_one_folder_are_an_error(tmp_path):
    touch(tmp_path, "frog/a.aedat4", "frog/b.aedat")
    with pytest.raises(UserError, match=r"1 \.aedat4 and 1 \.aedat files.*Keep one format"):
        CIFAR10DVS.find_recordings(tmp_path)


def test_own_classes_in_its_folder_are_never_to_be_removed(tmp_path):
    touch(tmp_path / "CIFAR10DVS", "left/a.aedat4", "right/b.aedat4")
    with pytest.raises(UserError) as error:
        fetch(CIFAR10DVS.archives, tmp_path / "CIFAR10DVS")
    assert "has airplane, automobile, bird" in str(error.value)
    assert "but left, right; correct their names" in str(error.value)
    assert "name another folder by data.data_root" in str(error.value)
    assert "remove" not in str(error.value)


def test_simulated_recordings_can_be_used_and_are_called_so(simulated_cifar10dvs, caplog):
    with caplog.at_level("WARNING", logger="difflogic_tonic"):
        assert CIFAR10DVS.is_current(simulated_cifar10dvs.parent, 0)
        assert not caplog.records
        assert CIFAR10DVS.is_current(simulated_cifar10dvs, 0)
    assert "are simulated, not CIFAR10-DVS" in caplog.text


def test_recordings_on_the_way_to_their_places_are_not_used_yet(tmp_path):
    touch(tmp_path, "frog/a.aedat4")
    assert CIFAR10DVS.is_current(tmp_path, 0)
    (tmp_path / UNPACKED).mkdir()
    assert not CIFAR10DVS.is_current(tmp_path, 0)


def test_tonic_s_dataset_reads_the_layout_and_the_events(simulated_cifar10dvs, monkeypatch):
    monkeypatch.setattr(datasets.CIFAR10DVS, "_check_exists", lambda self: True)  # it wants 1,000 files
    theirs = datasets.CIFAR10DVS(save_to=str(simulated_cifar10dvs.parent))
    ours = CIFAR10DVS.find_recordings(simulated_cifar10dvs)
    assert [r.path for r in ours] == theirs.data
    assert [r.label for r in ours] == theirs.targets == list(range(len(CLASSES)))
    for recording, (events, _) in zip(ours[::3], [theirs[i] for i in range(0, 10, 3)], strict=True):
        assert same(CIFAR10DVS.read(recording.path), Events.from_structured(events))
