"""The laptop's scripts against a real sshd and a real rsync: code, container, data and logs, and what is refused."""

import contextlib
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from src.frame_cache import cache
from src.io_funcs import file_lock
from tests.frame_cache.test_cache import write as write_cache
from tests.small_job import REPOSITORY
from tests.system.ssh_server import ssh_server

pytestmark = pytest.mark.slow

STRANGE = 'it\'s a folder; $(touch trap) `touch trap` "x"\n*'
IDENTITY = "events1500_overlap1000_denoise1200_0123456789"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ssh_server(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def laptop(tmp_path):
    """A small copy of the project in a folder with a strange name."""
    laptop = tmp_path / "laptop" / STRANGE
    shutil.copytree(REPOSITORY / "helper_scripts", laptop / "helper_scripts")
    for name in ("pyproject.toml", "train.sh"):
        shutil.copy(REPOSITORY / name, laptop / name)
    (laptop / "src").mkdir()
    (laptop / "src" / "a.py").write_text("a = 1\n")
    return laptop


@pytest.fixture
def cluster(tmp_path):
    return tmp_path / "cluster" / STRANGE


@pytest.fixture
def variables(server, laptop, cluster):
    python = Path(sys.executable).parent
    path = {**os.environ, "PATH": f"{python}:{os.environ['PATH']}", **server.variables()}
    for name in ("PROJECT_STORAGE_DIR", "SCRATCH_STORAGE_DIR", "SINGULARITY_CONTAINER"):
        path.pop(name, None)
    return path | {
        "REMOTE_PROJECT_DIR": str(cluster / "code"),
        "REMOTE_PROJECT_STORAGE_DIR": str(cluster / "store"),
        "PROJECT_STORAGE_DIR": str(laptop / "project_storage"),
    }


@pytest.fixture
def run(laptop, variables):
    """Run one of the laptop's scripts; its exit code must be as expected."""

    def run(script, *arguments, expect=0, **more):
        words = [laptop / "helper_scripts" / script, *arguments]
        result = subprocess.run(words, env=variables | more, capture_output=True, text=True, cwd=laptop)
        assert result.returncode == expect, result.stdout + result.stderr
        return result.stdout + result.stderr

    return run


@pytest.fixture(autouse=True)
def nothing_was_executed(laptop):
    yield
    assert not (laptop / "trap").exists()
    assert not Path("~/trap").expanduser().exists()


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# What is refused


SCRIPTS = {
    "sync_code_to_remote.sh": "REMOTE_PROJECT_DIR",
    "sync_container_to_remote.sh": "REMOTE_PROJECT_STORAGE_DIR",
    "sync_data_to_remote.sh": "REMOTE_PROJECT_STORAGE_DIR",
    "sync_logs_from_remote.sh": "REMOTE_PROJECT_STORAGE_DIR",
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_missing_variable_is_named_in_one_line(run, script, laptop):
    image = {"SINGULARITY_CONTAINER": str(laptop / "train.sh")}
    for name in ("REMOTE_HOST", SCRIPTS[script]):
        output = run(script, expect=2, **image, **{name: ""})
        assert f"{script}: not set: {name};" in output
        assert len(output.splitlines()) == 1


def test_a_container_that_is_not_named_or_not_there_is_refused(run):
    assert "not set: SINGULARITY_CONTAINER;" in run("sync_container_to_remote.sh", expect=2)
    assert "/no.sif: there is no such image file" in run("sync_container_to_remote.sh", "/no.sif", expect=2)


@pytest.mark.parametrize(
    "target", ["/", "//", "/home", "/home/", "~", ".", "..", "a/b", "/a/../b", "/a/./b", "/a/b/.."]
)
def test_a_root_like_target_is_refused_before_anything_is_reached(run, target):
    output = run("sync_code_to_remote.sh", "--delete", expect=2, REMOTE_PROJECT_DIR=target, REMOTE_SSH="false")
    assert f"REMOTE_PROJECT_DIR = {target}: give " in output
    output = run("sync_logs_from_remote.sh", expect=2, REMOTE_PROJECT_STORAGE_DIR=target, REMOTE_SSH="false")
    assert f"REMOTE_PROJECT_STORAGE_DIR = {target}: give " in output


def test_a_tilde_and_variables_in_a_remote_folder_are_those_of_the_remote_host(run, server, laptop):
    here = {"HOME": str(laptop), "ONLY_HERE": "x"}
    run("sync_code_to_remote.sh", REMOTE_PROJECT_DIR="${ONLY_THERE}/co de", **here)
    assert (server.folder_there / "co de" / "train.sh").exists()
    home = os.path.expanduser("~")  # noqa: PTH111
    for target, reason in (
        ("~/../x", f"{home}/../x: give a path without . and .."),
        ("$ONLY_HERE/code", "the environment variable ONLY_HERE is not set"),
        ("~other/code", "give an absolute path"),
    ):
        assert reason in run("sync_code_to_remote.sh", expect=2, REMOTE_PROJECT_DIR=target, **here)


def test_the_home_folder_there_is_refused_through_a_link_too(run, cluster, tmp_path):
    home = os.path.realpath(os.path.expanduser("~"))  # noqa: PTH111
    link = tmp_path / "link"
    link.symlink_to(home)
    assert "this is the home folder" in run("sync_code_to_remote.sh", expect=2, REMOTE_PROJECT_DIR=str(link))


@pytest.mark.parametrize("host", ["-oProxyCommand=touch trap", "a b", "host:", "a;b", "$(touch trap)"])
def test_a_host_that_is_none_is_refused(run, host):
    assert "REMOTE_HOST = " in run("sync_code_to_remote.sh", expect=2, REMOTE_HOST=host)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_wrong_option_is_refused_in_one_line(run, script):
    assert run(script, "--dryrun", expect=2) == f"{script}: --dryrun: unknown option (see {script} --help)\n"


def test_a_wrong_key_is_a_clear_failure(run, server, cluster):
    variables = server.variables(key=server.key.with_name("wrong_key"))
    output = run("sync_code_to_remote.sh", expect=1, **variables)
    assert "Permission denied" in output
    assert "cannot reach REMOTE_PROJECT_DIR" in output
    assert not cluster.exists()
    assert "cannot reach" in run("sync_logs_from_remote.sh", expect=1, **variables)


# Code


def test_code_arrives_with_its_modes_and_without_what_is_excluded(run, laptop, cluster):
    for name in (".git/HEAD", ".venv/x", "data/x", "project_storage/x", "scratch/x", "src/__pycache__/a.pyc", "i.sif"):
        (laptop / name).parent.mkdir(parents=True, exist_ok=True)
        (laptop / name).touch()
    (laptop / "src" / STRANGE.replace("*", "[a]*")).write_text("x")
    run("sync_code_to_remote.sh")
    excluded = ("/x", ".git", "__pycache__", "i.sif")  # other tests may have left compiled helper scripts, too
    there = files(laptop)
    expected = {name: content for name, content in there.items() if not any(part in name for part in excluded)}
    assert {"src/__pycache__/a.pyc", "i.sif"} <= there.keys()
    assert files(cluster / "code") == expected | {".difflogic_tonic": b""}
    assert os.access(cluster / "code" / "train.sh", os.X_OK)
    assert not os.access(cluster / "code" / "pyproject.toml", os.X_OK)


def test_storages_in_the_code_s_folder_are_no_code(run, laptop, cluster):
    (laptop / "my store").mkdir()
    (laptop / "my store" / "model").touch()
    run("sync_code_to_remote.sh", PROJECT_STORAGE_DIR=str(laptop / "my store"))
    assert not (cluster / "code" / "my store").exists()


def test_a_dry_run_of_code_changes_nothing(run, laptop, cluster):
    assert "a.py" in run("sync_code_to_remote.sh", "--dry-run")
    assert not cluster.exists()
    run("sync_code_to_remote.sh")
    (laptop / "src" / "a.py").write_text("a = 2222\n")
    (laptop / "src" / "b.py").touch()
    (cluster / "code" / "src" / "old.py").touch()
    before = files(cluster)
    output = run("sync_code_to_remote.sh", "--dry-run", "--delete")
    assert "deleting" in output
    assert files(cluster) == before


def test_only_with_delete_is_deleted_and_only_inside_the_code_s_folders(run, laptop, cluster):
    run("sync_code_to_remote.sh")
    code = cluster / "code"
    kept = ["results/r.csv", "project_storage/m", ".venv/x", "slurm-1.out", "src/__pycache__/a.pyc", "../beside"]
    for name in (*kept, "src/old.py", "src/gone/b.py"):
        (code / name).parent.mkdir(parents=True, exist_ok=True)
        (code / name).touch()
    run("sync_code_to_remote.sh")
    assert (code / "src/old.py").exists()
    run("sync_code_to_remote.sh", "--delete")
    assert not (code / "src/old.py").exists()
    assert not (code / "src/gone").exists()
    assert [name for name in kept if not (code / name).exists()] == []


def test_a_folder_that_holds_something_else_is_not_written_to(run, cluster):
    (cluster / "code").mkdir(parents=True)
    (cluster / "code" / "thesis.tex").touch()
    for option in ("--delete", "--dry-run"):
        output = run("sync_code_to_remote.sh", option, expect=2)
        assert "holds something other than this project, so nothing was sent" in output
    assert files(cluster) == {"code/thesis.tex": b""}


def test_a_clone_made_there_by_hand_is_this_project(run, laptop, cluster):
    shutil.copytree(laptop, cluster / "code")
    (laptop / "src" / "a.py").write_text("a = 3333\n")
    run("sync_code_to_remote.sh")
    assert (cluster / "code" / "src" / "a.py").read_text() == "a = 3333\n"


# The container


@pytest.fixture(scope="module")
def big_bytes():
    return random.Random(0).randbytes(100_000_000)


def cut_when(server, process, path, size):
    end = time.monotonic() + 60
    while not (path.exists() and path.stat().st_size > size):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
    server.cut()


def sent_bytes(output):
    """What rsync says it sent, such as 'sent 1.23M bytes'."""
    word = output.split("sent ")[1].split()[0]
    return float(word.rstrip("KMG")) * {"K": 1e3, "M": 1e6, "G": 1e9}.get(word[-1], 1)


def test_a_container_whose_connection_is_cut_goes_on_and_arrives_identical(
    run, server, laptop, cluster, variables, big_bytes
):
    image = laptop / "a 'b'.sif"
    image.write_bytes(big_bytes)
    script = laptop / "helper_scripts" / "sync_container_to_remote.sh"
    process = subprocess.Popen([script, image], env=variables, text=True, stdout=-1, stderr=subprocess.STDOUT)
    arrived = cluster / "store" / "singularity" / image.name
    upload = arrived.with_name(f".{image.name}.upload")
    cut_when(server, process, upload, 1_000_000)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 1, output
    assert "the same command goes on where it stopped" in output
    assert not arrived.exists()
    partial = upload.stat().st_size
    assert 1_000_000 < partial < len(big_bytes)

    output = run(script.name, str(image))
    assert sent_bytes(output) < len(big_bytes) - partial + 1_000_000
    assert arrived.read_bytes() == big_bytes
    assert not upload.exists()
    assert "already, verified" in run(script.name, SINGULARITY_CONTAINER=str(image))


def test_a_container_that_arrived_otherwise_is_not_taken(run, laptop, cluster):
    (laptop / "i.sif").write_bytes(b"image")
    folder = cluster / "store" / "singularity"
    folder.mkdir(parents=True)
    (folder / ".i.sif.upload").write_bytes(b"damag")  # the same size: rsync takes it for whole
    os.utime(folder / ".i.sif.upload", (0, 0))
    assert "did not arrive" in run("sync_container_to_remote.sh", str(laptop / "i.sif"), expect=1)
    assert files(folder) == {}
    run("sync_container_to_remote.sh", str(laptop / "i.sif"))
    assert files(folder) == {"i.sif": b"image"}


def test_a_newer_container_replaces_the_old_one_and_a_dry_run_does_not(run, laptop, cluster):
    folder = cluster / "store" / "singularity"
    (laptop / "i.sif").write_bytes(b"old")
    assert "would send" in run("sync_container_to_remote.sh", "--dry-run", str(laptop / "i.sif"))
    assert not cluster.exists()
    run("sync_container_to_remote.sh", "i.sif")
    (laptop / "i.sif").write_bytes(b"new")
    assert "would send" in run("sync_container_to_remote.sh", "--dry-run", "i.sif")
    assert files(folder) == {"i.sif": b"old"}
    run("sync_container_to_remote.sh", "i.sif")
    assert files(folder) == {"i.sif": b"new"}


# Data


@pytest.fixture
def data(laptop):
    """A frame cache on the laptop's project storage."""
    folder = laptop / "project_storage" / "data" / "DEMO" / IDENTITY
    write_cache(folder)
    return folder


@pytest.fixture
def data_there(data, cluster):
    return cluster / "store" / "data" / "DEMO" / IDENTITY


def test_data_arrives_whole(run, data, data_there):
    assert "sent, verified" in run("sync_data_to_remote.sh")
    assert files(data_there) == files(data)
    assert [path.name for path in data_there.parent.iterdir() if path.is_dir()] == [IDENTITY]
    assert "there already, verified" in run("sync_data_to_remote.sh")


def test_a_dry_run_of_data_changes_nothing(run, data, cluster):
    assert "would be sent" in run("sync_data_to_remote.sh", "--dry-run")
    assert not cluster.exists()


def test_a_damaged_file_there_is_noticed_and_replaced(run, data, data_there):
    run("sync_data_to_remote.sh")
    path = data_there / "train.safetensors"
    times = path.stat()
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # rsync alone would take it for the same
    output = run("sync_data_to_remote.sh")
    assert "train.safetensors: FAILED" in output
    assert "sent, verified" in output
    assert files(data_there) == files(data)


def test_what_is_damaged_on_the_way_gets_no_manifest(run, data, data_there):
    upload = data_there.with_name(f".{IDENTITY}.upload")
    upload.mkdir(parents=True)
    size = (data / "test.safetensors").stat().st_size
    (upload / "test.safetensors").write_bytes(b"x" * size)
    assert "did not arrive whole" in run("sync_data_to_remote.sh", expect=1)
    assert files(data_there.parent) == {}
    run("sync_data_to_remote.sh")
    assert files(data_there) == files(data)


@pytest.mark.parametrize("name", ["train.safetensors", cache.MANIFEST])
def test_a_damaged_cache_is_not_sent(run, data, cluster, name):
    content = (data / name).read_bytes()
    (data / name).write_bytes(content[:-9] + b"damaged!\n")
    assert "damaged here, so it is not sent" in run("sync_data_to_remote.sh", expect=1)
    assert not any((cluster / "store").rglob("*.safetensors"))


def test_another_valid_cache_there_is_reported_and_left_alone(run, data, data_there):
    write_cache(data_there, note="another")
    before = files(data_there)
    assert "valid on" in run("sync_data_to_remote.sh", expect=1)
    assert files(data_there) == before


def test_a_cache_that_is_being_prepared_there_is_left_alone(run, data, data_there):
    data_there.mkdir(parents=True)
    with file_lock(cache.lock_path(data_there)):
        assert "another process is working on it" in run("sync_data_to_remote.sh", expect=1)
    assert files(data_there) == {}


def test_a_dataset_can_be_chosen_and_an_unknown_one_is_named_with_those_that_are_there(run, data, cluster):
    write_cache(data.parents[1] / "NMNIST" / IDENTITY)
    run("sync_data_to_remote.sh", "--dataset", "NMNIST")
    assert [path.name for path in (cluster / "store" / "data").iterdir()] == ["NMNIST"]
    output = run("sync_data_to_remote.sh", "--dataset", "$(x)", expect=2)
    assert "no frame cache of dataset $(x)" in output
    assert "there: DEMO, NMNIST" in output


def test_data_whose_connection_is_cut_is_no_cache_and_goes_on(
    run, server, laptop, data, data_there, variables, big_bytes
):
    manifest = cache.read_manifest(data)
    path = data / "train.safetensors"
    path.write_bytes(big_bytes)
    manifest["splits"]["train"] |= {"size": len(big_bytes), "sha256": cache.sha256_of(path)}
    cache.write_manifest(data, manifest)
    script = laptop / "helper_scripts" / "sync_data_to_remote.sh"
    process = subprocess.Popen([script], env=variables, stdout=-1, stderr=subprocess.STDOUT)
    upload = data_there.with_name(f".{IDENTITY}.upload")
    cut_when(server, process, upload / path.name, 1_000_000)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 1, output
    assert not data_there.exists()
    assert (upload / path.name).stat().st_size < len(big_bytes)
    assert not cache.is_cache_folder(upload)

    run(script.name)
    assert files(data_there) == files(data)


# Logs


def test_logs_and_with_an_option_models_come_back_and_nothing_is_deleted(run, laptop, cluster):
    store, here = cluster / "store", laptop / "project_storage"
    there = {
        "logs/a/metrics.csv": "1",
        "logs/.a.lock": "",
        "logs/a/.metrics.csv.7.tmp": "half",
        "models/a/final.safetensors": "weights",
        "models/a/checkpoints/step_0000000001.safetensors": "state",
    }
    for name, content in there.items():
        (store / name).parent.mkdir(parents=True, exist_ok=True)
        (store / name).write_text(content)
    (here / "logs" / "mine").mkdir(parents=True)
    (here / "logs" / "mine" / "notes").write_text("mine")
    before = files(here)
    assert "metrics.csv" in run("sync_logs_from_remote.sh", "--dry-run")
    assert files(here) == before
    run("sync_logs_from_remote.sh")
    assert files(here) == before | {"logs/a/metrics.csv": b"1"}
    run("sync_logs_from_remote.sh", "--models")
    assert files(here) == before | {"logs/a/metrics.csv": b"1", "models/a/final.safetensors": b"weights"}


def test_logs_that_are_not_there_yet_are_no_failure(run, laptop, cluster):
    (cluster / "store").mkdir(parents=True)
    assert "nothing to bring: " in run("sync_logs_from_remote.sh")
    assert not (laptop / "project_storage").exists()


def test_logs_of_a_storage_that_is_not_there_are_refused(run, cluster):
    output = run("sync_logs_from_remote.sh", expect=2)
    assert f"REMOTE_PROJECT_STORAGE_DIR = {cluster / 'store'}: there is no such folder on " in output


def test_a_log_that_is_newer_here_stays(run, laptop, cluster):
    for folder, content, time_ in ((cluster / "store", "theirs", 1000), (laptop / "project_storage", "ours", 2000)):
        path = folder / "logs" / "a" / "metrics.csv"
        path.parent.mkdir(parents=True)
        path.write_text(content)
        os.utime(path, (time_, time_))
    run("sync_logs_from_remote.sh")
    assert (laptop / "project_storage/logs/a/metrics.csv").read_text() == "ours"


# The variables


NAMES = ["PROJECT_STORAGE_DIR", "SCRATCH_STORAGE_DIR", "SINGULARITY_CONTAINER", "DIFFLOGIC_COPY_CONTAINER"]
NAMES += ["REMOTE_HOST", "REMOTE_SSH", "REMOTE_PROJECT_DIR", "REMOTE_PROJECT_STORAGE_DIR"]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize("relative", [False, True])
def test_the_variables_have_defaults_in_any_shell_from_any_directory(laptop, tmp_path, shell, relative):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    path = laptop / "helper_scripts" / "project_variables.sh"
    named = os.path.relpath(path, tmp_path) if relative else path
    script = (
        'set -eu; repository=/elsewhere; . "$1"; shift; for n in "$@"; do eval "printf \'%s\\0\' \\"\\$$n\\""; done'
    )
    command = [shell, *(["-f"] if shell == "zsh" else []), "-c", script, shell, named, *NAMES]

    def values(**set_before):
        bare = {"PATH": os.environ["PATH"], "CDPATH": "/tmp", **set_before}
        return subprocess.check_output(command, cwd=tmp_path, env=bare, text=True).split("\0")[:-1]

    assert values() == [f"{laptop}/project_storage", f"{laptop}/scratch", "", "1", "", "ssh", "", ""]
    own = dict.fromkeys(NAMES, "my own")
    assert values(**own) == ["my own"] * len(NAMES)


def test_the_checksums_of_a_manifest_are_read_as_src_cache_reads_it(laptop, data):
    script = laptop / "helper_scripts" / "manifest_checksums.py"
    with contextlib.chdir(data):
        listed = subprocess.check_output(["python3", script, "manifest.json"])
        assert subprocess.run(["sha256sum", "--check", "-"], input=listed, capture_output=True).returncode == 0
        manifest = cache.read_manifest(data)
        cache.write_json(data / "manifest.json", {**manifest, "manifest_sha256": "0" * 64})
        assert subprocess.run(["python3", script, "manifest.json"], capture_output=True).returncode == 1
