"""A real HTTP server on 127.0.0.1 that serves bytes from memory, as well or as badly as a test asks."""

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Fault = Callable[["Handler", bytes], None]


class Handler(BaseHTTPRequestHandler):
    """Answers with `server.files[path]` and byte ranges of it; the first answers are those of `server.faults`."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    server: "Server"

    def do_GET(self):
        self.server.requests.append((self.path, self.headers.get("Range")))
        content = self.server.files.get(self.path)
        if self.server.faults:
            self.server.faults.pop(0)(self, content or b"")
        elif content is None:
            self.head(404, {"Content-Length": "0"})
        else:
            serve(self, content)

    def head(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def send(self, chunk):
        self.server.sent += len(chunk)
        self.wfile.write(chunk)

    def log_message(self, *words):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.faults: list[Fault] = []  # faults of the next requests, in order
        self.requests: list[tuple[str, str | None]] = []  # path, Range header
        self.sent = 0  # bytes of content
        self.over = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        pass  # clients that hang up are a part of the tests


@contextlib.contextmanager
def running_server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()


def begin_of(handler, content):
    """Send the head for what is asked for; return what is to follow."""
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    begin = int(asked[1]) if asked else 0
    if asked and begin >= len(content):
        handler.head(416, {"Content-Range": f"bytes */{len(content)}", "Content-Length": "0"})
        return b""
    headers = {"Content-Length": str(len(content) - begin)}
    if asked:
        headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
    handler.head(206 if asked else 200, headers)
    return content[begin:]


def serve(handler, content):
    handler.send(begin_of(handler, content))


def truncate(n):
    """Send n bytes and hang up."""

    def fault(handler, content):
        handler.send(begin_of(handler, content)[:n])
        handler.close_connection = True

    return fault


def stall(n):
    """Send n bytes, then nothing more."""

    def fault(handler, content):
        handler.send(begin_of(handler, content)[:n])
        handler.wfile.flush()
        handler.server.over.wait(30)
        handler.close_connection = True

    return fault


def slowly(bytes_a_second):
    """Send all of it, 20 pieces per second."""

    def fault(handler, content):
        rest = begin_of(handler, content)
        step = max(1, bytes_a_second // 20)
        for begin in range(0, len(rest), step):
            handler.send(rest[begin : begin + step])
            time.sleep(0.05)

    return fault


def ignore_ranges(handler, content):
    handler.head(200, {"Content-Length": str(len(content))})
    handler.send(content)


def without_length(handler, content):
    handler.head(200, {"Transfer-Encoding": "chunked"})
    for begin in range(0, len(content), 50_000):
        chunk = content[begin : begin + 50_000]
        handler.wfile.write(b"%x\r\n" % len(chunk))
        handler.send(chunk)
        handler.wfile.write(b"\r\n")
    handler.wfile.write(b"0\r\n\r\n")


def answer(status, **headers):
    """An answer without content."""

    def fault(handler, content):
        handler.head(status, {"Content-Length": "0", **headers})

    return fault


def another_piece(handler, content):
    """Whatever is asked for, send the file from its first byte on, and say so."""
    handler.head(
        206,
        {"Content-Length": str(len(content)), "Content-Range": f"bytes 0-{len(content) - 1}/{len(content)}"},
    )
    handler.send(content)


def hang_up(handler, content):
    handler.close_connection = True
