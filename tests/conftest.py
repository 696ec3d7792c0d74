"""What every test begins with: signals as at a terminal, and reports that can be sent from process to process."""

import signal

import pytest

# What is started in the background ignores SIGINT, and so would everything that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Escape what UTF-8 lacks in a report: names of files that are not UTF-8 end pytest-xdist otherwise."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report
