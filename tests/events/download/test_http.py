"""Downloads from a real server that stalls, breaks off, refuses ranges and serves wrong files."""

import hashlib
import socket

import numpy as np
import pytest

from src.command_line import Stopped, UserError
from src.events.download import http as downloads
from src.events.download.http import DownloadError, download
from tests import http_server
from tests.http_server import answer, running_server, stall, truncate

CONTENT = np.random.default_rng(0).bytes(1_000_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(downloads, "STALL_SECONDS", 0.3)
    monkeypatch.setattr(downloads, "WAITS", (0.01, 0.02, 0.03))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with running_server() as server:
        server.files["/a.zip"] = CONTENT
        yield server


@pytest.fixture
def bring(server, tmp_path):
    def bring(name="a.zip", md5=MD5, **words):
        download(f"{server.url}/{name}", tmp_path / "a.zip", md5, **words)

    return bring


def refused(bring, tmp_path, *words, **more):
    """The message of a download that fails and leaves no file."""
    with pytest.raises(DownloadError) as error:
        bring(*words, **more)
    assert not (tmp_path / "a.zip").exists()
    assert "\n" not in str(error.value)
    return str(error.value)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_comes_whole_and_alone(bring, tmp_path):
    bring()
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert names(tmp_path) == ["a.zip"]


def test_what_an_earlier_process_left_is_gone_on_with(bring, server, tmp_path):
    (tmp_path / "a.zip.part").write_bytes(CONTENT[:700_000])
    bring()
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert server.requests == [("/a.zip", "bytes=700000-")]
    assert server.sent == 300_000


def test_a_part_that_is_whole_needs_no_server(bring, server, tmp_path):
    (tmp_path / "a.zip.part").write_bytes(CONTENT)
    bring()
    assert names(tmp_path) == ["a.zip"]
    assert server.requests == []


@pytest.mark.parametrize("fault", [truncate(200_000), stall(200_000)], ids=["truncated", "stalled"])
def test_after_a_break_only_the_missing_bytes_are_sent(bring, server, tmp_path, fault):
    server.faults = [fault, fault]
    bring()
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert server.sent == len(CONTENT)
    assert [asked for _, asked in server.requests] == [None, "bytes=200000-", "bytes=400000-"]


@pytest.mark.parametrize(
    "fault", [truncate(0), stall(0), http_server.hang_up, answer(503)], ids=["empty", "stalled", "hung up", "busy"]
)
def test_a_server_that_fails_for_a_moment_is_asked_again(bring, server, tmp_path, fault):
    server.faults = [fault]
    bring()
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_bytes_that_arrive_start_the_tries_again(bring, server, tmp_path):
    server.faults = [truncate(100_000), *[truncate(0)] * 2, truncate(100_000), *[truncate(0)] * 2]
    bring()
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_a_server_that_keeps_failing_is_given_up_and_what_came_is_kept(bring, server, tmp_path):
    server.faults = [truncate(100_000), *[truncate(0)] * 4]
    assert "the connection ended after 97.7 KiB of 976.6 KiB; tried 4 times" in refused(bring, tmp_path)
    assert (tmp_path / "a.zip.part").read_bytes() == CONTENT[:100_000]


def test_where_ranges_are_ignored_the_file_comes_from_its_beginning(bring, server, tmp_path):
    server.faults = [truncate(200_000), http_server.ignore_ranges]
    bring()
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert server.sent == 1_200_000


def test_another_piece_than_was_asked_for_is_not_taken(bring, server, tmp_path, caplog):
    server.faults = [truncate(200_000), http_server.another_piece]
    with caplog.at_level("WARNING", logger="difflogic_tonic"):
        bring()
    assert "it sent another piece than was asked for; starting over" in caplog.text
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


@pytest.mark.parametrize("left", [b"x" * 1_000_000, b"x" * 1_000_001], ids=["as long", "longer"])
def test_a_part_with_no_bytes_missing_but_wrong_ones_is_thrown_away(bring, server, tmp_path, left):
    (tmp_path / "a.zip.part").write_bytes(left)  # the server answers 416
    bring()
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_a_part_of_another_file_is_thrown_away(bring, server, tmp_path):
    (tmp_path / "a.zip.part").write_bytes(b"x" * 500_000)
    bring()
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == ["bytes=500000-", None]


def test_a_wrong_file_is_removed_and_the_error_says_so(bring, tmp_path):
    message = refused(bring, tmp_path, md5="0" * 32)
    assert f"gave a wrong file, which was removed: its MD5 is {MD5} instead of {'0' * 32}" in message
    assert names(tmp_path) == []


@pytest.mark.parametrize("status", [200, 202, 204])
def test_an_empty_answer_is_an_error_at_once(bring, server, tmp_path, status):
    server.faults = [answer(status)]
    assert "/a.zip" in refused(bring, tmp_path)
    assert len(server.requests) == 1
    assert names(tmp_path) == []


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_an_error_at_once(bring, server, tmp_path, status):
    server.faults = [answer(status)]
    assert f"answered {status}" in refused(bring, tmp_path)
    assert len(server.requests) == 1
    assert names(tmp_path) == []


def test_a_refusal_keeps_what_came_before(bring, server, tmp_path):
    server.faults = [truncate(100_000), answer(403)]
    refused(bring, tmp_path)
    assert names(tmp_path) == ["a.zip.part"]


def test_redirects_are_followed_with_the_range(bring, server, tmp_path):
    (tmp_path / "a.zip.part").write_bytes(CONTENT[:700_000])
    server.faults = [answer(302, Location="/moved"), answer(307, Location=f"{server.url}/a.zip")]
    bring("somewhere")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert server.requests[-1] == ("/a.zip", "bytes=700000-")


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/a.zip", "/a.zip"])
def test_redirects_to_files_or_in_circles_are_errors(bring, server, tmp_path, target):
    server.faults = [answer(302, Location=target)] * 20
    refused(bring, tmp_path)
    assert names(tmp_path) == []


def test_a_server_may_leave_the_length_out(bring, server, tmp_path):
    server.faults = [http_server.without_length]
    bring()
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_a_host_that_cannot_be_reached_is_an_error_at_once(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/a.zip"
        with pytest.raises(DownloadError, match=r"cannot reach http://127.0.0.1:\d+/a.zip: Connection refused"):
            download(url, tmp_path / "a.zip", MD5)
    assert names(tmp_path) == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:port/a", "http://a b/c", "http:///a", f"http://{'x' * 70}.y/a"])
def test_an_impossible_url_is_an_error(tmp_path, url):
    with pytest.raises(DownloadError):
        download(url, tmp_path / "a.zip", MD5)
    assert names(tmp_path) == []


def test_a_stop_in_the_middle_keeps_what_came(bring, server, tmp_path):
    part = tmp_path / "a.zip.part"

    def check():
        if part.stat().st_size >= 100_000:
            raise Stopped

    with pytest.raises(Stopped):
        bring(check=check)
    came = part.read_bytes()
    assert 100_000 <= len(came) < len(CONTENT)
    bring()
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert server.requests[-1] == ("/a.zip", f"bytes={len(came)}-")


def test_a_stop_while_waiting_for_another_try_is_heard(bring, server, monkeypatch):
    monkeypatch.setattr(downloads, "WAITS", (60.0,))
    server.faults = [truncate(0)]

    def check():
        if server.requests:
            raise Stopped

    with pytest.raises(Stopped):
        bring(check=check)


def test_space_is_looked_for_before_the_file_comes(bring, server, tmp_path):
    def huge(handler, content):
        handler.head(200, {"Content-Length": str(10**18)})

    server.faults = [huge]
    with pytest.raises(UserError, match="not enough space"):
        bring()
    assert names(tmp_path) == []
