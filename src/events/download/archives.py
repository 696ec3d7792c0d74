"""A dataset's archives: found or downloaded, verified, unpacked, so that its recordings appear all at once."""

import contextlib
import gzip
import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

from tqdm import tqdm

from src.command_line import UserError
from src.events.datasets.dataset import UNPACKED, Archive, is_hidden
from src.events.download.http import Check, DownloadError, download, md5_of, part_of
from src.helpers import LOG, format_size
from src.io_funcs import CHUNK_BYTES, expand_path, from_repository, open_regular, require_free_space, sync_directory

UNPACKING = ".unpacking"
TAR_SUFFIXES = (".tar.gz", ".tgz")
_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OverflowError,
    ValueError,
    RuntimeError,
)


def fetch(archives: Sequence[Archive], folder: Path, url: str | None = None, check: Check = lambda: None) -> None:
    """Bring the recordings of a dataset into `folder`, all at once, from its archives.

    An archive that lies in `folder` or beside it is verified and used, and stays; so are zip files of one folder each
    (Train.zip, airplane.zip), if all are there. What is missing is downloaded to `folder`, and removed at the end. A
    process that is killed leaves `<archive>.part`, with which the next goes on.
    The caller holds a lock.

    Args:
        url: where the archives' file names lie instead (`data.url`): an http, https or file URL, or a folder.
        check: called every few MiB; may raise to stop.

    Raises:
        UserError: an archive cannot be had (it says what to fetch by hand), or is damaged, or there is no space, or the
            folder holds others, perhaps misnamed ones.
        OSError: of the disk.
    """
    made = not folder.exists()
    if not (folder / UNPACKED).exists():
        for name in _folders(archives):
            if (folder / name).exists():
                raise UserError(f"{folder / name} is there, but holds no recordings: move it away, or fill it")
        if strangers := strange_folders(archives, folder):
            raise UserError(
                f"no recordings in {folder}, where {folder.name} has {', '.join(_folders(archives))}, but "
                f"{', '.join(strangers)}; correct their names if they are these; if they are others, name another "
                f"folder by data.data_root, and {folder.name} is downloaded to it"
            )
        try:
            _unpack_all(archives, folder, url, check)
        finally:
            shutil.rmtree(folder / UNPACKING, ignore_errors=True)
            if made:
                with contextlib.suppress(OSError):
                    folder.rmdir()  # nothing was unpacked
    for path in sorted((folder / UNPACKED).iterdir()):
        path.rename(folder / path.name)
    (folder / UNPACKED).rmdir()


def strange_folders(archives: Sequence[Archive], folder: Path) -> list[str]:
    """Return the folders beside those that the archives unpack to, sorted: they may be misnamed ones."""
    if not folder.is_dir():
        return []
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name))
    return [name for name in names if name not in _folders(archives)]


def _folders(archives: Sequence[Archive]) -> list[str]:
    return [name for archive in archives for name in archive.unpacks_to]


def _unpack_all(archives: Sequence[Archive], folder: Path, url: str | None, check: Check) -> None:
    """Unpack the archives to `folder`/.unpacked, which appears whole."""
    folder.mkdir(parents=True, exist_ok=True)
    sources = {archive: source_of(archive, url) for archive in archives}
    places = {archive: _put_by_hand(archive, folder, check) for archive in archives}
    singles = _singles([archive for archive in archives if places[archive] is None], folder)
    needed = [archive for archive in archives if places[archive] or not singles]
    missing = {archive: folder / archive.file_name for archive in needed if places[archive] is None}
    parts = [part_of(path) for path in missing.values()]
    there = sum(part.stat().st_size for part in parts if part.exists())
    downloads = sum(archive.size for archive in missing if isinstance(sources[archive], str))
    require_free_space(folder, downloads - there + sum(archive.unpacked_size for archive in needed))
    try:
        for archive, path in missing.items():
            source = sources[archive]
            if isinstance(source, Path):
                places[archive] = _verified(source, archive, check)
            else:
                download(source, path, archive.md5, check)
                places[archive] = path
    except DownloadError as error:
        by_hand = " and ".join(f"{archive.file_name} (MD5 {archive.md5}, {archive.url})" for archive in missing)
        raise UserError(
            f"no recordings under {folder}, and downloading failed: {error}. Fetch by hand {by_hand} and put what you "
            f"got, still packed, into {folder}; then run the same command again"
        ) from error
    unpacking = folder / UNPACKING
    shutil.rmtree(unpacking, ignore_errors=True)
    for place in filter(None, places.values()):
        unpack(place, unpacking, check)
    for name, place in singles.items():
        _unpack_single(place, unpacking, name, check)
    os.sync()  # one for all files: renamed folders must not hold empty recordings after a power cut
    unpacking.rename(folder / UNPACKED)
    sync_directory(folder)
    for path in missing.values():
        path.unlink(missing_ok=True)


