"""cached_njit: numba.njit that keeps compiled code on disk if it can, and compiles in memory if it cannot."""

import functools
import hashlib
import multiprocessing
import pickle
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import event
from numba.core.caching import FunctionCache
from numba.core.dispatcher import Dispatcher
from numba.core.serialize import dumps

from src import compiling
from src.helpers import LOG

_FOLDER = "NUMBA_CACHE_DIR"
_DIGEST_BYTES = hashlib.sha256().digest_size


def cached_njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function as `numba.njit(cache=True, **options)` does, but never fail because of the cache.

    A full disk, a read-only folder or a damaged file costs only the time of compiling. numba itself raises an error
    for each of them.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        kernel = numba.njit(**options)(function)
        if isinstance(kernel, Dispatcher):  # NUMBA_DISABLE_JIT leaves functions as they are
            try:
                kernel._cache = _KernelCache(function)  # type: ignore[attr-defined]
            except (RuntimeError, OSError, ValueError) as error:  # no folder to write to, or its name is not UTF-8
                warn_not_kept(error, _FOLDER)
        return kernel

    return decorate


@functools.cache
def _warn_once(variable: str) -> None:
    LOG.warning(
        "compiled kernels cannot be kept, so each start compiles them again, which takes seconds to a minute; "
        "%s can name a folder that has space",
        variable,
    )


def warn_not_kept(error: Exception, variable: str) -> None:
    """Warn once that kernels are not kept; `variable` is the environment variable that names their folder."""
    LOG.debug("no cache of compiled kernels: %s", error)
    if multiprocessing.parent_process() is None:  # else each process of a preparation would warn
        _warn_once(variable)


class _CompileTimer(event.Listener):
    """Times what numba compiles; a kernel's time holds that of the kernels that it calls."""

    def __init__(self) -> None:
        self._depth = 0
        self._began = 0.0

    def on_start(self, event: event.Event) -> None:
        if self._depth == 0:
            compiling.tell()
            self._began = time.perf_counter()
        self._depth += 1

    def on_end(self, event: event.Event) -> None:
        self._depth -= 1
        if self._depth == 0:
            compiling.count(time.perf_counter() - self._began)


event.register("numba:compile", _CompileTimer())


class _KernelCache(FunctionCache):
    """numba's cache of one function, in a verified file; a failure of the cache is no error."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        file = Path(self.cache_path, f"{self._impl.filename_base}.kernels.nbi")
        version = repr((numba.__version__, self._impl.locator.get_source_stamp()))
        self._cache_file = _CacheFile(file, version)  # type: ignore[assignment]

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # a file from another version of a package may raise anything
            LOG.debug("compiling %s again: %r", self._name, error)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except Exception as error:  # the kernel is compiled; only the cache has failed
            warn_not_kept(error, _FOLDER)


class _CacheFile:
    """File of one function's compiled code for every signature: a SHA-256, then a pickled dict.

    numba's own files have no checksum, so damaged machine code would run. It keeps two files per signature, which can
    contradict each other after a full disk.

    Args:
        path: the file.
        version: what must be equal for the code to be used: numba's version and the source's hash.
    """

    def __init__(self, path: Path, version: str) -> None:
        self._path = path
        self._version = version.encode()

    def load(self, key: Any) -> Any:
        """Return the data that was saved for a key; None if there is none."""
        content = self._read().get(key)
        return None if content is None else pickle.loads(content)

    def save(self, key: Any, data: Any) -> None:
        """Add the data of a key to the file; OSError if the disk does not take it."""
        self._write({**self._read(), key: dumps(data)})

    def flush(self) -> None:
        """Forget everything."""
        self._write({})

    def _read(self) -> dict[Any, bytes]:
        """Return what the file holds; nothing if it is missing, damaged or of another version."""
        try:
            content = self._path.read_bytes()
        except OSError:
            return {}
        digest, packed = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if digest != hashlib.sha256(self._version + packed).digest():
            return {}
        found: dict[Any, bytes] = pickle.loads(packed)
        return found

    def _write(self, entries: dict[Any, bytes]) -> None:
        packed = dumps(entries)
        temporary = self._path.with_name(f".{self._path.name}.{uuid.uuid4().hex}.tmp")
        try:
            temporary.write_bytes(hashlib.sha256(self._version + packed).digest() + packed)
            temporary.replace(self._path)
        finally:
            temporary.unlink(missing_ok=True)
