"""cached_njit: numba.njit that keeps compiled code on disk if it can, and compiles in memory if it cannot."""

import functools
import hashlib
import multiprocessing
import os
import pickle
import re
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numba
from numba.core import event
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.dispatcher import Dispatcher
from numba.core.serialize import dumps

from src import compiling
from src.helpers import LOG

_FOLDER = "NUMBA_CACHE_DIR"
_ROOT = Path(__file__).resolve().parents[1]  # where src is
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


class _Locator:
    """Where the kernels of a module are kept, and of which version they are, as numba asks for it."""

    def __init__(self, function: Callable[..., Any], file: str) -> None:
        self._line, self._file = function.__code__.co_firstlineno, file
        self._folder = kernel_folder()

    @classmethod
    def from_function(cls, function: Callable[..., Any], file: str) -> "_Locator":
        return cls(function, file)

    def get_cache_path(self) -> str:
        return str(self._folder)

    def get_source_stamp(self) -> str:
        return sources_digest(Path(self._file))

    def get_disambiguator(self) -> str:
        return str(self._line)

    def ensure_cache_path(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)


def kernel_folder() -> Path:
    """Return the folder of compiled kernels.

    It is NUMBA_CACHE_DIR, which may be read-only if it has all kernels, as in an image; else one beside the code; else,
    where that cannot be written to, one of the user's.
    """
    if chosen := numba.config.CACHE_DIR:  # type: ignore[attr-defined]
        return Path(chosen)
    beside = _ROOT / "src/__pycache__"
    if os.access(beside if beside.exists() else beside.parent, os.W_OK):
        return beside
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "difflogic_tonic"


def sources_digest(module: Path) -> str:
    """Return a SHA-256 of the text of a module and of all modules of src that it imports, directly or not.

    numba itself looks at the module alone, so what it has inlined from another one could be out of date. The text, not
    the time of the file, tells: clones and images with the same text share their kernels.
    """
    found: dict[Path, bytes] = {}
    waiting = [module]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found[path], imported = _text_and_imports(path)
            waiting += imported
    texts = sorted(hashlib.sha256(text).digest() for text in found.values())
    return hashlib.sha256(b"".join(texts)).hexdigest()


_IMPORT = re.compile(rb"^(?:from (src[\w.]*) import (\([^)]*\)|.*)|import (src[\w.]*))", re.MULTILINE)


@functools.cache
def _text_and_imports(path: Path) -> tuple[bytes, tuple[Path, ...]]:
    """Return a module's text and the files of src that it imports, this one left out, since it inlines nothing."""
    text = path.read_bytes()
    names = set()
    for package, members, module in _IMPORT.findall(text):
        names |= {package or module} | {package + b"." + member for member in re.findall(rb"\w+", members)}
    files = (_ROOT / name.decode().replace(".", "/") for name in names)
    paths = (path for file in files for path in (file.with_suffix(".py"), file / "__init__.py"))
    return text, tuple(path for path in paths if path.is_file() and path.name != Path(__file__).name)


class _Kernels(CompileResultCacheImpl):
    """numba's rules for what can be kept, with our place for it."""

    _locator_classes: ClassVar = [_Locator]  # type: ignore[misc]


class _KernelCache(FunctionCache):
    """numba's cache of one function, in verified files; a failure of the cache is no error."""

    _impl_class = _Kernels

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        version = repr((numba.__version__, self._impl.locator.get_source_stamp()))
        self._cache_file = _CacheFiles(Path(self.cache_path), self._impl.filename_base, version)  # type: ignore[assignment]

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


class _CacheFiles:
    """The files of one function's compiled code, one per signature and processor: a SHA-256, then the pickled code.

    numba's own files have no checksum, so damaged machine code would run. It notes all signatures in one file, which
    processes that compile at the same time overwrite for each other.

    Args:
        folder: of the files.
        name: what their names begin with.
        version: what must be equal for the code to be used: numba's version and a digest of the sources.
    """

    def __init__(self, folder: Path, name: str, version: str) -> None:
        self._folder, self._name = folder, name
        self._version = version.encode()

    def load(self, key: Any) -> Any:
        """Return the data that was saved for a key; None if there is none, or if it is damaged."""
        try:
            content = self._path(key).read_bytes()
        except OSError:
            return None
        digest, packed = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        return pickle.loads(packed) if digest == self._digest(packed) else None

    def save(self, key: Any, data: Any) -> None:
        """Write the data of a key; OSError if the disk does not take it."""
        packed, path = dumps(data), self._path(key)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
        try:
            temporary.write_bytes(self._digest(packed) + packed)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def flush(self) -> None:
        """Do nothing: files of other sources have other names."""

    def _path(self, key: Any) -> Path:
        """Return the file of a key, which is a signature, a processor, and the function's bytecode."""
        return self._folder / f"{self._name}.{self._digest(repr(key).encode()).hex()[:16]}.kernel"

    def _digest(self, content: bytes) -> bytes:
        return hashlib.sha256(self._version + content).digest()
