"""A job's names: what may be one, in Python and bash alike, and that no two names share a folder or a lock."""

import subprocess

import pytest

from src.command_line import UserError
from src.io_funcs import check_name, write_atomic
from src.jobs.folders import SWEEP_FILE, Job, job_lock
from tests.small_job import REPOSITORY

ALLOWED = ["a", "0", "A.b-c_d", "a.lock", "x" * 128]
NAMES = [*ALLOWED, "x" * 129, "", ".", "..", ".x.lock", "-a", "_a", "a/b", "a b", "ä", "a\n"]


def is_allowed(name):
    try:
        return bool(check_name(name, "job id"))
    except UserError:
        return False


def test_bash_allows_the_same_job_ids_as_python():
    loop = 'for name; do (check_job_id "$name" "" 2>/dev/null) && echo y || echo n; done'
    script = f'repository=$0; source "$0/helper_scripts/slurm_submit.sh"; {loop}'
    command = ["bash", "-c", script, REPOSITORY, *NAMES]
    answers = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert answers == ["y" if is_allowed(name) else "n" for name in NAMES]
    assert list(filter(is_allowed, NAMES)) == ALLOWED


def test_no_lock_has_the_name_of_a_job_or_of_its_lock(tmp_path, monkeypatch):
    monkeypatch.setenv("PROJECT_STORAGE_DIR", str(tmp_path))
    jobs = list(map(Job, ALLOWED))
    locks = {job.lock.name for job in jobs}
    assert len(locks) == len(jobs)
    assert not any(map(is_allowed, locks))


def test_a_job_that_has_a_sweep_s_name_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PROJECT_STORAGE_DIR", str(tmp_path))
    write_atomic(Job("rates").logs / SWEEP_FILE, "")
    with pytest.raises(UserError, match="is a sweep's folder; choose another job id"), job_lock(Job("rates")):
        pass
