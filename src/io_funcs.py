"""Storage roots, atomic files, checksums, locks and free space."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from src.command_line import UserError
from src.helpers import LOG, format_size

REPOSITORY = Path(__file__).resolve().parents[1]
CHUNK_BYTES = 1 << 22
LOCK_GRACE_SECONDS = 0.5
USER_FOLDER = "DIFFLOGIC_FOLDER"  # a variable of container.sh: where the user is, for a command in a container
DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT)
_VARIABLE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})")
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def project_root() -> Path:
    """Return $PROJECT_STORAGE_DIR, which is kept; default: project_storage beside the code."""
    return _storage_root("PROJECT_STORAGE_DIR", "project_storage")


def scratch_root() -> Path:
    """Return $SCRATCH_STORAGE_DIR, which is fast and may be wiped at any time; default: scratch beside the code."""
    return _storage_root("SCRATCH_STORAGE_DIR", "scratch")


def _storage_root(variable: str, default: str) -> Path:
    value = os.environ.get(variable)
    return Path(expand_path(value, variable)).absolute() if value else REPOSITORY / default


_STORAGES = {"PROJECT_STORAGE_DIR": project_root, "SCRATCH_STORAGE_DIR": scratch_root}


def require_storages(*variables: str) -> None:
    """Make the storage roots of these variables; raise UserError for one that cannot be written to."""
    for variable in variables or _STORAGES:
        root = _STORAGES[variable]()
        try:
            root.mkdir(parents=True, exist_ok=True)
            if not os.access(root, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise UserError(f"{variable} = {root}: cannot write there: {error.strerror}") from error


def setting_of(path: Path) -> str:
    """Return the variable or option that decides where a path lies: of a storage root, else data.data_root."""
    where = path.absolute()
    return next((name for name, root in _STORAGES.items() if where.is_relative_to(root())), "data.data_root")


def expand_path(path: str | Path, what: str) -> str:
    """Return a path with the home folder for a leading `~` or `~/`, and the environment's value for `$NAME`, `${NAME}`.

    This is the rule for storage variables, paths in configs and paths on command lines alike.
    An http or https URL stays as it is.

    Raises:
        UserError: if a variable is not set or empty, or `~` is followed by a name; it names the path as `what`.
    """
    text = str(path)
    if text.lower().startswith(("http://", "https://")):
        return text
    if text.startswith("~") and text[1:2] not in ("", "/"):
        raise UserError(f"{what} = {text}: only ~ and ~/ stand for a home folder, yours; write another one out")

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if not os.environ.get(name):
            raise UserError(
                f"{what} = {text}: the environment variable {name} is not set; set it, or write the path out"
            )
        return os.environ[name]

    home = os.path.expanduser("~") if text.startswith("~") else ""  # noqa: PTH111 - joined as text
    return home + _VARIABLE.sub(value, text[1:] if home else text)


def from_repository(path: str | Path, what: str = "path") -> Path:
    """Return a path of a config, expanded; a relative one starts at the repository, whatever the current folder."""
    return REPOSITORY / expand_path(path, what)


def from_user(path: str | Path, what: str = "path") -> Path:
    """Return a path of the command line, expanded; a relative one starts where the user is, in a container too."""
    return Path(os.environ.get(USER_FOLDER, ""), expand_path(path, what))


def config_from_user(path: str) -> Path:
    """Return the path of a config on the command line: one of the repository if it is not where the user is.

    Unless it is a pipe, its folder has no links and no `..` in its name: the path means the same in a container.
    """
    here, there = Path(os.environ.get(USER_FOLDER, ""), path), REPOSITORY / path
    if here.exists() and not here.is_file():
        return here
    found = there if there.exists() and not here.exists() else here
    return found.parent.resolve() / found.name


def check_name(name: str, what: str) -> str:
    """Return `name` if it can be a folder's name and cannot lead elsewhere; raise UserError otherwise.

    It does not begin with a dot, as the names of locks and temporary files do, nor with a dash, as options do.
    """
    if not _SAFE_NAME.fullmatch(name):
        raise UserError(
            f"{what} {name!r} is not allowed: use 1 to 128 letters, digits, '.', '_' and '-', beginning with a letter "
            f"or a digit"
        )
    return name


def sync_directory(path: Path) -> None:
    """Make renames inside the directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# What may lie in the place of a file, for messages.
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def require_regular(path: str | Path) -> None:
    """Raise OSError unless a file lies there; it says what does."""
    kind = stat.S_IFMT(os.stat(path).st_mode)  # noqa: PTH116 - a path may be text
    if kind != stat.S_IFREG:
        raise OSError(errno.EINVAL, f"it is {_KINDS.get(kind, 'something else')}, not a file", str(path))


