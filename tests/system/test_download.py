"""The real command downloads, is killed in the middle, and goes on."""

import hashlib
import io
import signal
import tarfile
import zipfile

import pytest

from tests import http_server, small_job
from tests.events.datasets import stand_ins
from tests.http_server import running_server
from tests.processes import wait_until

# prepare_data.py with small archives in the real ones' place: N-MNIST's are a gigabyte, with an MD5 that is known.
COMMAND = """
import dataclasses, sys
sys.path.insert(0, {repository!r})
import prepare_data
from src.command_line import run_command_line
from src.events.datasets import {module} as module
from src.events.datasets.dataset import Archive
archives = tuple(Archive(*words) for words in {archives!r})
module.{name} = dataclasses.replace(module.{name}, archives=archives)
sys.exit(run_command_line("prepare_data", None, prepare_data.add_arguments, prepare_data.run))
"""


def packed(folder):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path in sorted(folder.rglob("*.bin")):
            archive.write(path, path.relative_to(folder.parent))
    return content.getvalue()


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serves the archives of a small dataset, whose script is tmp_path/download.py and whose config is small.yaml."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    small_job.write_config(tmp_path)
    contents = {name: packed(tmp_path / "recordings" / "NMNIST" / name) for name in ("Train", "Test")}
    (tmp_path / "recordings").rename(tmp_path / "original")
    (tmp_path / "recordings").mkdir()
    with running_server() as server:
        serve_archives(tmp_path, server, "NMNIST", {name: (".zip", content) for name, content in contents.items()})
        yield server


def serve_archives(folder, server, name, packed_folders):
    """Serve the archive of each folder, with its suffix, and write the script that downloads them."""
    archives = []
    for unpacked, (suffix, content) in packed_folders.items():
        file_name = f"{unpacked.lower()}{suffix}"
        server.files[f"/{file_name}"] = content
        md5 = hashlib.md5(content).hexdigest()
        archives.append((f"{server.url}/{file_name}", file_name, md5, len(content), len(content), (unpacked,)))
    repository = str(small_job.REPOSITORY)
    script = COMMAND.format(repository=repository, archives=archives, name=name, module=name.lower())
    (folder / "download.py").write_text(script)


def start(folder):
    return small_job.start(folder, str(folder / "download.py"), "small.yaml")


def recordings(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def wait_for_part(folder, size, process):
    part = folder / "recordings" / "NMNIST" / "train.zip.part"
    wait_until(lambda: part.exists() and part.stat().st_size >= size, process=process)
    return part


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGKILL, -9),
        pytest.param(signal.SIGTERM, 75, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
    ],
)
def test_a_download_ended_by_a_signal_goes_on_where_it_was(server, tmp_path, number, code):
    content = server.files["/train.zip"]
    server.faults = [http_server.slowly(len(content) // 5)]
    process = start(tmp_path)
    part = wait_for_part(tmp_path, len(content) // 5, process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == code, output
    came = part.stat().st_size
    assert content.startswith(part.read_bytes())
    assert came < len(content)

    process = start(tmp_path)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert ("/train.zip", f"bytes={came}-") in server.requests
    assert recordings(tmp_path / "recordings") == recordings(tmp_path / "original")


@pytest.mark.slow
def test_tar_files_are_downloaded_unpacked_and_prepared(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    original = stand_ins.write("POKERDVS", tmp_path / "original", per_class=5)
    (tmp_path / "recordings").mkdir()
    options = f"name: POKERDVS, data_root: {tmp_path / 'recordings'}, events_per_frame: 200, overlap: 0"
    (tmp_path / "small.yaml").write_text(f"data: {{{options}, num_threads: 1, val_split: 0.2}}")
    packed_folders = {name: (".tar.gz", tarred(original / name)) for name in ("pips_train", "pips_test")}
    with running_server() as server:
        serve_archives(tmp_path, server, "POKERDVS", packed_folders)
        output, _ = start(tmp_path).communicate(timeout=60)
    assert "POKERDVS: 40 of 68 recordings found" in output
    assert recordings(tmp_path / "recordings/POKERDVS") == recordings(original)
    assert list((tmp_path / "scratch/data/POKERDVS").glob("*/manifest.json"))


def tarred(folder):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        archive.add(folder, folder.name)
    return content.getvalue()
