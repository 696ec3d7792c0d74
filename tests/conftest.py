"""What every test begins with, what many share, and what the end of a run says."""

import os
import signal
from collections import Counter

import hypothesis
import pytest

hypothesis.settings.register_profile("patient", deadline=None)  # the first example may wait for a kernel's compilation
hypothesis.settings.load_profile("patient")
if "PYTEST_XDIST_WORKER" in os.environ:  # there is a test process per core already
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# What is started in the background ignores SIGINT, what nohup starts ignores SIGHUP, and so would what the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Escape what UTF-8 lacks in a report: a file name that is not UTF-8 would end pytest-xdist."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


def pytest_terminal_summary(terminalreporter):
    """Say in one line what was skipped and why."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    if reasons:
        counts = ", ".join(f"{count}: {reason}" for reason, count in reasons.most_common())
        terminalreporter.write_line(f"{len(skipped)} skipped ({counts})")


@pytest.fixture
def storages(tmp_path, monkeypatch):
    """The test's folder; project and scratch in it are the storages of this process."""
    for name in ("project", "scratch"):
        monkeypatch.setenv(f"{name.upper()}_STORAGE_DIR", str(tmp_path / name))
    return tmp_path


@pytest.fixture(scope="session")
def prepared_once(tmp_path_factory):
    """A folder with small.yaml, its recordings and their cache, made once per run; tests copy it."""
    from src.command_line import StopSignals
    from src.config import Config  # the process that only hands out tests needs no PyTorch
    from src.frame_cache.prepare import prepare
    from src.io_funcs import file_lock
    from tests import small_job

    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # all processes of this run share it
    folder = base / "prepared_once"
    with file_lock(base / "prepared_once.lock", waiting="waiting for another process that prepares"):
        if not folder.exists():
            making = base / "prepared_once_making"
            making.mkdir()
            with pytest.MonkeyPatch.context() as patch:
                for name in ("project", "scratch"):
                    patch.setenv(f"{name.upper()}_STORAGE_DIR", str(making / name))
                prepare(Config.from_yaml(small_job.write_config(making)), StopSignals())
            making.rename(folder)
    return folder


@pytest.fixture(scope="session")
def verilator_runtime(tmp_path_factory):
    """A folder with what all of Verilator's programs have in common, compiled once per process of the tests."""
    from tests.export.exports import need
    from tests.export.rtl.simulation import make_verilator_runtime

    need("verilator")
    folder = tmp_path_factory.mktemp("verilator")
    make_verilator_runtime(folder)
    return folder


@pytest.fixture(scope="module")
def prepared(prepared_once, tmp_path_factory):
    """A folder of this file's own with small.yaml, its recordings and their cache; 2 epochs of 240 frames or more."""
    from tests import small_job

    folder = tmp_path_factory.mktemp("prepared")
    small_job.copy_prepared(prepared_once, folder)
    return folder