def open_regular(path: str | Path, mode: str = "rb", buffering: int = -1) -> BinaryIO:
    """Open a file in binary mode; OSError if it is something else, since opening a pipe would wait for ever."""
    return cast(BinaryIO, open(path, mode, buffering, opener=_open_at_once))


def _open_at_once(path: str, flags: int) -> int:
    with contextlib.suppress(FileNotFoundError):  # then `flags` decide whether it is made
        require_regular(path)
    return os.open(path, flags | os.O_NONBLOCK, 0o666)


def read_bytes(path: Path, most: int = -1, begin: int = 0) -> bytes:
    """Return a file's content, by `open_regular`; at most `most` bytes if that is given, from `begin` on."""
    with open_regular(path) as file:
        file.seek(begin)
        return file.read(most)


def read_text(path: Path) -> str:
    """Return a file's text, by `open_regular`; ValueError if it is not UTF-8."""
    return read_bytes(path).decode()


@contextlib.contextmanager
def atomic_file(path: Path, durable: bool = True) -> Iterator[BinaryIO]:
    """Write a file that exists whole or not at all: temporary name beside it, fsync, rename, fsync of the folder.

    The file object can seek. If the block raises, the temporary file is removed and `path` is as it was. Without
    `durable` there is no fsync, and a power cut may leave zeros or nothing; use that for files that are verified when
    they are read, and made again. An error of the system names `path`, not the temporary file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        require_regular(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w+b") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and (
            error.filename == str(temporary) or (error.errno in DISK_IS_FULL and error.filename is None)
        ):
            error.filename = str(path)
        raise
    if durable:
        sync_directory(path.parent)


def leftovers(folder: Path) -> list[Path]:
    """Return the temporary files in a folder; killed processes have left them if the caller holds the folder's lock."""
    return sorted(path for path in folder.glob(".*.tmp") if not path.is_dir())


def remove_if_empty(folder: Path) -> None:
    """Remove a folder if there is nothing in it."""
    with contextlib.suppress(OSError):
        folder.rmdir()


@contextlib.contextmanager
def no_empty_folders() -> Iterator[None]:
    """Remove the empty folders that the block has made for frame caches in both storages, if it fails."""
    roots = dict.fromkeys(root() for root in _STORAGES.values())
    before = {folder for root in roots for folder in _folders_of_caches(root)}
    try:
        yield
    except BaseException:
        for root in roots:
            for folder in _folders_of_caches(root):
                if folder not in before:
                    remove_if_empty(folder)
        raise


def _folders_of_caches(root: Path) -> list[Path]:
    """Return the folders of frame caches in a storage root, those that they lie in, the root, and its parents."""
    data = root / "data"
    folders = [*data.glob("*/*"), *data.glob("*"), data, root, *root.parents]
    return [folder for folder in folders if folder.is_dir()]


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that killed processes have left; the caller holds the folder's lock.

    A file that cannot be removed, as on a disk that has become read-only, stays: it does no harm.
    """
    for path in leftovers(folder):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write `content` by `atomic_file`; text as UTF-8, with escapes for what UTF-8 lacks."""
    with atomic_file(path) as file:
        file.write(content.encode(errors="backslashreplace") if isinstance(content, str) else content)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON by `atomic_file`."""
    write_atomic(path, json.dumps(value, indent=2) + "\n")


def sha256_of(
    path: Path, check: Callable[[], None] = lambda: None, advance: Callable[[int], object] = lambda size: None
) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal.

    Every few MiB, `advance` gets the number of bytes that were read, and `check` is called, which may raise to stop.
    """
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            advance(len(chunk))
            check()
    return digest.hexdigest()