def source_of(archive: Archive, url: str | None) -> str | Path:
    """Return where to get an archive: an http(s) URL or a local path. A wrong `url`, from data.url, is a UserError."""
    if not url:
        return archive.url
    url = expand_path(url, "data.url")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UserError(f"data.url = {url!r}: {error}") from error
    if parts.scheme in ("http", "https") and host:
        return f"{url.rstrip('/')}/{quote(archive.file_name)}"
    if parts.scheme == "file" and host in (None, "localhost") and parts.path.startswith("/"):
        return Path(url2pathname(parts.path)) / archive.file_name
    if parts.scheme == "":
        return from_repository(url) / archive.file_name
    raise UserError(f"data.url = {url!r}: expected an http://host/…, https://host/… or file:///… URL, or a folder")


def _put_by_hand(archive: Archive, folder: Path, check: Check) -> Path | None:
    """Return the archive in `folder` or beside it, verified; case does not matter, since mirrors name it Train.zip."""
    for place in (folder, folder.parent):
        for path in sorted(place.iterdir()):
            if path.name.lower() != archive.file_name.lower() or not path.is_file():
                continue
            try:
                return _verified(path, archive, check)
            except DownloadError as error:
                if place == folder:
                    raise UserError(f"{error}: fetch it again, or move it elsewhere") from error
                LOG.warning("%s: it is not used", error)  # a train.zip there may be another dataset's
    return None


def _singles(archives: Sequence[Archive], folder: Path) -> dict[str, Path]:
    """Return a zip file for each folder that the archives unpack to, by its name; empty unless all are there.

    Raises:
        UserError: some are there and others are not.
    """
    names = {f"{name}.zip".lower(): name for name in _folders(archives)}
    for archive in archives:  # a warning has named the wrong ones
        names.pop(archive.file_name.lower(), None)
    found = {
        names[path.name.lower()]: path
        for place in (folder.parent, folder)
        for path in sorted(place.iterdir())
        if path.name.lower() in names and path.is_file()
    }
    missing = [f"{name}.zip" for name in names.values() if name not in found]
    if found and missing:
        raise UserError(
            f"{', '.join(sorted(map(str, found.values())))}: used only together with {', '.join(missing)}; put those "
            f"beside them, or move these elsewhere if they are not of {folder.name}"
        )
    return found


def _unpack_single(archive: Path, unpacking: Path, name: str, check: Check) -> None:
    """Unpack a zip file that holds one folder, or the content of one, to `unpacking`/`name`."""
    whole = unpacking / f".{name}"
    unpack(archive, whole, check)
    holder = next((path for path in sorted(whole.rglob(name)) if path.is_dir()), whole)
    if not any(path.is_file() for path in holder.rglob("*")):
        raise UserError(f"{archive}: it holds no recordings of {name}; fetch it again, or move it elsewhere")
    holder.rename(unpacking / name)
    shutil.rmtree(whole, ignore_errors=True)


def _verified(path: Path, archive: Archive, check: Check) -> Path:
    try:
        with open_regular(path, buffering=0) as file:
            LOG.info("verifying %s (%s)", path, format_size(path.stat().st_size))
            md5 = md5_of(file, check).hexdigest()
    except OSError as error:
        raise DownloadError(f"{path}: {error.strerror}") from error
    if md5 != archive.md5:
        raise DownloadError(f"{path} has MD5 {md5} instead of {archive.md5}")
    return path


def unpack(archive: Path, folder: Path, check: Check = lambda: None) -> None:
    """Unpack a zip or tar.gz file into `folder`, file by file; unpack zip files within it in place, and remove those.

    Hidden files, such as ._NAME.bin and __MACOSX, are left out.

    Raises:
        UserError: it is damaged, a name leads out of the folder, it holds a link or a device, or there is less space
            than it says that it needs (no entry takes more than it says).
        OSError: of the disk; some damage, too, shows as a seek that cannot be.
    """
    LOG.info("unpacking %s", archive)
    unpack_all = _unpack_tar if archive.name.lower().endswith(TAR_SUFFIXES) else _unpack_zip
    with tqdm(desc=f"unpacking {archive.name}", total=0, unit="B", unit_scale=True, disable=None) as bar:
        try:
            unpack_all(archive, folder, check, bar)
        except _DAMAGED as error:
            raise UserError(f"{archive}: cannot unpack it: {error}") from error


