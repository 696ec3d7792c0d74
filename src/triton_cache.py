"""Triton's cache of compiled kernels, made to last: its files are verified, and a disk that takes none is a warning."""

import atexit
import functools
import hashlib
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import triton
from triton.runtime.cache import FileCacheManager

from src import compiling
from src.command_line import AT_LEAVING
from src.kernel_cache import warn_not_kept

_DIGEST = ".sha256"  # the suffix of the file that holds another one's checksum


def use() -> None:
    """Have Triton keep its kernels by `LastingCache`, unless TRITON_CACHE_MANAGER names another class.

    Versions of Triton before 3.4 keep them as they always do.
    """
    knobs = getattr(triton, "knobs", None)
    if knobs is not None and knobs.cache.manager_class is None:
        knobs.cache.manager_class = LastingCache


class LastingCache(FileCacheManager):
    """Triton's files in TRITON_CACHE_DIR or ~/.triton, each with a checksum beside it.

    What a disk does not take lies in a temporary folder until the process ends.
    """

    _compiling_since: float | None = None  # time.perf_counter()

    def __init__(self, key: str, override: bool = False, dump: bool = False) -> None:
        try:
            super().__init__(key, override, dump)
        except OSError as error:
            self._turn_to_temporary(error)

    def put(self, data: Any, filename: str, binary: bool = True) -> str:
        """Keep a file; return its path."""
        content = data if isinstance(data, bytes) else str(data).encode()
        try:
            return self._put_both(content, filename)
        except OSError as error:
            self._turn_to_temporary(error)
        return self._put_both(content, filename)

    def get_file(self, filename: str) -> str | None:
        """Return a file's path; None if it is not there, or damaged."""
        path: str | None = super().get_file(filename)
        return path if path is not None and _is_sound(path) else None

    def get_group(self, filename: str) -> dict[str, str] | None:
        """Return the paths of a kernel's files by name; None if one is not there, or damaged: Triton compiles it."""
        if self.get_file(f"__grp__{filename}") is not None:
            group: dict[str, str] | None = super().get_group(filename)
            if group is not None and all(map(_is_sound, group.values())):
                return group
        compiling.tell()
        self._compiling_since = time.perf_counter()
        return None

    def put_group(self, filename: str, group: dict[str, str]) -> str:
        """Keep the paths of the files of a kernel that has been compiled."""
        if self._compiling_since is not None:
            compiling.count(time.perf_counter() - self._compiling_since)
            self._compiling_since = None
        path: str = super().put_group(filename, group)
        return path

    def _put_both(self, content: bytes, filename: str) -> str:
        path: str = super().put(content, filename)
        super().put(hashlib.sha256(content).hexdigest(), f"{filename}{_DIGEST}")
        return path

    def _turn_to_temporary(self, error: OSError) -> None:
        warn_not_kept(error, "TRITON_CACHE_DIR")
        folder = _temporary_folder() / self.key
        folder.mkdir(exist_ok=True)
        self.cache_dir, self.lock_path = str(folder), str(folder / "lock")


def _is_sound(path: str) -> bool:
    try:
        return Path(path + _DIGEST).read_text() == hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except (OSError, ValueError):
        return False


@functools.cache
def _temporary_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="difflogic_tonic_kernels_"))
    remove = functools.partial(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(remove)
    AT_LEAVING.append(remove)
    return folder
