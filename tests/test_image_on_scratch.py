"""The copy of the image on scratch: one, whole, of the right image, and never in the way of a job."""

import os
import signal
import subprocess

import pytest

from tests.processes import wait_until
from tests.small_job import REPOSITORY

SCRIPT = """
set -euo pipefail
repository=$1 image=$2
source "$repository/helper_scripts/launch.sh"
make_storage PROJECT_STORAGE_DIR
make_storage SCRATCH_STORAGE_DIR
use_image_on_scratch
printf %s "$image"
"""
STOPS_HALF_WAY = '#!/bin/sh\nhead -c 1000 >"$2"\necho >"$STARTED"\nexec sleep 60\n'
WRITES_SOMETHING_ELSE = '#!/bin/sh\n/usr/bin/tee "$2"\nprintf x >>"$2"\n'
DISK_IS_FULL = '#!/bin/sh\nprintf "Avail\\n1999\\n"\n'


class Storages:
    """Two storages, an image of 2,000 bytes on the project's, and a folder of programs that come first on PATH."""

    def __init__(self, folder):
        self.folder = folder
        self.image = folder / "it's $(my) project" / "singularity" / "the image.sif"
        self.image.parent.mkdir(parents=True)
        self.image.write_bytes(os.urandom(2000))
        self.copies = folder / "scratch" / "singularity"
        self.copy = self.copies / self.image.name
        self.started = folder / "started"

    def start(self, image=None, **variables):
        return subprocess.Popen(
            ["bash", "-c", SCRIPT, "sh", REPOSITORY, image or self.image],
            env={
                **os.environ,
                "PROJECT_STORAGE_DIR": str(self.image.parents[1]),
                "SCRATCH_STORAGE_DIR": str(self.folder / "scratch"),
                "PATH": f"{self.folder / 'tools'}:/usr/bin:/bin",
                "STARTED": str(self.started),
                "DIFFLOGIC_COPY_CONTAINER": "1",
                **variables,
            },
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def run(self, image=None, expect=0, **variables):
        """The image that the job runs from, and what was said."""
        process = self.start(image, **variables)
        used, said = process.communicate(timeout=60)
        assert process.returncode == expect, said
        return used, said

    def replace_program(self, name, text):
        (self.folder / "tools").mkdir(exist_ok=True)
        (self.folder / "tools" / name).write_text(text)
        (self.folder / "tools" / name).chmod(0o755)

    def restore_programs(self):
        for program in (self.folder / "tools").iterdir():
            program.unlink()

    def start_copy_that_stops_half_way(self):
        self.replace_program("tee", STOPS_HALF_WAY)
        process = self.start()
        wait_until(self.started.exists, process=process)
        self.restore_programs()
        return process

    def there(self):
        """What lies beside the copy, without the lock."""
        return sorted(path.name for path in self.copies.iterdir() if not path.name.endswith(".lock"))


@pytest.fixture
def storages(tmp_path):
    return Storages(tmp_path)


def test_an_image_on_project_storage_is_used_from_a_copy_on_scratch(storages):
    used, said = storages.run()
    assert used == str(storages.copy)
    assert "copying" in said
    assert storages.copy.read_bytes() == storages.image.read_bytes()
    assert storages.there() == [storages.image.name]


def test_the_next_job_uses_the_same_copy(storages):
    storages.run()
    inode = storages.copy.stat().st_ino
    assert storages.run() == (str(storages.copy), "")
    assert storages.copy.stat().st_ino == inode


def test_of_jobs_that_start_together_one_copies(storages):
    jobs = [storages.start() for _ in range(8)]
    results = [job.communicate(timeout=60) for job in jobs]
    assert [used for used, _ in results] == [str(storages.copy)] * 8
    assert sum("copying" in said for _, said in results) == 1
    assert storages.there() == [storages.image.name]


@pytest.mark.parametrize("place", ["elsewhere.sif", "scratch/image.sif"])
def test_an_image_elsewhere_is_used_where_it_is(storages, place):
    image = storages.folder / place
    image.parent.mkdir(exist_ok=True)
    image.touch()
    assert storages.run(image) == (str(image), "")
    assert not storages.copies.exists()


def test_an_image_that_is_a_folder_is_used_where_it_is(storages):
    assert storages.run(storages.image.parent) == (str(storages.image.parent), "")


def test_0_turns_the_copy_off(storages):
    assert storages.run(DIFFLOGIC_COPY_CONTAINER="0") == (str(storages.image), "")
    assert not storages.copies.exists()


@pytest.mark.parametrize("change", ["size", "time"])
def test_a_changed_image_is_copied_again_and_running_jobs_keep_theirs(storages, change):
    storages.run()
    before = storages.image.read_bytes()
    with storages.copy.open("rb") as running:
        storages.image.write_bytes(os.urandom(2000 if change == "time" else 3000))
        os.utime(storages.image, (1e9, 1e9) if change == "time" else None)
        storages.run()
        assert running.read() == before
    assert storages.copy.read_bytes() == storages.image.read_bytes()


def test_a_damaged_copy_of_another_size_is_replaced(storages):
    storages.run()
    storages.copy.write_bytes(b"")
    storages.run()
    assert storages.copy.read_bytes() == storages.image.read_bytes()


def test_a_job_killed_while_copying_leaves_nothing_that_is_taken_for_an_image(storages):
    process = storages.start_copy_that_stops_half_way()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not storages.copy.exists()
    assert len(storages.there()) == 1
    assert storages.run()[0] == str(storages.copy)
    assert storages.copy.read_bytes() == storages.image.read_bytes()
    assert storages.there() == [storages.image.name]


def test_a_job_waits_for_another_s_copy_and_makes_its_own_if_that_one_dies(storages):
    first = storages.start_copy_that_stops_half_way()
    second = storages.start()
    assert "waiting for another job" in second.stderr.readline()
    assert second.poll() is None
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    assert second.communicate(timeout=30)[0] == str(storages.copy)
    assert storages.copy.read_bytes() == storages.image.read_bytes()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGUSR1, 75), (signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_signal_while_copying_ends_the_job_at_once(storages, number, code):
    process = storages.start_copy_that_stops_half_way()
    process.send_signal(number)
    assert process.wait(timeout=10) == code
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize(
    ("program", "text", "reason"),
    [
        ("df", DISK_IS_FULL, "1999 bytes free, the image needs 2000"),
        ("tee", WRITES_SOMETHING_ELSE, ""),
        ("tee", "#!/bin/sh\nexit 1\n", ""),
        ("sync", "#!/bin/sh\nexit 1\n", ""),
        ("flock", "#!/bin/sh\nexit 1\n", ""),
    ],
    ids=["full", "reads back differently", "cannot write", "cannot sync", "no locks"],
)
def test_a_copy_that_fails_is_a_warning_and_the_original_is_used(storages, program, text, reason):
    storages.replace_program(program, text)
    used, said = storages.run()
    assert used == str(storages.image)
    assert "could not be copied" in said
    assert reason in said
    assert storages.there() == []


def test_scratch_that_cannot_be_written_to_is_a_warning(storages):
    (storages.folder / "scratch").mkdir()
    storages.copies.touch()
    used, said = storages.run()
    assert used == str(storages.image)
    assert "could not be copied" in said