def _unpack_zip(archive: Path, folder: Path, check: Check, bar: Any, is_inner: bool = False) -> None:
    with zipfile.ZipFile(archive) as packed:
        entries = [(entry, _place_in_zip(entry, archive, folder)) for entry in packed.infolist()]
        size = sum(entry.file_size for entry, _ in entries)
        require_free_space(folder, size)
        bar.total += size
        for entry, path in entries:
            check()
            if _is_hidden(entry.filename):
                continue
            if entry.is_dir():
                path.mkdir(parents=True, exist_ok=True)
                continue
            with packed.open(entry) as source:
                for chunk in _copied(source, path, check):
                    bar.update(len(chunk))
            _unpack_inner(path, check, bar, is_inner)


def _unpack_tar(archive: Path, folder: Path, check: Check, bar: Any) -> None:
    """Unpack a tar.gz file; its end is known only at its end, so that bytes of the packed file are counted."""
    bar.total += archive.stat().st_size
    with open_regular(archive) as file, gzip.GzipFile(fileobj=file) as whole:
        with tarfile.TarFile(fileobj=_ShortReads(whole)) as packed:  # type: ignore[arg-type]
            while (entry := packed.next()) is not None:
                check()
                path = _place_in_tar(entry, archive, folder)
                if _is_hidden(entry.name):
                    continue
                if entry.isdir():
                    path.mkdir(parents=True, exist_ok=True)
                    continue
                require_free_space(folder, entry.size)
                source = packed.extractfile(entry)
                assert source is not None
                for _ in _copied(source, path, check):
                    bar.update(file.tell() - bar.n)
                _unpack_inner(path, check, bar, is_inner=False)
        while whole.read(CHUNK_BYTES):  # its checksum comes last
            check()


class _ShortReads:
    """A file for tarfile, in which no header can ask for more than a chunk of memory."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= CHUNK_BYTES:
            raise tarfile.ReadError(f"a header claims {size:,} bytes")
        return self._file.read(size)


def _copied(source: IO[bytes], path: Path, check: Check) -> Iterator[bytes]:
    """Write a file to `path`, and yield each chunk of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as target:
        while chunk := source.read(CHUNK_BYTES):
            target.write(chunk)
            yield chunk
            check()


def _unpack_inner(path: Path, check: Check, bar: Any, is_inner: bool) -> None:
    """Unpack a zip file that lay in an archive, but none that lay in such a one, and remove it."""
    if path.suffix.lower() != ".zip" or is_inner:
        return
    try:
        _unpack_zip(path, path.parent, check, bar, is_inner=True)
    except _DAMAGED as error:
        raise UserError(f"{path}: cannot unpack it: {error}") from error
    path.unlink()


def _is_hidden(name: str) -> bool:
    return any(map(is_hidden, PurePosixPath(name).parts))


def _place_in_zip(entry: zipfile.ZipInfo, archive: Path, folder: Path) -> Path:
    """Return where an entry goes; UserError unless it is a plain file or folder inside `folder`."""
    kind = stat.S_IFMT(entry.external_attr >> 16)
    is_plain = kind in (0, stat.S_IFREG, stat.S_IFDIR) and bool(PurePosixPath(entry.filename).parts)
    return _place(entry.filename, entry.orig_filename, is_plain, archive, folder)


def _place_in_tar(entry: tarfile.TarInfo, archive: Path, folder: Path) -> Path:
    """Return where an entry goes; UserError unless it is a plain file or folder inside `folder`, or is that folder."""
    is_plain = entry.isdir() or (entry.isreg() and not entry.issparse() and bool(PurePosixPath(entry.name).parts))
    return _place(entry.name, entry.name, is_plain and entry.size >= 0, archive, folder)


def _place(name: str, written: str, is_plain: bool, archive: Path, folder: Path) -> Path:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or re.search(r"\\|\0|^[A-Za-z]:", written) or not is_plain:
        raise UserError(f"{archive}: it holds {written!r}, which is no file inside its folder: not unpacked")
    return folder / path