def copy_verified(
    source: Path,
    target: Path,
    sha256: str,
    check: Callable[[], None] = lambda: None,
    advance: Callable[[int], object] = lambda size: None,
) -> None:
    """Copy a file atomically; raise OSError, and leave the target as it was, if the copy does not have this checksum.

    `check` and `advance` are as for `sha256_of`; each byte counts twice, when it is copied and when it is read back.
    """
    with atomic_file(target) as out:
        with open_regular(source) as file:
            while chunk := file.read(CHUNK_BYTES):
                out.write(chunk)
                advance(len(chunk))
                check()
        out.flush()
        os.fsync(out.fileno())
        if sha256_of(Path(out.name), check, advance) != sha256:
            if sha256_of(source) != sha256:
                raise OSError(f"{source} does not have the checksum that its manifest names")
            raise OSError(f"{target} reads back differently from what was written: is its disk failing?")


class NoSpaceError(UserError):
    """A disk has too few free bytes; the text names the folder, its setting, and both sizes."""


def require_free_space(folder: Path, size: int) -> None:
    """Raise NoSpaceError if the file system of `folder` (which need not exist yet) has fewer than `size` bytes free."""
    if (free := free_space(folder)) < size:
        raise NoSpaceError(
            f"not enough space for {folder}: {format_size(size)} needed, {format_size(free)} free; "
            f"see {setting_of(folder)}"
        )


def free_space(folder: Path) -> int:
    """Return the free bytes of the file system of a folder, which need not exist yet."""
    return shutil.disk_usage(_nearest_existing(folder)).free


def device_of(folder: Path) -> int:
    """Return the number of the file system on which a folder lies, or will."""
    return _nearest_existing(folder).stat().st_dev


def _nearest_existing(folder: Path) -> Path:
    while not os.path.exists(folder):  # noqa: PTH110 - Path.exists raises where nothing may be looked at
        folder = folder.parent
    return folder


@contextlib.contextmanager
def file_lock(
    path: Path, waiting: str | None = None, check: Callable[[], None] = lambda: None, remove: bool = False
) -> Iterator[int]:
    """Hold an exclusive lock (flock) on `path`, which ends with the process however it dies; yield its open file.

    Args:
        path: the lock file; it stays, empty.
        waiting: what to log, once, while another process holds the lock; None: do not wait, raise BlockingIOError.
            Without waiting, the lock is tried for half a second, since `is_locked` holds it for a moment.
        check: called while waiting; may raise to stop.
        remove: remove the lock file at the end; every process that locks this path must ask for it.
    """
    said = False
    last_try = time.monotonic() + LOCK_GRACE_SECONDS
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)  # whoever held the lock may have removed the folder
        with open_regular(path, "ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if waiting is None:
                    if time.monotonic() >= last_try:
                        raise
                    time.sleep(0.01)
                    continue
                if not said:
                    LOG.info("%s", waiting)
                    said = True
                check()
                time.sleep(0.2)
                continue
            if remove and not _is_file_at(path, file):  # its holder has removed it: another process may hold a new one
                continue
            try:
                yield file.fileno()
            finally:
                if remove:
                    with contextlib.suppress(OSError):
                        path.unlink()
            return


def _is_file_at(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def is_locked(path: Path) -> bool:
    """Return whether another process holds the lock `path` now; change nothing on disk.

    Anything but a file is no lock; a warning says so.
    """
    try:
        with open_regular(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        LOG.warning("%s: %s", path, error.strerror)
    return False
