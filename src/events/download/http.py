"""One file over HTTP: resumed, retried, verified.

The standard library's urllib is enough here: it follows redirects, knows proxies and certificates, and shows its
socket reads one by one, which resuming and stopping need. `requests` would hide those and be a dependency more.
"""

import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

from tqdm import tqdm

from src.helpers import LOG, format_size
from src.io_funcs import CHUNK_BYTES, open_regular, require_free_space, sync_directory

STALL_SECONDS = 15.0  # without a byte; a stop signal waits no longer than this
WAITS = (1.0, 2.0, 4.0, 8.0, 16.0)  # seconds before each further try; they start again when bytes arrive
WORTH_ANOTHER_TRY = (408, 425, 429, 500, 502, 503, 504)
NETWORK_CHUNK_BYTES = 1 << 18

Check = Callable[[], None]


class DownloadError(Exception):
    """A file cannot be downloaded; the text says why."""


class _DroppedError(Exception):
    """The connection stalled or broke, or the server is busy: asking again may help."""


def download(url: str, path: Path, md5: str, check: Check = lambda: None) -> None:
    """Download a file over HTTP: it appears at `path` whole and with this MD5, or not at all.

    What has come lies in `path`.part until then, also after errors and kills, and is gone on with: only the missing
    bytes are asked for. A stalled or dropped connection is tried again, as long as bytes come between.

    Raises:
        DownloadError: the server cannot be reached, has no such file, drops every connection, or gives a wrong file,
            which is removed.
        UserError: there is no space for it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    begun = part_of(path)
    try:
        with open_regular(begun, "a+b", buffering=0) as file:
            file.seek(0)
            digest = md5_of(file, check)
            with tqdm(desc=path.name, unit="B", unit_scale=True, disable=None, initial=file.tell()) as bar:
                _complete(url, _Part(begun, file, digest, file.tell(), bar), md5, check)
            os.fsync(file.fileno())
        begun.rename(path)
    finally:
        if begun.is_file() and begun.stat().st_size == 0:
            begun.unlink()
    sync_directory(path.parent)


def part_of(path: Path) -> Path:
    """Return where the bytes of a file lie until it is whole."""
    return path.with_name(f"{path.name}.part")


def md5_of(file: IO[bytes], check: Check) -> Any:
    """Return the MD5, as a hashlib object, of the rest of an open file."""
    digest = hashlib.md5(usedforsecurity=False)
    while chunk := file.read(CHUNK_BYTES):
        digest.update(chunk)
        check()
    return digest


@dataclass
class _Part:
    """The bytes of a file that have arrived so far."""

    path: Path
    file: BinaryIO  # unbuffered: what was written survives kill -9
    digest: Any  # MD5 of its bytes
    size: int
    bar: Any  # tqdm
    contacted: bool = False  # the server has answered this process
    joined: bool = False  # from pieces that arrived at different times

    def add(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        while rest:
            rest = rest[self.file.write(rest) :]
        self.digest.update(chunk)
        self.size += len(chunk)
        self.bar.update(len(chunk))

    def begin_anew(self) -> None:
        self.file.truncate(0)
        self.digest, self.size, self.joined = hashlib.md5(usedforsecurity=False), 0, False
        self.bar.reset()


def _complete(url: str, part: _Part, md5: str, check: Check) -> None:
    """Ask the server until the part is the whole file."""
    if part.digest.hexdigest() == md5:
        return
    if part.size:
        LOG.info("going on with %s: %s are there", part.path, format_size(part.size))
    furthest, tries = part.size, 0
    while True:
        try:
            _receive(url, part, check)
        except _DroppedError as error:
            if part.size > furthest:
                furthest, tries = part.size, 0
            if tries == len(WAITS):
                raise DownloadError(f"{url}: {error}; tried {tries + 1} times") from error
            LOG.warning("%s: %s; trying again in %g s", url, error, WAITS[tries])
            _wait(WAITS[tries], check)
            tries += 1
            continue
        found = part.digest.hexdigest()
        if found == md5:
            return
        joined = part.joined
        part.begin_anew()
        if not joined:
            raise DownloadError(f"{url} gave a wrong file, which was removed: its MD5 is {found} instead of {md5}")
        LOG.warning("%s: the pieces do not fit together; starting over", part.path)


def _wait(seconds: float, check: Check) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        check()
        time.sleep(min(left, 0.2))


def _receive(url: str, part: _Part, check: Check) -> None:
    """Ask once for the missing bytes and add them to the part."""
    with _answer_to(url, part) as answer:
        part.contacted = True
        end = _end_of_file(answer, url, part)
        if end is not None:
            part.bar.total = end
            require_free_space(part.path, end - part.size)
        while end is None or part.size < end:
            check()
            most = NETWORK_CHUNK_BYTES if end is None else min(NETWORK_CHUNK_BYTES, end - part.size)
            try:
                chunk = answer.read1(most)  # only what is there: a slow server must not keep `check` waiting
            except (OSError, http.client.HTTPException) as error:
                raise _DroppedError(_reason(error)) from error
            if not chunk:
                break
            part.add(chunk)
    if end is not None and part.size < end:
        raise _DroppedError(f"the connection ended after {format_size(part.size)} of {format_size(end)}")
    if part.size == 0:
        raise DownloadError(f"{url} gave an empty file")


def _answer_to(url: str, part: _Part) -> Any:
    headers = {"User-Agent": "difflogic-tonic"}
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
    try:
        return _opener().open(urllib.request.Request(url, headers=headers), timeout=STALL_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and part.size:  # the part is longer than the file
            part.begin_anew()
            raise _DroppedError("it has no more bytes than came before, but those are wrong; starting over") from error
        if error.code in WORTH_ANOTHER_TRY:
            raise _DroppedError(f"it answered {error.code} {error.reason}") from error
        raise DownloadError(f"{url} answered {error.code} {' '.join(str(error.reason).split())}") from error
    except urllib.error.URLError as error:
        if part.contacted:
            raise _DroppedError(_reason(error.reason)) from error
        raise DownloadError(f"cannot reach {url}: {_reason(error.reason)}") from error
    except (http.client.InvalidURL, ValueError) as error:
        raise DownloadError(f"{url}: {error}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _DroppedError(_reason(error)) from error


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener for HTTP only: a redirect must not lead to a file or to FTP."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    return opener


def _end_of_file(answer: Any, url: str, part: _Part) -> int | None:
    """Return the file's size, None if the server does not say; empty the part if the server sends the whole file."""
    if answer.status == 206:
        piece = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
        if not piece or int(piece[1]) != part.size:
            part.begin_anew()
            raise _DroppedError("it sent another piece than was asked for; starting over")
        part.joined = True
        return int(piece[2])
    if answer.status != 200:
        raise DownloadError(f"{url} answered {answer.status} {answer.reason}, without the file")
    if part.size:
        LOG.info("%s: the server sends whole files only; starting over", url)
        part.begin_anew()
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _reason(error: Any) -> str:
    if isinstance(error, TimeoutError):
        return f"nothing came for {STALL_SECONDS:g} s"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
