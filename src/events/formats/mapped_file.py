"""A file that is mapped from the disk, and an error instead of the process's death if it becomes shorter meanwhile.

Whoever looks at a mapped page that its file no longer has gets the signal SIGBUS, which ends a process. `guarded` has a
handler put zeros in the place of the whole file instead, and notes it. The handler is called by ctypes, since one of
`signal.signal` would run only after the instruction that failed, which fails again for ever.
"""

import contextlib
import ctypes
import errno
import mmap
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

LOST = "it became shorter while it was read, or its disk has failed; read it again once nothing writes to it"

_SIGNAL_WITH_ADDRESS, _MAP_FIXED = 4, 0x10  # SA_SIGINFO and MAP_FIXED of Linux


class _SignalInfo(ctypes.Structure):  # siginfo_t of 64-bit Linux
    _fields_ = (("numbers", ctypes.c_int * 4), ("address", ctypes.c_uint64))


_Handler = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.POINTER(_SignalInfo), ctypes.c_void_p)


class _Action(ctypes.Structure):  # struct sigaction of 64-bit Linux
    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_uint64 * 16),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


@dataclass
class _Guarded:
    """Where a file is mapped, and whether a page of it was found to be lost."""

    begin: int
    size: int
    is_lost: bool = False


_guarded: list[_Guarded] = []
_before = _Action()
_libc = ctypes.CDLL(None)
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64]
_libc.mmap.restype = ctypes.c_void_p


def _put_zeros(number: int, info: "ctypes._Pointer[_SignalInfo]", context: int) -> None:
    address = info.contents.address
    for file in _guarded:
        if file.begin <= address < file.begin + -(-file.size // mmap.PAGESIZE) * mmap.PAGESIZE:
            file.is_lost = True
            kind = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_FIXED
            _libc.mmap(file.begin, file.size, mmap.PROT_READ, kind, -1, 0)
            return
    _libc.sigaction(number, ctypes.byref(_before), None)  # another file's: as if there were no handler


_handler = _Handler(_put_zeros)


@contextlib.contextmanager
def guarded(content: mmap.mmap, path: str | Path) -> Iterator[Callable[[], None]]:
    """Give a function that raises an OSError if what was read of a mapped file is not the file's.

    The block's end calls it too. It does so as well if the block raises an error, which zeros may have caused.
    """
    file = _Guarded(np.frombuffer(content, np.uint8).ctypes.data, len(content))

    def check() -> None:
        if file.is_lost or content.size() < file.size:
            raise OSError(errno.EIO, LOST, str(path))

    _guarded.append(file)
    try:
        if sys.platform == "linux" and len(_guarded) == 1:
            action = _Action(ctypes.cast(_handler, ctypes.c_void_p), flags=_SIGNAL_WITH_ADDRESS)
            _libc.sigaction(signal.SIGBUS, ctypes.byref(action), ctypes.byref(_before))
        yield check
        check()
    except Exception:
        check()
        raise
    finally:
        _guarded.remove(file)
        if sys.platform == "linux" and not _guarded:
            _libc.sigaction(signal.SIGBUS, ctypes.byref(_before), None)
