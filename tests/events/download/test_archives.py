"""Archives: found or downloaded, verified, unpacked inside their folder, all at once."""

import contextlib
import dataclasses
import gzip
import hashlib
import io
import os
import shutil
import stat
import subprocess
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.command_line import Stopped, UserError
from src.events.datasets.dataset import UNPACKED, Archive
from src.events.download import archives as module
from src.events.download import http as downloads
from src.events.download.archives import fetch, source_of, unpack
from tests.http_server import answer, running_server, truncate
from tests.small_disk import small_disk
from tests.small_job import REPOSITORY


def zipped(files, compression=zipfile.ZIP_DEFLATED):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def tarred(files, **attributes):
    """A tar.gz file; a name that ends with / is a folder, and a TarInfo in place of a name is taken as it is."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", **attributes) as archive:
        for name, content in files.items():
            entry = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name.rstrip("/") or "/")
            if not isinstance(name, tarfile.TarInfo):
                entry.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
                entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


RANDOM = np.random.default_rng(0).bytes(100_000)
CONTENTS = {
    "train.zip": zipped({"Train/": b"", "Train/4/00001.bin": RANDOM, "Train/5/00002.bin": b"abc"}),
    "test.zip": zipped({"Test/4/00001.bin": b"def"}),
}
UNPACKED_FILES = {"Train/4/00001.bin": RANDOM, "Train/5/00002.bin": b"abc", "Test/4/00001.bin": b"def"}


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(downloads, "STALL_SECONDS", 0.3)
    monkeypatch.setattr(downloads, "WAITS", (0.01, 0.02))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with running_server() as server:
        server.files |= {f"/{name}": content for name, content in CONTENTS.items()}
        yield server


def described(address="http://127.0.0.1:9"):
    return tuple(
        Archive(f"{address}/{name}", name, hashlib.md5(content).hexdigest(), len(content), 200_000, (folder,))
        for (name, content), folder in zip(CONTENTS.items(), ("Train", "Test"), strict=True)
    )


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def put(folder, archives=tuple(CONTENTS)):
    folder.mkdir(parents=True, exist_ok=True)
    for name in archives:
        (folder / name).write_bytes(CONTENTS[name])
    return folder


def test_downloaded_archives_are_unpacked_and_removed(server, tmp_path):
    fetch(described(server.url), tmp_path / "SET")
    assert files(tmp_path) == {f"SET/{name}": content for name, content in UNPACKED_FILES.items()}
    assert names(tmp_path / "SET") == ["Test", "Train"]


def test_an_interrupted_download_goes_on(server, tmp_path):
    server.faults = [truncate(50_000), answer(403)]
    with pytest.raises(UserError):
        fetch(described(server.url), tmp_path / "SET")
    assert names(tmp_path / "SET") == ["train.zip.part"]
    fetch(described(server.url), tmp_path / "SET")
    assert files(tmp_path / "SET") == UNPACKED_FILES
    assert server.sent == sum(map(len, CONTENTS.values()))


@pytest.mark.parametrize("spelling", ["{server}", "{server}/", "{server}/mirror", "{server}/mirror//"])
def test_data_url_takes_the_place_of_the_archives_own_addresses(server, tmp_path, spelling):
    server.files |= {f"/mirror/{name}": content for name, content in CONTENTS.items()}
    fetch(described(), tmp_path / "SET", spelling.format(server=server.url))
    assert files(tmp_path / "SET") == UNPACKED_FILES


@pytest.mark.parametrize("spelling", ["file://{folder}", "file://localhost{folder}/", "{folder}"])
def test_data_url_may_be_a_folder_whose_archives_are_left_there(tmp_path, spelling):
    folder = put(tmp_path / "a b")
    fetch(described(), tmp_path / "SET", spelling.format(folder=folder))
    assert files(tmp_path / "SET") == UNPACKED_FILES
    assert files(folder) == CONTENTS


@pytest.mark.parametrize("url", ["$MIRROR", "file://$MIRROR", "file://${MIRROR}"])
def test_data_url_s_variables_are_expanded(monkeypatch, url):
    monkeypatch.setenv("MIRROR", "/mirror")
    assert source_of(described()[0], url) == Path("/mirror/train.zip")


def test_a_relative_folder_starts_at_the_repository():
    assert source_of(described()[0], "mirror") == REPOSITORY / "mirror" / "train.zip"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/folder",
        "s3://bucket",
        "C:/folder",
        "http:///x",
        "file://host/folder",
        "file:x",
        "http://[x",
        "http://h:p",
    ],
)
def test_another_kind_of_data_url_is_an_error(tmp_path, url):
    with pytest.raises(UserError, match=r"data\.url = "):
        fetch(described(), tmp_path / "SET", url)
    assert files(tmp_path) == {}
    assert names(tmp_path) == []


@pytest.mark.parametrize("place", ["SET", "."])
@pytest.mark.parametrize("spelt", [("train.zip", "test.zip"), ("Train.zip", "Test.zip")])
def test_archives_put_by_hand_are_used_without_a_download_and_stay(tmp_path, place, spelt):
    folder = tmp_path / "data" / place
    folder.mkdir(parents=True)
    for name in spelt:
        (folder / name).write_bytes(CONTENTS[name.lower()])
    fetch(described(), tmp_path / "data" / "SET")
    found = files(tmp_path / "data")
    assert {name: found[f"SET/{name}"] for name in UNPACKED_FILES} == UNPACKED_FILES
    assert len(found) == len(UNPACKED_FILES) + len(spelt)


def test_only_the_archive_that_is_not_there_is_downloaded(server, tmp_path):
    put(tmp_path / "SET", ["train.zip"])
    fetch(described(server.url), tmp_path / "SET")
    assert [path for path, _ in server.requests] == ["/test.zip"]
    assert files(tmp_path / "SET") == {**UNPACKED_FILES, "train.zip": CONTENTS["train.zip"]}


def test_a_wrong_archive_in_the_dataset_s_folder_is_an_error_and_stays(tmp_path):
    (tmp_path / "SET").mkdir()
    (tmp_path / "SET" / "train.zip").write_bytes(b"half of it")
    with pytest.raises(
        UserError, match=r"SET/train.zip has MD5 \w+ instead of \w+: fetch it again, or move it elsewhere"
    ):
        fetch(described(), tmp_path / "SET")
    assert files(tmp_path) == {"SET/train.zip": b"half of it"}


def test_a_wrong_archive_beside_the_dataset_s_folder_may_be_another_one_s(server, tmp_path, caplog):
    (tmp_path / "train.zip").write_bytes(b"of another dataset")
    with caplog.at_level("WARNING", logger="difflogic_tonic"):
        fetch(described(server.url), tmp_path / "SET")
    assert "it is not used" in caplog.text
    assert files(tmp_path / "SET") == UNPACKED_FILES
    assert (tmp_path / "train.zip").read_bytes() == b"of another dataset"


def test_a_wrong_archive_under_data_url_is_an_error_and_stays(tmp_path):
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "train.zip").write_bytes(b"another one")
    with pytest.raises(UserError, match=r"mirror/train.zip has MD5"):
        fetch(described(), tmp_path / "SET", f"file://{tmp_path}/mirror")
    assert files(tmp_path) == {"mirror/train.zip": b"another one"}


def test_a_failed_download_leaves_nothing_and_says_what_to_fetch_and_where_to_put_it(tmp_path):
    with pytest.raises(UserError) as error:
        fetch(described(), tmp_path / "SET")
    for archive in described():
        for part in (archive.file_name, archive.md5, archive.url, f"into {tmp_path / 'SET'}"):
            assert part in str(error.value)
    assert "\n" not in str(error.value)
    assert names(tmp_path) == []


def test_a_folder_of_recordings_without_recordings_is_not_unpacked_over(tmp_path):
    (tmp_path / "SET" / "Test").mkdir(parents=True)
    with pytest.raises(UserError, match=r"SET/Test is there, but holds no recordings"):
        fetch(described(), tmp_path / "SET", "unused")


@pytest.mark.parametrize("calls", [1, 3, 5, 7, 9])
def test_a_stop_at_any_moment_leaves_no_recordings_and_nothing_temporary(tmp_path, calls):
    folder = put(tmp_path / "mirror")
    asked = []

    def check():
        asked.append(True)
        if len(asked) == calls:
            raise Stopped

    with pytest.raises(Stopped):
        fetch(described(), tmp_path / "SET", str(folder), check)
    assert names(tmp_path) == ["mirror"]
    fetch(described(), tmp_path / "SET", str(folder))
    assert files(tmp_path / "SET") == UNPACKED_FILES


def test_what_a_killed_process_left_half_unpacked_is_thrown_away(tmp_path):
    (tmp_path / "SET" / ".unpacking" / "Train" / "4").mkdir(parents=True)
    (tmp_path / "SET" / ".unpacking" / "Train" / "4" / "old.bin").write_bytes(b"half")
    fetch(described(), tmp_path / "SET", str(put(tmp_path / "mirror")))
    assert files(tmp_path / "SET") == UNPACKED_FILES


def test_what_a_killed_process_moved_half_is_moved_on(tmp_path):
    fetch(described(), tmp_path / "SET", str(put(tmp_path / "mirror")))
    (tmp_path / "SET" / UNPACKED).mkdir()
    (tmp_path / "SET" / "Train").rename(tmp_path / "SET" / UNPACKED / "Train")
    fetch(described(), tmp_path / "SET")
    assert files(tmp_path / "SET") == UNPACKED_FILES
    assert names(tmp_path / "SET") == ["Test", "Train"]


def test_space_for_archives_and_recordings_is_looked_for_first(server, tmp_path):
    archive = described(server.url)[0]
    for size, unpacked_size in ((10**18, 0), (0, 10**18)):
        large = dataclasses.replace(archive, size=size, unpacked_size=unpacked_size)
        with pytest.raises(UserError, match="not enough space"):
            fetch([large], tmp_path / "SET")
    assert server.requests == []
    assert names(tmp_path) == []


@pytest.fixture
def disk(tmp_path):
    """A folder on a file system of 64 KiB."""
    with small_disk(tmp_path / "small", "64k") as folder:
        yield folder


def of_unknown_size(archives):
    return [dataclasses.replace(archive, size=0, unpacked_size=0) for archive in archives]


def test_a_file_that_the_server_says_is_too_long_for_the_disk_does_not_come(server, disk):
    with pytest.raises(UserError, match="not enough space"):
        fetch(of_unknown_size(described(server.url)), disk / "SET")
    assert names(disk) == []


def test_a_disk_that_fills_up_leaves_the_part_to_go_on_with(server, disk):
    archives = of_unknown_size(described(server.url))
    server.faults = [unsized]
    with pytest.raises(OSError, match="No space left"):
        fetch(archives, disk / "SET")
    assert CONTENTS["train.zip"].startswith((disk / "SET" / "train.zip.part").read_bytes())
    subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
    fetch(archives, disk / "SET")
    assert server.requests[-2] == ("/train.zip", "bytes=65536-")
    assert files(disk / "SET") == UNPACKED_FILES


@pytest.mark.parametrize("inner", [False, True])
def test_an_archive_that_needs_more_space_than_there_is_is_not_unpacked(pack, disk, inner):
    bomb = zipped({"bomb": bytes(10**7)})
    path = pack({"a.zip": bomb} if inner else {"bomb": bytes(10**7)})
    with pytest.raises(UserError, match="not enough space"):
        unpack(path, disk / "out")
    assert not (disk / "out" / "bomb").exists()


def unsized(handler, content):
    handler.head(200, {"Connection": "close"})
    handler.send(content)
    handler.close_connection = True


@pytest.fixture
def pack(tmp_path):
    def pack(files):
        (tmp_path / "a.zip").write_bytes(zipped(files))
        return tmp_path / "a.zip"

    return pack


def test_zip_files_inside_are_unpacked_where_they_lie_and_removed(pack, tmp_path):
    inner = {f"{name}.zip": zipped({f"{name}/1.aedat4": name.encode()}) for name in ("airplane", "bird")}
    unpack(pack({**inner, "readme.txt": b"x", "deep/cat.ZIP": zipped({"cat/2.aedat4": b"c"})}), tmp_path / "out")
    assert files(tmp_path / "out") == {
        "airplane/1.aedat4": b"airplane",
        "bird/1.aedat4": b"bird",
        "readme.txt": b"x",
        "deep/cat/2.aedat4": b"c",
    }


def test_zip_files_inside_zip_files_inside_stay_packed(pack, tmp_path):
    innermost = zipped({"x": b"x"})
    unpack(pack({"a.zip": zipped({"b.zip": innermost})}), tmp_path / "out")
    assert files(tmp_path / "out") == {"b.zip": innermost}


@pytest.mark.parametrize(
    "name",
    ["../out.txt", "a/../../out.txt", "/tmp/out.txt", "C:/out.txt", "C:out.txt", "a\\..\\out.txt", "..", "/", "./"],
)
def test_a_name_that_leads_out_of_the_folder_is_refused_before_anything_is_written(pack, tmp_path, name):
    with pytest.raises(UserError, match="which is no file inside its folder"):
        unpack(pack({"fine.txt": b"", name: b"x"}), tmp_path / "out")
    assert names(tmp_path) == ["a.zip"]


def test_a_name_with_nul_is_refused(pack, tmp_path):
    path = pack({"a_b.txt": b"x"})
    path.write_bytes(path.read_bytes().replace(b"a_b.txt", b"a\0b.txt"))
    with pytest.raises(UserError, match="which is no file inside its folder"):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(pack, tmp_path, kind):
    entry = zipfile.ZipInfo("link")
    entry.external_attr = (kind | 0o777) << 16
    with pytest.raises(UserError, match="which is no file inside its folder"):
        unpack(pack({entry: b"/etc/passwd"}), tmp_path / "out")
    assert names(tmp_path) == ["a.zip"]


def test_a_name_that_leads_out_is_refused_in_an_inner_zip_file_too(pack, tmp_path):
    with pytest.raises(UserError, match="which is no file inside its folder"):
        unpack(pack({"inner.zip": zipped({"../../out.txt": b"x"})}), tmp_path / "deep" / "out")
    assert not list(tmp_path.rglob("out.txt"))


def test_an_entry_never_writes_more_than_it_says(pack, tmp_path):
    path = pack({"bomb": bytes(10**7)})
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02") + 24  # where the unpacked size lies in the central directory
    content[at : at + 4] = (1000).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot unpack it"):
        unpack(path, tmp_path / "out")
    assert (tmp_path / "out" / "bomb").stat().st_size <= 1000


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_to_an_archive_is_an_error_of_user_or_disk_or_none(tmp_path, data):
    content = bytearray(zipped({"Train/1.bin": b"abcdef" * 5, "b.zip": zipped({"c": b"c"})}))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "a.zip"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    with contextlib.suppress(UserError, OSError):
        unpack(path, tmp_path / "deep" / "out")
    shutil.rmtree(tmp_path / "deep", ignore_errors=True)
    assert names(tmp_path) == ["a.zip"]


WHOLE = (Archive("http://127.0.0.1:9/whole.zip", "whole.zip", "0" * 32, 10, 10, ("Train", "Test")),)


@pytest.mark.parametrize("place", ["SET", "."])
@pytest.mark.parametrize(("spelt", "inside"), [("{}", "{}/"), ("{}", ""), ("{}", "a/{}/"), ("TRAIN", "{}/")])
def test_archives_of_one_folder_each_put_by_hand_are_used_and_stay(tmp_path, place, spelt, inside):
    folder = tmp_path / "data" / place
    folder.mkdir(parents=True)
    packed = {
        f"{spelt.format('Train') if name == 'Train' else name}.zip": zipped({f"{inside.format(name)}1.bin": b"abc"})
        for name in ("Train", "Test")
    }
    for name, content in packed.items():
        (folder / name).write_bytes(content)
    fetch(WHOLE, tmp_path / "data" / "SET")
    found = files(tmp_path / "data" / "SET")
    assert {name: found.pop(name) for name in ("Train/1.bin", "Test/1.bin")} == dict.fromkeys(
        ("Train/1.bin", "Test/1.bin"), b"abc"
    )
    assert files(folder).items() >= packed.items()


def test_some_archives_of_one_folder_are_not_used_without_the_others(tmp_path):
    (tmp_path / "Train.zip").write_bytes(zipped({"Train/1.bin": b"abc"}))
    with pytest.raises(UserError, match=r"/Train\.zip: used only together with Test\.zip; put those beside them"):
        fetch(WHOLE, tmp_path / "SET")
    assert names(tmp_path) == ["Train.zip"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zipped({"Test/1.bin": RANDOM}, zipfile.ZIP_STORED)[:-5000], "cannot unpack it"),
        (zipped({"Test/1.bin": RANDOM}, zipfile.ZIP_STORED).replace(RANDOM[:50], bytes(50)), "cannot unpack it"),
        (zipped({"Test/.DS_Store": b"abc"}), "it holds no recordings of Test"),
    ],
    ids=["cut short", "other bytes", "no recordings"],
)
def test_a_damaged_archive_of_one_folder_leaves_no_recordings(tmp_path, content, message):
    (tmp_path / "Train.zip").write_bytes(zipped({"Train/1.bin": b"abc"}))
    (tmp_path / "Test.zip").write_bytes(content)
    with pytest.raises(UserError, match=rf"Test\.zip: {message}"):
        fetch(WHOLE, tmp_path / "SET")
    assert names(tmp_path) == ["Test.zip", "Train.zip"]


def test_hidden_files_in_an_archive_are_not_unpacked(tmp_path):
    hidden = ["._1.bin", ".DS_Store", "a/Thumbs.db", "__MACOSX/._1.bin", "__MACOSX/a/._2.bin", "a/desktop.ini"]
    (tmp_path / "a.zip").write_bytes(zipped({"a/1.bin": b"abc", **dict.fromkeys(hidden, b"x")}))
    unpack(tmp_path / "a.zip", tmp_path / "here")
    assert files(tmp_path / "here") == {"a/1.bin": b"abc"}


def test_hidden_folders_are_not_taken_for_misnamed_ones(tmp_path):
    for name in ("__MACOSX", "@eaDir", ".git", "Train"):
        (tmp_path / name).mkdir()
    assert module.strange_folders(WHOLE, tmp_path) == []


TARRED = {
    "train.tar.gz": tarred({"./": b"", "./Train/": b"", "./Train/4/1.npy": RANDOM, "./Train/4/._1.npy": b"hidden"}),
    "test.tgz": tarred({"Test/4/2.npy": b"abc", "__MACOSX/x": b"hidden"}),
}


def tar_archives(address):
    return tuple(
        Archive(f"{address}/{name}", name, hashlib.md5(content).hexdigest(), len(content), 200_000, (folder,))
        for (name, content), folder in zip(TARRED.items(), ("Train", "Test"), strict=True)
    )


def test_downloaded_tar_files_are_unpacked_and_removed(server, tmp_path):
    server.files |= {f"/{name}": content for name, content in TARRED.items()}
    fetch(tar_archives(server.url), tmp_path / "SET")
    assert files(tmp_path / "SET") == {"Train/4/1.npy": RANDOM, "Test/4/2.npy": b"abc"}


@pytest.mark.parametrize("calls", [1, 2, 3, 4, 5, 6, 7])
def test_a_stop_while_tar_files_are_unpacked_leaves_no_recordings(tmp_path, calls):
    (tmp_path / "mirror").mkdir()
    for name, content in TARRED.items():
        (tmp_path / "mirror" / name).write_bytes(content)
    asked = []

    def check():
        asked.append(True)
        if len(asked) == calls:
            raise Stopped

    with pytest.raises(Stopped):
        fetch(tar_archives("unused"), tmp_path / "SET", str(tmp_path / "mirror"), check)
    assert names(tmp_path) == ["mirror"]
    fetch(tar_archives("unused"), tmp_path / "SET", str(tmp_path / "mirror"))
    assert files(tmp_path / "SET") == {"Train/4/1.npy": RANDOM, "Test/4/2.npy": b"abc"}


@pytest.fixture
def tar(tmp_path):
    def tar(files, **attributes):
        (tmp_path / "a.tar.gz").write_bytes(tarred(files, **attributes))
        return tmp_path / "a.tar.gz"

    return tar


@pytest.mark.parametrize(
    "name", ["../out.txt", "a/../../out.txt", "/tmp/out.txt", "C:/out.txt", "a\\..\\out.txt", "..", "../"]
)
@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_name_in_a_tar_file_that_leads_out_of_the_folder_is_refused(tar, tmp_path, name, kind):
    with pytest.raises(UserError, match="which is no file inside its folder"):
        unpack(tar({"fine.txt": b"", name: b""}, format=kind), tmp_path / "deep" / "out")
    assert not list(tmp_path.rglob("out.txt*"))


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.GNUTYPE_SPARSE],
)
@pytest.mark.parametrize("target", ["/etc/passwd", "fine.txt", "../../secret"])
def test_links_devices_and_sparse_files_in_a_tar_file_are_refused(tar, tmp_path, kind, target):
    entry = tarfile.TarInfo("link")
    entry.type, entry.linkname = kind, target
    with pytest.raises(UserError, match=r"which is no file inside its folder|cannot unpack it"):
        unpack(tar({"fine.txt": b"", entry: b""}), tmp_path / "out")
    assert names(tmp_path / "out") == ["fine.txt"]


def test_rights_and_owners_of_a_tar_file_are_not_taken_over(tar, tmp_path):
    entry = tarfile.TarInfo("run.sh")
    entry.mode, entry.uid, entry.size = 0o4777, 12345, 1
    unpack(tar({entry: b"x"}), tmp_path / "out")
    found = (tmp_path / "out" / "run.sh").stat()
    assert not found.st_mode & 0o6111
    assert found.st_uid == os.getuid()


def test_a_header_of_a_tar_file_that_claims_much_takes_no_memory(tar, tmp_path):
    entry = tarfile.TarInfo("x")
    entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 1 << 32
    path = tar({})
    path.write_bytes(gzip.compress(entry.tobuf() + bytes(10_000)))
    with pytest.raises(UserError, match="a header claims 4,294,967,296 bytes"):
        unpack(path, tmp_path / "out")


def test_a_file_in_a_tar_file_that_claims_more_than_there_is_is_named(tar, tmp_path):
    entry = tarfile.TarInfo("x")
    entry.size = 1 << 20
    path = tar({"fine.txt": b"x"})
    path.write_bytes(gzip.compress(entry.tobuf() + b"short"))
    with pytest.raises(UserError, match="cannot unpack it"):
        unpack(path, tmp_path / "out")


def test_a_file_in_a_tar_file_that_needs_more_space_than_there_is_is_not_unpacked(tar, disk):
    with pytest.raises(UserError, match="not enough space"):
        unpack(tar({"bomb": bytes(10**7)}), disk / "out")
    assert not (disk / "out" / "bomb").exists()


def test_a_zip_file_in_a_tar_file_is_unpacked_where_it_lies(tar, tmp_path):
    unpack(tar({"a/in.zip": zipped({"b/1.bin": b"abc"})}), tmp_path / "out")
    assert files(tmp_path / "out") == {"a/b/1.bin": b"abc"}


@pytest.mark.parametrize("cut", [10, 200, -1, -4, -9])
def test_a_tar_file_that_was_cut_short_is_named(tar, tmp_path, cut):
    path = tar({"1.bin": RANDOM[:5000], "2.bin": RANDOM[5000:10_000]})
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(UserError, match=r"a\.tar\.gz: cannot unpack it"):
        unpack(path, tmp_path / "out")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_to_a_tar_file_is_an_error_of_user_or_disk_or_none(tmp_path, data):
    content = bytearray(gzip.decompress(tarred({"Train/1.bin": b"abcdef" * 5, "x" * 120: b"c", "b/": b""})))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    packed = gzip.compress(content)
    path = tmp_path / "a.tar.gz"
    path.write_bytes(packed[: data.draw(st.integers(0, len(packed)))] if data.draw(st.booleans()) else packed)
    with contextlib.suppress(UserError, OSError):
        unpack(path, tmp_path / "deep" / "out")
    shutil.rmtree(tmp_path / "deep", ignore_errors=True)
    assert names(tmp_path) == ["a.tar.gz"]
